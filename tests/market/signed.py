"""A client of a simulated account that signs by the words of Bybit's guide, and can do it wrong."""

import hashlib
import hmac
import http.client
import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit

KEY, SECRET = "a-demo-key-0001", "a-demo-secret-0001"


class Signed:
    """Asks one simulator over one connection at the time of its clock; `skew_ms` is added to it."""

    def __init__(self, simulator, key: str = KEY, secret: str = SECRET) -> None:
        self.simulator, self.key, self.secret = simulator, key, secret
        self.skew_ms, self.window = 0, "5000"
        self._at = urlsplit(simulator.url).netloc
        self._connection = http.client.HTTPConnection(self._at, timeout=30)

    def send(
        self, method: str, path: str, payload: str, signed: str | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON (else bytes) and headers of the answer; `signed` is what is signed instead of `payload`."""
        timestamp = str(self.simulator.clock.now_ms() + self.skew_ms)
        text = timestamp + self.key + self.window + (payload if signed is None else signed)
        sign = hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        own = {
            "X-BAPI-API-KEY": self.key,
            "X-BAPI-TIMESTAMP": timestamp,
            "X-BAPI-SIGN": sign,
            "X-BAPI-RECV-WINDOW": self.window,
            "Content-Type": "application/json",
        }
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        own = {name: value for name, value in own.items() if value is not None}
        address = f"{path}?{payload}" if method == "GET" and payload else path
        body = payload.encode() if method == "POST" else None
        try:
            self._connection.request(method, address, body, own)
            reply = self._connection.getresponse()
            content = reply.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        kind = reply.headers.get_content_type()
        told = json.loads(content) if kind == "application/json" else content
        return reply.status, told, dict(reply.headers)

    def get(self, path: str, **asked: Any) -> Any:
        """The whole answer to a signed question below /v5/."""
        return self.send("GET", f"/v5/{path}", urlencode(asked))[1]

    def ask(self, path: str, **asked: Any) -> Any:
        """The result of a signed question that is answered."""
        reply = self.get(path, **asked)
        assert reply["retCode"] == 0, reply
        return reply["result"]

    def post(self, path: str, **body: Any) -> Any:
        """The whole answer to a signed order below /v5/."""
        return self.send("POST", f"/v5/{path}", json.dumps(body))[1]

    def place(self, side: str, qty: str, price: str | None = None, **more: Any) -> Any:
        """The answer to an order, spot and IOC unless told otherwise; a market order without a price."""
        kind = {"orderType": "Market"} if price is None else {"orderType": "Limit", "price": price}
        asked = {"category": "spot", "symbol": "BTCUSDT", "side": side, "qty": qty, **kind}
        return self.post("order/create", **{"timeInForce": "IOC"} | asked | more)

    def placed(self, side: str, qty: str, price: str | None = None, **more: Any) -> dict[str, Any]:
        """The order that was placed, as /v5/order/realtime shows it."""
        reply = self.place(side, qty, price, **more)
        assert reply["retCode"] == 0, reply
        (order,) = self.ask("order/realtime", category="spot", orderId=reply["result"]["orderId"])[
            "list"
        ]
        return order

    def order(self, order_id: str) -> dict[str, Any]:
        """An order by its id."""
        return self.ask("order/realtime", category="spot", orderId=order_id)["list"][0]

    def wallet(self) -> dict[str, Decimal]:
        """Coin -> balance, of the coins that are there."""
        (account,) = self.ask("account/wallet-balance", accountType="UNIFIED")["list"]
        return {one["coin"]: Decimal(one["walletBalance"]) for one in account["coin"]}

    def locked(self, coin: str) -> Decimal:
        """What open orders keep of `coin`."""
        (account,) = self.ask("account/wallet-balance", accountType="UNIFIED", coin=coin)["list"]
        return Decimal(account["coin"][0]["locked"])

    def close(self) -> None:
        self._connection.close()
