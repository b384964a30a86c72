"""Facts that are had once: asked for when first wanted, and kept, also when they cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tgtqr_lib.preflight.finding import NotKnown

UNDER_WAY, VALUE, ERROR = "under way", "value", "error"


class Once:
    """Keeps what was made, by its name."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, Any]] = {}

    def __call__(self, name: str, make: Callable[[], Any], told_by: str | None = None) -> Any:
        """What `make` gives, made at the first call of this name.

        told_by  the check that reports an error: it gets it as it is, as it asks first, and every later one
                 `NotKnown` with a word where to look; None raises it to all alike

        While a check that was given up still waits for it, others get `NotKnown` as well.
        """
        if name in self._kept:
            kind, kept = self._kept[name]
            if kind == VALUE:
                return kept
            if kind == ERROR:
                raise kept
            raise NotKnown("not asked: an earlier check still waits for the answer")
        self._kept[name] = (UNDER_WAY, None)
        try:
            value = make()
        except Exception as error:
            as_it_is = told_by is None or isinstance(error, NotKnown)
            self._kept[name] = (ERROR, error if as_it_is else NotKnown(f"not known; see {told_by}"))
            raise
        self._kept[name] = (VALUE, value)
        return value
