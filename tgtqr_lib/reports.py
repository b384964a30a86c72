"""Reports: a notebook run by papermill on a home, kept as a notebook and as one page for a phone.

A report only reads the home's ledger, and is written whole or not at all; one that failed keeps its executed
copy under a name that says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tgtqr_lib import daily as days
from tgtqr_lib import leaks
from tgtqr_lib.desk import one_at_a_time
from tgtqr_lib.domain import DataError, DomainError, StoreError
from tgtqr_lib.home import PROJECT, Home
from tgtqr_lib.kernel import NotebookFailed, kernels, run_notebook
from tgtqr_lib.pages import CSS, Heading, page_of

NOTEBOOKS = PROJECT / "notebooks"
DAILY, POST_MORTEM = "daily_report", "post_mortem"
# what a notebook's page is called above its day or tick
LEADS = {DAILY: "daily report", POST_MORTEM: "post-mortem"}
CELL_TIMEOUT_S = 300
FAILED = "-FAILED"


@dataclass(frozen=True, slots=True)
class Report:
    """Where a report is: the executed notebook, and the page that a browser shows."""

    notebook: Path
    page: Path

    def plain(self) -> dict[str, str]:
        """As `--json` tells it."""
        return {"notebook": str(self.notebook), "page": str(self.page)}


def folder(home: Home) -> Path:
    """Where the reports of `home` lie."""
    return home.outputs / "reports"


def daily(home: Home, day: str) -> Report:
    """Write the report of the UTC day `day`, such as 2025-06-01.

    Raises `DomainError` for what is no day, `DataError` for one without ticks; else as `write`.
    """
    days.check_day(home, day)
    return write(home, DAILY, {"home": str(home.root), "day": day}, f"daily-{day}")


def post_mortem(home: Home, which: str) -> Report:
    """Write the post-mortem of a tick: its id, a time at or after it, or `stop` for that of the newest stop.

    Raises `DomainError` when there is no such tick, or it decided nothing; else as `write`.
    """
    from tgtqr_lib.post_mortem.case import open_case

    if not which.strip():
        raise DomainError("post-mortem: expected the id of a tick, a time, or stop")
    case = open_case(home, which)
    if case is None:
        raise DataError(f"home {home.root}: it has no tick that decided")
    parameters = {"home": str(home.root), "tick": which.strip()}
    return write(home, POST_MORTEM, parameters, f"post-mortem-{case.tick_id}")


def write(home: Home, notebook: str, parameters: Mapping[str, Any], name: str) -> Report:
    """Execute notebooks/`notebook`.ipynb with `parameters` and write `name`.ipynb and `name`.html.

    A report of that name is replaced only by a finished one. Raises `NotebookFailed` when a cell fails
    (the executed copy is then `name`-FAILED.ipynb), `Busy` while another report of the home is written,
    `StoreError` when it cannot be written.
    """
    source = NOTEBOOKS / f"{notebook}.ipynb"
    if not source.is_file():
        raise StoreError(f"{source}: there is no such notebook")
    target = folder(home) / f"{name}.ipynb"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(target.parent / f".{notebook}.lock", LEADS.get(notebook, "report")):
            return _written(home, source, parameters, target)
    except OSError as error:
        raise StoreError(
            f"report {name}: {error.filename or target} cannot be written ({error.strerror})"
        ) from None


def _written(home: Home, source: Path, parameters: Mapping[str, Any], target: Path) -> Report:
    running = target.with_name(f".{target.stem}.{os.getpid()}.ipynb")
    failed = target.with_name(f"{target.stem}{FAILED}.ipynb")
    page = target.with_suffix(".html")
    try:
        with kernels(target.parent) as pool:
            run_notebook(source, running, parameters, pool, cell_timeout_s=CELL_TIMEOUT_S)
        _check_clean(home, running)
        executed = _read(running)
        text = page_of(executed, _heading(source, target), CSS.read_text("utf-8"), alone=True)
        _replace(page, text)
        os.replace(running, target)
        failed.unlink(missing_ok=True)
    except NotebookFailed as error:
        _check_clean(home, running)
        if not running.is_file():
            raise
        os.replace(running, failed)
        raise NotebookFailed(f"{error}; what ran is in {failed}") from None
    finally:
        with contextlib.suppress(OSError):
            running.unlink(missing_ok=True)
    return Report(target, page)


def _check_clean(home: Home, executed: Path) -> None:
    """Raise `NotebookFailed` when the executed copy holds a secret; it is in quarantine then."""
    if moved := leaks.sweep(home, executed):
        raise NotebookFailed(f"{executed.name}: it held a secret and was moved to {moved[0]}")


def _heading(source: Path, target: Path) -> Heading:
    lead = LEADS.get(source.stem, "report")
    name = target.stem
    for prefix in ("daily-", "post-mortem-"):
        name = name.removeprefix(prefix)
    return Heading(f"{lead.capitalize()} {name}", f"{lead} of", name, code=False)


def _read(path: Path) -> Any:
    """The executed notebook. Raises `NotebookFailed` unless every cell ran, whatever papermill says."""
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        raise NotebookFailed(f"{path.name}: cannot be read ({type(error).__name__})") from None
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if cell.execution_count is None or any(o.output_type == "error" for o in cell.outputs):
            raise NotebookFailed(f"{path.name}: cell {number} did not run to its end")
    return notebook


def _replace(path: Path, text: str) -> None:
    """Make `text` the content of `path`, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, "utf-8")
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
