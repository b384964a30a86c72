"""Notebook 08: an archived tick read line by line, and every figure of it worked out again by hand."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tgtqr_lib import journal
from tgtqr_lib.archive import rerunning
from tgtqr_lib.archive.digests import INPUTS_TAG, tagged
from tgtqr_lib.archive.opened import Archived, find, find_sealed, notebooks_in, open_archived
from tgtqr_lib.archive.rerunning import Rerun, Result
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.canonical import dumps, load_inputs, plain
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.demo import open_demo
from tgtqr_lib.domain import (
    MINUTE_MS,
    UNIT,
    Candles,
    Choice,
    Decision,
    DomainError,
    History,
    Inputs,
    MarketView,
    TgtqrError,
)
from tgtqr_lib.home import Home
from tgtqr_lib.kernel import kernels
from tgtqr_lib.learn.moving_average import tie_of
from tgtqr_lib.limits import COLLAR_BPS, QUOTE_MAX_AGE_S
from tgtqr_lib.research.drawing import Frame, number, picture
from tgtqr_lib.research.plans import Answer, counted
from tgtqr_lib.strategies import STRATEGIES, Strategy, strategy_named

BPS = 10_000
NEWEST = 96  # sealed ticks of a home that are looked through for one with an order
MINUTES = 120  # drawn
UPPER = 1.25  # times the close: where the search for a refusal ends

LEFT = " style='text-align:left'"


class Told(Table):
    """A table of words, which read better from the left."""

    def _repr_html_(self) -> str:
        html = super()._repr_html_()
        return html.replace("<td", f"<td{LEFT}").replace("<th ", f"<th{LEFT} ")


MEANINGS = {
    "account": "whose paper money, and what it began with",
    "boundary": "the quarter hour that is decided, UTC",
    "days": "what the UTC day began with: the daily limit counts from there",
    "exchange_time": "the exchange's clock when the inputs were frozen",
    "fees": "what a fill costs, from a dated table",
    "health": "what closes the gate: beats, clock, disk, ledger, stop",
    "limits": "what binds: never above the hard limits",
    "markets": "per symbol the closed minutes, the quote, the exchange's rules",
    "orders_this_tick": "orders already allowed in this tick",
    "orders_today": "orders of the UTC day so far",
    "plan": "strategy, parameters, order target and collar",
    "portfolio": "cash, what is held, what is reserved",
    "schema": "the version of this spelling",
    "tick_id": "the name of the tick, made from its boundary",
    "used_ids": "order ids that were sent before",
}


@dataclass(frozen=True, eq=False)
class Tick:
    """A sealed tick, and what today's code decides from its inputs.

    sealed  the notebook as it was archived
    source  where it is from, in words
    """

    sealed: Archived
    source: str

    @cached_property
    def inputs(self) -> Inputs:
        return self.sealed.inputs()

    @cached_property
    def decision(self) -> Decision:
        """Decided now, in this process."""
        return decide(self.inputs)

    @cached_property
    def text(self) -> str:
        """The frozen inputs as the notebook carries them: canonical JSON."""
        return dumps(self.sealed.cell_inputs or self.sealed.facts["inputs"])

    @property
    def digests(self) -> Mapping[str, str]:
        """The sealed SHA-256 of inputs, decision, outcome, page and seal."""
        return self.sealed.facts["digests"]

    @property
    def symbol(self) -> str:
        """The first symbol with an order in this tick, else the first one."""
        chosen = [c for c in self.decision.choices if c.order is not None]
        return (chosen or list(self.decision.choices))[0].symbol

    def view(self, symbol: str) -> MarketView:
        """What was seen of `symbol`. Raises `DomainError` when nothing was."""
        view = self.inputs.market(symbol)
        if view is None:
            known = ", ".join(one.symbol for one in self.inputs.markets)
            raise DomainError(f"tick {self.inputs.tick_id} knows no {symbol!r}; expected {known}")
        return view

    @property
    def parameters(self) -> tuple[int, int]:
        """Window in closes and band in basis points."""
        plan = self.inputs.plan
        strategy = strategy_named(plan.strategy)
        values = strategy.checked(plan.parameters)
        return values[strategy.fast.window], values[strategy.fast.band_bps]

    def _repr_markdown_(self) -> str:
        return (
            f"**Tick {self.inputs.tick_id}**, {self.source}.\n\n{self.decision._repr_markdown_()}"
        )


def a_tick(word: str = "", home: Home | None = None) -> Tick:
    """The tick that `word` names by id or path; without it the newest of the home that has an order.

    A home without any gives one of its last demo, and without a demo one is made: a tick of the simulator
    in a folder that is gone afterwards. Raises `DomainError` for a tick that cannot be explained here, or
    is not there.
    """
    home = home or Home.find()
    demo = Home(home.outputs / "demo")
    if word:
        sealed = open_archived(_found(home, demo, word))
        if why := _unfit(sealed):
            raise DomainError(f"tick {sealed.tick_id}: {why}; expected another one to explain")
        return Tick(sealed, "as you asked")
    found = _newest(home, "from the archive of this home") or _newest(demo, "from the last demo")
    if found is None:
        found = made(_why_made(home, demo))
        if why := _unfit(found.sealed):  # settings in the environment hold for it, too
            raise DomainError(
                f"the tick made by the simulator: {why}; name one to explain, or begin without the settings "
                "of the environment"
            )
    return found


def _found(home: Home, demo: Home, word: str) -> Path:
    try:
        return find(home, word)
    except DomainError:
        if not demo.ticks.is_dir():
            raise
        return find(demo, word)


def _newest(home: Home, source: str) -> Tick | None:
    """The newest tick of `home` with an order, else the newest that can be explained."""
    newest = None
    for path in reversed(notebooks_in(home.ticks)[-NEWEST:]):
        try:
            tick = Tick(open_archived(path), source)
            if _unfit(tick.sealed):
                continue
        except TgtqrError:  # damaged ones are for `tgtqr ledger verify --archive` to tell
            continue
        if tick.decision.orders:
            return tick
        newest = newest or tick
    return newest


def made(why: str = "because there is no archived tick") -> Tick:
    """The first tick of a demo: a real one, played against the simulator and sealed; `why` is told with it."""
    with tempfile.TemporaryDirectory(prefix="tgtqr-tick-") as folder:
        home = Home(Path(folder, "home"))
        try:
            with open_demo(home) as demo:
                result = next(iter(demo.ticks(1)))
                sealed = open_archived(find_sealed(home, result.tick_id))
        finally:
            _leave_log()  # it goes with the folder
    return Tick(sealed, f"made just now by the simulator, {why}")


def _why_made(*homes: Home) -> str:
    """Why none of the archived ticks of `homes` is shown: how many there are, and what they are."""
    kinds: Counter[str] = Counter()
    for home in homes:
        for path in notebooks_in(home.ticks)[-NEWEST:]:
            try:
                sealed = open_archived(path)
                if not (why := _unfit(sealed)):
                    why = "that cannot be decided again"
                elif sealed.decision is not None:
                    name = sealed.inputs().plan.strategy
                    other = strategy_named(name).fast is None
                    why = f"of {name}" if other else "with something missing"
                else:
                    why = "that ended before a decision"
            except TgtqrError:
                why = "that cannot be read"
            kinds[why] += 1
    if not kinds:
        return "because there is no archived tick"
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    return (
        f"because of the {counted(kinds.total(), 'archived tick')} looked at none can be explained here "
        f"({told}): what is worked out by hand is {_by_hand()}"
    )


def _by_hand() -> str:
    """Which strategies this notebook can explain."""
    names = sorted(name for name, strategy in STRATEGIES.items() if strategy.fast is not None)
    return f"a close compared with a mean and nothing else, as {' and '.join(names)} does it"


def _other_way(strategy: Strategy) -> str:
    """Why the signals of `strategy` are not worked out by hand here."""
    reads = " and ".join({"book": "the order book"}.get(need, need) for need in strategy.needs)
    if not reads:
        how = "compares no close with a mean"
    elif strategy.reference is None:
        how = f"decides by {reads}, not by a mean of closes"
    else:
        how = f"compares a close with a mean, but {reads} have a say in it, too"
    return f"strategy {strategy.name} {how}; what is worked out by hand here is {_by_hand()}"


def _leave_log() -> None:
    logger = logging.getLogger(journal.LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _unfit(sealed: Archived) -> str:
    """Why this notebook cannot explain the tick, or nothing."""
    if sealed.decision is None or not (sealed.facts["inputs"] or sealed.cell_inputs):
        return "it ended before it decided"
    inputs = sealed.inputs()
    strategy = strategy_named(inputs.plan.strategy)
    if strategy.fast is None:
        return _other_way(strategy)
    window = strategy.checked(inputs.plan.parameters)[strategy.fast.window]
    for view in inputs.markets:
        if view.instrument is None or view.quote is None or view.problems:
            return f"{view.symbol} was not seen in whole"
        if not len(view.candles) or not History(view.candles).contiguous(window)[-1]:
            return f"{view.symbol} lacks minutes of the mean"
    return ""


# --- the inputs ---


def lines(tick: Tick, most: int = 70) -> Table:
    """Every key of the frozen inputs: its size, how its canonical JSON begins, and what it is for."""
    rows = []
    for key, value in sorted(json.loads(tick.text).items()):
        text = dumps(value)
        shown = text if len(text) <= most else f"{text[:most]}…"
        rows.append((key, f"{len(text.encode()):,}", shown, MEANINGS.get(key, "")))
    return Told(("key", "bytes", "canonical JSON", "what it is"), tuple(rows), prose=True)


# --- the signal ---


def state_by_hand(closes: list[int], band_bps: int) -> str:
    """LONG, FLAT or HOLD of closes in whole steps, the last one last."""
    left = BPS * len(closes) * closes[-1]
    if left > (BPS + band_bps) * sum(closes):
        return "LONG"
    return "FLAT" if left < (BPS - band_bps) * sum(closes) else "HOLD"


def signal(tick: Tick) -> Table:
    """For each symbol n x close against the sum of n closes, and what the archive says."""
    window, band = tick.parameters
    columns = []
    for view in tick.inputs.markets:
        closes = [int(c) for c in view.candles.close[-window:]]
        total, left = sum(closes), window * closes[-1]
        mean = Decimal(total) / window
        columns.append(
            (
                f"{view.candles.last_close:,f}",
                f"{closes[-1]:,}",
                f"{left:,}",
                f"{total:,}",
                number(float(mean.scaleb(-view.candles.decimals)), view.candles.decimals + 2),
                number((left / total - 1) * BPS, 2, sign=True),
                state_by_hand(closes, band),
                str(_sealed_choice(tick, view.symbol)["signal"]["state"]),
            )
        )
    names = (
        "last close, USDT", "… in price steps", f"{window} × last close", f"sum of the {window} closes",
        "mean, USDT", "above it, bps", f"by hand{f', band {band} bps' if band else ''}",
        "in the archive",
    )  # fmt: skip
    rows = tuple(zip(names, *columns, strict=True))
    return Table(("", *(view.symbol for view in tick.inputs.markets)), rows)


# --- the rules ---


@dataclass(frozen=True, slots=True)
class ByHand:
    """A rule's figures worked out from the inputs alone."""

    symbol: str
    code: str
    value: Decimal
    limit: Decimal
    distance: Decimal


