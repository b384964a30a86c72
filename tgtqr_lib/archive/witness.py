"""Ledger and archive checked against each other: missing, extra and altered notebooks, each by name.

The ledger's `sealed` event holds the hash of the notebook's bytes, and `pruned` events those of thinned ones;
a notebook holds the ledger's sequence number and hash at the time it was sealed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from tgtqr_lib import ledger
from tgtqr_lib.archive.opened import (
    NAME,
    Archived,
    files_in,
    notebooks_in,
    open_archived,
    tick_of,
)
from tgtqr_lib.archive.sealing import sealed_path
from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Row

COPY_NAME = re.compile(r"\d{8}T\d{4}Z\.what-if\..*\.ipynb")


def check(con: sqlite3.Connection, home: Home) -> tuple[int, list[str]]:
    """How many notebooks there are, and a sentence for everything in which they and the ledger differ."""
    files = {tick_of(path): path for path in notebooks_in(home.ticks)}
    sealed = {row.body["tick_id"]: row for row in ledger.of_kind(con, "sealed")}
    thinned = pruned_hashes(con)
    hashes = {row[0]: row[1] for row in con.execute("SELECT seq, hash FROM events")}
    decisions = {row.body["tick_id"]: row for row in ledger.of_kind(con, "decision")}
    problems = [*_strangers(home)]
    for name in sorted({*files, *sealed}):
        if name not in files:
            problems.append(
                f"tick {name}: its notebook is missing ({sealed[name].body['notebook']})"
            )
        elif name not in sealed:
            problems.append(
                f"tick {name}: the ledger knows nothing of its notebook ({files[name]})"
            )
        else:
            try:
                found = open_archived(files[name])
            except TgtqrError as error:
                problems.append(f"tick {name}: {error}")
                continue
            problems += _one(found, name, sealed[name], thinned.get(name), hashes)
            problems += _decided(found, name, decisions.get(name))
    return len(files), problems


def _strangers(home: Home) -> Iterator[str]:
    """Files in the archive that are none of its own: a tick under another name, or in another day's folder."""
    for path in sorted(files_in(home.ticks)):
        match = NAME.fullmatch(path.name)
        if match is None and (path.name.startswith(".") or COPY_NAME.fullmatch(path.name)):
            continue  # a tick that runs, or what a re-run wrote beside it
        if match is None or path.parent != sealed_path(home, match[1]).parent:
            yield f"{path.relative_to(home.root)}: is no file of the archive"


def pruned_hashes(con: sqlite3.Connection) -> dict[str, str]:
    """Tick id -> the SHA-256 of its notebook as it was thinned."""
    return {
        name: digest
        for row in ledger.of_kind(con, "pruned")
        for name, digest in row.body["thinned"].items()
    }


def _one(
    found: Archived, name: str, sealed: Row, thinned: str | None, hashes: dict[int, str]
) -> Iterator[str]:
    expected = thinned if found.pruned else sealed.body["sha256"]
    if found.sha256 != expected:
        parts = found.altered() or ["its bytes are not those that were sealed"]
        if found.pruned and thinned is None:
            parts = ["it was thinned, and the ledger knows nothing of that"]
        yield from (f"tick {name}: altered: {part}" for part in parts)
        return
    if found.tick_id != name:
        yield f"tick {name}: its file holds the notebook of tick {found.tick_id}"
    seq, head = found.facts["ledger"]["seq"], found.facts["ledger"]["head"]
    if seq and hashes.get(seq) != head:
        now = "is missing" if seq not in hashes else f"has the hash {hashes[seq][:12]}"
        yield (
            f"tick {name}: its notebook saw ledger event {seq} with the hash {head[:12]}, and it {now}: "
            "the ledger was rewritten"
        )


def _decided(found: Archived, name: str, decision: Row | None) -> Iterator[str]:
    """The hashes that the ledger's `decision` event holds against the notebook's."""
    if decision is None:
        return
    for kind in ("inputs_sha256", "decision_sha256"):
        was, is_now = decision.body.get(kind), found.facts["digests"].get(kind)
        if was != is_now:
            yield f"tick {name}: {kind} is {str(is_now)[:12]}, the ledger's decision has {str(was)[:12]}"
