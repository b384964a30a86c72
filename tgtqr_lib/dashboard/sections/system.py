"""The machine itself: last ticks, missed ones, disk, clock, versions and the log's tail."""

from __future__ import annotations

from functools import cache

from tgtqr_lib.dashboard.facts import Snapshot, versions
from tgtqr_lib.dashboard.parts import DASH, card, empty, esc, figures, table, when

TITLE = "System"
SHOWN = 8


def html(seen: Snapshot) -> str:
    """The section."""
    facts, parts = seen.facts, []
    if facts is not None:
        offset = facts["clock_offset_ms"]
        failed = next((t for t in seen.ticks if t["state"] == "failed"), None)
        parts.append(
            figures(
                [
                    ("missed ticks", f"{facts['missed_ticks']:,}"),
                    ("disk free", f"{facts['disk_free_mb'] / 1000:,.1f} <small>GB</small>"),
                    (
                        "clock offset",
                        "simulated" if offset is None else f"{offset} <small>ms</small>",
                    ),
                ]
            )
        )
        if failed:
            parts.append(
                f'<p>Last failed tick {esc(failed["tick_id"])}: <b class="down">{esc(failed["text"])}</b></p>'
            )
        rows = [
            [
                when(t["at"], day=True),
                esc(t["state"]),
                DASH
                if t["duration_s"] is None
                else f"{float(t['duration_s']):.1f} <small>s</small>",
                f"<code>{esc(t['reason'])}</code>",
            ]
            for t in seen.ticks[:SHOWN]
        ]
        parts.append(
            table(("tick", "state", "took", "reason"), rows, numbers="--n-")
            if rows
            else empty("No tick yet.")
        )
    log = "\n".join(esc(line["line"]) for line in seen.log)
    body = f'<details><summary>Log, newest first</summary><pre class="log">{log or "empty"}</pre></details>'
    names = ", ".join(f"{esc(name)} {esc(number)}" for name, number in _versions().items())
    return card(TITLE, "".join(parts) + body, note=names)


@cache
def _versions() -> dict[str, str]:
    return versions()
