"""What lies in a backup: a folder that looks like the home it was made of, with its checksums.

    20261123T170501Z/
      manifest.json            what this is: ledger's head, account, counts, what was left out
      SHA256SUMS               of every file, also of manifest.json; `sha256sum -c SHA256SUMS` reads it
      data/trading_data.db.gz  the ledger; `gunzip -k` makes it a file for sqlite3
      data/ledger.witness      its head
      data/...                 alerts.json, simulator*.json*, book/, funding/, where the home has them
      settings.toml
      outputs/ticks/YYYY/MM/DD/*.ipynb

A file that did not change since the backup before is the same file under two names (a hard link), so it takes
no room twice; each folder is whole by itself all the same.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tgtqr_lib.backup.placing import digest
from tgtqr_lib.domain import Damaged, DomainError, StoreError

LAYOUT = 1
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
LEDGER, WITNESS, SETTINGS = "data/trading_data.db.gz", "data/ledger.witness", "settings.toml"
TICKS = "outputs/ticks/"
LAKES = ("data/book/", "data/funding/")
SIMULATOR = re.compile(r"data/simulator[\w.-]*\.jsonl?")
OWN = re.compile(
    rf"{re.escape(LEDGER)}|{WITNESS}|{SETTINGS}|{MANIFEST}|data/alerts\.json|{SIMULATOR.pattern}"
    r"|data/(book|funding)/[^/]+/[^/]+|outputs/ticks/\d{4}/\d\d/\d\d/[^/]+"
)
LINE = re.compile(r"([0-9a-f]{64})  (.+)")
NAME = re.compile(r"\d{8}T\d{6}Z(-\d\d)?")
FACTS = {"made_at", "ledger", "account", "missing", "altered", "unknown"}
LEFT_OUT = {
    ".env": "it holds secrets; keep it in a safe place of its own",
    "data/candles": "`tgtqr data fetch` or `import` brings them again",
    "data/control": "a restored home is stopped until `tgtqr arm --reason ...`",
    "outputs/reports": "`tgtqr report` writes them again",
    "outputs/logs": "the ledger tells what counts",
}


@dataclass(frozen=True)
class Backup:
    """A backup as its manifest tells; `sums` is path -> SHA-256 of every other file in it."""

    path: Path
    facts: dict[str, Any]
    sums: dict[str, str]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def seq(self) -> int:
        return self.facts["ledger"]["seq"]

    @property
    def head(self) -> str:
        return self.facts["ledger"]["head"]

    def notebooks(self) -> list[str]:
        """The paths of its notebooks, below the home."""
        return sorted(name for name in self.sums if name.startswith(TICKS))


def is_backup(path: Path) -> bool:
    """Whether `path` is a folder in which something of a backup lies."""
    return any((path / name).exists() for name in (MANIFEST, SUMS, LEDGER))


def backups_in(folder: Path) -> list[Path]:
    """The finished backups in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    named = (path for path in folder.iterdir() if NAME.fullmatch(path.name))
    return sorted((path for path in named if is_backup(path)), key=lambda path: path.name)


def find(path: Path) -> Backup:
    """The backup at `path`, or the newest one in that folder.

    Raises `DomainError` when there is none, and what `open_backup` raises.
    """
    if is_backup(path):
        return open_backup(path)
    if not (found := backups_in(path)):
        what = "holds no backup" if path.is_dir() else "is no folder"
        raise DomainError(
            f"{path}: {what}; expected a folder that `tgtqr ledger backup` made, or the one they lie in"
        )
    return open_backup(found[-1])


def open_backup(path: Path) -> Backup:
    """The backup at `path`, its manifest compared with its checksum; the other files are not looked at.

    Raises `Damaged` when it cannot be trusted, `StoreError` for a newer layout or a file that cannot be read.
    """
    try:
        text = (path / MANIFEST).read_bytes()
        sums = _read_sums(path / SUMS)
    except FileNotFoundError as error:
        raise Damaged(f"backup {path}: {Path(error.filename).name} is missing") from None
    except OSError as error:
        raise StoreError(f"backup {path}: cannot be read ({error.strerror})") from None
    if sums.pop(MANIFEST, None) != digest(path / MANIFEST):
        raise Damaged(f"backup {path}: {MANIFEST} is not what was written, by {SUMS}")
    try:
        facts = json.loads(text)
        layout = facts["layout"]
    except (ValueError, KeyError, TypeError):
        raise Damaged(f"backup {path}: {MANIFEST} is no manifest of a backup") from None
    if layout != LAYOUT:
        newer = isinstance(layout, int) and layout > LAYOUT
        hint = "a newer kit made it; update the kit" if newer else "there is no such layout"
        raise StoreError(f"backup {path}: layout {layout!r}, expected {LAYOUT}; {hint}")
    if lacking := sorted(FACTS - set(facts)):
        raise Damaged(f"backup {path}: {MANIFEST} has no {lacking[0]!r}")
    if LEDGER not in sums or WITNESS not in sums:
        raise Damaged(f"backup {path}: {SUMS} lists no ledger; expected {LEDGER} and {WITNESS}")
    return Backup(path, facts, sums)


def _read_sums(path: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        match = LINE.fullmatch(line)
        if match is None:
            raise Damaged(f"{path}: line {number} is {line[:80]!r}; expected a SHA-256 and a path")
        name = match[2]
        if name in sums or ".." in name.split("/") or not OWN.fullmatch(name):
            raise Damaged(f"{path}: line {number} names {name!r}, which is no part of a backup")
        sums[name] = match[1]
    return sums
