"""Files put in their places: linked where they can be, else copied, on disk before this returns."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tgtqr_lib.domain import StoreError

PIECE = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def digest(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link(source: Path, target: Path) -> bool:
    """Make `target` another name of the file `source`; False where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise
        return False
    return True


def copy(source: Path, target: Path) -> str:
    """Copy `source` to `target` with its time and mode, on disk and by rename; the SHA-256 of its bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    found = hashlib.sha256()
    try:
        with source.open("rb") as read, fresh.open("wb") as written:
            while piece := read.read(PIECE):
                found.update(piece)
                written.write(piece)
            status = os.fstat(read.fileno())
            os.fchmod(written.fileno(), status.st_mode & 0o777)
            os.utime(written.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            written.flush()
            os.fsync(written.fileno())
        os.replace(fresh, target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return found.hexdigest()


def write(target: Path, text: str) -> None:
    """Write `text` to `target`, whole or not at all, on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def move(source: Path, target: Path) -> Path:
    """Move `source` to `target`, or beside it when something lies there; where it is now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    free, number = target, 1
    while os.path.lexists(free):
        number += 1
        free = target.with_name(f"{target.name}.{number}")
    try:
        os.rename(source, free)
    except OSError as error:
        if error.errno != errno.EXDEV:  # outputs/ may lie on another disk than data/
            raise
        copy(source, free)
        source.unlink()
    return free


def remove(folder: Path) -> None:
    """Remove `folder` and all in it, if it is there."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Put the names in `folder` and in every folder below on disk."""
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Errors of the disk as a `StoreError` about `what`."""
    try:
        yield
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        raise StoreError(f"{what}: {error.strerror or error}{where}") from None
