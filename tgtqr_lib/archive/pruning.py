"""Old ticks take less room: all are packed, and those on which nothing happened are thinned first.

A tick with an order, a refusal or an error stays whole, to the byte, in a file that gunzip opens. A quiet one
keeps inputs, decision, outcome, digests and code, so that it still runs again and proves its page by the
digest of it. The ledger books the new hashes before an old file goes; a crash in between is made up for by the
next pruning.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from tgtqr_lib import gate, ledger
from tgtqr_lib.archive.digests import INPUTS_TAG, OUTCOME_TAG, tagged
from tgtqr_lib.archive.opened import (
    NAME,
    PACKED,
    Archived,
    notebooks_in,
    open_archived,
    read_bytes,
    tick_of,
)
from tgtqr_lib.archive.sealing import SEALED_MODE, write_whole
from tgtqr_lib.archive.witness import pruned_hashes
from tgtqr_lib.domain import Damaged, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Event

SAMPLE = 60  # notebooks that an estimate packs
QUIET_STATE = "done"


@dataclass(frozen=True)
class Plan:
    """What pruning would do.

    paths   the notebooks before `before` that are not packed, oldest first
    now     bytes that they take
    after   bytes that they will take, from a sample of them
    thinned how many of them will be thinned, from the same sample
    """

    before: datetime
    paths: tuple[Path, ...]
    now: int
    after: int
    thinned: int

    @property
    def freed(self) -> int:
        """Bytes, about."""
        return self.now - self.after


@dataclass(frozen=True)
class Pruned:
    """What pruning did; `kept` tells why a notebook was left as it is."""

    thinned: int
    packed: int
    freed: int
    kept: tuple[str, ...]


def plan(home: Home, before: datetime) -> Plan:
    """What pruning the ticks before `before` would do, estimated from a sample of them."""
    paths = [path for path in _open_files(home) if tick_of(path) < f"{before:%Y%m%dT%H%MZ}"]
    sample = paths[:: max(1, len(paths) // SAMPLE)]
    sizes, packed, thin = 0, 0, 0
    for path in sample:
        try:
            content, thinned = _smaller(open_archived(path))
        except TgtqrError:
            continue
        sizes, packed, thin = sizes + path.stat().st_size, packed + len(content), thin + thinned
    now = sum(path.stat().st_size for path in paths)
    share = packed / sizes if sizes else 1.0
    thinned = round(len(paths) * thin / len(sample)) if sample else 0
    return Plan(before, tuple(paths), now, round(now * share), thinned)


def prune(con: sqlite3.Connection, home: Home, wanted: Plan) -> Iterator[Pruned]:
    """Carry `wanted` out, a day at a time; what each day came to.

    A notebook that does not agree with the ledger is left as it is: it is evidence.
    """
    sealed = {row.body["tick_id"]: row.body["sha256"] for row in ledger.of_kind(con, "sealed")}
    for day, group in groupby(wanted.paths, key=lambda path: tick_of(path)[:8]):
        yield _prune_day(con, home, day, list(group), sealed)


def _prune_day(
    con: sqlite3.Connection, home: Home, day: str, paths: list[Path], sealed: dict[str, str]
) -> Pruned:
    hashes: dict[str, str] = {}
    ready: list[Path] = []
    kept, freed = [], 0
    for path in paths:
        name = tick_of(path)
        try:
            found = open_archived(path)
            if sealed.get(name) != found.sha256:
                raise Damaged("it is not what the ledger sealed")
            content, thinned = _smaller(found)
        except TgtqrError as error:
            kept.append(f"tick {name}: {error}")
            continue
        packed = path.with_name(path.name + PACKED)
        write_whole(packed, content, SEALED_MODE)
        if thinned:
            hashes[name] = open_archived(packed).sha256
        ready.append(path)
        freed += path.stat().st_size - len(content)
    known = pruned_hashes(con)
    if fresh := {name: digest for name, digest in hashes.items() if known.get(name) != digest}:
        with ledger.writing(con):
            key = f"pruned/{day}/{ledger.head(con)[0] + 1}"
            ledger.append(con, Event("pruned", key, {"day": day, "thinned": fresh}))
        gate.bear_witness(con, home)
    for path in ready:
        path.unlink()
    return Pruned(len(hashes), len(ready) - len(hashes), freed, tuple(kept))


def _smaller(found: Archived) -> tuple[bytes, bool]:
    """The packed bytes of a notebook, and whether it was thinned before."""
    if not is_quiet(found):
        return gzip.compress(read_bytes(found.path), 9, mtime=0), False
    text = json.dumps(thin(found), ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
    return gzip.compress(text.encode(), 9, mtime=0), True


def is_quiet(found: Archived) -> bool:
    """Whether nothing happened: the tick was done, with no order, no refusal and no data problem."""
    inputs = found.facts["inputs"] or found.cell_inputs
    decision, outcome = found.decision, found.facts["outcome"]
    if not inputs or not decision or outcome["state"] != QUIET_STATE or outcome["acts"]:
        return False
    ordered = any(choice["order"] is not None for choice in decision["choices"])
    return not ordered and not any(view["problems"] for view in inputs["markets"])


def thin(found: Archived) -> dict[str, Any]:
    """The notebook without outputs and without the second copy of its inputs."""
    cells = []
    for cell in found.notebook["cells"]:
        if tagged(cell, OUTCOME_TAG):
            continue
        tags = {"tags": cell["metadata"]["tags"]} if cell["metadata"].get("tags") else {}
        hidden = {"jupyter": {"source_hidden": True}} if tagged(cell, INPUTS_TAG) else {}
        bare = dict(cell, metadata={**tags, **hidden})
        if cell["cell_type"] == "code":
            bare.update(outputs=[], execution_count=None)
        cells.append(bare)
    facts = dict(found.facts, inputs=None, pruned={"sealed_sha256": found.sha256})
    metadata = {k: v for k, v in found.notebook["metadata"].items() if k != "papermill"}
    return dict(found.notebook, cells=cells, metadata=dict(metadata, tgtqr=facts))


def _open_files(home: Home) -> list[Path]:
    """The notebooks that are not packed."""
    return [path for path in notebooks_in(home.ticks) if NAME.fullmatch(path.name)[2] is None]
