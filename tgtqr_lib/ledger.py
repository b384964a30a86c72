"""The ledger: an append-only, hash-chained, idempotent book of events in one SQLite file.

All SQL on the ledger is here. An event's hash is SHA-256 over the previous hash and the canonical event,
so an edited, lost or added row is seen. Several processes write and read at once (WAL), every commit is
on disk before it returns (synchronous=FULL), and every write carries a key that makes it happen once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tgtqr_lib import canonical
from tgtqr_lib.domain import UNIT, LedgerConflict, StoreError

VERSION = 1
GENESIS = "0" * 64
LOCK_TIMEOUT_S = 10.0

SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_kind ON events (kind, seq);
CREATE TRIGGER events_are_not_edited BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: events are not edited'); END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: events are not deleted'); END;
CREATE TRIGGER events_are_not_replaced BEFORE INSERT ON events  -- REPLACE deletes without a trigger
    WHEN EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq OR key = NEW.key)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: events are not replaced'); END;
-- one mark a minute, outside the chain, so that old ones can be thinned; money in units of 1e-8 USDT
CREATE TABLE marks (
    account TEXT NOT NULL,
    minute_ms INTEGER NOT NULL,
    beat_ms INTEGER NOT NULL,
    cash INTEGER NOT NULL,
    equity INTEGER NOT NULL,
    closes TEXT NOT NULL,
    PRIMARY KEY (account, minute_ms)
) STRICT;
"""

# younger than the first ledgers: without it the newest mark is looked for among a year of them
MARKS_BY_BEAT = "CREATE INDEX IF NOT EXISTS marks_by_beat ON marks (beat_ms)"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: its kind, the key that makes it happen once, and its facts."""

    kind: str
    key: str
    body: Any


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it stands in the ledger, `body` as plain JSON values."""

    seq: int
    kind: str
    key: str
    body: Any
    hash: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Equity at the close of one minute, as a watch beat saw it; `closes` is symbol -> price text."""

    account: str
    minute_ms: int
    beat_ms: int
    cash: Decimal
    equity: Decimal
    closes: dict[str, str]


def connect(path: Path, *, create: bool = True, timeout_s: float = LOCK_TIMEOUT_S):
    """A connection to the ledger at `path`, made if need be; the caller closes it.

    Raises `StoreError` when the file is missing (and `create` is False), of a newer version, not a
    ledger, or cannot be opened or written.
    """
    if not create and not path.is_file():
        raise StoreError(f"ledger {path}: there is none; a tick, a beat or `tgtqr arm` makes it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a thread of its own uses it, and the one that opened the home closes it
        con = sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"ledger {path}: cannot be opened ({error})") from None
    try:
        con.execute("PRAGMA journal_mode=WAL")
        con.execute("PRAGMA synchronous=FULL")
        _migrate(con, path)
    except sqlite3.Error as error:
        con.close()
        raise StoreError(f"ledger {path}: cannot be read or written ({error})") from None
    except BaseException:
        con.close()
        raise
    return con


@contextmanager
def reading(path: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, and sees the ledger at `path` as it is now until the end.

    Raises `StoreError` when the file is missing, of another version, or cannot be read.
    """
    if not path.is_file():
        raise StoreError(f"ledger {path}: there is none; a tick, a beat or `tgtqr arm` makes it")
    try:
        con = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout_s, isolation_level=None
        )
        try:
            con.execute("BEGIN")
            version = con.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                raise StoreError(f"ledger {path}: version {version}, expected {VERSION}")
            yield con
        finally:
            con.close()
    except sqlite3.Error as error:
        raise StoreError(f"ledger {path}: cannot be read ({error})") from None


