"""What a comparison finds: causes with their evidence, tick by tick, and the day's result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tgtqr_lib.clock import TICK
from tgtqr_lib.domain import Decision
from tgtqr_lib.impact import Outcome

A_DAY = 24 * 3600 // int(TICK.total_seconds())


class Cause(StrEnum):
    """Why a tick and its backtest may differ; there is no other reason, only a tick without one."""

    REVISED_CANDLE = "revised_candle"  # a minute that the tick saw has other values now
    LATE_CANDLE = "late_candle"  # a minute that is known now was not there for the tick
    SETTINGS_CHANGE = "settings_change"  # plan, limits or terms were changed during the day
    CODE_CHANGE = "code_change"  # other code decides otherwise on the very inputs
    MISSED_TICK = "missed_tick"  # nothing was decided, or it was not acted on to the end
    FILL_PRICE = "fill_price"  # the market gave another price than open and half the spread
    MISSING_INPUT = "missing_input"  # funding or a book that the strategy reads was not there
    GATE = "gate"  # the gate kept an order back, or a stop sold what was held


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that differs: where it stands, what the tick had and what the backtest has, as text."""

    where: str
    tick: str
    backtest: str

    def plain(self) -> dict[str, str]:
        return {"where": self.where, "tick": self.tick, "backtest": self.backtest}

    def __str__(self) -> str:
        return f"{self.where}: tick {self.tick}; backtest {self.backtest}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A proven cause and the facts that prove it."""

    cause: Cause
    evidence: tuple[Evidence, ...]


@dataclass(slots=True)
class Compared:
    """What was found of one tick.

    differences  where decision or fill differ, both told in words
    findings     the causes that are proven
    unexplained  sentences about what no cause explains
    """

    tick_id: str
    differences: list[Evidence] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.findings and not self.unexplained

    def add(self, cause: Cause, *evidence: Evidence) -> None:
        """Add a proven cause; one that is there gets the evidence too."""
        known = next((one for one in self.findings if one.cause is cause), Finding(cause, ()))
        others = [one for one in self.findings if one.cause is not cause]
        self.findings = [*others, Finding(cause, known.evidence + evidence)]

    def plain(self) -> dict[str, Any]:
        return {
            "tick_id": self.tick_id,
            "differences": [one.plain() for one in self.differences],
        }


@dataclass(frozen=True)
class Parity:
    """A day's ticks against the backtest of the same candles.

    ticks      the quarter hours of the day in which a decision was expected, oldest first
    decisions  how many decisions (a tick and symbol each) were compared
    fills      how many orders were compared that were filled on either side
    minutes    where the backtest's candles came from: `lake`, `as_seen` -> minutes
    remarks    what differs without having changed a decision or fill
    """

    day: str
    ticks: tuple[Compared, ...]
    decisions: int
    fills: int
    minutes: dict[str, int]
    remarks: tuple[str, ...]

    @property
    def equal(self) -> int:
        return sum(one.equal for one in self.ticks)

    @property
    def explained(self) -> list[Compared]:
        return [one for one in self.ticks if one.findings and not one.unexplained]

    @property
    def unexplained(self) -> list[Compared]:
        return [one for one in self.ticks if one.unexplained]

    def plain(self) -> dict[str, Any]:
        """As `--json` tells it; a tick with two causes stands twice among the explained."""
        return {
            "day": self.day,
            "ticks": len(self.ticks),
            "of_a_day": A_DAY,
            "first": self.ticks[0].tick_id,
            "last": self.ticks[-1].tick_id,
            "equal": self.equal,
            "explained": [
                {
                    **one.plain(),
                    "cause": str(found.cause),
                    "evidence": [fact.plain() for fact in found.evidence],
                }
                for one in self.explained
                for found in one.findings
            ],
            "unexplained": [
                {
                    **one.plain(),
                    "why": one.unexplained,
                    "causes": [str(found.cause) for found in one.findings],
                }
                for one in self.unexplained
            ],
            "decisions_compared": self.decisions,
            "fills_compared": self.fills,
            "candles": self.minutes,
            "remarks": list(self.remarks),
        }


NOTHING = Outcome("-", None, False, "NOT_DECIDED")


def said(decision: Decision) -> dict[str, Outcome]:
    """Symbol -> signal, order, approval and reason of a decision."""
    return {
        c.symbol: Outcome(str(c.signal.state), c.order_text, c.approved, c.reason)
        for c in decision.choices
    }


def in_words(one: Outcome) -> str:
    refused = "" if one.approved or one.order is None else " refused"
    return f"{one.signal}, {one.order or 'no order'}{refused} ({one.reason})"


def decision_differences(tick: dict[str, Outcome], backtest: dict[str, Outcome]) -> list[Evidence]:
    """The symbols whose outcome is not the same on both sides."""
    symbols: Sequence[str] = [*tick, *(name for name in backtest if name not in tick)]
    pairs = [(name, tick.get(name, NOTHING), backtest.get(name, NOTHING)) for name in symbols]
    return [Evidence(name, in_words(a), in_words(b)) for name, a, b in pairs if a != b]
