"""`tgtqr ledger verify` reads the books too: a chain can hold and still tell nonsense."""

import pytest

from tests.builders import a_fill, an_order
from tests.stage import moment, rise
from tgtqr_lib import audit, books, gate, ledger
from tgtqr_lib.domain import Side
from tgtqr_lib.ledger import Event


@pytest.fixture
def con(home):
    connection = ledger.connect(home.ledger)
    with ledger.writing(connection):
        books.open_account(connection, moment("10:00"), "a test")
    yield connection
    connection.close()


def problems(con, home) -> list[str]:
    return audit.verify(con, home)[1]


def append(con, kind, key, body) -> None:
    with ledger.writing(con):
        ledger.append(con, Event(kind, key, body))


def test_a_day_at_work_verifies(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    (stage.home.control / "STOP").touch()
    stage.beat("10:16")
    assert audit.verify(stage.desk.con, stage.home) == (stage.head()[0], [])


def test_a_fill_without_its_order_is_named(con, home):
    fill = a_fill()
    append(con, "fill", f"fill/paper-1/{fill.order_id}", fill)
    assert problems(con, home) == [
        f"event 2 (fill/paper-1/{fill.order_id}): a fill without its order"
    ]


def test_a_sale_of_more_than_was_bought_is_named(con, home):
    fill = a_fill(Side.SELL)
    append(con, "order", f"order/{fill.order_id}", {"order": an_order(Side.SELL, id=fill.order_id)})
    append(con, "fill", f"fill/paper-1/{fill.order_id}", fill)
    (problem,) = problems(con, home)
    assert problem.startswith("event 3 (") and "but 0 is held" in problem


def test_a_fill_that_cannot_be_read_is_named(con, home):
    append(con, "order", "order/x", {})
    append(con, "fill", "fill/paper-1/x", {"quantity": "lots"})
    (problem,) = problems(con, home)
    assert problem.startswith("event 3 (fill/paper-1/x): ")


def test_an_unknown_final_state_is_named(con, home):
    append(
        con, "tick", "tick/20261122T1015Z/final", {"tick_id": "20261122T1015Z", "state": "maybe"}
    )
    assert problems(con, home) == [
        "event 2 (tick/20261122T1015Z/final): state 'maybe' is not a final state"
    ]


def test_the_witness_is_asked_too(con, home):
    home.witness.write_text(f"9 {'a' * 64}\n")
    assert problems(con, home) == ["the ledger ends at event 1, but its witness has seen event 9"]
    home.witness.unlink()
    gate.bear_witness(con, home)
    assert problems(con, home) == []
