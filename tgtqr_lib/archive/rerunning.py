"""A sealed notebook executed again, in a fresh kernel, on the inputs that it carries, and compared with itself.

Nothing of a home is needed: no ledger, no candles, no network. The original file is only read.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tgtqr_lib import tick_page
from tgtqr_lib.archive.differences import Difference, around, differences
from tgtqr_lib.archive.digests import (
    INPUTS_TAG,
    OUTCOME_TAG,
    outputs_sha256,
    page_of,
    sha256_of,
    tagged,
)
from tgtqr_lib.archive.opened import COPY, Archived, open_archived
from tgtqr_lib.archive.sealing import code_version, read_executed, write_whole
from tgtqr_lib.canonical import dumps, load_inputs
from tgtqr_lib.domain import DomainError, Inputs, TgtqrError
from tgtqr_lib.kernel import Kernels, NotebookFailed, import_papermill, run_notebook
from tgtqr_lib.strategies import minutes_needed
from tgtqr_lib.what_if import WhatIf

CELL_TIMEOUT_S = 60
PICTURE = "image/"
SAME_DECISION = "signals, orders and reasons are the same"
OLD_PAGE = (
    "sealed before pages had a digest, and its outputs are gone: only its decision was compared"
)


class Result(StrEnum):
    """What a re-run says; VALUE_DRIFT is other numbers or words with the same signals, orders and reasons."""

    MATCH = "MATCH"
    VALUE_DRIFT = "VALUE-DRIFT"
    DECISION_DRIFT = "DECISION-DRIFT"


@dataclass(frozen=True)
class Rerun:
    """What came of running a sealed notebook again.

    differences  of inputs, decision and page, sealed -> now
    altered      a sentence for each part of the file that does not agree with the rest of it
    made_by      the code that made the original, in words
    same_code    whether that is the present code
    what_if      the changes it was run with, None for a faithful re-run
    saved        where the executed copy lies, if it was kept
    """

    tick_id: str
    path: Path
    result: Result
    differences: tuple[Difference, ...] = ()
    altered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made_by: str = ""
    same_code: bool = True
    what_if: str | None = None
    saved: Path | None = None

    def plain(self) -> dict[str, Any]:
        """As `--json` tells it."""
        return {
            "tick_id": self.tick_id,
            "notebook": str(self.path),
            "result": str(self.result),
            "differences": [one.plain() for one in self.differences],
            "altered": list(self.altered),
            "notes": list(self.notes),
            "made_by": self.made_by,
            "same_code": self.same_code,
            "what_if": self.what_if,
            "saved": None if self.saved is None else str(self.saved),
        }


@dataclass(frozen=True)
class Failed:
    """A notebook that could not be run again, and why."""

    path: Path
    error: TgtqrError


@dataclass
class _Found:
    """Differences on their way to a result."""

    told: list[Difference] = field(default_factory=list)
    decided: bool = False  # whether one of them is about what is acted on


def rerun(
    sealed: Archived,
    pool: Kernels,
    *,
    what_if: WhatIf | None = None,
    keep: Path | None = None,
    cell_timeout_s: int = CELL_TIMEOUT_S,
) -> Rerun:
    """Execute `sealed` again and compare everything that it says.

    what_if  runs it with other settings; the result then tells what they would have changed
    keep     where to write the executed copy, marked as a re-run; never over anything but such a copy

    Raises `DomainError` for a tick without inputs, a what-if that does not fit it, and a `keep` where
    something else is.
    """
    if keep is not None:
        _check_free(keep, sealed)
    altered = sealed.altered()
    own = sealed.cell_inputs
    if own is None:
        raise DomainError(f"tick {sealed.tick_id}: it ended before its inputs were frozen")
    inputs = load_inputs(json.dumps(own))
    if what_if is not None:
        inputs = _changed(inputs, what_if)
    executed, failure = _executed(sealed, inputs, pool, cell_timeout_s)
    found = _compared(sealed, own, executed, failure, faithful=what_if is None)
    result = Result.MATCH
    if found.told or altered:
        result = Result.DECISION_DRIFT if found.decided else Result.VALUE_DRIFT
    saved = None
    if keep is not None and executed is not None:
        saved = _save(executed, keep, sealed, what_if)
    notes = [SAME_DECISION] if what_if is not None and not found.decided else []
    notes += [OLD_PAGE] if sealed.pruned and "outputs_sha256" not in sealed.facts["digests"] else []
    return Rerun(
        tick_id=sealed.tick_id,
        path=sealed.path,
        result=result,
        differences=tuple(found.told),
        altered=tuple(altered),
        notes=tuple(notes),
        made_by=sealed.code(),
        same_code=sealed.facts["code"] == code_version(),
        what_if=None if what_if is None else what_if.text,
        saved=saved,
    )


def rerun_all(
    paths: Sequence[Path],
    *,
    what_if: WhatIf | None = None,
    workers: int | None = None,
    keep: Callable[[Archived], Path | None] = lambda sealed: None,
) -> Iterator[Rerun | Failed]:
    """`rerun` of every notebook of `paths`, in their order, `workers` at a time.

    One that cannot be run again is told as `Failed` and holds up none of the others.
    """
    local, pools = threading.local(), []

    def one(path: Path) -> Rerun | Failed:
        if not hasattr(local, "pool"):
            local.pool = Kernels(Path(folder), ahead=True)
            pools.append(local.pool)
        try:
            sealed = open_archived(path)
            return rerun(sealed, local.pool, what_if=what_if, keep=keep(sealed))
        except TgtqrError as error:
            return Failed(path, error)

    workers = max(1, min(workers or os.cpu_count() or 1, len(paths)))
    import_papermill()  # before the threads, which would all import it at once
    with (
        tempfile.TemporaryDirectory(prefix="tgtqr-rerun-") as folder,
        ThreadPoolExecutor(workers, thread_name_prefix="rerun") as threads,
    ):
        try:
            yield from threads.map(one, paths)
        finally:
            threads.shutdown(cancel_futures=True)
            for pool in pools:
                pool.close()


def _check_free(keep: Path, sealed: Archived) -> None:
    """Raise `DomainError` unless `keep` names a notebook that is not there, or the copy of a re-run."""
    if keep.suffix != ".ipynb":
        raise DomainError(f"{keep}: expected the name of a notebook, .ipynb")
    if keep.resolve() == sealed.path.resolve():
        raise DomainError(f"{keep}: is the sealed original; expected another name for the copy")
    if not (keep.exists() or keep.is_symlink()):
        return
    found = read_executed(keep) if keep.is_file() else None
    if not isinstance(found, dict) or COPY not in found.get("metadata", {}):
        raise DomainError(
            f"{keep}: is there already, and is no copy of a re-run; expected a new name"
        )


def what_if_path(sealed: Archived, what_if: WhatIf) -> Path:
    """Where the copy of a what-if lies: beside the original, named after the change."""
    safe = "".join(c if c.isalnum() or c in "=._-" else "," for c in what_if.text)
    return sealed.path.with_name(f"{sealed.tick_id}.what-if.{safe[:120]}.ipynb")


def _changed(inputs: Inputs, what_if: WhatIf) -> Inputs:
    changed = what_if(inputs)
    need, held = minutes_needed(changed.plan), minutes_needed(inputs.plan)
    rows = min((len(view.candles) for view in inputs.markets), default=0)
    if need > max(held, rows):
        raise DomainError(
            f"tick {inputs.tick_id}: {what_if.text} needs {need} minutes, the notebook holds {rows}; "
            "`tgtqr impact` takes them from the ticks before"
        )
    return changed


def _executed(
    sealed: Archived, inputs: Inputs, pool: Kernels, cell_timeout_s: int
) -> tuple[dict[str, Any] | None, str | None]:
    """The notebook as executed anew, and why it failed if it did."""
    notebook = copy.deepcopy(sealed.notebook)
    notebook["metadata"].pop("tgtqr", None)
    notebook["cells"] = [c for c in notebook["cells"] if not tagged(c, OUTCOME_TAG)]
    for cell in notebook["cells"]:
        if tagged(cell, INPUTS_TAG):
            cell["source"] = f"# Parameters\ninputs = {dumps(inputs)!r}\n"
        if cell.get("cell_type") == "code":
            cell.update(outputs=[], execution_count=None)
    with tempfile.TemporaryDirectory(prefix="tgtqr-rerun-") as name:
        source, target = Path(name, f"{sealed.tick_id}.ipynb"), Path(name, "executed.ipynb")
        source.write_text(json.dumps(notebook), "utf-8")
        failure = None
        try:
            run_notebook(source, target, {}, pool, cell_timeout_s=cell_timeout_s)
        except NotebookFailed as error:
            failure = str(error)
        return read_executed(target), failure


def _compared(
    sealed: Archived,
    own: Mapping[str, Any],
    executed: Mapping[str, Any] | None,
    failure: str | None,
    *,
    faithful: bool,
) -> _Found:
    found = _Found()
    if faithful and sealed.facts["inputs"] is not None:
        found.told += differences(sealed.facts["inputs"], own, "inputs")
    shown = None if executed is None else tick_page.read_sentinel(executed)
    before, after = sealed.decision, shown and shown["decision"]
    if (before is None) != (after is None):
        words = ["no decision" if one is None else "a decision" for one in (before, after)]
        found.told.append(Difference("decision", words[0], failure or words[1]))
        found.decided = True
    elif before is not None:
        found.told += _decisions(before, after)
        found.decided = _acted_on(before) != _acted_on(after)
    if faithful and executed is not None:
        found.told += _pages(sealed, executed)
    return found


def _decisions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The fields of the decision that differ; another hash of the inputs is told with the inputs."""
    parts = [{k: v for k, v in one.items() if k != "inputs_sha256"} for one in (before, after)]
    told = differences(*parts, "decision")
    hashes = before.get("inputs_sha256"), after.get("inputs_sha256")
    if hashes[0] != hashes[1]:
        told.append(Difference("decision.inputs_sha256", str(hashes[0]), str(hashes[1])))
    return told


