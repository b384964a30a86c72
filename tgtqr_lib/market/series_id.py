"""Which candles are meant: symbol, market, interval, and whether of trades or of the mark price.

Spot and perpetual share symbol strings, and every interval has candles that open on the hour: each is a
series of its own, in a folder of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tgtqr_lib.domain import MINUTE_MS, DomainError

MARKETS = ("spot", "linear")
INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}  # minutes
SYMBOL = re.compile(r"[A-Z0-9]{2,30}")
FOLDER = re.compile(rf"({'|'.join(MARKETS)})(-mark)?(?:-({'|'.join(list(INTERVALS)[1:])}))?")


@dataclass(frozen=True, slots=True)
class SeriesId:
    """The name of one series.

    market    `spot` or `linear`
    interval  a key of `INTERVALS`
    mark      candles of the mark price, which have no volume; else of trades
    """

    symbol: str
    market: str = "spot"
    interval: str = "1m"
    mark: bool = False

    def __post_init__(self) -> None:
        if self.market not in MARKETS:
            raise DomainError(
                f"market {self.market!r} is unknown; expected one of {', '.join(MARKETS)}"
            )
        if not SYMBOL.fullmatch(self.symbol):
            raise DomainError(f"symbol {self.symbol!r} is not a symbol; expected one like BTCUSDT")
        if self.interval not in INTERVALS:
            raise DomainError(
                f"interval {self.interval!r} is unknown; expected one of {', '.join(INTERVALS)}"
            )
        if self.mark and self.market != "linear":
            raise DomainError(f"{self.symbol}: only linear has a mark price, not {self.market}")

    @classmethod
    def of_folder(cls, folder: Path) -> SeriesId | None:
        """The series whose folder this is; None when it is no such folder."""
        match = FOLDER.fullmatch(folder.parent.name)
        if (
            match is None
            or not SYMBOL.fullmatch(folder.name)
            or (match[2] and match[1] != "linear")
        ):
            return None
        return cls(folder.name, match[1], match[3] or "1m", bool(match[2]))

    @property
    def folder(self) -> Path:
        """Below the lake's root: `spot/BTCUSDT`, `linear-5m/BTCUSDT`, `linear-mark/BTCUSDT`."""
        mark = "-mark" if self.mark else ""
        interval = "" if self.interval == "1m" else f"-{self.interval}"
        return Path(f"{self.market}{mark}{interval}") / self.symbol

    @property
    def step_ms(self) -> int:
        """From one open to the next."""
        return INTERVALS[self.interval] * MINUTE_MS

    @property
    def steps(self) -> str:
        """What its candles are counted in, for a message."""
        return "minutes" if self.interval == "1m" else f"{self.interval} candles"

    def __str__(self) -> str:
        mark = " mark" if self.mark else ""
        interval = "" if self.interval == "1m" else f" {self.interval}"
        return f"{self.symbol} {self.market}{mark}{interval}"
