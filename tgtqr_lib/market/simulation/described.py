"""Accounts described in JSON: by a request to the simulator, or by a file that only its owner may read."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.accounts import Accounts

_KINDS = {str: "text", list: "list", bool: "true or false"}


def open_account(accounts: Accounts, described: Any) -> None:
    """`Accounts.open` by a JSON object with its parameters; DomainError when it makes no sense.

    No message has a key or a secret in it.
    """
    if not isinstance(described, Mapping):
        raise DomainError("account: expected an object with key, secret and balances")
    options = tuple(signature(accounts.open).parameters)
    if strange := sorted(set(described) - set(options)):
        raise DomainError(f"account: unknown {', '.join(strange)}, expected {', '.join(options)}")
    for name in ("key", "secret"):
        if not isinstance(described.get(name), str) or not described[name]:
            raise DomainError(f"account: expected its {name}, a text")
    for name, kind in (
        ("environment", str),
        ("name", str),
        ("account_type", str),
        ("permissions", list),
        ("ips", list),
        ("read_only", bool),
    ):
        if name in described and not isinstance(described[name], kind):
            raise DomainError(f"account: {name} {described[name]!r}, expected {_KINDS[kind]}")
    accounts.open(**described)


def read_accounts(accounts: Accounts, path: str | Path) -> None:
    """Open the account, or the list of them, that a JSON file describes.

    DomainError when others than its owner may read it, and when it makes no sense.
    """
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode)
        if mode & 0o077:
            raise DomainError(
                f"account file {path}: others may read it (mode {mode:04o}), and it holds a secret; "
                f"expected 0600: chmod 600 {path}"
            )
        described = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise DomainError(f"account file {path}: {error.strerror}") from None
    except ValueError:  # its text, and with it a secret, might be in the message
        raise DomainError(f"account file {path}: it is not JSON") from None
    for one in described if isinstance(described, list) else [described]:
        open_account(accounts, one)
