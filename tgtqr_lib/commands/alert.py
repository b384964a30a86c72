"""Messages to the owner, by the addresses in TGTQR_ALERTS: `test` sends one to each and says which arrived.

`show` tells what holds now, what was sent last and what waits; `send` tries at once what waits.
TGTQR_ALERTS stands in the environment or in .env of the home (mode 0600): URLs of apprise with blanks between
them, such as ntfys://HOST/TOPIC, mailtos://USER:PASSWORD@HOST, tgram://TOKEN/CHAT, jsons://HOST/PATH.
Exit codes: 0 all arrived; 2 no address; 4 some did not.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from tgtqr_lib import credentials, journal
from tgtqr_lib.alerts import state as kept
from tgtqr_lib.alerts.messages import INFO, TEST, body, title
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home

ARRIVED, TROUBLE = 0, 4


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["test", "show", "send"])
    parser.add_argument("--due", type=int, metavar="MS", help=argparse.SUPPRESS)  # by a beat
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    if options.what == "show":
        return _show(home, options)
    if not credentials.alert_urls(home):
        raise DomainError(
            f"no address: {credentials.ALERTS} is neither in the environment nor in "
            f"{home.root / '.env'}; expected URLs such as ntfys://HOST/TOPIC"
        )
    return _test(home, options) if options.what == "test" else _send(home, options)


def _test(home: Home, options: argparse.Namespace) -> int:
    from tgtqr_lib.alerts.addresses import open_all

    now_ms = time.time_ns() // 1_000_000
    head = title("a test")
    text = body("If you can read this, alerts arrive here", TEST, home.root.name, now_ms)
    rows = []
    for address in open_all(home):
        trouble = address.send(head, text, INFO)
        rows.append({"address": address.name, "arrived": trouble is None, "trouble": trouble})
        if not options.json:
            print(_row(rows[-1]), flush=True)
    arrived = all(row["arrived"] for row in rows)
    if options.json:
        print_json({"arrived": arrived, "addresses": rows})
    return ARRIVED if arrived else TROUBLE


def _row(row: dict[str, Any]) -> str:
    return f"{row['address']}: " + ("arrived" if row["arrived"] else f"NOT: {row['trouble']}")


def _send(home: Home, options: argparse.Namespace) -> int:
    from tgtqr_lib.alerts import outbox

    journal.start(home)
    if options.due is not None:
        outbox.limit_this_process()
    at_ms = kept.read(home).time_ms() if options.due is None else options.due
    try:
        attempts = outbox.deliver(
            home, at_ms, lambda m: _words(home, m), all_now=options.due is None
        )
    except Exception as error:
        if options.due is not None:  # nobody reads what this process says
            journal.event("alert_trouble", text=f"{type(error).__name__}: {error}")
        raise
    waiting = len(kept.read(home).queue)
    if options.json:
        rows = [{"address": a.to, "title": a.title, "trouble": a.trouble} for a in attempts]
        print_json({"attempts": rows, "waiting": waiting})
    else:
        for one in attempts:
            print(
                f"{one.to}: {one.title}: "
                + ("arrived" if one.trouble is None else f"NOT: {one.trouble}")
            )
        print(f"{waiting} messages wait" if waiting else "nothing waits")
    return TROUBLE if waiting else ARRIVED


def _words(home: Home, message: kept.Message) -> tuple[str, str]:
    from tgtqr_lib.alerting import summary  # once a day; it reads the whole ledger

    return summary.words(home, message)


def _show(home: Home, options: argparse.Namespace) -> int:
    from tgtqr_lib.alerts.addresses import open_all

    state = kept.read(home)
    wrong = [one for one in open_all(home) if one.problem]
    facts = {
        "addresses": len(credentials.alert_urls(home)),
        "wrong": [{"address": one.name, "trouble": one.problem} for one in wrong],
        "holds": [
            {"code": s.code, "about": s.about, "since": _time(s.since_ms), "text": s.text}
            for s in state.standing.values()
        ],
        "sent": [{"at": _time(s.at_ms), "title": s.title} for s in state.last],
        "waits": [{"at": _time(m.at_ms), "title": m.title} for m in state.queue],
        "held_back": state.held_count,
        "failing": [
            {"address": name, "failures": turn.failures, "trouble": turn.trouble}
            for name, turn in state.turns.items()
            if turn.failures
        ],
    }
    if options.json:
        print_json(facts)
        return 0
    if not facts["addresses"]:
        print(f"no address: {credentials.ALERTS} is not set, so nothing is sent")
    for one in facts["wrong"]:
        print(f"{one['address']}: NOT an address: {one['trouble']}")
    print("holds now" if facts["holds"] else "nothing holds now")
    for one in facts["holds"]:
        print(f"  {one['code']} since {one['since']}: {one['text']}")
    for name, head in (("sent last", "sent"), ("waits", "waits")):
        print(name if facts[head] else f"{name}: nothing")
        for one in facts[head]:
            print(f"  {one['at']}  {one['title']}")
    for one in facts["failing"]:
        print(f"{one['address']}: failed {one['failures']} times: {one['trouble']}")
    if facts["held_back"]:
        print(f"{facts['held_back']} messages are held back until the hour allows more")
    return 0


def _time(ms: int) -> str:
    return iso(from_ms(ms - ms % 1000))
