"""The ledger is append-only, chained, idempotent, and says so when somebody lays hands on it."""

import hashlib
import json
import sqlite3
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stage import PROJECT, command, raw
from tgtqr_lib import canonical, gate, ledger
from tgtqr_lib.domain import LedgerConflict, StoreError
from tgtqr_lib.ledger import Event, Mark


@pytest.fixture
def con(home):
    connection = ledger.connect(home.ledger)
    yield connection
    connection.close()


def put(con, *events: Event) -> list[int]:
    with ledger.writing(con):
        return [ledger.append(con, event) for event in events]


def story(con) -> None:
    """Five events, with every kind of text in them."""
    put(
        con,
        *(Event("tick", f"tick/{i}", {"i": i, "price": Decimal("104321.70"), "text": "é ▲ \"\\"})
          for i in range(1, 6)),
    )  # fmt: skip


def hashed_by_hand(rows) -> list[str]:
    """Each event's hash by the design's words: SHA-256 over the previous hash and the canonical event."""
    found, previous = [], "0" * 64
    for seq, kind, key, body in rows:
        event = {"seq": seq, "kind": kind, "key": key, "body": body}
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256((previous + text).encode()).hexdigest()
        found.append(previous)
    return found


# --- appending ---


def test_events_are_numbered_from_one_and_chained(con):
    assert ledger.head(con) == (0, "0" * 64)
    story(con)
    rows = con.execute("SELECT seq, kind, key, body, hash FROM events ORDER BY seq").fetchall()
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
    assert [row[4] for row in rows] == hashed_by_hand([row[:4] for row in rows])
    assert ledger.head(con) == (5, rows[-1][4])
    assert rows[0][3] == '{"i":1,"price":"104321.70","text":"é ▲ \\"\\\\"}'


def test_the_same_key_and_body_again_is_the_same_event(con):
    event = Event("fill", "fill/1", {"quantity": Decimal("0.000009")})
    assert put(con, event, event) == [1, 1] and put(con, event) == [1]
    assert ledger.head(con)[0] == 1


@pytest.mark.parametrize(
    "other",
    [Event("fill", "k", {"x": "2"}), Event("order", "k", {"x": "1"}), Event("fill", "k", {})],
)
def test_the_same_key_with_another_body_or_kind_raises_and_changes_nothing(con, other):
    put(con, Event("fill", "k", {"x": "1"}))
    head = ledger.head(con)
    with pytest.raises(LedgerConflict, match=r"event 1 \(k\) is there with another body"):
        put(con, other)
    assert ledger.head(con) == head


def test_a_transaction_that_fails_books_nothing_of_it(con):
    with pytest.raises(RuntimeError), ledger.writing(con):
        ledger.append(con, Event("a", "a", {}))
        raise RuntimeError
    assert ledger.head(con)[0] == 0


def test_appending_outside_a_transaction_is_refused(con):
    with pytest.raises(StoreError, match="k was appended outside a transaction"):
        ledger.append(con, Event("a", "k", {}))


@pytest.mark.parametrize("body", [{"price": 1.5}, {"nan": Decimal("NaN")}, {"set": {1}}])
def test_a_float_or_a_nan_never_gets_into_the_ledger(con, body):
    with pytest.raises(Exception, match="canonical JSON"):
        put(con, Event("a", "k", body))
    assert ledger.head(con)[0] == 0


@pytest.mark.parametrize("statement", ["UPDATE events SET body = '{}'", "DELETE FROM events"])
def test_rows_are_neither_edited_nor_deleted(con, statement):
    story(con)
    with pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"):
        con.execute(statement)
    with pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"):
        con.execute(f"{statement} WHERE seq = 5")
    assert ledger.verify_chain(con) == (5, [])


def test_replacing_a_row_is_refused_too(con):
    story(con)
    with pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"):
        con.execute(
            "REPLACE INTO events SELECT seq, kind, key, '{}', hash FROM events WHERE seq = 3"
        )


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    bodies=st.lists(
        st.dictionaries(st.text(max_size=8), values, max_size=4), min_size=1, max_size=5
    )
)
def test_what_is_appended_is_read_back_the_same_and_the_chain_holds(bodies):
    con = sqlite3.connect(":memory:", isolation_level=None)
    for statement in ledger._statements(ledger.SCHEMA):
        con.execute(statement)
    put(con, *(Event("any", f"k{i}", body) for i, body in enumerate(bodies)))
    assert [row.body for row in ledger.of_kind(con, "any")] == bodies
    rows = con.execute("SELECT seq, kind, key, body, hash FROM events ORDER BY seq").fetchall()
    assert [row[4] for row in rows] == hashed_by_hand([row[:4] for row in rows])
    assert ledger.verify_chain(con) == (len(bodies), [])
    con.close()


# --- reading ---


