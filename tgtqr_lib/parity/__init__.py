"""The ticks of a day against the backtest of the same candles.

findings  the closed list of causes, what was found of each tick, and the day's result
past      every minute with both of its values: what the ticks saw, and what is known of it now
record    what ledger and archive hold of the day's ticks
backtest  `replay`'s own tick, stepped from quarter hour to quarter hour
proof     which causes turn the one decision into the other
fills     what was booked of an order against the backtest's fill
day       the comparison itself
"""

from tgtqr_lib.parity.day import NotPaper, parity
from tgtqr_lib.parity.findings import Cause, Parity

__all__ = ["Cause", "NotPaper", "Parity", "parity"]