def by_hand(tick: Tick) -> list[ByHand]:
    """Position limit, daily floor, total floor, collar and age of the quote of each symbol.

    Exits come before entries, and an entry that was allowed counts as spent for the next.
    """
    inputs, limits = tick.inputs, tick.inputs.limits
    found, reserved = [], inputs.portfolio.reserved
    for choice in sorted(tick.decision.choices, key=lambda c: not _is_exit(c)):
        view, order = tick.view(choice.symbol), choice.order
        cost = Decimal(0)
        if order is not None and order.is_entry:
            cost = _paid(order.quantity * order.limit) + _paid(
                order.quantity * order.limit * inputs.fees.bps / BPS
            )
        held = inputs.portfolio.cost_of(choice.symbol) + cost
        found.append(_at_most(choice, "POSITION_LIMIT", held, limits.position_usdt))
        left = inputs.portfolio.cash - reserved - cost
        floors = [min(d.start_equity - limits.daily_loss_usdt, d.start_cash) for d in inputs.days]
        if floors:
            found.append(_at_least(choice, "DAILY_BUDGET", left, max(floors)))
        floor = inputs.account.initial_equity - limits.total_loss_usdt
        found.append(_at_least(choice, "TOTAL_BUDGET", left, floor))
        if order is not None and order.is_entry:
            highest = (
                view.candles.last_close * (BPS + min(inputs.plan.collar_bps, COLLAR_BPS)) / BPS
            )
            found.append(_at_most(choice, "PRICE_COLLAR", order.limit, highest))
        age = Decimal(str((inputs.exchange_time - view.quote.at).total_seconds()))
        found.append(_at_most(choice, "DATA_STALE", age, Decimal(QUOTE_MAX_AGE_S)))
        reserved += cost if choice.approved else 0
    return found


