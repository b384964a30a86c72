"""The log: one line an event, read back as it was written."""

import logging
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib import journal
from tgtqr_lib.home import Home


def lines(home: Home) -> list[str]:
    return home.log.read_text("utf-8").splitlines()


def test_an_event_is_one_line_with_its_facts(home):
    journal.start(home)
    journal.event(
        "tick", tick_id="20261122T1015Z", cash=Decimal("9.10"), text="two words", none=None
    )
    (line,) = lines(home)
    assert (
        line.split(" ", 1)[1]
        == 'INFO tick tick_id=20261122T1015Z cash=9.10 text="two words" none=-'
    )
    assert journal.read_line(line)["text"] == "two words"


def test_a_small_decimal_is_written_plainly(home):
    journal.start(home)
    journal.event("order", quantity=Decimal("0.00000001"))
    assert lines(home)[0].endswith("quantity=0.00000001")


@given(text=st.text(max_size=40))
def test_whatever_a_fact_says_it_stays_on_its_line_and_is_read_back(text):
    record = logging.makeLogRecord(
        {"msg": "tick", "levelname": "INFO", "facts": {"text": text, "n": 1}}
    )
    line = journal.LineFormatter().format(record)
    assert "\n" not in line and "\r" not in line
    assert journal.read_line(line) | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "event": "tick",
        "text": text,
        "n": "1",
    }


def test_an_exception_is_told_on_the_same_line(home):
    journal.start(home)
    try:
        raise ValueError("no\nnewline")
    except ValueError:
        logging.getLogger("tgtqr_lib").exception("broken")
    (line,) = lines(home)
    assert "ValueError: no" in line


def test_starting_twice_writes_each_event_once_and_to_the_new_home(home, tmp_path):
    journal.start(home)
    other = Home(tmp_path / "other")
    journal.start(other)
    journal.event("beat")
    assert not home.log.exists() or lines(home) == []
    assert len(lines(other)) == 1


@pytest.mark.parametrize("obstacle", ["folder", "log"])
def test_a_log_that_cannot_be_written_goes_to_the_screen(home, capsys, obstacle):
    if obstacle == "folder":
        home.log.parent.rmdir()
        home.log.parent.write_text("in the way")
    else:
        home.log.mkdir()
    journal.start(home)
    journal.event("warned", level=logging.WARNING, text="look")
    assert "WARNING warned text=look" in capsys.readouterr().err
