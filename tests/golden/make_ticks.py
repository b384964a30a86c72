"""Make `tests/golden/ticks` from the home of a demo: `python -m tests.golden.make_ticks HOME`.

Ticks of the synthetic market's first day, seed 1: one an hour, and those whose decision hangs by a thread,
thinned to inputs and decision and packed. `tgtqr impact` decides them again in every test run, so that a
change of behaviour is seen in review. After a change that is meant, run the demo and this script again.
"""

import gzip
import json
import sys
from pathlib import Path

from tgtqr_lib.archive.opened import notebooks_in, open_archived
from tgtqr_lib.archive.pruning import thin
from tgtqr_lib.home import Home

FOLDER = Path(__file__).parent / "ticks"
# the last close and the mean of 60 closes are on different sides of the mean of 59 or 61
CLOSE_CALLS = ("2330",)


def main(home: Home) -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in notebooks_in(home.ticks):
        found = open_archived(path)
        clock = found.tick_id[9:13]
        if not (clock.endswith("00") or clock in CLOSE_CALLS):
            continue
        text = json.dumps(thin(found), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        target = FOLDER / f"{found.tick_id}.ipynb.gz"
        target.write_bytes(gzip.compress(text.encode() + b"\n", 9, mtime=0))


if __name__ == "__main__":
    main(Home.find(sys.argv[1]))