def _acted_on(decision: Mapping[str, Any]) -> list[Any]:
    """Signal, order, approval and reason of each symbol."""
    return [
        (c["symbol"], c["signal"]["state"], c["order"], c["approved"], c["reason"])
        for c in decision["choices"]
    ]


def _pages(sealed: Archived, executed: Mapping[str, Any]) -> Iterator[Difference]:
    """Cell by cell; of a pruned tick only the digest is left to compare."""
    expected = sealed.facts["digests"].get("outputs_sha256")
    if sealed.pruned:
        if expected is not None and outputs_sha256(executed) != expected:
            now = outputs_sha256(executed)
            yield Difference("page (its outputs were pruned)", expected[:12], now[:12])
        return
    for place, (one, two) in enumerate(
        zip(page_of(sealed.notebook), page_of(executed), strict=True), 1
    ):
        yield from _cell(one, two, f"cell {place}")


def _cell(before: Mapping[str, Any], after: Mapping[str, Any], where: str) -> Iterator[Difference]:
    one, two = before["outputs"], after["outputs"]
    if len(one) != len(two):
        yield Difference(where, f"{len(one)} outputs", f"{len(two)} outputs")
        return
    for old, new in zip(one, two, strict=True):
        for mime in [*old, *(m for m in new if m not in old)]:
            x, y = old.get(mime), new.get(mime)
            if x == y or mime == tick_page.MIME:  # the decision is told field by field
                continue
            if mime.startswith(PICTURE):
                yield Difference(f"{where} picture", sha256_of(x)[:12], sha256_of(y)[:12])
            elif mime != "text/html" or old.get("text/markdown") == new.get("text/markdown"):
                # else the Markdown tells the same difference shorter
                yield from _first_line(str(x), str(y), f"{where} {mime}")


