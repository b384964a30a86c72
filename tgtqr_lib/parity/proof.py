"""Which causes turn the one decision into the other.

`decide` is a pure function, so a cause is proven by deciding again: the tick's very inputs, with nothing but
that part of them replaced by the backtest's, must give the backtest's decision. The fewest causes that do so
together are the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from tgtqr_lib.archive.differences import differences
from tgtqr_lib.canonical import plain
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import FUNDING_UNREADABLE, Decision, Inputs, MarketView, Quote
from tgtqr_lib.impact import Outcome
from tgtqr_lib.parity.findings import Cause, Evidence, Finding, said
from tgtqr_lib.parity.past import Doubt, Past, asked_for, candles_of, rows_of, words_of
from tgtqr_lib.risk import GATE_RULES

NARROWED = 20  # so many candles at most are tried one by one


@dataclass(frozen=True, slots=True)
class Suspect:
    """A cause that may be at work: its evidence, and the inputs without it.

    parts  the same cause one candle at a time, when it has several
    """

    cause: Cause
    evidence: tuple[Evidence, ...]
    without: Callable[[Inputs], Inputs]
    parts: tuple[Suspect, ...] = ()


def explain(
    real: Inputs,
    decision: Decision,
    backtest: Inputs,
    wanted: dict[str, Outcome],
    past: Past,
) -> list[Finding] | None:
    """The fewest causes that turn what the tick decided on `real` into `wanted`; None when none do.

    decision  what the code of today decides on `real`
    backtest  what the backtest saw; its account is that of `real`
    """

    def proven(chosen: Sequence[Suspect]) -> bool:
        changed = real
        for one in chosen:
            changed = one.without(changed)
        return said(decide(changed)) == wanted

    suspects = list(_suspects(real, decision, backtest, past))
    for count in range(1, len(suspects) + 1):
        for chosen in combinations(suspects, count):
            if proven(chosen):
                return _findings(_narrowed(list(chosen), proven))
    return None


def _narrowed(chosen: list[Suspect], proven: Callable[[Sequence[Suspect]], bool]) -> list[Suspect]:
    """`chosen` without the candles that it proves as much without."""
    kept = [list(one.parts) if 1 < len(one.parts) <= NARROWED else [one] for one in chosen]
    for place, parts in enumerate(kept):
        for part in list(parts):
            fewer = [other for other in kept[place] if other is not part]
            tried = [*kept[:place], fewer, *kept[place + 1 :]]
            if fewer and proven([one for some in tried for one in some]):
                kept = tried
    return [one for parts in kept for one in parts]


def _findings(chosen: Sequence[Suspect]) -> list[Finding]:
    """One finding a cause, also where two symbols have it."""
    facts: dict[Cause, tuple[Evidence, ...]] = {}
    for one in chosen:
        facts[one.cause] = facts.get(one.cause, ()) + one.evidence
    return [Finding(cause, evidence) for cause, evidence in facts.items()]


def _suspects(real: Inputs, decision: Decision, backtest: Inputs, past: Past) -> Iterator[Suspect]:
    doubts = list(past.doubts(real))
    for view in real.markets:
        for late, cause in ((False, Cause.REVISED_CANDLE), (True, Cause.LATE_CANDLE)):
            own = [one for one in doubts if one.symbol == view.symbol and one.late is late]
            if own:
                parts = tuple(_candles(view.symbol, cause, [one], past) for one in own)
                yield replace(_candles(view.symbol, cause, own, past), parts=parts)
            elif late and (why := words_of(view.problems)):  # all are there, and were not believed
                fact = Evidence(f"{view.symbol} candles", why, "nothing is wrong with them")
                yield replace(_candles(view.symbol, cause, [], past), evidence=(fact,))
    if facts := tuple(_changed_settings(real, backtest)):
        yield Suspect(Cause.SETTINGS_CHANGE, facts, _settings_of(backtest, past))
    if facts := tuple(_gate_words(decision)):
        yield Suspect(Cause.GATE, facts, _well_watched)
    for view in real.markets:
        other = backtest.market(view.symbol)
        facts = tuple(_beside(view, other)) if other is not None else ()
        if facts:
            yield Suspect(Cause.MISSING_INPUT, facts, _with_beside(other))
        if other is not None and _price(view.quote) != _price(other.quote):
            fact = Evidence(f"{view.symbol} quote", _quote_words(view), _quote_words(other))
            yield Suspect(Cause.FILL_PRICE, (fact,), _quoted(view.symbol, other.quote))


def _beside(view: MarketView, other: MarketView) -> Iterator[Evidence]:
    """Where the funding or the book of a tick is not what is known of it now."""
    if view.funding != other.funding:
        why = [p.text for p in view.problems if p.code == FUNDING_UNREADABLE]
        yield Evidence(f"{view.symbol} funding", _settled(view, why), _settled(other, ()))
    if view.book != other.book:
        seen = ("not there" if one.book is None else f"of {one.book.at}" for one in (view, other))
        yield Evidence(f"{view.symbol} book", *seen)


def _settled(view: MarketView, why: Sequence[str]) -> str:
    if view.funding is None or not len(view.funding):
        return "; ".join(["not there", *why])
    last = iso(from_ms(int(view.funding.at_ms[-1])))
    return f"{len(view.funding)} settlements, the last of {last}"


# --- the inputs without a cause ---


def _with_beside(other: MarketView) -> Callable[[Inputs], Inputs]:
    def without(inputs: Inputs) -> Inputs:
        problems = tuple(
            p for p in inputs.market(other.symbol).problems if p.code != FUNDING_UNREADABLE
        )
        return _with_view(
            inputs, other.symbol, funding=other.funding, book=other.book, problems=problems
        )

    return without


def _with_view(inputs: Inputs, symbol: str, **changes: object) -> Inputs:
    views = (replace(v, **changes) if v.symbol == symbol else v for v in inputs.markets)
    return replace(inputs, markets=tuple(views))


def _candles(symbol: str, cause: Cause, doubts: Sequence[Doubt], past: Past) -> Suspect:
    """The minutes of `doubts`, all of `symbol`, as they are known now."""

    def without(inputs: Inputs) -> Inputs:
        rows = rows_of(inputs.market(symbol).candles)
        rows |= {one.ms: past.known[symbol][one.ms].row for one in doubts}
        changes = {"candles": candles_of(symbol, rows, past.decimals[symbol])}
        if cause is Cause.LATE_CANDLE:
            changes["problems"] = ()
        return _with_view(inputs, symbol, **changes)

    return Suspect(cause, tuple(fact for one in doubts for fact in one.evidence), without)


TERMS = ("plan", "limits", "fees")


def _terms(inputs: Inputs) -> dict[str, object]:
    rules = {view.symbol: view.instrument for view in inputs.markets}
    return plain({name: getattr(inputs, name) for name in TERMS} | {"instruments": rules})


def _changed_settings(real: Inputs, backtest: Inputs) -> Iterator[Evidence]:
    for one in differences(_terms(backtest), _terms(real)):
        yield Evidence(one.where, one.after, f"{one.before}, as the day began")


def _settings_of(backtest: Inputs, past: Past) -> Callable[[Inputs], Inputs]:
    """With the plan of the day's start, and the older minutes that a longer lookback needs."""

    def view(inputs: Inputs, other: MarketView, first: int) -> MarketView:
        own = inputs.market(other.symbol)
        if own is None:
            return other
        start, _ = asked_for(inputs)
        older = {ms: known.row for ms, known in past.known[own.symbol].items()}
        rows = {ms: row for ms, row in older.items() if first <= ms < start}
        rows |= rows_of(own.candles)
        candles = candles_of(own.symbol, rows, past.decimals[own.symbol])
        return replace(own, candles=candles, instrument=other.instrument)

    def without(inputs: Inputs) -> Inputs:
        first, _ = asked_for(backtest)
        views = tuple(view(inputs, other, first) for other in backtest.markets)
        terms = {name: getattr(backtest, name) for name in TERMS}
        return replace(inputs, markets=views, **terms)

    return without


