"""What would really have happened on the exchange: the same decisions at the smallest size that it takes."""

from __future__ import annotations

from tgtqr_lib.dashboard.facts import Snapshot
from tgtqr_lib.dashboard.parts import esc
from tgtqr_lib.twin import words

TITLE = "What would really have happened on the exchange"
DAY = "%Y-%m-%d %H:%M"


def html(seen: Snapshot) -> str:
    """Two sentences, and how they were made behind a tap; nothing while nothing was traded."""
    found = seen.twin
    if found is None or not found.orders:
        return ""
    since = f" since {seen.account.opened_at:%Y-%m-%d}" if seen.account else ""
    told = " ".join(words.sentences(found))
    more = [*words.differences(found, DAY), words.HOW]
    return (
        f'<p class="twin"><b>{TITLE}{since}.</b> {esc(told)}</p>'
        f"<details><summary>How that was made</summary>{''.join(f'<p>{esc(one)}</p>' for one in more)}</details>"
    )