def _migrate(con: sqlite3.Connection, path: Path) -> None:
    version = con.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        if not con.execute("SELECT 1 FROM sqlite_master WHERE name = 'marks_by_beat'").fetchone():
            with suppress(sqlite3.OperationalError):  # somebody else writes; the next one makes it
                con.execute(MARKS_BY_BEAT)
        return
    if version > VERSION:
        raise StoreError(
            f"ledger {path}: version {version} is newer than this kit's {VERSION}; update the kit"
        )
    with writing(con):  # another process may have made it meanwhile
        if con.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _statements(SCHEMA):
                con.execute(statement)
            con.execute(MARKS_BY_BEAT)
            con.execute(f"PRAGMA user_version={VERSION}")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def writing(con: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One `BEGIN IMMEDIATE` transaction: committed at the end, rolled back on any error.

    Raises `StoreError` when the ledger stays locked or the disk is full.
    """
    try:
        con.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise StoreError(f"ledger: a transaction cannot begin ({error})") from None
    try:
        yield con
        con.execute("COMMIT")
    except BaseException as error:
        if con.in_transaction:
            con.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"ledger: a transaction failed ({error})") from None
        raise


def append(con: sqlite3.Connection, event: Event) -> int:
    """Chain `event` to the ledger and return its sequence number; once per key.

    The same key and body again returns the old number; the same key with another body raises
    `LedgerConflict`. Must run inside `writing`.
    """
    if not con.in_transaction:
        raise StoreError(f"ledger: {event.key} was appended outside a transaction")
    body = canonical.dumps(event.body)
    known = con.execute("SELECT seq, kind, body FROM events WHERE key = ?", (event.key,)).fetchone()
    if known is not None:
        if (known[1], known[2]) != (event.kind, body):
            raise LedgerConflict(
                f"ledger: event {known[0]} ({event.key}) is there with another body"
            )
        return known[0]
    seq, previous = head(con)
    seq += 1
    digest = chain(previous, seq, event.kind, event.key, body)
    con.execute(
        "INSERT INTO events (seq, kind, key, body, hash) VALUES (?, ?, ?, ?, ?)",
        (seq, event.kind, event.key, body, digest),
    )
    return seq


def chain(previous: str, seq: int, kind: str, key: str, body: str) -> str:
    """The hash of an event after `previous`; `body` is its canonical JSON text."""
    # the canonical JSON of the four, spelled out: a year has 200,000 events
    spell = json.encoder.encode_basestring
    text = f'{{"body":{spell(body)},"key":{spell(key)},"kind":{spell(kind)},"seq":{seq:d}}}'
    return hashlib.sha256((previous + text).encode()).hexdigest()


def head(con: sqlite3.Connection) -> tuple[int, str]:
    """Sequence number and hash of the newest event; (0, 64 zeros) for an empty ledger."""
    row = con.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return (row[0], row[1]) if row else (0, GENESIS)


def get(con: sqlite3.Connection, key: str) -> Row | None:
    """The event with `key`, or None."""
    return next(iter(_rows(con, "WHERE key = ?", (key,))), None)


def with_prefix(con: sqlite3.Connection, prefix: str, after: int = 0) -> list[Row]:
    """The events whose key begins with `prefix`, in the order they were appended; those after `after` only."""
    values = (prefix, prefix + "\U0010ffff", after)
    where = "WHERE key >= ? AND key < ? AND seq > ?"
    return sorted(_rows(con, where, values), key=lambda row: row.seq)


def keys(con: sqlite3.Connection, prefix: str) -> list[str]:
    """The keys that begin with `prefix`, in the order they were appended; no body is read."""
    query = "SELECT key FROM events WHERE key >= ? AND key < ? ORDER BY seq"
    return [key for (key,) in con.execute(query, (prefix, prefix + "\U0010ffff"))]


def unanswered(con: sqlite3.Connection, kind: str, answer: str) -> list[Row]:
    """The events of `kind`, keyed `kind/name`, to which there is no event `answer/name`, oldest first."""
    where = (
        "AS asked WHERE kind = ? AND NOT EXISTS "
        "(SELECT 1 FROM events WHERE key = ? || substr(asked.key, ?)) ORDER BY seq"
    )
    return list(_rows(con, where, (kind, f"{answer}/", len(kind) + 2)))


def last_key(con: sqlite3.Connection, prefix: str) -> str | None:
    """The greatest key that begins with `prefix`, or None."""
    query = "SELECT max(key) FROM events WHERE key >= ? AND key < ?"
    return con.execute(query, (prefix, prefix + "\U0010ffff")).fetchone()[0]


def first_key(con: sqlite3.Connection, prefix: str) -> str | None:
    """The least key that begins with `prefix`, or None."""
    query = "SELECT min(key) FROM events WHERE key >= ? AND key < ?"
    return con.execute(query, (prefix, prefix + "\U0010ffff")).fetchone()[0]


def of_kind(
    con: sqlite3.Connection, *kinds: str, newest: int | None = None, after: int = 0
) -> list[Row]:
    """The events of `kinds` after sequence number `after`, oldest first; only the `newest` so many."""
    marks = ", ".join("?" * len(kinds))
    limit = "" if newest is None else f" LIMIT {int(newest)}"
    where = f"WHERE kind IN ({marks}) AND seq > ? ORDER BY seq DESC{limit}"
    return list(_rows(con, where, (*kinds, after)))[::-1]


def count(con: sqlite3.Connection, kind: str, field: str, value: str) -> int:
    """How many events of `kind` have `value` in the field `field` of their body."""
    query = "SELECT count(*) FROM events WHERE kind = ? AND json_extract(body, ?) = ?"
    return con.execute(query, (kind, f"$.{field}", value)).fetchone()[0]


def between(con: sqlite3.Connection, first: int, last: int) -> list[Row]:
    """The events with sequence numbers from `first` to `last`."""
    return list(_rows(con, "WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, last)))


def _rows(con: sqlite3.Connection, where: str, values: Iterable[Any]) -> Iterator[Row]:
    query = f"SELECT seq, kind, key, body, hash FROM events {where}"
    for seq, kind, key, body, digest in con.execute(query, tuple(values)):
        try:
            yield Row(seq, kind, key, json.loads(body), digest)
        except json.JSONDecodeError:
            raise StoreError(
                f"ledger: event {seq} ({key}) is not readable; run ledger verify"
            ) from None


def put_mark(con: sqlite3.Connection, mark: Mark) -> None:
    """Write the mark of a minute; a later beat in the same minute replaces it. Inside `writing`."""
    con.execute(
        "INSERT OR REPLACE INTO marks (account, minute_ms, beat_ms, cash, equity, closes)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            mark.account,
            mark.minute_ms,
            mark.beat_ms,
            to_units(mark.cash),
            to_units(mark.equity),
            canonical.dumps(mark.closes),
        ),
    )


def marks(con: sqlite3.Connection, account: str, since_ms: int = 0) -> list[Mark]:
    """The marks of `account` from `since_ms` on, oldest first."""
    query = (
        "SELECT account, minute_ms, beat_ms, cash, equity, closes FROM marks"
        " WHERE account = ? AND minute_ms >= ? ORDER BY minute_ms"
    )
    return [_mark(row) for row in con.execute(query, (account, since_ms))]


def newest_mark(con: sqlite3.Connection) -> Mark | None:
    """The newest watch beat of any account, or None."""
    row = con.execute(
        "SELECT account, minute_ms, beat_ms, cash, equity, closes FROM marks"
        " ORDER BY beat_ms DESC LIMIT 1"
    ).fetchone()
    return _mark(row) if row else None


def _mark(row: tuple) -> Mark:
    account, minute_ms, beat_ms, cash, equity, closes = row
    return Mark(
        account, minute_ms, beat_ms, from_units(cash), from_units(equity), json.loads(closes)
    )


def to_units(amount: Decimal) -> int:
    """`amount` in whole units of 1e-8. Raises `StoreError` when it is not whole."""
    units = amount / UNIT
    if units != int(units):
        raise StoreError(f"ledger: {amount:f} is not a whole number of 1e-8 units")
    return int(units)


def from_units(units: int) -> Decimal:
    """`units` of 1e-8 as an amount."""
    return Decimal(units) * UNIT


def verify_chain(con: sqlite3.Connection, first: int = 1) -> tuple[int, list[str]]:
    """How many events there are, and a sentence for every one that is edited, lost or unreadable.

    From event `first` on; the hash before it is taken as it stands.
    """
    before = between(con, first - 1, first - 1) if first > 1 else []
    problems, previous, expected, count = [], before[0].hash if before else GENESIS, first, 0
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in ("kind", "key", "body", "hash"))
    try:  # as bytes: a text that is not UTF-8 any more could not be fetched, and not be named
        for seq, *texts in con.execute(
            f"SELECT seq, {columns} FROM events WHERE seq >= ? ORDER BY seq", (first,)
        ):
            kind, key, body, digest = (text.decode("utf-8", "replace") for text in texts)
            count += 1
            if seq != expected:
                problems.append(f"event {expected}: missing, the next one is {seq} ({key})")
            if digest != chain(previous, seq, kind, key, body):
                problems.append(f"event {seq} ({kind} {key}): its hash does not match its content")
            previous, expected = digest, seq + 1
    except sqlite3.Error as error:
        problems.append(f"the file is damaged after event {expected - 1}: {error}")
    return count, problems


def check_file(con: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong with the file, one sentence each."""
    try:
        found = [row[0] for row in con.execute("PRAGMA integrity_check(20)")]
    except sqlite3.Error as error:
        return [f"the file is damaged: {error}"]
    return [] if found == ["ok"] else [f"the file is damaged: {text}" for text in found]
