"""The exchange as everybody sees it: reachable, from here, with the right time and the rules of its symbols."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from tgtqr_lib.domain import BrokerError, DataError, Instrument, TgtqrError
from tgtqr_lib.limits import CLOCK_OFFSET_MS
from tgtqr_lib.preflight.case import Case, refuses_address
from tgtqr_lib.preflight.finding import Answer, failed, passed, skipped, warned
from tgtqr_lib.settings import Settings

FALL = Decimal(
    "0.20"
)  # prices fall this far; a position must still be worth the minimum, to be sold


def exchange(case: Case) -> Answer:
    """Every host that prices or orders need answers."""
    if case.embedded:
        case.exchange().time()
        return passed("the simulator that each command starts for itself; it needs no network")
    hosts, problems = case.hosts(), case.knock()
    dead = [what for what, problem in problems.items() if problem and not refuses_address(problem)]
    if dead:
        said, do = _halves(problems[dead[0]])
        return failed(said + "".join(f"; nor from {hosts[what]}" for what in dead[1:]), do)
    return passed(
        "; ".join(
            f"{hosts[what]} answers for {what}"
            if problem is None
            else f"{hosts[what]} answers, but not to this address; see region"
            for what, problem in problems.items()
        )
    )


def region(case: Case) -> Answer:
    """No host refuses this machine's address."""
    if case.embedded:
        return skipped("the embedded simulator is on this machine")
    for host in case.hosts().values():
        problem = case.reached(host)
        if problem is not None and refuses_address(problem):
            return failed(
                f"{host} refuses this address (HTTP 403): it is in the US, or it sent too many requests",
                "run from an address outside the US; if it is outside, wait 10 minutes and run "
                "`tgtqr preflight` again",
            )
        if problem is not None:
            return skipped(f"not known while {host} gives no answer; see exchange")
    return passed("the exchange serves this address")


def clock(case: Case) -> Answer:
    """This machine's clock is close enough to the exchange's."""
    if case.embedded:
        return skipped("the simulator's clock is the only one")
    if case.settings().market == "simulator":
        case.exchange()
        if not case.simulator_keeps_real_time():
            return skipped("the simulator keeps a time of its own, which everything goes by")
    offset = case.clock_offset_ms()
    way = "ahead of" if offset > 0 else "behind"
    said = f"this machine is {abs(offset):,} ms {way} the exchange, at most {CLOCK_OFFSET_MS} are allowed"
    if abs(offset) <= CLOCK_OFFSET_MS:
        return passed(said)
    return failed(
        said,
        "keep time with chrony: `apt install chrony`, then `chronyc tracking` shows the offset",
    )


def instruments(case: Case) -> Answer:
    """Both symbols are listed, can be traded, and have rules that can be."""
    symbols = case.settings().symbols
    try:
        found = case.instruments()
        states = {symbol: case.status_of(symbol) for symbol in symbols}
    except (BrokerError, DataError) as error:
        return failed(*_halves(error))
    for symbol in symbols:
        if symbol not in found:
            return failed(
                f"{symbol} is not listed for spot at {case.exchange().host}",
                "take it out of `symbols` in settings.toml, or look at Bybit's announcements",
            )
        if states[symbol] != "Trading":
            return failed(
                f"{symbol} has status {states[symbol]}, expected Trading",
                "wait until Bybit trades it again, or take it out of `symbols` in settings.toml",
            )
    return passed("; ".join(_rules(found[symbol]) for symbol in symbols))


def smallest_order(case: Case) -> Answer:
    """What the exchange's minimum means for orders within the limits, said plainly."""
    chosen, found = case.settings(), case.instruments()
    least = max((one.min_notional for one in found.values()), default=Decimal(0))
    if chosen.account == "paper":
        said = _against(chosen.limits.position_usdt, least)
        if chosen.limits.position_usdt >= least:
            return passed(said)
        return passed(f"{said}; paper orders are filled all the same, and say so")
    size, scale = chosen.order_target_usdt * chosen.demo_limits_scale, chosen.demo_limits_scale
    if size < least:
        limit = chosen.limits.position_usdt * scale
        return failed(
            _against(limit if limit < least else size, least),
            f"set demo_limits_scale = {_enough(chosen, least):f} or more (10 is usual), for demo and "
            "testnet alone; or account = 'paper'",
        )
    said = f"{size:.2f} USDT at scale {scale:f} is legal: spot needs {least:.2f}"
    if size * (1 - FALL) < least:
        fall = (size - least) / size
        return warned(
            f"{said}; but after a fall of {100 * fall:.0f} % a position is too small to be sold",
            f"set demo_limits_scale = {_enough(chosen, least):f} or more",
        )
    return passed(said)


def _against(size: Decimal, least: Decimal) -> str:
    if size < least:
        return f"{size:.2f} USDT cannot be traded on Bybit: spot needs {least:.2f}"
    return f"{size:.2f} USDT is legal on Bybit: spot needs {least:.2f}"


def _enough(chosen: Settings, least: Decimal) -> Decimal:
    """The smallest scale, to a tenth, whose orders can still be sold after `FALL`."""
    return (least / chosen.order_target_usdt / (1 - FALL)).quantize(Decimal("0.1"), ROUND_UP)


def _rules(one: Instrument) -> str:
    return (
        f"{one.symbol}: price step {one.price_step:f}, lot {one.lot:f}, at least "
        f"{one.min_notional:.2f} USDT"
    )


def _halves(error: TgtqrError) -> tuple[str, str]:
    """What happened, and what to do: the clients say both in one sentence."""
    what, _, do = str(error).partition("); ")
    return (f"{what})", do) if do else (what, "look at Bybit's status page, and try again later")
