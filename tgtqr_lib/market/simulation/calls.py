"""One request on its way through the simulator, and what a kind of fault is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tgtqr_lib.market.simulation import v5

if TYPE_CHECKING:
    from tgtqr_lib.market.simulation.account import Account


@dataclass(frozen=True, slots=True)
class Page:
    """An answer that is not Bybit's JSON."""

    status: int
    kind: str
    content: bytes


@dataclass
class Call:
    """One request on its way: faults of the request change what comes before `result`, others `result`.

    now_ms     the clock's time; no fault changes it
    at_ms      the moment whose data is shown
    shown_ms   the time the exchange says it is
    delay_s    how long the reply is held back
    refusal    an error of Bybit's instead of data
    page       what a server before the exchange says instead
    cut        whether the connection breaks in the middle of the reply
    closed     whether it closes without a reply

    Of requests that need a key:

    account    whose it is, once the signature was found right
    carried    the request is carried out although `refusal`, `page`, `cut` or `closed` say otherwise
    fraction   how much of an order may be filled; the rest is cancelled
    rejected   an order that was accepted is rejected afterwards
    """

    path: str
    asked: Mapping[str, Any]
    now_ms: int
    at_ms: int = -1
    shown_ms: int = -1
    delay_s: float = 0.0
    refusal: v5.Refused | None = None
    page: Page | None = None
    cut: bool = False
    closed: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    account: Account | None = None
    carried: bool = False
    fraction: Decimal | None = None
    rejected: bool = False

    def __post_init__(self) -> None:
        self.at_ms = self.shown_ms = self.now_ms
        self.symbol = self.asked.get("symbol")
        self.category = self.asked.get("category") or "linear"

    @property
    def fails(self) -> bool:
        """Whether the client gets something else than the result."""
        return self.refusal is not None or self.page is not None or self.cut or self.closed


Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    apply       changes a call; True when it did
    on_reply    whether it changes the result, else what comes before
    parameters  name -> default
    endpoints   those it concerns when none is named
    others      further ones that may be named
    """

    apply: Callable[[Parameters, Call], bool]
    on_reply: bool
    parameters: Mapping[str, Any]
    endpoints: tuple[str, ...]
    others: tuple[str, ...] = ()
