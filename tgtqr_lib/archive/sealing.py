"""Sealing an executed notebook: the page that was run becomes evidence.

Sealing adds what was done as a last cell, and keeps inputs, decision, outcome, digests, the ledger's head
and the code version as plain JSON in `metadata.tgtqr`. The sealed file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from tgtqr_lib import __version__, tick_page
from tgtqr_lib.archive.digests import INPUTS_TAG, OUTCOME_TAG, outputs_sha256, sha256_of, tagged
from tgtqr_lib.canonical import plain
from tgtqr_lib.clock import parse_time
from tgtqr_lib.domain import Inputs, StoreError
from tgtqr_lib.home import Home

SCHEMA = 1
SEALED_MODE = 0o444  # an editor that saves over evidence is refused
# the files that a decision and its page depend on
CORE = (
    "canonical.py", "charts.py", "clock.py", "decide.py", "domain.py", "execution.py", "home.py", "limits.py",
    "portfolio.py", "sizing.py", "tick_page.py", "signals/*.py", "strategies/*.py", "risk/*.py",
)  # fmt: skip


def sealed_path(home: Home, tick: str) -> Path:
    """Where the notebook of `tick` lies: `outputs/ticks/YYYY/MM/DD/<tick_id>.ipynb`."""
    day: datetime = parse_time(tick)
    return home.ticks / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}" / f"{tick}.ipynb"


def running_path(home: Home, tick: str) -> Path:
    """Where papermill writes the notebook of `tick` before it is sealed."""
    return sealed_path(home, tick).with_name(f".{tick}.running.ipynb")


@cache
def code_version() -> dict[str, str]:
    """The version of the kit, and the hash of the files a decision depends on."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted({p for pattern in CORE for p in root.glob(pattern)}):
        digest.update(
            path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0"
        )
    return {
        "version": __version__,
        "library_sha256": digest.hexdigest(),
        "python": platform.python_version(),
    }


def read_executed(path: Path) -> dict[str, Any] | None:
    """The executed notebook at `path` as plain JSON; None when it is missing, empty or cut short."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def embedded_inputs(notebook: Mapping[str, Any]) -> Inputs | None:
    """The frozen inputs in the injected parameter cell of an executed notebook, or None."""
    import ast

    from tgtqr_lib.canonical import load_inputs

    for cell in notebook["cells"]:
        if not tagged(cell, INPUTS_TAG):
            continue
        for statement in ast.parse("".join(cell["source"])).body:
            if isinstance(statement, ast.Assign) and statement.targets[0].id == "inputs":
                return load_inputs(ast.literal_eval(statement.value))
    return None


def seal(
    home: Home,
    executed: dict[str, Any],
    outcome: Mapping[str, Any],
    head: tuple[int, str],
) -> dict[str, str]:
    """Seal an executed notebook and return the facts of its `sealed` event.

    executed  as `read_executed` gave it
    outcome   plain JSON: what was done
    head      the ledger's sequence number and hash that the notebook bears witness to

    Raises `StoreError` when the file cannot be written. The executed copy stays until that is booked.
    """
    tick = outcome["tick_id"]
    inputs = embedded_inputs(executed)
    found = tick_page.read_sentinel(executed)
    path = sealed_path(home, tick)
    told = plain(dict(outcome))
    for cell in executed["cells"]:
        cell["metadata"].pop("execution", None)  # papermill's own times say the same
        if tagged(cell, INPUTS_TAG):
            cell["metadata"]["jupyter"] = {"source_hidden": True}
    executed["cells"].append(
        {
            "cell_type": "markdown",
            "id": "outcome",
            "metadata": {"tags": [OUTCOME_TAG]},
            "source": tick_page.outcome_markdown(told).splitlines(keepends=True),
        }
    )
    # where it was run says nothing about the decision, and names a machine; the parameters stand in
    # their cell
    executed["metadata"].get("papermill", {}).update(
        input_path="notebooks/tick.ipynb", output_path=f"{tick}.ipynb", parameters={}
    )
    executed["metadata"]["tgtqr"] = {
        "schema": SCHEMA,
        "tick_id": tick,
        "inputs": plain(inputs) if inputs else None,
        "decision": found["decision"] if found else None,
        "outcome": told,
        "digests": {
            "seal_sha256": sha256_of([tick, {"seq": head[0], "head": head[1]}, code_version()]),
            "inputs_sha256": found["inputs_sha256"] if found else None,
            "decision_sha256": found["decision_sha256"] if found else None,
            "outputs_sha256": outputs_sha256(executed),
            "outcome_sha256": sha256_of(told),
        },
        "ledger": {"seq": head[0], "head": head[1]},
        "code": code_version(),
    }
    text = spelled(executed)
    write_whole(path, text.encode(), SEALED_MODE)
    return {
        "notebook": path.relative_to(home.root).as_posix(),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def spelled(notebook: dict[str, Any]) -> str:
    """`notebook` as the text of its file: a line a value, but each piece of evidence on one line.

    An indented decision would take twice the room of its facts.
    """
    pieces: list[str] = []

    def aside(value: Any) -> str:
        pieces.append(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
        return f"\0{len(pieces) - 1}\0"

    marked = dict(notebook, metadata=dict(notebook["metadata"]), cells=[])
    marked["metadata"]["tgtqr"] = {
        key: aside(value) for key, value in notebook["metadata"]["tgtqr"].items()
    }
    for cell in notebook["cells"]:
        outputs = [
            dict(o, data={k: aside(v) if k == tick_page.MIME else v for k, v in o["data"].items()})
            if "data" in o
            else o
            for o in cell.get("outputs", ())
        ]
        marked["cells"].append(dict(cell, outputs=outputs) if "outputs" in cell else cell)
    text = json.dumps(marked, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    parts = re.split(r'"\\u0000(\d+)\\u0000"', text)
    return "".join(pieces[int(part)] if i % 2 else part for i, part in enumerate(parts))


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write `content` to `path` so that it is there whole or not at all, also after a power cut.

    mode  of the file, None for the usual one

    Raises `StoreError` when it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(fresh, "wb") as file:
            file.write(content)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from None