def _first_line(before: str, after: str, where: str) -> Iterator[Difference]:
    lines = [text.splitlines() or [""] for text in (before, after)]
    count = max(map(len, lines))
    padded = [one + [""] * (count - len(one)) for one in lines]
    for number, (x, y) in enumerate(zip(*padded, strict=True), 1):
        if x != y:
            yield Difference(f"{where} line {number}", *around(x, y))
            return


def _save(executed: dict[str, Any], keep: Path, sealed: Archived, what_if: WhatIf | None) -> Path:
    """Write the executed copy with a first cell that says what it is."""
    if what_if is None:
        text = f"**RE-RUN** of tick {sealed.tick_id}: executed again on its own inputs."
    else:
        text = (
            f"**WHAT-IF** of tick {sealed.tick_id}, with `{what_if.text}`: this is not what was decided, "
            "and nothing was ordered."
        )
    banner = {"cell_type": "markdown", "id": "banner", "metadata": {}, "source": text}
    cells = [banner, *executed["cells"]]
    metadata = dict(executed["metadata"])
    metadata[COPY] = {"tick_id": sealed.tick_id}
    metadata.pop("papermill", None)
    if what_if is not None:
        metadata[COPY]["what_if"] = what_if.text
    write_whole(
        keep, (json.dumps(dict(executed, cells=cells, metadata=metadata), indent=1) + "\n").encode()
    )
    return keep
