"""What is known of alerts between beats, processes and restarts: `data/alerts.json`, mode 0600.

It holds no address and no secret. A writer locks it, reads it, and replaces it whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tgtqr_lib import journal
from tgtqr_lib.domain import Busy, StoreError
from tgtqr_lib.home import Home

PATIENCE_S = 1.0  # for another writer, who needs milliseconds
MODE = 0o600


class Kept(BaseModel):
    """Base of what is kept; times are milliseconds of the exchange's clock."""

    model_config = ConfigDict(extra="forbid")


class Standing(Kept):
    """A condition that holds, since when, and what was last told of it."""

    code: str
    about: str = ""
    severity: str
    text: str
    mark: str = ""
    since_ms: int
    told_ms: int | None = None
    told_count: int = 0
    told_severity: str = ""
    told_mark: str = ""


class Message(Kept):
    """A message that waits; `arrived` are the names of the addresses that have it.

    day  of a summary whose words are written when it is sent
    """

    id: int
    at_ms: int
    code: str
    severity: str
    title: str
    body: str
    arrived: list[str] = []
    day: str | None = None


class Sent(Kept):
    """A message that went out to every address."""

    at_ms: int
    code: str
    title: str


class Turn(Kept):
    """How it goes with an address: how often it failed in a row, when it has its next turn, and why."""

    failures: int = 0
    next_ms: int = 0
    trouble: str = ""


class State(Kept):
    """All of it.

    told         condition -> when it was last raised, also of those that are over
    sent_ms      when messages were made in the last hour
    held         titles of messages that were held back, `held_count` of them since `held_ms`
    seen_ms      the last beat, and this machine's clock at that moment
    trouble_ms   since when beats fail
    next_ms      when the outbox has something to do again
    sender_ms    when the sender at work began, None when it has ended
    summary_day  the newest day that was summed up
    """

    version: int = 1
    number: int = 0
    standing: dict[str, Standing] = {}
    told: dict[str, int] = {}
    sent_ms: list[int] = []
    held: list[str] = []
    held_count: int = 0
    held_ms: int = 0
    dropped: int = 0
    queue: list[Message] = []
    last: list[Sent] = []
    turns: dict[str, Turn] = {}
    seen_ms: int | None = None
    seen_host_ms: int = 0
    trouble_ms: int | None = None
    next_ms: int = 0
    sender_ms: int | None = None
    summary_day: str | None = None

    def time_ms(self, host_ms: int | None = None) -> int:
        """The exchange's time without asking it: that of the last beat and what has passed here since."""
        host_ms = time.time_ns() // 1_000_000 if host_ms is None else host_ms
        if self.seen_ms is None:
            return host_ms
        return self.seen_ms + max(host_ms - self.seen_host_ms, 0)


def path_of(home: Home) -> Path:
    """Where the state of `home` lies."""
    return home.data / "alerts.json"


def read(home: Home) -> State:
    """The state; an empty one when there is none. Raises `StoreError` when it cannot be read."""
    return _read(path_of(home)) or State()


@contextmanager
def changing(home: Home, patience_s: float = PATIENCE_S) -> Iterator[State]:
    """The state, to be changed: written at the end of the block, unless an error ends it.

    `patience_s` is for another writer. A damaged state is put aside and begun anew. Raises `Busy` when the
    other writer does not let go, and `StoreError` when it cannot be read or written.
    """
    path = path_of(home)
    with _lock(home.control / "alerts.lock", patience_s):
        try:
            state = _read(path) or State()
        except StoreError as error:
            if not path.is_file():
                raise
            os.replace(path, path.with_suffix(".damaged"))
            journal.event("alerts_anew", text=str(error))
            state = State()
        before = state.model_dump_json()
        yield state
        after = state.model_dump_json(exclude_defaults=True)
        if state.model_dump_json() != before or not path.is_file():
            _write(path, after)


@contextmanager
def sending(home: Home) -> Iterator[bool]:
    """Whether this process may send from here to the end of the block: one does at a time."""
    with ExitStack() as stack:
        try:
            stack.enter_context(_lock(home.control / "alerts_sender.lock", patience_s=0.0))
            free = True
        except Busy:
            free = False
        yield free


@contextmanager
def _lock(path: Path, patience_s: float) -> Iterator[None]:
    try:
        file = open(path, "w")  # noqa: SIM115 - held until the end, also by a process that is killed
    except OSError as error:
        raise StoreError(f"lock {path}: cannot be opened ({error.strerror})") from None
    with file:
        until = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise Busy(f"{path.name} is held by another process") from None
                time.sleep(0.01)
        yield


def _read(path: Path) -> State | None:
    try:
        return State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError:
        raise StoreError(f"{path}: is not what alerts keep; expected their JSON") from None


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
        with open(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, MODE)
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(fresh, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from None
