"""The archive's figures, part of `make bench`: re-runs, impact, a year of ledger, a year of pruned ticks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

TGTQR = Path(sys.executable).with_name("tgtqr")
DAYS, DAY = 365, "2025-06-01"
KEPT_DAYS = 90
PACKED_DAYS = DAYS - KEPT_DAYS
IMPACT_TICKS = 2000

Row = tuple[str, list[float], str, float]


def timed(home: Path, *words: object) -> float:
    """Seconds of a command as a whole process. Raises when it fails."""
    environment = os.environ | {"TGTQR_HOME": str(home)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    done = subprocess.run(
        [TGTQR, *map(str, words)], env=environment, capture_output=True, text=True, timeout=900
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"tgtqr {words} ended {done.returncode}: {done.stderr[-2000:]}")
    return took


def figures(folder: Path, runs: int, home: Path | None = None) -> Iterator[Row]:
    """Play a day of ticks, unless `home` holds one, and measure what the archive does with it."""
    if home is None:
        timed(folder, "demo", "--json")
        home = folder / "outputs" / "demo"
    ticks = sorted((home / "outputs" / "ticks").rglob("2*.ipynb"))
    yield "archive: one re-run, whole process", rerun_one(home, ticks, runs), "s", 5
    yield "archive: 96 ticks run again as notebooks", [timed(home, "rerun", "--all")], "s", 180
    yield f"archive: {IMPACT_TICKS:,} ticks of impact", impact(folder, ticks, runs), "s", 20
    yield "archive: a year of ledger verified", verify(folder, home, min(runs, 3)), "s", 10
    yield (
        "archive: the largest sealed tick",
        [max(p.stat().st_size for p in ticks) / 1000],
        "kB",
        100,
    )
    yield f"archive: a year, pruned at {KEPT_DAYS} days", [pruned(folder, home)], "GB", 1.5


def rerun_one(home: Path, ticks: Sequence[Path], runs: int) -> list[float]:
    step = len(ticks) // runs
    return [timed(home, "rerun", path) for path in ticks[: step * runs : step]]


def impact(folder: Path, ticks: Sequence[Path], runs: int) -> list[float]:
    """`tgtqr impact` with another window over the day's ticks under the names of many days."""
    many = folder / "many"
    many.mkdir()
    for number in range(IMPACT_TICKS):
        turn, place = divmod(number, len(ticks))
        day = date.fromisoformat(DAY) + timedelta(days=turn)
        name = ticks[place].name.replace(DAY.replace("-", ""), f"{day:%Y%m%d}")
        shutil.copy(ticks[place], many / name)
    return [timed(folder, "impact", many, "--set", "window=45", "--json") for _ in range(runs)]


def verify(folder: Path, home: Path, runs: int) -> list[float]:
    """`tgtqr ledger verify` of a ledger that holds the day's events once a day for a year."""
    year = folder / "year-of-ledger"
    a_year_of_ledger(home, year)
    return [timed(year, "ledger", "verify") for _ in range(runs)]


def a_year_of_ledger(home: Path, year: Path) -> None:
    """The events of a day under the dates of 365, each day an account of its own, and their minute marks."""
    from tgtqr_lib import gate, ledger
    from tgtqr_lib.home import Home

    source = ledger.connect(Home(home).ledger, create=False)
    rows = source.execute("SELECT kind, key, body FROM events ORDER BY seq").fetchall()
    marks = source.execute("SELECT minute_ms, beat_ms, cash, equity, closes FROM marks").fetchall()
    source.close()
    made = Home(year).make()
    con = ledger.connect(made.ledger)
    account = next(json.loads(body)["account"]["id"] for kind, _, body in rows if kind == "account")
    for number in range(DAYS):
        day = date.fromisoformat(DAY) + timedelta(days=number)
        swaps = {
            DAY: day.isoformat(),
            DAY.replace("-", ""): f"{day:%Y%m%d}",
            account: f"paper-{number + 1}",
        }
        shift = number * 86_400_000
        with ledger.writing(con):
            seq, head = ledger.head(con)
            made_anew = []
            for kind, key, body in rows:
                seq += 1
                for old, new in swaps.items():
                    key, body = key.replace(old, new), body.replace(old, new)
                if kind in ("gate", "settings", "control"):
                    key = f"{kind}/{seq}"
                head = ledger.chain(head, seq, kind, key, body)
                made_anew.append((seq, kind, key, body, head))
            con.executemany(
                "INSERT INTO events (seq, kind, key, body, hash) VALUES (?, ?, ?, ?, ?)", made_anew
            )
            con.executemany(
                "INSERT OR REPLACE INTO marks (account, minute_ms, beat_ms, cash, equity, closes)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(swaps[account], m + shift, b + shift, *rest) for m, b, *rest in marks],
            )
    gate.bear_witness(con, made, anew=True)
    con.close()


def pruned(folder: Path, home: Path) -> float:
    """GB on disk of a year like the day: its last 90 days as sealed, the others as pruning leaves them."""
    young = on_disk(home / "outputs" / "ticks")
    copy = folder / "pruned"
    shutil.copytree(home, copy)
    newest = max((copy / "outputs" / "ticks").rglob("2*.ipynb"))
    newest.rename(
        newest.with_name("20251231T0000Z.ipynb")
    )  # so that all others are older than 90 days
    environment = os.environ | {"TGTQR_HOME": str(copy)}
    words = [TGTQR, "archive", "prune", "--keep", f"{KEPT_DAYS}d"]
    subprocess.run(words, env=environment, capture_output=True, check=True, timeout=600)
    newest.with_name("20251231T0000Z.ipynb").unlink()
    old = on_disk(copy / "outputs" / "ticks") * 96 / 95
    return (KEPT_DAYS * young + PACKED_DAYS * old) / 1e9


def on_disk(folder: Path) -> int:
    """Bytes that the files below `folder` take, in whole blocks."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("2*") if path.is_file())


if __name__ == "__main__":
    import tempfile

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.bench import line

    with tempfile.TemporaryDirectory() as place:
        day = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        for row in figures(Path(place), 5, day):
            print(line(*row), flush=True)
