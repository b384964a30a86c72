"""pdflatex, as often as it asks for, and what its log may not hold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tgtqr_lib.domain import StoreError

RUNS = 4  # after which references that still move are an error
WIDEST_PT = 10.0  # that a line may stick out
PDFLATEX = "pdflatex"
MISSING = (
    "the strategy document needs pdflatex, which is not on the path; on Debian and Ubuntu: "
    "sudo apt-get install --no-install-recommends texlive-latex-recommended lmodern"
)
# what TeX may open and write, and how long a line of its log may be; TeX breaks them at 79 otherwise
TEX = {"max_print_line": "10000", "FORCE_SOURCE_DATE": "1", "openout_any": "p"}

_RERUN = re.compile(r"Rerun to get|Rerun LaTeX|Label\(s\) may have changed|has changed\. Rerun")
_UNDEFINED = re.compile(
    r"(?:Reference|Citation) [`'](.+?)'.* undefined|There were undefined|multiply[- ]defined"
)
_OVERFULL = re.compile(r"Overfull \\[hv]box \(([0-9.]+)pt too (?:wide|high)\)")
_MISSING = re.compile(r"Missing character: There is no .+|! .+|LaTeX Error.*|.*:\d+: .*[Ee]rror.*")


def problems(log: str) -> tuple[str, ...]:
    """What is wrong with a document by pdflatex's `log`, a sentence each.

    Undefined references and citations, labels that are given twice, a further run that is asked for, lines
    or pages that stick out by more than 10 pt, letters that the font does not have, errors.
    """
    found = []
    for line in log.splitlines():
        if _UNDEFINED.search(line):
            found.append(f"a reference or citation is not defined: {line.strip()}")
        elif _RERUN.search(line):
            found.append(f"references still move: {line.strip()}")
        elif (wide := _OVERFULL.search(line)) and float(wide[1]) > WIDEST_PT:
            found.append(
                f"something sticks out by {wide[1]} pt, at most {WIDEST_PT}: {line.strip()}"
            )
        elif _MISSING.match(line):
            found.append(line.strip())
    return tuple(found)


def check_pdflatex() -> str:
    """Where pdflatex is. Raises `StoreError` with how to get it when it is not there."""
    path = shutil.which(PDFLATEX)
    if path is None:
        raise StoreError(MISSING)
    return path


def build(source: Path, folder: Path, epoch: int) -> Path:
    """The PDF of `source`, made in `folder` from what `write` left there; the same bytes every time.

    epoch  seconds since 1970 that the PDF carries as its date

    Raises `StoreError` when pdflatex is missing or fails, or for any of `problems`.
    """
    pdflatex = check_pdflatex()
    name = source.stem
    for suffix in (".aux", ".out", ".toc", ".pdf", ".log"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)
    command = [
        pdflatex, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape",
        os.path.relpath(source, folder),
    ]  # fmt: skip
    for _ in range(RUNS):
        done = subprocess.run(
            command, cwd=folder, env=os.environ | TEX | {"SOURCE_DATE_EPOCH": str(epoch)},
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        log = (folder / f"{name}.log").read_text("utf-8", errors="replace")
        if done.returncode:
            said = [line for line in log.splitlines() if line.startswith(("!", "l."))]
            raise StoreError(f"{source.name}: pdflatex failed: {' '.join(said) or 'see its log'}")
        if not _RERUN.search(log):
            break
    if found := problems(log):
        raise StoreError(f"{source.name}: " + "\n  ".join(found))
    return folder / f"{name}.pdf"