def test_events_are_found_by_key_prefix_kind_and_number(con):
    put(con, Event("a", "x/2", {"n": 1}), Event("b", "x/1", {"n": 2}), Event("a", "y/1", {"n": 3}))
    assert [row.body["n"] for row in ledger.with_prefix(con, "x/")] == [1, 2]
    assert [row.key for row in ledger.of_kind(con, "a")] == ["x/2", "y/1"]
    assert [row.key for row in ledger.of_kind(con, "a", "b", newest=2)] == ["x/1", "y/1"]
    assert [row.key for row in ledger.of_kind(con, "a", after=1)] == ["y/1"]
    assert [row.seq for row in ledger.between(con, 2, 9)] == [2, 3]
    assert (ledger.last_key(con, "x/"), ledger.last_key(con, "z/")) == ("x/2", None)
    assert ledger.get(con, "x/1").body == {"n": 2} and ledger.get(con, "x") is None


# --- marks ---


@pytest.mark.parametrize(
    "amount, units", [("9.99900000", 999900000), ("0.00000001", 1), ("-1", -(10**8))]
)
def test_money_is_kept_in_units_of_1e8(con, amount, units):
    mark = Mark(
        "paper-1", 60_000, 63_000, Decimal(amount), Decimal(amount), {"BTCUSDT": "100000.0"}
    )
    with ledger.writing(con):
        ledger.put_mark(con, mark)
    assert con.execute("SELECT cash, equity, typeof(cash) FROM marks").fetchall() == [
        (units, units, "integer")
    ]
    assert ledger.marks(con, "paper-1") == [mark] and ledger.newest_mark(con) == mark


def test_a_finer_amount_than_a_unit_is_refused(con):
    with pytest.raises(StoreError, match=r"0.000000001 is not a whole number of 1e-8 units"):
        ledger.to_units(Decimal("0.000000001"))


def test_a_later_beat_in_a_minute_replaces_its_mark_and_old_ones_are_left_out(con):
    with ledger.writing(con):
        for minute, beat, cash in ((0, 3, "1"), (60_000, 63_000, "2"), (60_000, 64_000, "3")):
            ledger.put_mark(con, Mark("paper-1", minute, beat, Decimal(cash), Decimal(cash), {}))
        ledger.put_mark(con, Mark("paper-2", 0, 5, Decimal(7), Decimal(7), {}))
    assert [mark.cash for mark in ledger.marks(con, "paper-1")] == [1, 3]
    assert [mark.cash for mark in ledger.marks(con, "paper-1", 60_000)] == [3]
    assert ledger.newest_mark(con).beat_ms == 64_000


@given(units=st.integers(-(10**15), 10**15))
def test_units_and_amounts_are_the_same_money(units):
    assert ledger.to_units(ledger.from_units(units)) == units


# --- laying hands on it ---


def edited(home, change: str) -> list[str]:
    """What `tgtqr ledger verify` says after `change`, made with the triggers dropped."""
    with raw(home) as con:
        con.execute("DROP TRIGGER IF EXISTS events_are_not_edited")
        con.execute("DROP TRIGGER IF EXISTS events_are_not_deleted")
        con.execute(change)
    con.close()
    connection = ledger.connect(home.ledger, create=False)
    found = ledger.verify_chain(connection)[1]
    connection.close()
    return found


@pytest.mark.parametrize(
    "change",
    [
        "SET body = replace(body, '104321.70', '104321.71')",
        "SET body = body || ' '",
        "SET body = '{}'",
        "SET body = CAST(X'7BFF7D' AS TEXT)",  # not UTF-8
        "SET kind = 'tock'",
        "SET key = 'tick/9'",
        "SET hash = replace(hash, substr(hash, 1, 1), CASE substr(hash, 1, 1) WHEN '0' THEN '1' ELSE '0' END)",
    ],
)
@pytest.mark.parametrize("seq", [1, 3, 5])
def test_an_edited_event_is_named(home, con, change, seq):
    story(con)
    problems = edited(home, f"UPDATE events {change} WHERE seq = {seq}")
    assert problems and problems[0].startswith(f"event {seq} (")
    assert len(problems) <= 2  # an edited hash also spoils the event after it


def test_a_deleted_event_is_named(home, con):
    story(con)
    assert edited(home, "DELETE FROM events WHERE seq = 3") == [
        "event 3: missing, the next one is 4 (tick/4)",
        "event 4 (tick tick/4): its hash does not match its content",
    ]


def test_an_event_slipped_in_with_a_made_up_hash_is_named(home, con):
    story(con)
    change = "INSERT INTO events VALUES (6, 'fill', 'fill/x', '{}', '" + "a" * 64 + "')"
    assert edited(home, change) == ["event 6 (fill fill/x): its hash does not match its content"]


@pytest.mark.parametrize("what", [b"104321.70", b"tick/3", b'"text":"'])
def test_a_byte_flipped_inside_the_file_is_noticed(home, con, what):
    story(con)
    gate.bear_witness(con, home)
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()
    content = bytearray(home.ledger.read_bytes())
    place = content.rindex(what) + len(what) // 2
    content[place] ^= 0x81  # no longer UTF-8
    home.ledger.write_bytes(content)
    done = command(home, "ledger", "verify", "--json")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["ok"]) == (5, False) and facts["problems"], done.stderr


