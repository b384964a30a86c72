"""The paper broker: an order meets the recorded book, and nothing leaves the machine."""

from __future__ import annotations

from tgtqr_lib.domain import Fees, Fill, Order, Quote
from tgtqr_lib.execution import fill


class PaperBroker:
    """Fills orders from the quote it is shown, at the fees it was made with."""

    def __init__(self, fees: Fees) -> None:
        self.fees = fees

    def submit(self, order: Order, quote: Quote) -> list[Fill]:
        """The fills of `order` at `quote`; none when the quote is outside its limit."""
        filled = fill(order, quote, self.fees)
        return [] if filled is None else [filled]
