"""Bybit's limits of requests, per address and per key, in this machine's seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from threading import Lock

REQUESTS, WINDOW_S = 600, 5


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left: `left` of `most` requests in a window that ends in `wait_ms` of real time."""

    allowed: bool
    left: int
    wait_ms: int
    most: int | None = None  # None: what an address may

    def headers(self, now_ms: int) -> dict[str, str]:
        """Bybit's three headers.

        The time of the reset is `now_ms` while requests are left, as at Bybit. When none is left it is a time
        of this machine's clock, since that is what clients such as pybit hold it against.
        """
        reset_ms = now_ms if self.allowed else time.time_ns() // 1_000_000 + self.wait_ms
        return {
            "X-Bapi-Limit": str(REQUESTS if self.most is None else self.most),
            "X-Bapi-Limit-Status": str(self.left),
            "X-Bapi-Limit-Reset-Timestamp": str(reset_ms),
        }


SPENT = Allowance(allowed=False, left=0, wait_ms=1000)  # what a fault of the rate limit shows


class RateLimit:
    """Counts the requests of each address (in 5 s), and of each key and endpoint (in 1 s), for any thread.

    It counts always and refuses only when `enforced`. Real seconds count, however fast the simulator's clock
    runs: the limit protects a server, not a market.
    """

    def __init__(self, enforced: bool = False) -> None:
        self.enforced = enforced
        self._lock = Lock()
        self._windows: dict[object, tuple[int, int]] = {}  # who -> start of the window, requests

    def take(self, address: str) -> Allowance:
        """Count one request of `address`."""
        return self._take(address, REQUESTS, WINDOW_S)

    def take_of_key(self, key: str, path: str, a_second: int) -> Allowance:
        """Count one request of a key to an endpoint that allows it `a_second` of them."""
        return replace(self._take((key, path), a_second, 1), most=a_second)

    def _take(self, who: object, most: int, window_s: int) -> Allowance:
        now_ns = time.monotonic_ns()
        with self._lock:
            began_ns, count = self._windows.get(who, (now_ns, 0))
            if now_ns - began_ns >= window_s * 10**9:
                began_ns, count = now_ns, 0
            count += 1
            self._windows[who] = began_ns, count
        wait_ms = window_s * 1000 - (now_ns - began_ns) // 1_000_000
        return Allowance(
            allowed=not self.enforced or count <= most, left=max(most - count, 0), wait_ms=wait_ms
        )
