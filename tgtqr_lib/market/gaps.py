"""What the exchange itself does not have: stretches of a series that were asked for twice and never came.

They are kept in `gaps.csv` beside the months, under the same checksums, so that a fetch does not ask for
them for ever and `data verify` can tell them from data that was never fetched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tgtqr_lib.clock import from_ms, iso, parse_time, to_ms
from tgtqr_lib.domain import Damaged, DomainError, StoreError
from tgtqr_lib.market import sealed

GAPS = "gaps.csv"
HEADER = "from,to,asked_at,source"


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """[start_ms, end_ms), of which `source` said at `asked_at` that it has nothing."""

    start_ms: int
    end_ms: int
    asked_at: datetime
    source: str

    def without(self, start_ms: int, end_ms: int, source: str) -> list[Gap]:
        """What is left of the gap of `source` outside [start_ms, end_ms)."""
        if self.source != source:
            return [self]
        parts = (
            replace(self, end_ms=min(self.end_ms, start_ms)),
            replace(self, start_ms=max(self.start_ms, end_ms)),
        )
        return [part for part in parts if part.start_ms < part.end_ms]

    def __str__(self) -> str:
        return (
            f"{from_ms(self.start_ms):%Y-%m-%d %H:%M} to {from_ms(self.end_ms):%Y-%m-%d %H:%M} UTC"
        )


def read(folder: Path, name: str = GAPS) -> tuple[Gap, ...]:
    """The gaps on record in `folder`, oldest first. Raises `StoreError` when the file is damaged."""
    path = folder / name
    _, problem = sealed.look(path, sealed.sums(folder).get(name, ()))
    if problem is not None:
        raise Damaged(problem.text)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    try:
        return tuple(_gap(line) for line in lines[1:])
    except (ValueError, DomainError) as error:
        raise StoreError(f"{path}: is no list of gaps ({error}); delete it and its line") from None


def stage(folder: Path, gaps: Iterable[Gap], name: str = GAPS) -> dict[str, str]:
    """Write `gaps` under the temporary name, joined where they touch; {name: SHA-256} for `sealed.replace`."""
    target = sealed.temporary(folder / name)
    rows = [
        f"{iso(from_ms(gap.start_ms))},{iso(from_ms(gap.end_ms))},{iso(gap.asked_at)},{gap.source}"
        for gap in joined(gaps)
    ]
    target.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return {name: sealed.finish(target)}


def joined(gaps: Iterable[Gap]) -> list[Gap]:
    """The gaps in order of source and time, those that touch made one with the later `asked_at`."""
    result: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: (gap.source, gap.start_ms, gap.end_ms)):
        last = result[-1] if result else None
        if last and last.source == gap.source and gap.start_ms <= last.end_ms:
            end, asked = max(last.end_ms, gap.end_ms), max(last.asked_at, gap.asked_at)
            result[-1] = Gap(last.start_ms, end, asked, gap.source)
        else:
            result.append(gap)
    return result


def _gap(line: str) -> Gap:
    start, end, asked, source = line.split(",", 3)
    return Gap(to_ms(parse_time(start)), to_ms(parse_time(end)), parse_time(asked), source)