def verdicts(tick: Tick) -> Table:
    """`by_hand` beside the distances in the archive."""
    places = {c.symbol: place for place, c in enumerate(tick.decision.choices)}
    rows = []
    for one in sorted(by_hand(tick), key=lambda found: places[found.symbol]):
        sealed = _sealed_verdict(tick, one.symbol, one.code)
        told = sealed["distance"]
        agrees = told is not None and Decimal(told) == one.distance
        rows.append(
            (
                f"{one.symbol} {one.code}",
                f"{one.value:f}",
                f"{one.limit:f}",
                f"{one.distance:f}",
                "none" if told is None else told,
                "allowed" if sealed["allowed"] else "refused",
                _yes(agrees),
            )
        )
    head = ("rule", "value", "limit", "distance", "in the archive", "says", "agrees")
    return Table(head, tuple(rows))


def _is_exit(choice: Choice) -> bool:
    return choice.order is not None and choice.order.is_exit


def _paid(amount: Decimal) -> Decimal:
    return amount.quantize(UNIT, ROUND_CEILING)


def _at_most(choice: Choice, code: str, value: Decimal, limit: Decimal) -> ByHand:
    return ByHand(choice.symbol, code, value, limit, limit - value)


def _at_least(choice: Choice, code: str, value: Decimal, limit: Decimal) -> ByHand:
    return ByHand(choice.symbol, code, value, limit, value - limit)


