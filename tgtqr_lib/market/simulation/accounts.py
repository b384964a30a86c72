"""The accounts of a simulator and the keys that open them.

    accounts = Accounts("accounts.jsonl")
    accounts.open(key, secret, balances={"USDT": "100"})
    with running(source, clock, accounts=accounts) as simulator: ...

With a path, wallets, orders and executions outlive the process, even one that is killed. Keys and secrets are not in
the file: each start opens its accounts again, and one that the file knows by environment and name goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from threading import RLock
from typing import Any

from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.account import (
    Account,
    Execution,
    Order,
    execution_from,
    order_from,
    plain,
)
from tgtqr_lib.market.simulation.account_file import AccountFile, Record
from tgtqr_lib.market.simulation.keys import Key
from tgtqr_lib.market.simulator_clock import instant_ms

COINS = ("USDT", "BTC", "ETH")
MOST = Decimal(10) ** 12  # so that no sum of it needs more digits than decimals carry


class Accounts:
    """Accounts by environment and name; safe to use from several threads, and its file from several processes."""

    def __init__(self, path: str | Path | None = None) -> None:
        """Without a path they live as long as this object. StoreError when the file cannot be used."""
        self._lock = RLock()
        self._accounts: dict[tuple[str, str], Account] = {}
        self._fingerprints: set[str] = set()
        self._held = 0
        self.keys: dict[str, Key] = {}
        self._file = None if path is None else AccountFile(path, self._take_in)

    def open(
        self,
        key: str,
        secret: str,
        *,
        balances: Mapping[str, str | int | Decimal] | None = None,
        environment: str = "demo",
        name: str = "main",
        permissions: Iterable[str] = ("SpotTrade",),
        read_only: bool = False,
        expires_at: str | int | None = None,
        ips: Iterable[str] = ("*",),
        account_type: str = "UNIFIED",
        fee_rate: str = "0.001",
        created_at: str | int = "2025-01-01T00:00:00Z",
    ) -> Account:
        """The account `name` of `environment`, which `key` opens from now on.

        A new one gets `balances` (coin -> amount, 100 USDT unless told otherwise); one that is there already keeps
        what it has. A key given again gets these properties in place of its old ones. `expires_at` and `created_at`
        are exchange time, ISO 8601 or milliseconds; `permissions` are Bybit's names, such as SpotTrade, Withdraw,
        AccountTransfer. DomainError when one of them cannot be.
        """
        made = Key(
            text=key,
            secret=secret,
            environment=environment,
            account=name,
            permissions=tuple(permissions),
            read_only=read_only,
            expires_ms=None if expires_at is None else instant_ms(expires_at),
            ips=tuple(ips),
            account_type=account_type,
            fee_rate=format(_amount("fee_rate", fee_rate, Decimal("0.1")), "f"),
            created_ms=instant_ms(created_at),
        )
        opening = _balances({"USDT": "100"} if balances is None else balances)
        with self.turn():
            account = self._accounts.get((environment, name))
            if account is None:
                record = {
                    "kind": "account",
                    "environment": environment,
                    "name": name,
                    "opening": {coin: format(amount, "f") for coin, amount in opening.items()},
                }
                self._write(record)
                self._take_in(record)
                account = self._accounts[environment, name]
            self._remember(made)
            self.keys[key] = made
        return account

    def account(self, environment: str = "demo", name: str = "main") -> Account:
        """An account that was opened, by this process or another; DomainError when there is none."""
        with self.turn():
            if (environment, name) not in self._accounts:
                raise DomainError(f"account {environment}/{name}: not opened here")
            return self._accounts[environment, name]

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else reads or changes an account meanwhile; what others changed before is known."""
        with self._lock:
            if self._file is None or self._held:
                yield
                return
            with self._file.turn():
                self._held += 1
                try:
                    yield
                finally:
                    self._held -= 1

    def commit(
        self, account: Account, orders: Iterable[Order], executions: Iterable[Execution] = ()
    ) -> None:
        """Store a change of `account`, then make it: all of it or, after a crash, none; only inside a turn."""
        changed, executed = list(orders), list(executions)
        self._write(
            {
                "kind": "change",
                "environment": account.environment,
                "name": account.name,
                "orders": [plain(order) for order in changed],
                "executions": [plain(execution) for execution in executed],
            }
        )
        account.apply(changed, executed)

    def state(self) -> list[dict[str, Any]]:
        """Every key and its account as plain values, without secrets."""
        with self.turn():
            return [self._state_of(key) for key in self.keys.values()]

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

    def _state_of(self, key: Key) -> dict[str, Any]:
        account = self._accounts[key.environment, key.account]
        return {
            "environment": key.environment,
            "name": key.account,
            "key": key.shown,
            "permissions": list(key.permissions),
            "read_only": key.read_only,
            "wallet": {coin: format(amount, "f") for coin, amount in account.wallet.items()},
            "orders": len(account.orders),
            "open_orders": len(account.open_orders()),
            "executions": len(account.executions),
        }

    def _remember(self, key: Key) -> None:
        """What may be known of the key, once."""
        if key.fingerprint not in self._fingerprints:
            record = {
                "kind": "key",
                "fingerprint": key.fingerprint,
                "environment": key.environment,
                "name": key.account,
                "permissions": list(key.permissions),
            }
            self._write(record)
            self._take_in(record)

    def _write(self, record: Record) -> None:
        if self._file is not None:
            self._file.append(record)

    def _take_in(self, record: Record) -> None:
        """Make the change that a record tells of; KeyError, ValueError and the like when it is none."""
        kind = record["kind"]
        if kind == "key":
            self._fingerprints.add(record["fingerprint"])
            return
        place = record["environment"], record["name"]
        if kind == "account":
            opening = {coin: Decimal(amount) for coin, amount in record["opening"].items()}
            self._accounts[place] = Account(*place, opening)
        elif kind == "change":
            self._accounts[place].apply(
                [order_from(one) for one in record["orders"]],
                [execution_from(one) for one in record["executions"]],
            )
        else:
            raise ValueError(f"kind {kind!r}")


def _balances(given: Mapping[str, str | int | Decimal]) -> dict[str, Decimal]:
    if not isinstance(given, Mapping):
        raise DomainError(f'balances {given!r}: expected an object such as {{"USDT": "100"}}')
    if strange := sorted(set(given) - set(COINS)):
        raise DomainError(f"balances: {', '.join(strange)}, expected {', '.join(COINS)}")
    return {coin: _amount(coin, given.get(coin, 0), MOST) for coin in COINS}


def _amount(name: str, given: str | int | Decimal, most: Decimal) -> Decimal:
    """An exact amount; a float is none."""
    try:
        amount = Decimal(given) if isinstance(given, (str, int, Decimal)) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(given, bool) or not amount.is_finite() or not 0 <= amount <= most:
        raise DomainError(f"{name} {given!r}: expected a decimal number as text, 0 to {most:f}")
    return amount
