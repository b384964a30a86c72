"""API keys of the simulated exchange, and what a request signed with one must look like.

Words and codes are Bybit's. A signature is the HMAC-SHA256, by the key's secret, of timestamp, key, receive window
and the query string or body as they were sent, one after the other.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.v5 import Refused

ENVIRONMENTS = ("demo", "testnet")
ACCOUNT_TYPES = ("UNIFIED", "CLASSIC")
RECV_WINDOW_MS = 5000  # when a request names none
AHEAD_MS = 1000
GROUPS = {
    "ContractTrade": ("Order", "Position"),
    "Spot": ("SpotTrade",),
    "Wallet": ("AccountTransfer", "SubMemberTransfer", "Withdraw"),
    "Options": ("OptionsTrade",),
    "Derivatives": ("DerivativesTrade",),
    "CopyTrading": ("CopyTrading",),
    "BlockTrade": ("BlockTrade",),
    "Exchange": ("ExchangeHistory",),
    "NFT": ("NFTQueryProductList",),
    "Affiliate": ("Affiliate",),
    "Earn": ("Earn",),
    "FiatP2P": ("FiatP2POrder", "Advertising"),
    "FiatConvertBroker": ("FiatConvertBrokerOrder",),
    "FiatGlobalPay": (),
    "FiatBitPay": ("FaitPayOrder",),
    "BitCard": ("BitCard",),
    "ByXPost": ("ByXPost",),
}
PERMISSIONS = tuple(name for group in GROUPS.values() for name in group)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an account; neither its text nor its secret is ever shown or stored.

    expires_ms   None: never
    ips          addresses it may come from; `*` is any
    fee_rate     what the account pays of what comes in, maker and taker alike
    created_ms   what /v5/user/query-api says of it
    """

    text: str = field(repr=False)
    secret: str = field(repr=False)
    environment: str
    account: str
    permissions: tuple[str, ...]
    read_only: bool
    expires_ms: int | None
    ips: tuple[str, ...]
    account_type: str
    fee_rate: str
    created_ms: int

    def __post_init__(self) -> None:
        for name, value, known in (
            ("environment", self.environment, ENVIRONMENTS),
            ("account_type", self.account_type, ACCOUNT_TYPES),
            *(("permission", one, PERMISSIONS) for one in self.permissions),
        ):
            if value not in known:
                raise DomainError(f"{name} {value!r}: expected one of {', '.join(known)}")
        if not self.text or not self.secret:
            raise DomainError("an account needs a key and a secret")

    @property
    def shown(self) -> str:
        """Its first characters, enough to tell it from others."""
        return f"{self.text[:4]}..."

    @property
    def fingerprint(self) -> str:
        """A number that stands for the key and from which it cannot be told."""
        return hashlib.sha256(f"tgtqr simulator key {self.text}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that claims to come from the owner of a key; `payload` is its query or body as it was sent."""

    key: str
    timestamp: str
    signature: str
    window: str
    payload: str
    address: str

    @classmethod
    def of(cls, headers: Mapping[str, str], payload: str, address: str) -> Signed:
        """What the headers of a request claim."""
        return cls(
            key=headers.get("X-BAPI-API-KEY") or "",
            timestamp=headers.get("X-BAPI-TIMESTAMP") or "",
            signature=headers.get("X-BAPI-SIGN") or "",
            window=headers.get("X-BAPI-RECV-WINDOW") or "",
            payload=payload,
            address=address,
        )

    @property
    def origin(self) -> str:
        """The text that is signed."""
        return f"{self.timestamp}{self.key}{self.window}{self.payload}"


def signature(secret: str, text: str) -> str:
    """The signature of `text`, in hexadecimal digits."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def check(signed: Signed, keys: Mapping[str, Key], environment: str, now_ms: int) -> Key:
    """The key of a request that is genuine and in time; `Refused` for every other one.

    `now_ms` is what the server's clock shows.
    """
    if not (signed.key and signed.timestamp and signed.signature):
        raise Refused(
            f"empty value: apiTimestamp[{signed.timestamp}] apiKey[{signed.key}] "
            f"apiSignature[{signed.signature}]"
        )
    _check_time(signed, now_ms)
    key = keys.get(signed.key)
    if key is None or key.environment != environment:
        raise Refused("API key is invalid.", 10003)
    if key.expires_ms is not None and key.expires_ms <= now_ms:
        raise Refused("Your api key has expired.", 33004)
    if "*" not in key.ips and signed.address not in key.ips:
        raise Refused("Unmatched IP, please check your API key's bound IP addresses.", 10010)
    if not hmac.compare_digest(
        signature(key.secret, signed.origin).encode(), signed.signature.encode()
    ):
        raise Refused(f"error sign! origin_string[{signed.origin}]", 10004)
    return key


def may(key: Key, permission: str, writes: bool) -> None:
    """`Refused` unless the key has `permission`, and may write where that is needed."""
    if (permission and permission not in key.permissions) or (writes and key.read_only):
        raise Refused("Permission denied, please check your API key permissions.", 10005)


def _check_time(signed: Signed, now_ms: int) -> None:
    window = signed.window or str(RECV_WINDOW_MS)
    numbers = all(
        text.isascii() and text.isdigit() and len(text) < 20 for text in (signed.timestamp, window)
    )
    if not numbers or not (now_ms - int(window) <= int(signed.timestamp) < now_ms + AHEAD_MS):
        raise Refused(
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{signed.timestamp}],server_timestamp[{now_ms}],recv_window[{window}]",
            10002,
        )
