"""The log in `outputs/logs/trading_system.log`: one line an event, `key=value`, for eyes and machines.

    2026-11-22T10:15:04.120Z INFO tick tick_id=20261122T1015Z state=done equity=9.99 text="nothing to do"

The first field is this machine's UTC clock; what happened in the market carries its own times. Keys and alert
URLs that this process knows are written as ********.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from tgtqr_lib.credentials import redact
from tgtqr_lib.home import Home

LOGGER = "tgtqr_lib"
ROTATE_AT = 5_000_000  # bytes, about a month of beats
KEPT_LOGS = 5
BARE = re.compile(r"[A-Za-z0-9_.:+\-/%]+")
KEY = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


class LineFormatter(logging.Formatter):
    """Time, level, event name, then its facts as `key=value`; a value with blanks is a JSON string."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts: Mapping[str, Any] = getattr(record, "facts", {})
        head = f"{moment.replace('+00:00', 'Z')} {record.levelname} {record.getMessage()}"
        line = " ".join([head, *(f"{key}={spell(value)}" for key, value in facts.items())])
        if record.exc_info:
            line += " error=" + spell(self.formatException(record.exc_info))
        return redact(line)


def spell(value: Any) -> str:
    """`value` in one word: bare when it has no odd character, else a JSON string."""
    text = "-" if value is None else format(value, "f") if hasattr(value, "scaleb") else str(value)
    return text if BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def read_line(line: str) -> dict[str, str]:
    """A line of the log as its fields: `time`, `level`, `event` and the facts by name."""
    moment, level, event, *_ = line.split(" ", 3)
    facts = {
        key: json.loads(value) if value.startswith('"') else value
        for key, value in KEY.findall(line)
    }
    return {"time": moment, "level": level, "event": event, **facts}


def start(home: Home, *, screen: bool = False) -> None:
    """Write this process's events to the log of `home`; warnings also to the screen if asked.

    A log that cannot be written (a full disk, say) never stops the kit: the events go to the screen.
    """
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = []
    try:
        home.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(home)
        handlers.append(WatchedFileHandler(home.log, encoding="utf-8"))
    except OSError:
        screen = True
    if screen:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[-1].setLevel(logging.WARNING)
    for handler in handlers:
        handler.setFormatter(LineFormatter())
        logger.addHandler(handler)
    logging.raiseExceptions = False


def rotate(home: Home) -> None:
    """Move a log of 5 MB or more aside as `.1`, an older one as `.2`, up to `.5`.

    Several processes write the log: one at a time moves it, and the others notice by its inode.
    """
    with suppress(FileNotFoundError), open(home.log.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.log.stat().st_size < ROTATE_AT:
            return
        for number in range(KEPT_LOGS, 1, -1):
            with suppress(FileNotFoundError):
                os.replace(_numbered(home, number - 1), _numbered(home, number))
        os.replace(home.log, _numbered(home, 1))


def _numbered(home: Home, number: int) -> Path:
    return home.log.with_name(f"{home.log.name}.{number}")


def event(name: str, level: int = logging.INFO, **facts: Any) -> None:
    """Log that `name` happened, with its facts."""
    logging.getLogger(LOGGER).log(level, name, extra={"facts": facts})