def test_a_file_with_a_broken_page_is_said_to_be_damaged(home, con):
    for i in range(200):
        put(con, Event("tick", f"tick/{i}", {"text": "x" * 200}))
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()
    content = bytearray(home.ledger.read_bytes())
    content[8192 : 8192 + 400] = b"\xff" * 400
    home.ledger.write_bytes(content)
    done = command(home, "ledger", "verify")
    assert done.returncode == 5 and "the file is damaged" in done.stdout, done.stderr


def test_a_ledger_that_lost_its_newest_events_is_noticed_by_the_witness(home, con):
    story(con)
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    put(con, Event("fill", "fill/1", {}))
    gate.bear_witness(con, home)
    # what a deleted -wal file leaves: an older, perfectly chained ledger
    old = home.ledger.read_bytes()
    con.close()
    home.ledger.write_bytes(old)
    for suffix in ("-wal", "-shm"):
        home.ledger.with_name(home.ledger.name + suffix).unlink(missing_ok=True)
    again = ledger.connect(home.ledger)
    assert ledger.verify_chain(again) == (5, [])
    expected = "the ledger ends at event 5, but its witness has seen event 6"
    assert gate.witness_problem(again, home) == expected
    again.close()
    done = command(home, "ledger", "verify", "--json")
    assert (done.returncode, json.loads(done.stdout)["problems"]) == (5, [expected])


def test_a_witness_of_another_chain_disagrees_and_keeps_its_word(home, con):
    story(con)
    home.witness.write_text("3 " + "a" * 64 + "\n")
    expected = "event 3 of the ledger is not the one its witness has seen"
    assert gate.witness_problem(con, home) == expected
    gate.bear_witness(con, home)
    assert gate.witness_problem(con, home) == expected


@pytest.mark.parametrize("content", ["", "three abc", "3", b"\xff\xfe"])
def test_an_unreadable_witness_is_a_problem(home, con, content):
    story(con)
    home.witness.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "witness ledger.witness is not readable" in gate.witness_problem(con, home)


def test_a_fresh_ledger_needs_no_witness_and_gets_one_with_its_first_event(home, con):
    assert gate.witness_problem(con, home) is None
    gate.bear_witness(con, home)
    assert not home.witness.exists()
    story(con)
    gate.bear_witness(con, home)
    assert home.witness.read_text() == f"5 {ledger.head(con)[1]}\n"


# --- versions, paths, neighbours ---


def test_a_newer_ledger_is_refused_with_a_sentence(home, con):
    con.execute("PRAGMA user_version=2")
    con.close()
    with pytest.raises(StoreError, match="version 2 is newer than this kit's 1; update the kit"):
        ledger.connect(home.ledger)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be read as one" * 10, b"\0" * 4096]
)
def test_a_file_that_is_no_ledger_is_refused(home, content):
    home.ledger.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be read or written"):
        ledger.connect(home.ledger)


def test_a_missing_ledger_is_not_made_by_reading(home):
    with pytest.raises(StoreError, match="there is none; a tick, a beat"):
        ledger.connect(home.ledger, create=False)
    assert not home.ledger.exists()


def test_a_ledger_where_a_folder_should_be_is_refused(home):
    home.ledger.mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        ledger.connect(home.ledger)


def test_every_commit_is_on_disk_and_readers_never_wait(con):
    assert con.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert con.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_locked_ledger_is_reported(home, con):
    other = raw(home)
    other.execute("BEGIN IMMEDIATE")
    quick = ledger.connect(home.ledger, timeout_s=0.1)
    with pytest.raises(StoreError, match="a transaction cannot begin"), ledger.writing(quick):
        pass
    assert ledger.head(quick)[0] == 0  # reading goes on
    other.execute("ROLLBACK")
    quick.close(), other.close()


WRITER = """
import sys
from tgtqr_lib import ledger
from pathlib import Path
con = ledger.connect(Path(sys.argv[1]))
for i in range(100):
    with ledger.writing(con):
        ledger.append(con, ledger.Event("n", f"{sys.argv[2]}/{i}", {"i": i}))
        ledger.append(con, ledger.Event("n", f"both/{i}", {"i": i}))
"""


@pytest.mark.slow
def test_two_processes_that_append_at_once_make_one_chain(home):
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(home.ledger), name], cwd=PROJECT)
        for name in ("a", "b")
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    con = ledger.connect(home.ledger)
    assert ledger.verify_chain(con) == (300, [])
    assert [row.body["i"] for row in ledger.with_prefix(con, "a/")] == list(range(100))
    con.close()


def test_the_hash_is_over_the_canonical_spelling(con):
    put(con, Event("k", "k", {"b": Decimal("1.10"), "a": [True, None]}))
    assert con.execute("SELECT body FROM events").fetchone()[0] == '{"a":[true,null],"b":"1.10"}'
    assert canonical.dumps({"b": 1, "a": 2}) == '{"a":2,"b":1}'
