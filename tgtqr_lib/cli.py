"""The command line: `tgtqr COMMAND`, one module of `commands/` each, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tgtqr_lib import __version__

COMMANDS = {
    "demo": "a simulated day, tick by tick",
    "tick": "one tick now or --at ISO",
    "watch": "the minute monitor (--once for cron)",
    "up": "scheduler and watch in the foreground",
    "dashboard": "the page in a browser (--port)",
    "stop": "stop at once",
    "arm": "allow trading again (--reason)",
    "account": "show | new | accept (--reason)",
    "settings": "show | change | loosen | reset parameters and limits",
    "status": "gate, positions, limits, last tick, health",
    "data": "fetch | import | verify candles and funding",
    "backtest": "one strategy over history",
    "sweep": "a grid of parameters over history",
    "check": "look-ahead, warm-up and parity probes of a strategy",
    "rerun": "an archived notebook again: MATCH, VALUE-DRIFT or DECISION-DRIFT",
    "impact": "which past decisions a change would alter",
    "parity": "the ticks of a day against the backtest of the same candles",
    "archive": "show | prune the sealed ticks",
    "simulator": "the Bybit v5 server",
    "ledger": "verify | show | export | backup | restore",
    "report": "the daily report, or a tick's post-mortem",
    "schedule": "install | remove | show (cron)",
    "alert": "test | show | send: messages to the owner",
    "preflight": "clock, region, key, minimums, disk, permissions: look before trading",
}
EPILOG = """exit codes: 0 done; 1 a failure of our own; 2 wrong usage or settings, or a tick in the future;
3 refused by the gate; 4 data or exchange trouble, or a tick missed; 5 drift or a failed verification;
75 another run holds the lock"""
FAILURE, USAGE, GATE, TROUBLE, DRIFT, BUSY = 1, 2, 3, 4, 5, 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    chosen = next((word for word in words if not word.startswith("-")), None)
    if chosen not in COMMANDS:
        parser.parse_args(words)  # prints help, version or what is wrong, and leaves
        parser.print_help()
        return USAGE
    module = importlib.import_module(f"tgtqr_lib.commands.{chosen}")
    command = argparse.ArgumentParser(
        prog=f"tgtqr {chosen}",
        description=module.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--home", type=Path, help="where data/ and outputs/ lie (or TGTQR_HOME)")
    module.arguments(command)
    words.remove(chosen)
    try:
        options = command.parse_intermixed_args(words)  # a name may also follow the options
    except TypeError:  # a command with actions of its own takes them in their order
        options = command.parse_args(words)
    signal.signal(signal.SIGTERM, _terminated)
    threading.excepthook = _thread_ended
    try:
        code = module.run(options)
        sys.stdout.flush()
        return code
    except Terminated:
        print("tgtqr: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("tgtqr: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, `tgtqr ledger show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _report(error, chosen)


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken as Ctrl-C is: what was begun is cleaned up on the way out."""


def _terminated(*_: object) -> None:
    raise Terminated


def _thread_ended(how: threading.ExceptHookArgs) -> None:
    """Say what ended a thread, as Python does, without the secrets that its error may hold."""
    import traceback

    from tgtqr_lib.credentials import redact

    if how.exc_type is SystemExit:
        return
    name = how.thread.name if how.thread else "-"
    text = "".join(traceback.format_exception(how.exc_type, how.exc_value, how.exc_traceback))
    print(f"Exception in thread {name}:\n{redact(text)}", file=sys.stderr, end="")


def _report(error: Exception, command: str) -> int:
    """Say what is wrong in one sentence and return the exit code that means it."""
    import sqlite3

    from tgtqr_lib.credentials import learn, redact
    from tgtqr_lib.domain import (
        BrokerError,
        Busy,
        Damaged,
        DataError,
        DomainError,
        GateRefused,
        TgtqrError,
    )

    codes = {
        Busy: BUSY, DomainError: USAGE, GateRefused: GATE, DataError: TROUBLE, BrokerError: TROUBLE,
        Damaged: DRIFT,
    }  # fmt: skip
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), FAILURE)
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or 'the output'}: {error.strerror}"
    elif isinstance(error, sqlite3.Error):
        text = f"the ledger cannot be read or written ({error}); `tgtqr ledger verify` tells more"
    elif not isinstance(error, TgtqrError):
        text = f"{type(error).__name__}: {error}; this is a fault of the kit"
        if os.environ.get("TGTQR_TRACEBACK"):
            import traceback

            text += "\n" + "".join(traceback.format_exception(error))
    learn(os.environ)
    print(f"tgtqr {command}: {redact(text)}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="tgtqr",
        usage="tgtqr COMMAND [options]    (tgtqr COMMAND --help tells more)",
        description="TGT QR: research and paper trading for Bybit; it never trades real money.\n\n"
        f"commands:\n{listing}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tgtqr {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
