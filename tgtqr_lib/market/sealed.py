"""Files with checksums in one folder, replaced so that a crash leaves the old file or the new one.

`SHA256SUMS` has a line for every file, in the form that `sha256sum -c SHA256SUMS` reads. Files and
their checksums cannot change in one step, so a write goes through a state in which both are right:

1. the new files are complete under temporary names, on disk;
2. SHA256SUMS lists, for each of them, the checksum of the old file (zeros: there was none) *and* the new;
3. the new files take their places by rename;
4. SHA256SUMS lists the new checksums alone.

A crash before 2 leaves the old state, after 2 or 3 a file that is whole and matches one of its two
lines, so it is read; `verify` says that a write was cut short and the next write settles it. At no
moment is a file accepted that has no line, or a line whose file is gone taken for "no data".
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tgtqr_lib.domain import Busy, Problem, StoreError

SUMS = "SHA256SUMS"
LOCK = ".lock"
TEMPORARY = ".tmp"
NO_FILE = "0" * 64
LOCK_TIMEOUT_S = 30.0
AGAIN = "then import or fetch its month again"

Sums = dict[str, tuple[str, ...]]
Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """Inode, time of change (ns) and size (bytes): another file has others. None when there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def digest(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(folder: Path) -> Sums:
    """File name -> its checksums: one, or the old and the new while a write is under way.

    No SHA256SUMS is no line. Raises `StoreError` for a line that is not one.
    """
    path = folder / SUMS
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    lines: Sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64})  ([^/]+)", line)
        if match is None:
            raise StoreError(
                f"{path}: line {number} is {line[:80]!r}, expected a SHA-256, two spaces and a file "
                f"name; restore it from a backup, or write it anew with sha256sum if the files are well"
            )
        lines[match[2]] = (*lines.get(match[2], ()), match[1])
    return lines


def look(path: Path, checksums: tuple[str, ...]) -> tuple[str | None, Problem | None]:
    """The file's SHA-256 (None: it is not there) and what is wrong between it and its `checksums`."""
    try:
        found = digest(path)
    except FileNotFoundError:
        if not checksums or NO_FILE in checksums:
            return None, None
        text = f"is in {SUMS} but not there; restore it from a backup, or delete its line, {AGAIN}"
        return None, Problem("FILE_LOST", f"{path} {text}")
    except IsADirectoryError:
        text = "is a folder; expected a file. Move it elsewhere"
        return None, Problem("STRANGE_FILE", f"{path} {text}")
    if not checksums:
        text = f"has no line in {SUMS}; delete it, {AGAIN}, or write its line if you trust it"
        return found, Problem("FILE_UNLISTED", f"{path} {text}")
    if found not in checksums:
        text = f"is not what was written, its SHA-256 is not the one in {SUMS}; restore it from a backup"
        return found, Problem("FILE_ALTERED", f"{path} {text}, or delete it and its line, {AGAIN}")
    return found, None


@contextmanager
def locked(
    folder: Path, timeout_s: float = LOCK_TIMEOUT_S, *, shared: bool = False
) -> Iterator[None]:
    """Be the only writer of `folder`, which is made when needed; `shared` only keeps writers out.

    Raises `Busy` when that is not possible within `timeout_s`.
    """
    if not shared:
        make_folder(folder)
    mode = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    try:
        handle = os.open(folder / LOCK, mode | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:  # shared, and nobody has written here yet
        yield
        return
    try:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise Busy(f"{folder}: another process has been writing here for {timeout_s:g} s")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)  # closing lets go of the lock, and so does the end of the process


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def settle(folder: Path) -> None:
    """Finish what a killed writer left, under the lock: no temporary file, one checksum a file."""
    discard(folder)
    lines = sums(folder)
    settled: Sums = {}
    for name, checksums in lines.items():
        if len(checksums) == 1:
            settled[name] = checksums
            continue
        path = folder / name
        if path.exists():
            found = digest(path)
            settled[name] = (found,) if found in checksums else checksums
        elif NO_FILE not in checksums:
            settled[name] = checksums
    if settled != lines:
        _write_sums(folder, settled)


def discard(folder: Path) -> None:
    """Remove what was written under temporary names and did not take its place, under the lock."""
    for path in folder.glob(f"*{TEMPORARY}"):
        path.unlink()


def temporary(path: Path) -> Path:
    """Where the next version of `path` is written before it takes its place."""
    return path.with_name(path.name + TEMPORARY)


def finish(path: Path) -> str:
    """Put a file that was written by others on disk for good, and return its SHA-256."""
    checksum = digest(path)
    _sync(path)
    return checksum


def replace(folder: Path, new: Mapping[str, str]) -> None:
    """Let the finished temporary files of `new` (name -> SHA-256) take their places, under the lock."""
    if not new:
        return
    old = sums(folder)
    both = {name: (*old.get(name, (NO_FILE,)), checksum) for name, checksum in new.items()}
    _write_sums(folder, old | both)
    for name in new:
        os.replace(temporary(folder / name), folder / name)
    _sync(folder)
    _write_sums(folder, old | {name: (checksum,) for name, checksum in new.items()})


def make_folder(folder: Path) -> None:
    """`folder` and those above it, on disk for good."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _write_sums(folder: Path, lines: Sums) -> None:
    path = folder / SUMS
    with temporary(path).open("w", encoding="utf-8") as file:
        for name in sorted(lines):
            file.writelines(f"{checksum}  {name}\n" for checksum in lines[name])
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary(path), path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
