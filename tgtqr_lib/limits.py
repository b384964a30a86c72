"""The hard limits. Settings, page and command line can only tighten them; nothing loosens them."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

from tgtqr_lib.domain import Limits

HARD = Limits(
    position_usdt=Decimal("1.00"),
    daily_loss_usdt=Decimal("2.00"),
    total_loss_usdt=Decimal("5.00"),
    trim_usdt=Decimal("1.00"),
)
LEVERAGE = 1
SYMBOLS = ("BTCUSDT", "ETHUSDT")  # also the order in which entries are considered
MARKET = "spot"
INITIAL_EQUITY = Decimal("10.00")

COLLAR_BPS = 100
# Bybit refuses spot limits further than 0.5 % from its index price (priceLimitRatioX of BTCUSDT and ETHUSDT)
ACCOUNT_COLLAR_BPS = 40
ORDER_TARGET_USDT = Decimal("0.95")
MAX_ORDERS_A_TICK = 2
MAX_ORDERS_A_DAY = 192
QUOTE_MAX_AGE_S = 5
LEASE_S = 180
CLOCK_OFFSET_MS = 500
DISK_FREE_MB = 200
MAX_JUMP_FRACTION = Decimal("0.20")
TICKER_FRACTION = Decimal("0.02")


def scaled(limits: Limits, scale: Decimal) -> Limits:
    """`limits`, each times `scale`: an exchange's demo account holds virtual money."""
    return Limits(**{f.name: getattr(limits, f.name) * scale for f in fields(Limits)})


def tightest(*limits: Limits, ceiling: Limits = HARD) -> Limits:
    """The smallest of each limit, never above `ceiling`, the hard one."""
    every = (ceiling, *limits)
    return Limits(**{f.name: min(getattr(one, f.name) for one in every) for f in fields(Limits)})