# --- the order ---


def order(tick: Tick) -> Table:
    """For each symbol what an entry would be, step by step, and the order in the archive."""
    plan, fees = tick.inputs.plan, tick.inputs.fees
    columns = []
    for view in tick.inputs.markets:
        close, rules = view.candles.last_close, view.instrument
        highest = close * (BPS + plan.collar_bps) / BPS
        limit = highest // rules.price_step * rules.price_step
        a_lot = limit * rules.lot
        lots = plan.order_target_usdt // a_lot
        quantity = lots * rules.lot
        notional = quantity * limit
        fee = _paid(notional * fees.bps / BPS)
        columns.append(
            (
                f"{close:,f}",
                f"{highest:,.4f}",
                f"{limit:,f}",
                f"{a_lot:f}",
                f"{lots:f}",
                f"{quantity:f}",
                f"{notional:f}",
                f"{fee:f}",
                f"{_paid(notional) + fee:f}",
                _sealed_order(tick, view.symbol),
            )
        )
    names = (
        "last close", f"× (1 + {plan.collar_bps} bps)", "limit: down to the price step",
        "one lot at the limit", f"lots in {plan.order_target_usdt}, rounded down", "quantity",
        "quantity × limit", f"fee of {fees.bps:f} bps, rounded up", "reserve", "in the archive",
    )  # fmt: skip
    rows = tuple(zip(names, *columns, strict=True))
    head = ("an entry", *(view.symbol for view in tick.inputs.markets))
    return Table(head, rows)


def _sealed_order(tick: Tick, symbol: str) -> str:
    choice = _sealed_choice(tick, symbol)
    sealed = choice["order"]
    if sealed is None:
        return f"no order ({choice['reason']})"
    bound = "at most" if sealed["side"] == "BUY" else "at least"
    return f"{sealed['side']} {sealed['quantity']} {bound} {sealed['limit']}"


def _sealed_choice(tick: Tick, symbol: str) -> dict[str, Any]:
    return next(c for c in tick.sealed.decision["choices"] if c["symbol"] == symbol)


def _sealed_verdict(tick: Tick, symbol: str, code: str) -> dict[str, Any]:
    return next(v for v in _sealed_choice(tick, symbol)["verdicts"] if v["code"] == code)


# --- the decision, and running it again ---


