"""What past ticks would have decided after a change: their sealed inputs, decided again with other settings.

Every tick keeps the portfolio it had; what an earlier changed tick would have bought or sold is not carried on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from tgtqr_lib import archive
from tgtqr_lib.canonical import load_inputs, restore
from tgtqr_lib.clock import MINUTE, TICK, boundary_of, iso, tick_id, to_ms
from tgtqr_lib.controls import LIMIT, ORDER_TARGET, PARAMETER, Proposal
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import MINUTE_MS, Candles, Choice, DomainError, Inputs, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.strategies import minutes_needed

NOTE = (
    "each tick is decided with the portfolio it had: what an earlier changed tick would have bought or "
    "sold is not carried on"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One symbol's part of a decision in short; `order` is in words, None without one."""

    signal: str
    order: str | None
    approved: bool
    reason: str

    def plain(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Difference:
    """A tick and symbol that would have been decided otherwise."""

    tick_id: str
    symbol: str
    before: Outcome
    after: Outcome


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change would have altered from `since` to `until`.

    ticks    how many were decided again
    changed  where signal, order or reason differ, oldest first
    untold   tick id -> why it cannot be told
    absent   quarter hours of the span without a notebook: missed, or the kit was not there
    """

    since: datetime
    until: datetime
    ticks: int
    changed: tuple[Difference, ...]
    untold: Mapping[str, str]
    absent: int
    note: str = NOTE

    @property
    def ticks_changed(self) -> int:
        """How many ticks differ, in one symbol or in several."""
        return len({one.tick_id for one in self.changed})

    def plain(self) -> dict[str, Any]:
        """As `--json` tells it."""
        return {
            "since": iso(self.since),
            "until": iso(self.until),
            "ticks": self.ticks,
            "ticks_changed": self.ticks_changed,
            "changed": [
                {
                    "tick_id": one.tick_id,
                    "symbol": one.symbol,
                    "before": one.before.plain(),
                    "after": one.after.plain(),
                }
                for one in self.changed
            ],
            "cannot_be_told": [{"tick_id": name, "why": why} for name, why in self.untold.items()],
            "without_notebook": self.absent,
            "note": self.note,
        }


def impact(home: Home, since: datetime, until: datetime, change: Proposal) -> Impact:
    """What `change` would have altered of the sealed ticks after `since`, up to and with `until`.

    The proposal's values stand in for those of the tick, and nothing else changes. Candles that a longer
    lookback needs come from the ticks before; what they do not hold either cannot be told.
    """
    first = boundary_of(since) + TICK
    kept: list[tuple[Inputs, Inputs]] = []
    untold: dict[str, str] = {}
    absent = 0
    for boundary in _quarters(first, until):
        try:
            sealed = _sealed(home, boundary)
            if sealed is None:
                absent += 1
            else:
                before = load_inputs(json.dumps(sealed))
                kept.append((before, _changed(before, change)))
        except TgtqrError as error:
            untold[tick_id(boundary)] = str(error)
    seen = _seen_before(home, first, [after for _, after in kept])
    changed: list[Difference] = []
    ticks = 0
    for before, after in kept:
        seen.add(before.boundary, [view.candles for view in before.markets])
        try:
            usual = minutes_needed(before.plan)
            old, new = (_with_candles(one, usual, seen) for one in (before, after))
            changed += _differences(old, new)
            ticks += 1
        except TgtqrError as error:
            untold[before.tick_id] = str(error)
    return Impact(since, until, ticks, tuple(changed), dict(sorted(untold.items())), absent)


class Series:
    """The minutes of each symbol that ticks have seen so far, given from the oldest tick to the newest."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[Candles, int]]] = {}

    def add(self, boundary: datetime, seen: Sequence[Candles]) -> None:
        """Take what one more tick has seen, later than those before it."""
        for candles in seen:
            if len(
                candles
            ):  # a tick sees everything up to its boundary, also that a minute is missing
                part = (candles, to_ms(boundary))
                self._seen.setdefault(candles.symbol, []).append(part)

    def lengthened(self, candles: Candles, first_ms: int, end_ms: int) -> Candles:
        """`candles` (up to the boundary `end_ms`) with the minutes from `first_ms` on in front of them.

        A minute that two ticks know is the later one's. Raises `DomainError` when no tick has seen some
        stretch: nobody knows whether the exchange had it.
        """
        parts, edge = [candles], int(candles.open_ms[0])
        for older, seen_to in reversed(self._seen.get(candles.symbol, ())):
            if edge <= first_ms or seen_to < edge or older.market != candles.market:
                break
            if older.open_ms[0] < edge:
                parts.append(older[older.open_ms < edge])
                edge = int(older.open_ms[0])
        if edge > first_ms:
            raise DomainError(
                f"{candles.symbol}: {(end_ms - first_ms) // MINUTE_MS} minutes are needed, "
                f"the ticks up to it have seen {(end_ms - edge) // MINUTE_MS}"
            )
        return _joined(parts[::-1], first_ms)


def _joined(parts: Sequence[Candles], first_ms: int) -> Candles:
    """`parts`, oldest first, as one series from `first_ms` on, in the finest steps of any of them."""
    decimals = max(part.decimals for part in parts)
    columns = {name: [getattr(p, name) for p in parts] for name in ("open_ms", "volume")}
    for name in ("open", "high", "low", "close"):
        columns[name] = [getattr(p, name) * 10 ** (decimals - p.decimals) for p in parts]
    whole = {name: np.concatenate(column) for name, column in columns.items()}
    joined = replace(parts[-1], decimals=decimals, **whole)
    return joined[joined.open_ms >= first_ms]


def _quarters(first: datetime, until: datetime) -> Iterator[datetime]:
    while first <= until:
        yield first
        first += TICK


def _sealed(home: Home, boundary: datetime) -> dict[str, Any] | None:
    """What was sealed of the tick at `boundary`, None when it has no notebook.

    Raises `DomainError` when nothing was decided, or it cannot be read.
    """
    path = archive.sealed_path(home, tick_id(boundary))
    if not path.is_file():
        return None
    notebook = archive.read_executed(path)
    try:
        inputs, decision = (notebook["metadata"]["tgtqr"][name] for name in ("inputs", "decision"))
    except (KeyError, TypeError):
        raise DomainError("its notebook cannot be read, or is not sealed") from None
    if not inputs or not decision:
        raise DomainError("it ended without a decision")
    return inputs


def _changed(inputs: Inputs, change: Proposal) -> Inputs:
    """`inputs` with the values of `change`. Raises `DomainError` when the tick ran another strategy."""
    plan, limits = inputs.plan, inputs.limits
    for one in change.changes:
        if one.name.startswith(PARAMETER):
            if plan.strategy != change.strategy:
                raise DomainError(f"it ran strategy {plan.strategy}, not {change.strategy}")
            short = one.name.removeprefix(PARAMETER)
            plan = replace(plan, parameters={**plan.parameters, short: int(one.new)})
        elif one.name == ORDER_TARGET:
            plan = replace(plan, order_target_usdt=Decimal(one.new))
        else:
            limits = replace(limits, **{one.name.removeprefix(LIMIT): Decimal(one.new)})
    return replace(inputs, plan=plan, limits=limits)


def _seen_before(home: Home, first: datetime, changed: Sequence[Inputs]) -> Series:
    """What the ticks before `first` have seen, as far back as the longest lookback of `changed` reaches."""
    seen = Series()
    longest = max((minutes_needed(inputs.plan) for inputs in changed), default=0)
    held = [len(view.candles) for inputs in changed for view in inputs.markets]
    if longest < min(held, default=0):
        return seen
    for boundary in _quarters(boundary_of(first - longest * MINUTE), first - TICK):
        try:
            views = (_sealed(home, boundary) or {}).get("markets", ())
            seen.add(boundary, [restore(Candles, view["candles"]) for view in views])
        except (TgtqrError, AttributeError, KeyError, TypeError):
            continue  # where its candles are missed, that is said
    return seen


def _with_candles(inputs: Inputs, usual: int, seen: Series) -> Inputs:
    """`inputs` with the candles of its lookback and one more, for the jump into it; `usual` is what it had.

    What lies before them says nothing of signal, order and reason, and takes time.
    """
    need = minutes_needed(inputs.plan)
    end_ms = to_ms(inputs.boundary)
    first_ms = end_ms - (need + 1) * MINUTE_MS

    def fitted(candles: Candles) -> Candles:
        if need > usual and len(candles) and candles.open_ms[0] > first_ms:
            return seen.lengthened(candles, first_ms, end_ms)
        return candles[candles.open_ms >= first_ms]

    views = tuple(replace(view, candles=fitted(view.candles)) for view in inputs.markets)
    return replace(inputs, markets=views)


def _differences(before: Inputs, after: Inputs) -> list[Difference]:
    """The symbols that the same `decide` judges otherwise."""
    old, new = decide(before), decide(after)
    pairs = [(c.symbol, _outcome(c), _outcome(new.choice(c.symbol))) for c in old.choices]
    return [Difference(old.tick_id, symbol, a, b) for symbol, a, b in pairs if a != b]


def _outcome(choice: Choice) -> Outcome:
    return Outcome(str(choice.signal.state), choice.order_text, choice.approved, choice.reason)
