"""The page's commands, run as the command line runs them: one way in, and no handler that waits.

The page has no authority of its own. What it asks for is checked again by the command, in a process that
ends afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tgtqr_lib.home import Home

TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    """What a command said: its exit code, the object it printed (or None), its sentence when it failed."""

    code: int
    facts: dict[str, Any] | None
    text: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def ask(home: Home, command: Sequence[str]) -> Answer:
    """Run `tgtqr command... --json` on `home` and wait for it."""
    words = [sys.executable, "-m", "tgtqr_lib.cli", *command, "--json"]
    environment = os.environ | {"TGTQR_HOME": str(home.root)}
    try:
        done = subprocess.run(
            words,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Answer(
            1, None, f"no answer within {TIMEOUT_S} s; look at the log before trying again"
        )
    except (OSError, ValueError) as error:  # a zero byte in an argument, say
        return Answer(2, None, f"cannot be asked: {error}")
    try:
        facts = json.loads(done.stdout)
    except ValueError:
        facts = None
    # the page says what was asked; the command's name before the sentence is for a terminal
    return Answer(done.returncode, facts, done.stderr.strip().removeprefix(f"tgtqr {command[0]}: "))


def ask_aside(home: Home, command: Sequence[str], then: Callable[[Answer], None]) -> None:
    """`ask` in a thread; `then` gets the answer there."""
    threading.Thread(target=lambda: then(ask(home, command)), daemon=True, name="clerk").start()
