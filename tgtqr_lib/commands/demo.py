"""Play a simulated trading day, tick by tick, each tick an executed notebook in outputs/demo/outputs/ticks/.

Everything is real but the exchange: ccxt over HTTP to the simulator on this machine, papermill, the ledger.
No network, no keys, no account. Each demo begins afresh. In a terminal its page is served meanwhile, and
afterwards until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import time
from decimal import Decimal
from pathlib import Path

from tgtqr_lib.clock import check_boundary, parse_time
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.commands.running import page_beside, port_option
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.limits import HARD

LOOK_S = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ticks", type=int, default=96, help="how many quarter hours (96, a day)")
    parser.add_argument("--seed", type=int, help="of the synthetic market (1)")
    parser.add_argument(
        "--candles", type=Path, metavar="FILE", help="play recorded one-minute candles"
    )
    parser.add_argument(
        "--from",
        dest="first",
        metavar="DATE",
        help="the first tick (2025-06-01, or the first whole day of FILE)",
    )
    parser.add_argument(
        "--account",
        choices=["paper", "demo", "testnet"],
        help="demo or testnet: orders go to a simulated exchange account by signed requests (paper)",
    )
    parser.add_argument(
        "--limits-scale",
        dest="scale",
        metavar="N",
        help="multiplies the limits of such an account, 1 to 100 (1: below what the exchange takes)",
    )
    port_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    if options.ticks < 1:
        raise DomainError(f"--ticks {options.ticks}: expected 1 or more")
    if options.seed is not None and options.candles is not None:
        raise DomainError(
            "--seed makes a market and --candles plays a recorded one; expected one of them"
        )
    if options.candles is not None and not options.candles.is_file():
        raise DomainError(f"--candles {options.candles}: there is no such file")
    first = check_boundary(parse_time(options.first)) if options.first else None
    scale = _scale(options)
    from tgtqr_lib.demo import open_demo
    from tgtqr_lib.desk import one_at_a_time

    port = options.port if sys.stdout.isatty() and not options.json else None
    outputs = Home.find(options.home).outputs
    outputs.mkdir(parents=True, exist_ok=True)
    with (
        one_at_a_time(outputs / "demo.lock", "demo"),
        open_demo(
            Home(outputs / "demo"),
            seed=options.seed,
            candles=options.candles,
            first=first,
            account=options.account,
            scale=scale,
        ) as demo,
        page_beside(Home(outputs / "demo"), port, _tell),
    ):
        _play(demo, options)
        if options.json:
            print_json(demo.summary.plain())
        else:
            print("\n".join(_page(demo.summary)), flush=True)
        if port is not None:
            _stay(demo)
    states = {result.state for result in demo.summary.results}
    return 0 if states <= {"done", "refused"} and demo.summary.reconciled is not False else 1


def _scale(options: argparse.Namespace) -> Decimal | None:
    """The scale asked for. Raises `DomainError` when it is no number, or has no account to count for."""
    if options.scale is None:
        return None
    if options.account in (None, "paper"):
        raise DomainError(
            "--limits-scale is for --account demo or testnet; a paper order has no minimum"
        )
    try:
        return Decimal(options.scale)
    except ArithmeticError:
        raise DomainError(
            f"--limits-scale {options.scale}: expected a number from 1 to 100"
        ) from None


def _tell(text: str) -> None:
    """Say something above the bar."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def _stay(demo) -> None:
    """Leave the page up until Ctrl-C; a stop from it still sells what is held."""
    print("\nthe page stays until Ctrl-C", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            demo.attend()
            time.sleep(LOOK_S)


def _play(demo, options: argparse.Namespace) -> None:
    """Show a bar in a terminal, a line a tick elsewhere; both on standard error."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    form = "{percentage:3.0f}% |{bar:24}| {n_fmt}/{total_fmt}, {remaining} left   {desc}"
    with tqdm(
        total=options.ticks,
        bar_format=form,
        disable=not terminal,
        file=sys.stderr,
        dynamic_ncols=True,
    ) as bar:
        for result in demo.ticks(options.ticks):
            line = _line(result)
            bar.set_description_str(line, refresh=False)
            bar.update()
            if not terminal:
                print(f"{len(demo.summary.results):>3} {line}", file=sys.stderr)


def _line(result) -> str:
    """What just happened, in one line."""
    parts = [f"{result.tick_id[9:11]}:{result.tick_id[11:13]}"]
    acts = {one.order.symbol: one for one in result.acts}
    for choice in result.decision.choices if result.decision else ():
        coin = choice.symbol.removesuffix("USDT")
        act = acts.get(choice.symbol)
        did = act.text if act and act.fill else act.result if act else choice.reason
        parts.append(f"{coin} {choice.signal.state}: {did}")
    if result.decision is None:
        parts.append(f"{result.state}: {result.text}")
    return "  ".join(parts)


def _page(summary) -> list[str]:
    states: dict[str, int] = {}
    for result in summary.results:
        states[result.state] = states.get(result.state, 0) + 1
    decisions = [c for r in summary.results if r.decision for c in r.decision.choices]
    signals = {s: sum(c.signal.state == s for c in decisions) for s in ("LONG", "FLAT", "HOLD")}
    begun, venue = summary.account.initial_equity, summary.account.venue
    lost = None if summary.equity is None else summary.equity - begun
    budget = HARD.total_loss_usdt * (summary.account.scale or 1)
    home = summary.home
    worst = [r for r in summary.results if r.state not in ("done", "refused")]
    lines = [
        "",
        f"{len(summary.results)} ticks in {summary.wall_s:.0f} s: "
        + ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
        f"decisions  {len(decisions)}: " + ", ".join(f"{n} {s}" for s, n in signals.items()),
        f"orders     {summary.orders}"
        + (", of which 0 could exist on Bybit: its smallest is 5.00 USDT" if venue is None else ""),
        f"fills      {summary.fills}, fees {summary.fees:f} USDT",
        f"equity     {'-' if summary.equity is None else f'{summary.equity:f}'} USDT"
        + ("" if lost is None else f" ({lost:+f} since the start at {begun:f})"),
        "runway     "
        + (
            "no cost yet"
            if summary.runway_days is None
            else f"at this cost per day the total budget of {budget:f} USDT lasts {summary.runway_days:.0f} days"
        ),
        *_account(summary),
        f"ledger     {summary.events} events in {home}/data/trading_data.db",
        f"notebooks  {home}/outputs/ticks/",
        "",
        "next, look at a tick:",
        f"  {_jupyter()} {shlex.quote(_last_notebook(summary))}",
        "or go on from here, a quarter hour at a time:",
        f"  TGTQR_HOME={shlex.quote(str(home))} {_program()} tick",
    ]
    for result in worst[:3]:
        lines.insert(2, f"  {result.tick_id} {result.state}: {result.text}")
    return lines


def _account(summary) -> list[str]:
    """How ledger and exchange account compare, and why orders were kept back; nothing on paper."""
    if summary.account.venue is None:
        return []
    small = sum(
        c.reason == "BELOW_EXCHANGE_MINIMUM"
        for r in summary.results
        for c in (r.decision.choices if r.decision else ())
    )
    if summary.reconciled:
        told = "reconciled: ledger and wallet are equal to the last digit"
    else:
        off = ", ".join(f"{coin} {by:+f}" for coin, by in summary.compared.differences.items())
        told = f"NOT reconciled: {summary.unknown} orders unknown, differences {off or 'none'}"
    lines = [f"account    {summary.account.id}, {told}"]
    if small:
        lines.append(
            f"refused    {small} orders BELOW_EXCHANGE_MINIMUM; with --limits-scale 10 they are legal"
        )
    return lines


def _program() -> str:
    return shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "tgtqr" else "tgtqr"


def _jupyter() -> str:
    beside = Path(sys.executable).with_name("jupyter")
    return f"{shlex.quote(str(beside)) if beside.exists() else 'jupyter'} lab"


def _last_notebook(summary) -> str:
    found = [r.notebook for r in summary.results if r.notebook and any(a.fill for a in r.acts)]
    found = found or [r.notebook for r in summary.results if r.notebook]
    return str(summary.home / found[-1]) if found else str(summary.home)
