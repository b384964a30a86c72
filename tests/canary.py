"""A key pair that must never be found again, and the search for it.

    python tests/canary.py FOLDER...
    python tests/canary.py FOLDER --run pytest tests/test_tick.py

The first looks through every file of the folders for the pair, raw and in the spellings a secret takes on
(URL-encoded, base64, JSON, HTML, hexadecimal), and exits with 5 and the places when it is there, else with 0. A `.env`
that only its owner may read is where keys belong, and is left out.

The second first runs a command that has the pair as its account's keys and FOLDER for its temporary files; what it
says is kept there too. When the command fails, its exit code is taken.

In this file the two stand in halves that are joined when it runs, so that a search of the project finds neither its
source nor what Python compiles of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

CANARY_KEY = "".join(("CANARYk", "7Qw2ZtRbX9e"))
CANARY_SECRET = "".join(("CANARYs", "5mVhJ8uPq3LxYt6NdKf0Gc2Wr4BaZ9E"))
FOUND, USAGE = 5, 2
SAID = "output.txt"


def main(words: list[str] | None = None) -> int:
    """Run the command, if there is one, and search the folders or files; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="canary.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--run", nargs=argparse.REMAINDER, metavar="COMMAND", help="run it first")
    options = parser.parse_args(words)
    code = 0
    if options.run:
        options.folder[0].mkdir(parents=True, exist_ok=True)
        code = run(options.run, options.folder[0].absolute())
    if missing := [path for path in options.folder if not path.exists()]:
        print(f"canary: {missing[0]}: there is no such folder", file=sys.stderr)
        return USAGE
    return search(options.folder) or code


def run(command: list[str], folder: Path) -> int:
    """Run `command` with the pair as keys; what it says goes to the screen and into the folder."""
    surroundings = os.environ | {
        "BYBIT_API_KEY": CANARY_KEY,
        "BYBIT_API_SECRET": CANARY_SECRET,
        "TMPDIR": str(folder),
    }
    with (
        open(folder / SAID, "wb") as kept,
        subprocess.Popen(
            command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        for line in process.stdout:
            kept.write(line)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    return process.returncode


def search(folders: list[Path]) -> int:
    """Print every place that holds the pair; returns 5 when there is one, else 0."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tgtqr_lib.credentials import Secret
    from tgtqr_lib.leaks import files_below, scan

    every = files_below(folders)
    paths = [path for path in every if not is_key_file(path)]
    hits = scan(paths, (Secret(CANARY_KEY), Secret(CANARY_SECRET)))
    for hit in hits:
        print(f"{hit.path}: {hit.where}")
    left_out = f", {n} .env left out" if (n := len(every) - len(paths)) else ""
    print(
        f"canary: {len(paths)} files looked at, {len({hit.path for hit in hits})} hold it{left_out}"
    )
    return FOUND if hits else 0


def is_key_file(path: Path) -> bool:
    """Whether `path` is a `.env` that nobody but its owner can read."""
    return path.name == ".env" and not path.stat().st_mode & 0o077


if __name__ == "__main__":
    sys.exit(main())
