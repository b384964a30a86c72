"""What a check says: pass, warn, fail or skip, what it saw, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgtqr_lib.preflight.case import Case


class State(StrEnum):
    """How a check ended."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Kind(StrEnum):
    """What a check is about."""

    SETUP = "home, settings and key"
    EXCHANGE = "exchange and account"
    MACHINE = "this machine"


@dataclass(frozen=True, slots=True)
class Answer:
    """A check's own words; `do` is "" when there is nothing to do."""

    state: State
    detail: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of the check `name`, as it is printed."""

    name: str
    state: State
    detail: str
    do: str


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the table.

    look        what it does; a `NotKnown` becomes a skip, any other error a failure
    patience_s  after which it is given up
    """

    look: Callable[[Case], Answer]
    kind: Kind
    patience_s: float = 10.0


class NotKnown(Exception):
    """What a check rests on is not known; the text says why, and which check tells more."""


def passed(detail: str) -> Answer:
    return Answer(State.PASS, detail)


def warned(detail: str, do: str) -> Answer:
    return Answer(State.WARN, detail, do)


def failed(detail: str, do: str) -> Answer:
    return Answer(State.FAIL, detail, do)


def skipped(why: str, do: str = "") -> Answer:
    return Answer(State.SKIP, why, do)
