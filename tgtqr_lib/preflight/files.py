"""Files of the home: who may write and read them, and whether the ledger is what was written."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from tgtqr_lib import gate, ledger
from tgtqr_lib.domain import StoreError
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import Answer, NotKnown, failed, passed, skipped
from tgtqr_lib.preflight.reading import untouched

SECRET_FILES = ("session.key",)  # in data/control/; .env is a check of its own
LOOK_AGAIN_S = 0.5
NAMED = 3  # how many files a sentence names


def permissions(case: Case) -> Answer:
    """Nobody else may write what the kit relies on, and this user may."""
    _expect_home(case)
    open_to_all, shut, readable = [], [], []
    for path in _files(case):
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH and not (path.is_dir() and mode & stat.S_ISVTX):
            open_to_all.append(path)
        # control files are made and taken away, never written into; a page with a user of its own has some
        made_anew = path.parent == case.home.control and path.suffix != ".lock"
        if not made_anew and not os.access(path, os.W_OK):
            shut.append(path)
        if path.name in SECRET_FILES and mode & 0o077:
            readable.append(path)
    if open_to_all:
        return failed(
            f"everybody on this machine may write {_some(open_to_all)}",
            f"chmod o-w {' '.join(map(str, open_to_all[:NAMED]))}",
        )
    if readable:
        return failed(
            f"others may read {_some(readable)}, which signs logins to the page",
            f"chmod 600 {' '.join(map(str, readable))}",
        )
    if shut:
        return failed(
            f"this user may not write {_some(shut)}",
            "run as the user that trades, or give the files to it with chown",
        )
    return passed("nobody else may write home, data and ledger")


def book(case: Case) -> Answer:
    """The ledger opens, its chain of hashes holds, and its witness agrees."""
    _expect_home(case)
    path = case.home.ledger
    if not path.exists():
        return skipped("there is no ledger yet; the first tick or beat makes it")
    do = "`tgtqr ledger verify` names every place; restore data/ from a backup"
    for patience_s in (
        LOOK_AGAIN_S,
        0.0,
    ):  # a beat may be writing it: what is wrong then is well later
        try:
            events, problems = _looked(case)
        except StoreError as error:
            events, problems = 0, [str(error)]
        if not problems:
            return passed(f"{events:,} events, and their chain holds")
        time.sleep(patience_s)
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return failed(f"{problems[0]}{more}", do)


def _looked(case: Case) -> tuple[int, list[str]]:
    """How many events the ledger has, and what is wrong with it. Raises `StoreError`."""
    with untouched(case.home.ledger) as con:
        events, problems = ledger.verify_chain(con)
        problem = gate.witness_problem(con, case.home)
    return events, problems if problem is None else [*problems, problem]


def _files(case: Case) -> Iterator[Path]:
    """Home, settings, data, control files, ledger and outputs, as far as they are there."""
    home = case.home
    fixed = (
        home.root,
        home.settings,
        home.data,
        home.control,
        home.witness,
        home.outputs,
        home.ticks,
    )
    for path in fixed:
        if path.exists():
            yield path
    yield from sorted(home.data.glob(f"{home.ledger.name}*"))
    if home.control.is_dir():
        yield from sorted(path for path in home.control.iterdir() if path.is_file())


def _some(paths: list[Path]) -> str:
    more = len(paths) - NAMED
    return ", ".join(map(str, paths[:NAMED])) + (f" and {more} more" if more > 0 else "")


def _expect_home(case: Case) -> None:
    if not case.home.root.is_dir():
        raise NotKnown("there is no home; see home")
