"""How old a click is: a command that waited for a lost connection must not act minutes later.

The browser stamps each message with its own clock, which may be wrong; the quickest message seen so far
tells by how much, so what counts is how much later than that a message came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

OLDEST_S = 30.0
WATCHED = ("comm_open", "comm_msg", "comm_info_request", "kernel_info_request")


class Lateness:
    """Measures messages by their stamps; `age_s` is that of the one being handled."""

    def __init__(self) -> None:
        self._quickest: float | None = None
        self._age = 0.0
        self._lock = threading.Lock()

    def note(self, stamp: Any, now: datetime) -> None:
        """A message stamped `stamp` (ISO text or datetime) is handled at `now`."""
        try:
            sent = stamp if isinstance(stamp, datetime) else datetime.fromisoformat(str(stamp))
            sent = sent.replace(tzinfo=UTC) if sent.tzinfo is None else sent
            lag = (now - sent).total_seconds()
        except (ValueError, OverflowError, TypeError):
            with self._lock:
                self._age = float("inf")  # a message without a time is never fresh
            return
        with self._lock:
            self._quickest = lag if self._quickest is None else min(self._quickest, lag)
            self._age = lag - self._quickest

    @property
    def age_s(self) -> float:
        with self._lock:
            return self._age

    def too_old(self) -> str | None:
        """Why the message being handled is refused, or None."""
        age = self.age_s
        if age <= OLDEST_S:
            return None
        return f"this click is {age:.0f} s old, at most {OLDEST_S:.0f} s are taken; nothing was changed, click again"


def watch_kernel(lateness: Lateness) -> bool:
    """Let `lateness` see every message of this kernel before it is handled; False outside a kernel."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    for kind in WATCHED:
        if kind in kernel.shell_handlers:
            kernel.shell_handlers[kind] = _noting(kernel.shell_handlers[kind], lateness)
    return True


def _noting(handler: Callable[..., Any], lateness: Lateness) -> Callable[..., Any]:
    def noted(stream: Any, ident: Any, message: dict[str, Any]) -> Any:
        lateness.note(message["header"].get("date"), datetime.now(UTC))
        return handler(stream, ident, message)

    return noted