def decision_digest(tick: Tick) -> Table:
    """SHA-256 of signals, orders, verdicts and reasons: as sealed, and as decided now."""
    core = {"tick_id": tick.decision.tick_id, "choices": plain(tick.decision.choices)}
    text = json.dumps(core, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found = hashlib.sha256(text.encode()).hexdigest()
    sealed = tick.digests.get("decision_sha256", "none")
    rows = (
        ("decided now, by hashlib", found),
        ("decided now, by the kit", decision_sha256(tick.decision)),
        ("sealed in the notebook", sealed),
        ("equal", _yes(found == sealed)),
    )
    return Told((f"SHA-256 of the decision, {len(text.encode()):,} bytes", ""), rows, prose=True)


@dataclass(frozen=True)
class Again:
    """The whole notebook executed once more, in a fresh kernel, on the inputs that it carries."""

    rerun: Rerun

    @property
    def table(self) -> Table:
        found = self.rerun
        rows = [
            ("result", str(found.result)),
            ("values that differ", str(len(found.differences))),
            ("parts of the file that disagree", str(len(found.altered))),
            ("made by", found.made_by),
            ("the same code as now", _yes(found.same_code)),
        ]
        rows += [("differs", str(one)) for one in found.differences[:5]]
        rows += [("altered", one) for one in found.altered[:5]]
        return Told((f"tick {found.tick_id}, run again", ""), tuple(rows), prose=True)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def again(tick: Tick) -> Again:
    """Run the tick's notebook again, as `tgtqr rerun` does."""
    with (
        tempfile.TemporaryDirectory(prefix="tgtqr-rerun-") as folder,
        kernels(Path(folder)) as pool,
    ):
        return Again(rerunning.rerun(tick.sealed, pool))


# --- other closes ---


def with_close(inputs: Inputs, symbol: str, steps: int) -> Inputs:
    """`inputs` in which the last close of `symbol` is `steps` price steps; everything else stays.

    The minute's high and low give way, where they must. Raises `DomainError` for a close below 1 step.
    """

    def moved(candles: Candles) -> Candles:
        columns = {name: getattr(candles, name).copy() for name in ("close", "high", "low")}
        columns["close"][-1] = steps
        columns["high"][-1] = max(steps, int(candles.high[-1]))
        columns["low"][-1] = min(steps, int(candles.low[-1]))
        return replace(candles, **columns)

    if steps < 1:
        raise DomainError(f"{symbol}: a close of {steps} steps; expected 1 or more")
    return _with_candles(inputs, symbol, moved)


def _with_candles(inputs: Inputs, symbol: str, change: Callable[[Candles], Candles]) -> Inputs:
    views = tuple(
        replace(view, candles=change(view.candles)) if view.symbol == symbol else view
        for view in inputs.markets
    )
    return replace(inputs, markets=views)


def flip_steps(tick: Tick, symbol: str) -> tuple[int, int]:
    """The highest last close that says FLAT and the lowest that says LONG, in price steps.

    The close stands on both sides of the comparison: with S the sum of the other n - 1 closes and b the
    band, 10,000 n c > (10,000 + b)(S + c), that is c > (10,000 + b) S / (10,000 (n - 1) - b).
    """
    window, band = tick.parameters
    others = int(tick.view(symbol).candles.close[-window:-1].sum())
    per = BPS * (window - 1)
    if band >= per:  # a band of 10,000 bps in a window of 2 is never left
        raise DomainError(f"band {band} bps: no close leaves it; expected a smaller one")
    long_from = (BPS + band) * others // (per - band) + 1
    flat_to = -(-(BPS - band) * others // (per + band)) - 1
    return flat_to, long_from


def edges(tick: Tick, symbol: str) -> Table:
    """What is decided at the closes around the flip, one price step apart."""
    flat_to, long_from = flip_steps(tick, symbol)
    chosen = sorted({flat_to, flat_to + 1, long_from - 1, long_from})
    return beside(tick, symbol, [with_close(tick.inputs, symbol, steps) for steps in chosen])


def beside(tick: Tick, symbol: str, others: list[Inputs]) -> Table:
    """The tick's decision on `symbol` and those of other inputs, a row each."""
    rows = []
    for inputs in (tick.inputs, *others):
        choice = decide(inputs).choice(symbol)
        close = inputs.market(symbol).candles.last_close
        was = tick.view(symbol).candles.last_close
        rows.append(
            (
                f"{close:,f}",
                number(float(close / was - 1) * BPS, 2, sign=True),
                str(choice.signal.state),
                choice.reason,
                (choice.order_text if choice.approved else None) or "no order",
            )
        )
    return Table((f"last close of {symbol}", "moved, bps", "says", "reason", "order"), tuple(rows))


@dataclass(frozen=True, eq=False)
class OtherClose:
    """The tick with another last close, to be dragged."""

    tick: Tick
    symbol: str

    def at(self, bps: float) -> Inputs:
        """The inputs with the last close moved by `bps`, to the nearest price step."""
        close = int(self.tick.view(self.symbol).candles.close[-1])
        return with_close(self.tick.inputs, self.symbol, round(close * (1 + bps / BPS)))

    def draw(self, bps: float = 0) -> str:
        """HTML: the closes with the last one moved, where the signal flips, and what is decided there."""
        inputs = self.at(bps)
        choice = decide(inputs).choice(self.symbol)
        candles = inputs.market(self.symbol).candles
        scale, seen = 10.0**candles.decimals, candles.tail(MINUTES)
        flat_to, long_from = flip_steps(self.tick, self.symbol)
        at, close = (seen.open_ms + MINUTE_MS).astype(float), seen.close / scale
        edges = np.array([flat_to, long_from]) / scale
        was = float(self.tick.view(self.symbol).candles.last_close)
        frame = Frame.around((float(at[0]), float(at[-1]) + 3 * MINUTE_MS), [close, edges])
        inside = frame.values() + frame.path(at, close, "blue")
        for price in sorted(
            {float(edges.mean())} if long_from - flat_to <= 2 else set(edges.tolist())
        ):
            y = frame.at_y(price)
            inside += (
                f"<line x1='64' x2='626' y1='{y:.1f}' y2='{y:.1f}' class='dash' "
                "style='stroke:var(--orange)'/>"
            )
        inside += _dot(frame, at[-1], was, "muted", 3) if bps else ""
        colour = {"LONG": "green", "FLAT": "red"}.get(str(choice.signal.state), "muted")
        inside += _dot(frame, at[-1], float(close[-1]), colour, 5) + frame.times()
        legend = [
            ("— closes", "blue"),
            ("╌ where the signal flips", "orange"),
            (f"● last close says {choice.signal.state}", colour),
        ]
        title = f"{self.symbol}, USDT, with a last close moved by {number(bps, 0, sign=True)} bps"
        words = self._words(choice, float(close[-1]))
        return f"{picture(title, legend, inside, f'{title}. {words}').svg}<p>{words}</p>"

    def _words(self, choice: Choice, close: float) -> str:
        placed = choice.order_text if choice.approved else None
        flat_to, long_from = (
            float(self.tick.view(self.symbol).candles.price(s))
            for s in flip_steps(self.tick, self.symbol)
        )
        return (
            f"{choice.reason}: {choice.reason_text}. "
            f"{'Order: ' + placed if placed else 'No order'}. FLAT up to {flat_to:,.2f}, LONG from "
            f"{long_from:,.2f}, which is {number((long_from / close - 1) * BPS, 2, sign=True)} bps from here."
        )


def _dot(frame: Frame, at: float, price: float, colour: str, radius: int) -> str:
    return (
        f"<circle cx='{frame.at_x(at):.1f}' cy='{frame.at_y(price):.1f}' r='{radius}' "
        f"style='fill:var(--{colour})'/>"
    )


# --- the exercises ---


def tamper(tick: Tick, row: int = 0) -> Table:
    """One digit of one close of the first symbol changed in the notebook's cell, and what gives it away."""
    forged = json.loads(tick.text)
    candles = forged["markets"][0]["candles"]
    closes = candles["close"].split()
    before = closes[row]
    closes[row] = before[:-1] + str((int(before[-1]) + 1) % 10)
    candles["close"] = " ".join(closes)
    notebook = copy.deepcopy(tick.sealed.notebook)
    for cell in notebook["cells"]:
        if tagged(cell, INPUTS_TAG):
            cell["source"] = f"# Parameters\ninputs = {dumps(forged)!r}\n"
    altered = Archived(tick.sealed.path, notebook, tick.sealed.facts, tick.sealed.sha256).altered()
    decided = decide(load_inputs(dumps(forged)))
    same = [c.signal.state for c in decided.choices] == [
        c.signal.state for c in tick.decision.choices
    ]
    rows = [
        (
            "changed",
            f"{forged['markets'][0]['symbol']}, close {row}: {before} became {closes[row]}",
        ),
        ("SHA-256 before", hashlib.sha256(tick.text.encode()).hexdigest()),
        ("SHA-256 after", hashlib.sha256(dumps(forged).encode()).hexdigest()),
        ("signals decided from it", "the same" if same else "others"),
        *(("found", sentence) for sentence in altered),
    ]
    return Told(("one digit", ""), tuple(rows), prose=True)


def refused_from(tick: Tick, symbol: str) -> Table:
    """The highest last close at which an entry is still allowed, the next one, and the rule that refuses it.

    Where no entry is allowed from the flip on, the table shows the flip and why.
    """
    low = flip_steps(tick, symbol)[1]
    if not _buys(tick, symbol, low):
        return beside(tick, symbol, [with_close(tick.inputs, symbol, low)])
    high = int(low * UPPER)
    if _buys(tick, symbol, high):
        raise DomainError(f"{symbol}: no close up to {UPPER} times as high is refused")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _buys(tick, symbol, middle) else (low, middle)
    return beside(tick, symbol, [with_close(tick.inputs, symbol, steps) for steps in (low, high)])


def _buys(tick: Tick, symbol: str, steps: int) -> bool:
    choice = decide(with_close(tick.inputs, symbol, steps)).choice(symbol)
    return choice.approved and choice.order.is_entry


def tied(tick: Tick, symbol: str) -> Inputs:
    """The inputs with an exact tie: the last close on the mean of the others, the first a few steps lower."""
    window = tick.parameters[0]

    def changed(candles: Candles) -> Candles:
        close = candles.close.copy()
        close[-window:] = tie_of(close[None, -window:])[0]
        low, high = np.minimum(candles.low, close), np.maximum(candles.high, close)
        return replace(candles, close=close, low=low, high=high)

    return _with_candles(tick.inputs, symbol, changed)


def around_a_tie(tick: Tick, symbol: str) -> Table:
    """What is decided on a tie, and one price step above and below it."""
    tie = tied(tick, symbol)
    steps = int(tie.market(symbol).candles.close[-1])
    return beside(tick, symbol, [tie, *(with_close(tie, symbol, steps + s) for s in (1, -1))])


# --- the answer ---


def answer(tick: Tick, run_again: Again) -> Answer:
    """What this tick's notebook proves, from its own figures."""
    found = list(_disagreements(tick))
    checks = len(by_hand(tick))
    data = tick.text.encode()
    lines = [
        f"Tick {tick.inputs.tick_id} decided from {len(data):,} bytes whose SHA-256 begins with "
        f"{hashlib.sha256(data).hexdigest()[:12]}."
    ]
    if found:
        lines.append(f"By hand something came out otherwise: {'; '.join(found)}.")
    else:
        lines.append(
            f"By hand the signals, {counted(checks, 'verdict')} and both hashes came out as they are in "
            "the archive."
        )
    symbol = tick.symbol
    close = tick.view(symbol).candles.last_close
    flat_to, long_from = (tick.view(symbol).candles.price(s) for s in flip_steps(tick, symbol))
    target = flat_to if close >= long_from else long_from
    word = "FLAT" if close >= long_from else "LONG"
    lines.append(
        f"{symbol} would have said {word} with a last close of {target:,f}, "
        f"{number(float(target / close - 1) * BPS, 2, sign=True)} bps away."
    )
    result = run_again.rerun.result
    lines.append(f"Run again in a fresh kernel it says {result}.")
    if result is Result.MATCH and not found:
        lines.append(
            "That shows that these inputs lead to this decision, and that neither was changed without the "
            "other. Whoever makes every hash anew is caught by the ledger, which keeps them too; that the "
            "market was as the inputs say, neither of them can show."
        )
    else:
        lines.append(
            "So the code of today is not the code of then, or the file is not what was sealed: the "
            "differences above tell which."
        )
    return Answer(" ".join(lines))


def _disagreements(tick: Tick) -> Iterator[str]:
    """What does not come out as archived."""
    window, band = tick.parameters
    for view in tick.inputs.markets:
        closes = [int(c) for c in view.candles.close[-window:]]
        sealed = _sealed_choice(tick, view.symbol)["signal"]
        # in doubt it holds, whatever the closes say
        if sealed["distance_bps"] is not None and state_by_hand(closes, band) != sealed["state"]:
            yield f"the signal of {view.symbol}"
    for one in by_hand(tick):
        told = _sealed_verdict(tick, one.symbol, one.code)["distance"]
        if told is None or Decimal(told) != one.distance:
            yield f"{one.code} of {one.symbol}"
    if hashlib.sha256(tick.text.encode()).hexdigest() != tick.digests.get("inputs_sha256"):
        yield "the hash of the inputs"
    if decision_sha256(tick.decision) != tick.digests.get("decision_sha256"):
        yield "the hash of the decision"


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"
