"""Write docs/reference/*.md from the code; with --check only compare, exit code 5 when one differs.

The logic is in reference/pages.py; the sentences that the code does not have are in reference/words.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "reference"
sys.path[:0] = [str(OUT), str(HERE.parent)]
sys.dont_write_bytecode = True  # nothing but Markdown is left in docs/
for name in [name for name in os.environ if name.upper().startswith("TGTQR_")]:
    del os.environ[name]  # defaults are those of the code, not of this machine

import pages  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    try:
        made = pages.everything()
    except pages.Incomplete as error:
        print(error, file=sys.stderr)
        return 1
    for name, text in made.items():
        path = OUT / name
        before = path.read_text("utf-8") if path.is_file() else ""
        if options.check and text != before:
            print(f"{path.relative_to(HERE.parent)} differs at {place(before, text)}")
            print("`python docs/make_reference.py` writes it anew")
            return 5
        if not options.check and text != before:
            path.write_text(text, "utf-8")
            print(f"{path.relative_to(HERE.parent)} written")
    return 0


def place(before: str, now: str) -> str:
    """The first line that differs: its number, as committed and as made now."""
    old, new = before.splitlines(), now.splitlines()
    for number, (was, is_) in enumerate(zip(old, new, strict=False), 1):
        if was != is_:
            same = next((i for i, (a, b) in enumerate(zip(was, is_, strict=False)) if a != b), 0)
            start = max(same - 30, 0)
            there, here = was[start : start + 90], is_[start : start + 90]
            return f"line {number}: ...{there!r} in the file, ...{here!r} by the code"
    return f"its end: {len(old)} lines in the file, {len(new)} by the code"


if __name__ == "__main__":
    sys.exit(main())
