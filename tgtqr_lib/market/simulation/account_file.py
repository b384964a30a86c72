"""The file that accounts live in: one JSON line a change, so that a killed process leaves all it had done.

Several processes may use one file, such as two commands with a simulator inside each: a turn holds its lock, and
begins by reading what others have written since.
"""

from __future__ import annotations

import fcntl
import json
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tgtqr_lib.domain import StoreError

HEAD = {"what": "accounts of the simulator", "version": 1}
Record = Mapping[str, Any]


class AccountFile:
    """An append-only file of records, for its owner's eyes only (mode 0600)."""

    def __init__(self, path: str | Path, take_in: Callable[[Record], None]) -> None:
        """Opens or makes it; `take_in` is called with every record of the file that is not this object's.

        StoreError when it is another kind of file or cannot be used.
        """
        self._path, self._take_in = Path(path), take_in
        self._read = 0  # bytes that were taken in
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            os.fchmod(self._file, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path}: the simulator's accounts: {error.strerror}") from None
        self.close = weakref.finalize(self, os.close, self._file)  # gives the file back, once
        with self.turn():
            pass

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the file's lock, with everything taken in that was written before."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._catch_up()
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, record: Record) -> None:
        """Add one record, in a single write; only inside a turn. It is not given to `take_in`."""
        line = json.dumps(record, separators=(",", ":"), sort_keys=True).encode() + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise StoreError(f"{self._path}: the simulator's accounts: {error.strerror}") from None
        if written != len(line):
            os.ftruncate(self._file, self._read)
            raise StoreError(f"{self._path}: the disk took {written} of {len(line)} bytes")
        self._read += len(line)

    def _catch_up(self) -> None:
        size = os.fstat(self._file).st_size
        if size < self._read:
            raise StoreError(f"{self._path}: {size} bytes, expected {self._read}: it was cut")
        if size == self._read == 0:
            self.append(HEAD)
            return
        fresh = b""
        while len(fresh) < size - self._read:
            piece = os.pread(self._file, size - self._read - len(fresh), self._read + len(fresh))
            if not piece:
                break
            fresh += piece
        whole = fresh[: fresh.rfind(b"\n") + 1]
        for line in whole.splitlines(keepends=True):
            self._take_line(line)
            self._read += len(line)
        if len(whole) < len(fresh):
            # Whoever wrote it held the lock that is ours now, so it died in the middle: nobody was told of it.
            os.ftruncate(self._file, self._read)
        if self._read == 0:
            self.append(HEAD)

    def _take_line(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            if self._read == 0:
                if record != HEAD:
                    raise ValueError(f"expected {HEAD} first")
                return
            self._take_in(record)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise StoreError(
                f"{self._path}: not a file of the simulator's accounts at byte {self._read}: {error}"
            ) from None
