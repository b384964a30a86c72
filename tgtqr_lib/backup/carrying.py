"""The files of a home come into a backup: copied, or linked when the backup before has the same.

A notebook is compared with the ledger when it comes; one that is lost or altered in the home is taken from the
backup before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tgtqr_lib.archive.opened import NAME as NOTEBOOK
from tgtqr_lib.archive.opened import PACKED, files_in, find_sealed, read_bytes
from tgtqr_lib.backup import folders, layout, placing
from tgtqr_lib.backup.layout import Backup
from tgtqr_lib.domain import Damaged
from tgtqr_lib.home import Home
from tgtqr_lib.market import sealed as lake

RUNNING = re.compile(r"\.(\d{8}T\d{4}Z)\.running\.ipynb")


@dataclass
class Made:
    """A backup that was made.

    notebooks, linked  how many it holds, and how many of them are the same files as in the backup before
    wrong              sentences about notebooks of the home that are missing or altered
    unknown            ticks whose notebook is there though the ledger does not know it
    under_way          ticks that had begun and not ended at that moment
    """

    path: Path
    seq: int
    head: str
    notebooks: int = 0
    linked: int = 0
    new_bytes: int = 0
    wrong: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)


@dataclass
class Carrier:
    """Brings files of `home` into `partial`, which lies in `folder`; `sums` is the SHA-256 of each.

    before            the backup before, None when there is none
    missing, altered  ticks whose notebook is so in the home, and in no backup here as it was sealed
    """

    home: Home
    folder: Path
    partial: Path
    before: Backup | None
    sums: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)

    def notebooks(
        self, seen: Iterable[Path], expected: Mapping[str, tuple[str, str]], made: Made
    ) -> None:
        """Bring every notebook that is there or in `expected`, tick -> the SHA-256 it may have, and tell `made`."""
        paths = {NOTEBOOK.fullmatch(path.name)[1]: path for path in sorted(seen, reverse=True)}
        folders.need(
            self.folder, sum(path.stat().st_size for path in paths.values() if self._is_new(path))
        )
        for tick in sorted({*paths, *expected}):
            path = find_sealed(self.home, tick) or paths.get(tick)
            if path is None or not path.is_file():
                self._from_before(tick, expected, made, "is missing")
                continue
            name = self._name(path)
            digest, is_linked = self._carry(path)
            if tick not in expected:
                made.unknown.append(tick)
            elif not is_linked and self._content(name) not in expected[tick]:
                (self.partial / name).unlink()
                self._from_before(tick, expected, made, "is not what was sealed", path)
                continue
            self._count(name, digest, is_linked, made)
        for path in files_in(self.home.ticks):
            match = RUNNING.fullmatch(path.name)
            if match and match[1] in made.under_way and path.is_file():
                name = self._name(path)
                self.sums[name] = placing.copy(path, self.partial / name)

    def _count(self, name: str, digest: str, is_linked: bool, made: Made) -> None:
        self.sums[name] = digest
        made.notebooks += 1
        if is_linked:
            made.linked += 1
        else:
            made.new_bytes += (self.partial / name).stat().st_size

    def _from_before(
        self,
        tick: str,
        expected: Mapping[str, tuple[str, str]],
        made: Made,
        what: str,
        path: Path | None = None,
    ) -> None:
        """Take the notebook of `tick` from the backup before; without it, keep `path` as it is."""
        for name in self._earlier_names(tick):
            source = self.before.path / name
            if source.is_file() and placing.digest(source) == self.before.sums[name]:
                if not placing.link(source, self.partial / name):
                    placing.copy(source, self.partial / name)
                if self._content(name) in expected[tick]:
                    self._count(name, self.before.sums[name], True, made)
                    made.wrong.append(
                        f"tick {tick}: its notebook {what}; kept as in {self.before.name}"
                    )
                    return
                (self.partial / name).unlink()
        made.wrong.append(f"tick {tick}: its notebook {what}, and no backup here has it")
        if path is None:
            self.missing.append(tick)
            return
        self.altered.append(tick)
        name = self._name(path)
        self._count(name, placing.copy(path, self.partial / name), False, made)

    def _earlier_names(self, tick: str) -> list[str]:
        if self.before is None or tick in self.before.facts["altered"]:
            return []
        name = f"{layout.TICKS}{tick[:4]}/{tick[4:6]}/{tick[6:8]}/{tick}.ipynb"
        return [one for one in (name, name + PACKED) if one in self.before.sums]

    def _content(self, name: str) -> str | None:
        """SHA-256 of the notebook in the backup, unpacked; None when it cannot be."""
        try:
            return hashlib.sha256(read_bytes(self.partial / name)).hexdigest()
        except Damaged:
            return None

    def _name(self, path: Path) -> str:
        return path.relative_to(self.home.root).as_posix()

    def _is_new(self, path: Path) -> bool:
        """Whether `path` differs from the backup before in size or time."""
        name = self._name(path)
        if self.before is None or name not in self.before.sums:
            return True
        if NOTEBOOK.fullmatch(path.name) and path.name[:14] in self.before.facts["altered"]:
            return True
        try:
            was, is_now = (self.before.path / name).stat(), path.stat()
        except FileNotFoundError:
            return True
        return (was.st_size, was.st_mtime_ns) != (is_now.st_size, is_now.st_mtime_ns)

    def _carry(self, path: Path) -> tuple[str, bool]:
        """Bring `path` into the backup; its SHA-256, and whether it is the file of the backup before."""
        name = self._name(path)
        target = self.partial / name
        if not self._is_new(path) and placing.link(self.before.path / name, target):
            return self.before.sums[name], True
        return placing.copy(path, target), False

    def others(self) -> None:
        """Settings, what the alerts know, the embedded simulator, and the small lakes."""
        singles = [self.home.settings, self.home.data / "alerts.json"]
        singles += sorted(self.home.data.glob("simulator*.json*"))
        for path in singles:
            if path.is_file() and layout.OWN.fullmatch(self._name(path)):
                self.sums[self._name(path)], _ = self._carry(path)
        for folder in sorted([*self.home.book.glob("*/"), *self.home.funding.glob("*/")]):
            with lake.locked(folder, shared=True):  # files and their checksums change together
                for path in sorted(folder.iterdir()):
                    if path.is_file() and not path.name.startswith("."):
                        self.sums[self._name(path)], _ = self._carry(path)
