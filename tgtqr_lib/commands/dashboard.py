"""Serve the dashboard in a browser, until Ctrl-C. `tgtqr dashboard password` prints a line for .env.

Without a password each start has a link with a token of its own. With one, --host may be another address
than this machine's own.
"""

from __future__ import annotations

import argparse

from tgtqr_lib import journal
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["password"], help="ask for a new password")
    parser.add_argument(
        "--port", type=int, default=5000, help="0 lets the system choose one (5000)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (127.0.0.1)")
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    if options.action == "password":
        return _password()
    from tgtqr_lib.dashboard.child import end_with_parent
    from tgtqr_lib.dashboard.server import serve

    home = Home.find(options.home)
    if options.with_parent:
        end_with_parent()
    journal.start(home)
    serve(home, options.host, options.port)
    return 0


def _password() -> int:
    from getpass import getpass

    from tgtqr_lib.dashboard.auth import new_password_line

    try:
        line = new_password_line(getpass("New password: "), getpass("The same again: "))
    except EOFError:
        raise DomainError("the input ended; expected a password, and the same again") from None
    print("Put this line into the file .env of your home or of the project:")
    print(line)
    return 0
