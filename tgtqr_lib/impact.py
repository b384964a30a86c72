"""What past ticks would have decided after a change: their sealed inputs, decided again, without kernels.

`impact` sets other settings against the present ones, for the page and `tgtqr settings preview`; `review` sets
the present code, or other settings, against what was sealed. Every tick keeps the portfolio it had; what an
earlier changed tick would have bought or sold is not carried on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tgtqr_lib.archive.opened import (
    Archived,
    find_sealed,
    moment_of,
    notebooks_in,
    open_archived,
)
from tgtqr_lib.canonical import load_inputs, restore
from tgtqr_lib.clock import MINUTE, TICK, boundary_of, iso, tick_id, to_ms
from tgtqr_lib.controls import LIMIT, ORDER_TARGET, PARAMETER, Proposal
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import MINUTE_MS, Candles, Choice, DomainError, Inputs, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.strategies import minutes_needed
from tgtqr_lib.what_if import WhatIf

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
    absent, what_if = 0, what_if_of(change)
    for boundary in _quarters(first, until):
        try:
            sealed = _sealed(home, boundary)
            if sealed is None:
                absent += 1
            else:
                before = load_inputs(json.dumps(sealed))
                kept.append((before, what_if(before)))
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
    path = find_sealed(home, tick_id(boundary))
    if path is None:
        return None
    try:
        sealed = open_archived(path)
        inputs = sealed.facts["inputs"] or sealed.cell_inputs
    except TgtqrError:
        raise DomainError("its notebook cannot be read, or is not sealed") from None
    if not inputs or not sealed.decision:
        raise DomainError("it ended without a decision")
    return inputs


def what_if_of(change: Proposal) -> WhatIf:
    """The what-if that a proposal of the page or the command line stands for."""
    parameters: dict[str, int] = {}
    plan: dict[str, Any] = {}
    limits: dict[str, Decimal] = {}
    for one in change.changes:
        if one.name.startswith(PARAMETER):
            parameters[one.name.removeprefix(PARAMETER)] = int(one.new)
        elif one.name == ORDER_TARGET:
            plan[ORDER_TARGET] = Decimal(one.new)
        else:
            limits[one.name.removeprefix(LIMIT)] = Decimal(one.new)
    return WhatIf(None, change.strategy if parameters else None, parameters, plan, limits)


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


# --- against what was sealed ---


@dataclass(frozen=True)
class Reviewed:
    """The sealed ticks of a folder decided again.

    ticks    how many were
    changed  where signal, order or reason differ from what was sealed, oldest first
    links    tick id -> its notebook, of those that changed
    untold   tick id -> why it cannot be told
    silent   ticks that ended without a decision, so that none could change
    what_if  the change in words, None for the present code alone
    """

    ticks: int = 0
    changed: tuple[Difference, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    untold: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    what_if: str | None = None

    def plain(self) -> dict[str, Any]:
        """As `--json` tells it."""
        return {
            "ticks": self.ticks,
            "ticks_changed": len(self.links),
            "changed": [
                {
                    "tick_id": one.tick_id,
                    "symbol": one.symbol,
                    "before": one.before.plain(),
                    "after": one.after.plain(),
                    "notebook": self.links[one.tick_id],
                }
                for one in self.changed
            ],
            "cannot_be_told": [{"tick_id": name, "why": why} for name, why in self.untold.items()],
            "without_decision": list(self.silent),
            "what_if": self.what_if,
            "note": NOTE,
        }


def review(
    folder: Path,
    what_if: WhatIf | None = None,
    *,
    since: datetime | None = None,
    workers: int | None = None,
    told: Callable[[int, int], None] = lambda done, count: None,
) -> Reviewed:
    """Decide the sealed ticks of `folder` again and compare with what they decided then.

    what_if  other settings; without it the present code alone is on trial
    since    only ticks from there on; earlier ones still lend their candles to a longer lookback
    told     hears how many of how many are done

    Raises `DomainError` when there is no tick, or none can be told.
    """
    every = notebooks_in(folder)
    wanted = [path for path in every if since is None or moment_of(path) >= since]
    if not wanted:
        raise DomainError(
            f"{folder}: holds no tick notebook" + (f" from {iso(since)} on" if since else "")
        )
    workers = max(1, min(workers or os.cpu_count() or 1, len(wanted) // FEWEST + 1))
    size = min(PART, -(-len(wanted) // workers))
    parts = [wanted[i : i + size] for i in range(0, len(wanted), size)]
    jobs = [(_older(every, part[0], what_if), part, what_if) for part in parts]
    found = Reviewed(what_if=None if what_if is None else what_if.text)
    for part in _each(jobs, workers):
        found = Reviewed(
            found.ticks + part.ticks,
            (*found.changed, *part.changed),
            {**found.links, **part.links},
            {**found.untold, **part.untold},
            (*found.silent, *part.silent),
            found.what_if,
        )
        told(found.ticks + len(found.untold) + len(found.silent), len(wanted))
    if found.untold and not found.ticks:
        name, why = next(iter(found.untold.items()))
        raise DomainError(f"no tick can be told; {name}: {why}")
    return found


FEWEST, PART = 50, 250  # ticks that are worth a process of their own, and that are told at once


def _each(jobs: Sequence[tuple], workers: int) -> Iterator[Reviewed]:
    if workers == 1:
        yield from map(_reviewed, jobs)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, get_context("spawn")) as processes:
        yield from processes.map(_reviewed, jobs)


def _older(every: Sequence[Path], first: Path, what_if: WhatIf | None) -> list[Path]:
    """The notebooks before `first` that may lend candles to a longer lookback."""
    if what_if is None or not (what_if.parameters or what_if.strategy):
        return []
    place = every.index(first)
    return list(every[max(0, place - LENDERS) : place])


LENDERS = 200  # ticks, two days: no strategy may look back further


def _reviewed(job: tuple[list[Path], list[Path], WhatIf | None]) -> Reviewed:
    """One part of a review; runs in a process of its own."""
    older, paths, what_if = job
    seen = Series()
    for path in older:
        try:
            inputs = open_archived(path).inputs()
            seen.add(inputs.boundary, [view.candles for view in inputs.markets])
        except TgtqrError:
            continue  # where its candles are missed, that is said
    ticks, changed, links, untold, silent = 0, [], {}, {}, []
    for path in paths:
        name = path.name.split(".")[0]
        try:
            sealed = open_archived(path)
            if sealed.decision is None:
                silent.append(name)
                continue
            inputs = sealed.inputs()
            seen.add(inputs.boundary, [view.candles for view in inputs.markets])
            found = list(_against_sealed(sealed, inputs, what_if, seen))
            ticks += 1
        except TgtqrError as error:
            untold[name] = str(error)
            continue
        changed += found
        if found:
            links[sealed.tick_id] = str(path)
    return Reviewed(ticks, tuple(changed), links, untold, tuple(silent))


def _against_sealed(
    sealed: Archived, inputs: Inputs, what_if: WhatIf | None, seen: Series
) -> Iterator[Difference]:
    before = {c["symbol"]: _sealed_outcome(c) for c in sealed.decision["choices"]}
    if what_if is not None:
        usual = minutes_needed(inputs.plan)
        inputs = _with_candles(what_if(inputs), usual, seen)
    after = {c.symbol: _outcome(c) for c in decide(inputs).choices}
    for symbol, was in before.items():
        now = after.get(symbol, NOTHING)
        if was != now:
            yield Difference(sealed.tick_id, symbol, was, now)


NOTHING = Outcome("-", None, False, "NOT_DECIDED")


def _sealed_outcome(choice: Mapping[str, Any]) -> Outcome:
    order = choice["order"]
    words = None
    if order is not None:
        bound = "at most" if order["side"] == "BUY" else "at least"
        words = f"{order['side']} {order['quantity']} {bound} {order['limit']}"
    return Outcome(choice["signal"]["state"], words, choice["approved"], choice["reason"])
