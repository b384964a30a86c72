"""`make docs`: the figures and tables of docs/trading_strategy.tex from the code, and then the PDF."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.strategy_document import DAYS, build, check_pdflatex, write

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS / "trading_strategy.tex"


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", help="use the recorded candles in this home's lake")
    parser.add_argument("--days", type=int, default=DAYS, help="of history (default %(default)s)")
    parser.add_argument("--out", type=Path, default=DOCS / "build", help="folder to build in")
    chosen = parser.parse_args(given)
    try:
        check_pdflatex()
        with tempfile.TemporaryDirectory() as empty:
            evidence = write(chosen.out, chosen.home or empty, chosen.days)
        print(build(SOURCE, chosen.out, evidence.end_s))
    except TgtqrError as error:
        print(f"make docs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
