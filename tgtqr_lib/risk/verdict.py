"""How a rule answers: one helper for values under a limit, one for facts."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.domain import Verdict


def verdict(
    code: str,
    value: Decimal | int,
    limit: Decimal | int,
    text: str,
    *,
    applies: bool = True,
    at_least: bool = False,
) -> Verdict:
    """Allowed while `value` is at most `limit` (at least, if so asked); the limit itself is allowed.

    A rule that does not apply allows, and keeps its figures for the report.
    """
    value, limit = Decimal(value), Decimal(limit)
    if not (value.is_finite() and limit.is_finite()):  # a NaN cannot even be compared
        return Verdict(code, not applies, value, limit, None, text)
    distance = value - limit if at_least else limit - value
    return Verdict(code, not applies or distance >= 0, value, limit, distance, text)


def fact(code: str, holds: bool, text: str, *, applies: bool = True) -> Verdict:
    """Allowed when the fact holds or the rule does not apply; there is no figure to show."""
    return Verdict(code, not applies or bool(holds), None, None, None, text)