def _gate_words(decision: Decision) -> Iterator[Evidence]:
    told = {
        verdict.code: verdict.text
        for choice in decision.choices
        for verdict in choice.verdicts
        if verdict.code in GATE_RULES and not verdict.allowed
    }
    return (Evidence(code, text, "no gate") for code, text in told.items())


def _well_watched(inputs: Inputs) -> Inputs:
    health = replace(
        inputs.health,
        last_beat_at=inputs.exchange_time,
        clock_offset_ms=None,
        disk_free_mb=10**6,
        ledger_problem=None,
        stopped=None,
    )
    return replace(inputs, health=health)


def _quoted(symbol: str, quote: Quote | None) -> Callable[[Inputs], Inputs]:
    def without(inputs: Inputs) -> Inputs:
        fresh = replace(quote, at=inputs.exchange_time) if quote else None
        return _with_view(inputs, symbol, quote=fresh)

    return without


def _price(quote: Quote | None) -> object:
    return None if quote is None else (quote.bid, quote.ask, quote.last, quote.at)


def _quote_words(view: MarketView) -> str:
    if view.quote is None:
        why = words_of(view.problems, of_quote=True)
        return f"no quote{why and f' ({why})'}"
    quote = view.quote
    return f"bid {quote.bid:f}, ask {quote.ask:f}, last {quote.last:f} at {quote.at:%H:%M:%S}Z"
