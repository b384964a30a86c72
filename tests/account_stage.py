"""A stage whose orders go to an account at the simulated exchange, by signed requests with the canary's keys.

The judge of every test is the simulator's own record: its wallet, orders and executions, all exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.canary import CANARY_KEY, CANARY_SECRET
from tests.stage import PATIENCE, HandMarket, Stage, ms
from tgtqr_lib import books, gate, journal, ledger, settings
from tgtqr_lib.brokers.bybit_client import PrivateClient
from tgtqr_lib.credentials import KEY, SECRET, Credentials, Secret
from tgtqr_lib.desk import open_desk
from tgtqr_lib.home import Home
from tgtqr_lib.market.simulation.account import Account, Order
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import Simulator, running
from tgtqr_lib.market.simulator_clock import SimulatorClock

CREATE, REALTIME = "/v5/order/create", "/v5/order/realtime"
WALLET = "/v5/account/wallet-balance"
LISTS = (REALTIME, "/v5/order/history", "/v5/execution/list")
OPENING = {"USDT": Decimal(1000), "BTC": Decimal("0.5"), "ETH": Decimal(0)}
SETTINGS = f"{PATIENCE}account = 'demo'\ndemo_limits_scale = '{{scale}}'\n"
KEYS = {KEY: CANARY_KEY, SECRET: CANARY_SECRET}


@dataclass
class AccountStage(Stage):
    """A home whose orders go to `there`, the account as the exchange itself knows it."""

    accounts: Accounts | None = None
    scale: str = "10"

    @property
    def there(self) -> Account:
        return self.accounts.account("demo")

    def creates(self) -> int:
        """How many requests to create an order the exchange has had."""
        return self.simulator.state()["requests"].get(CREATE, 0)

    def fault(self, kind: str, **more: Any) -> int:
        return self.simulator.faults.add(kind, **more)

    def well(self) -> None:
        """Switch every fault off."""
        self.simulator.faults.clear()

    def order(self, name: str) -> Order:
        """The one order that the exchange has of a client's id."""
        (found,) = [one for one in self.there.orders.values() if one.link_id == name]
        return found

    def result(self, name: str) -> str | None:
        """What the ledger says became of an order; None while its outcome is open."""
        row = ledger.get(self.desk.con, f"order/{name}")
        return row.body["result"] if row else None

    def unknown(self) -> list[str]:
        """Orders whose outcome is open."""
        return [row.key.removeprefix("intent/") for row in books.open_intents(self.desk.con)]

    def state(self) -> tuple[str, str]:
        """State of the gate and its reason."""
        found, code, _ = gate.state_of(self.situation())
        return str(found), code

    def sentence(self) -> str:
        return gate.state_of(self.situation())[2]

    def told(self) -> str:
        """What the log says."""
        return self.home.log.read_text("utf-8")

    def configure(self, text: str) -> None:
        """Add lines to settings.toml and load it as the next command would."""
        write_settings(self.home, self.simulator, self.scale, text)
        self.desk.settings = settings.load(self.home)

    def hand(self, key: str = CANARY_KEY, secret: str = CANARY_SECRET) -> PrivateClient:
        """Somebody else with the keys of the account."""
        keys = Credentials(Secret(key), Secret(secret))
        return PrivateClient(self.simulator.url, keys, timeout_s=5, simulated=True)

    def by_hand(self, side: str, quantity: str, price: str, name: str, **more: str) -> None:
        """An order that the ledger knows nothing of."""
        asked = {"category": "spot", "symbol": "BTCUSDT", "timeInForce": "IOC", **more}
        client = self.hand()
        client.tell(
            "order_create",
            **asked,
            side=side,
            orderType="Limit",
            qty=quantity,
            price=price,
            orderLinkId=name,
        )
        client.close()


def write_settings(home: Home, simulator: Simulator, scale: str, text: str = "") -> None:
    """settings.toml of a home that trades the demo account of `simulator`."""
    table = f'[simulator]\nurl = "{simulator.url}"\n'
    home.settings.write_text(f"{SETTINGS.format(scale=scale)}{text}\n{table}", "utf-8")


@contextmanager
def exchange(path: Path | None = None, **more: Any) -> Iterator[tuple[HandMarket, Simulator]]:
    """The exchange at 10:00 with the account of the canary's keys, which `path` keeps."""
    market, accounts = HandMarket(), Accounts(path)
    accounts.open(CANARY_KEY, CANARY_SECRET, balances=OPENING)
    with running(market, SimulatorClock(ms("10:00")), accounts=accounts, **more) as simulator:
        yield market, simulator


@contextmanager
def machine(
    folder: Path, market: HandMarket, simulator: Simulator, scale: str = "10"
) -> Iterator[AccountStage]:
    """A home in `folder` that trades the account; the environment must hold its keys."""
    home = Home(folder).make()
    write_settings(home, simulator, scale)
    with open_desk(home, settings.load(home)) as desk:
        journal.start(home)
        desk.broker.client._budget_s = 0.2  # a question that fails is not asked again
        yield AccountStage(home, market, simulator, desk, None, simulator.accounts, scale)


def executed(stage: AccountStage) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """Quantity, value and fee that the exchange executed of each client's id."""
    found: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    for one in stage.there.executions:
        name = stage.there.orders[one.order_id].link_id
        before = found.get(name, (Decimal(0),) * 3)
        found[name] = tuple(
            old + new for old, new in zip(before, (one.quantity, one.value, one.fee), strict=True)
        )
    return found


def booked(stage: AccountStage) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """Quantity, notional and fee of every fill in the ledger, read from its rows alone."""
    rows = [row.body for row in stage.events("fill")]
    return {
        body["order_id"]: tuple(Decimal(body[name]) for name in ("quantity", "notional", "fee"))
        for body in rows
    }


def check_books(stage: AccountStage) -> None:
    """Every execution is booked once, nothing else is, and the wallet is what the fills make of it."""
    assert booked(stage) == executed(stage)
    assert len(stage.events("fill")) == len(booked(stage))
    names = [order.link_id for order in stage.there.orders.values()]
    assert len(names) == len(set(names))
    wallet = dict(OPENING)
    for body in (row.body for row in stage.events("fill")):
        coin, sign = body["symbol"].removesuffix("USDT"), 1 if body["side"] == "BUY" else -1
        wallet[coin] += sign * Decimal(body["quantity"])
        wallet["USDT"] -= sign * Decimal(body["notional"])
        wallet[body["fee_currency"]] -= Decimal(body["fee"])
    assert wallet == stage.there.wallet
    held = {coin: amount - OPENING[coin] for coin, amount in wallet.items()}
    portfolio = stage.situation().portfolio
    assert portfolio.cash == Decimal(10) * Decimal(stage.scale) + held.pop("USDT")
    folded = {p.symbol.removesuffix("USDT"): p.quantity for p in portfolio.positions}
    assert folded == {coin: amount for coin, amount in held.items() if amount}
