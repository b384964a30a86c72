"""`check`: does a strategy keep the promises that ticks and backtests rely on? One probe a file.

A probe is a function of a `Case` that returns what it counted, or raises `Failed` with the first minute that
breaks the promise. A probe whose premise failed is not judged, so that one fault is told once.

    from tgtqr_lib.backtest.probes import check
    check(my_strategy, candles)
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from tgtqr_lib.backtest.probes import (
    determinism,
    fees,
    look_ahead,
    open_candle,
    parity,
    reference,
    values,
    warm_up,
)
from tgtqr_lib.backtest.probes.case import Case, minutes_wanted
from tgtqr_lib.backtest.probes.findings import (
    FAILED,
    NOT_JUDGED,
    PASSED,
    Failed,
    Finding,
    Findings,
    NotJudged,
)
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.strategies import Strategy, registered, strategy_named

__all__ = ["PROBES", "Finding", "Findings", "check", "minutes_wanted"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, and the probes that must pass before its answer means anything."""

    ask: Callable[[Case], str]
    rests_on: tuple[str, ...] = ()


PROBES: dict[str, Probe] = {
    "values": Probe(values.probe),
    "determinism": Probe(determinism.probe, ("values",)),
    "look-ahead": Probe(look_ahead.probe, ("determinism",)),
    "warm-up": Probe(warm_up.probe, ("look-ahead",)),
    "reference": Probe(reference.probe, ("warm-up",)),
    "fees": Probe(fees.probe, ("determinism",)),
    "open candle": Probe(open_candle.probe, ("look-ahead",)),
    "parity": Probe(parity.probe, ("reference", "fees", "open candle")),
}


def check(strategy: Strategy | str, candles: Any, **parameters: int) -> Findings:
    """Every probe's answer about `strategy` on `candles`.

    strategy    a `Strategy`, registered or not, or the name of a registered one
    candles     `Candles` or `Bars` of one symbol; the newest four days are read, more for a long lookback
    parameters  of the strategy; the ends of their ranges are tried as well

    Raises `DomainError` for parameters or a lookback that cannot be, or a name that another strategy has, and
    `DataError` for too few candles. A strategy that breaks a promise, or raises, is a finding.
    """
    if isinstance(strategy, str):
        strategy = strategy_named(strategy)
    if not isinstance(strategy, Strategy):
        raise DomainError(f"{strategy!r} is no Strategy; expected one, or the name of one")
    with registered(strategy):
        case = Case.of(strategy, candles, parameters)
        found: dict[str, Finding] = {}
        for name, probe in PROBES.items():
            found[name] = _answer(name, probe, case, found)
    return Findings(strategy.name, case.params, _described(case), tuple(found.values()))


def _answer(name: str, probe: Probe, case: Case, found: dict[str, Finding]) -> Finding:
    broken = [found[other] for other in probe.rests_on if not found[other].passed]
    failed = [one.name for one in found.values() if one.state == FAILED]
    if broken and failed:
        return Finding(
            name, NOT_JUDGED, f"means nothing before {' and '.join(failed)} is put right"
        )
    try:
        return Finding(name, PASSED, probe.ask(case))
    except Failed as seen:
        return Finding(name, FAILED, str(seen))
    except NotJudged as reason:
        return Finding(name, NOT_JUDGED, str(reason))
    except TgtqrError:
        raise
    except (Exception, SystemExit) as error:  # a strategy is a stranger's code
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{PurePath(place.filename).name}:{place.lineno}"
        told = f"the strategy raised {type(error).__name__} at {where}: {error}"
        if "read-only" in told:
            told = (
                f"it writes into the candles it is given ({error}); expected them to be left alone"
            )
        return Finding(name, FAILED, told)


def _described(case: Case) -> str:
    seen = case.candles
    first, last = (iso(from_ms(int(seen.open_ms[at]))) for at in (0, -1))
    return f"{seen.symbol} {seen.market}, {len(seen):,} minutes from {first} to {last}"
