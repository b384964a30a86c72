"""Looks at order books in the lake: what goes in comes out, a tick's look wins, damage is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import ABSENT, BookFeatures, Busy, Damaged, DomainError
from tgtqr_lib.market import sealed
from tgtqr_lib.market.book_lake import BookLake, Look

MINUTE = datetime(2025, 6, 1, 10, 15, tzinfo=UTC)
SEEN = BookFeatures(MINUTE + timedelta(seconds=3), 25, 10_000, -17, 250_000, -125_000, 3, 51_234)
THIN = replace(SEEN, levels=4, imbalance_5=None, imbalance_25=None, depth=None)
DAY = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 2, tzinfo=UTC)


def a_look(minute=MINUTE, features=SEEN, source="watch", symbol="BTCUSDT") -> Look:
    return Look(symbol, minute, features, source)


def values(lake: BookLake, name: str, symbol="BTCUSDT", span=DAY) -> list[int]:
    return lake.read(symbol, *span).columns[name].tolist()


def test_what_was_seen_is_read_back(tmp_path):
    lake = BookLake(tmp_path)
    later = MINUTE + timedelta(minutes=2)

    assert lake.write([a_look(), a_look(later, THIN)]) == 2

    found = lake.read("BTCUSDT", *DAY)
    assert found.at_ms.tolist() == [to_ms(MINUTE), to_ms(later)]
    assert {name: column.tolist() for name, column in found.columns.items()} == {
        "levels": [25, 4],
        "spread": [10_000, 10_000],
        "micro": [-17, -17],
        "imbalance_1": [250_000, 250_000],
        "imbalance_5": [-125_000, ABSENT],
        "imbalance_25": [3, ABSENT],
        "depth": [51_234, ABSENT],
    }


def test_a_look_written_twice_is_there_once_and_the_first_one_stays(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look()])
    before = (lake.folder / "BTCUSDT-2025-06-01.parquet").stat()

    assert lake.write([a_look(features=replace(SEEN, micro=99))]) == 0

    assert values(lake, "micro") == [-17]
    assert (lake.folder / "BTCUSDT-2025-06-01.parquet").stat() == before


def test_the_look_of_a_tick_replaces_that_of_the_watch_and_not_the_other_way_round(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look()])
    lake.write([a_look(features=replace(SEEN, micro=99), source="tick")])
    lake.write([a_look(features=replace(SEEN, micro=-5))])
    assert values(lake, "micro") == [99]


def test_days_and_symbols_lie_in_files_of_their_own(tmp_path):
    lake = BookLake(tmp_path)
    midnight = datetime(2025, 6, 2, tzinfo=UTC)
    lake.write(
        [
            a_look(midnight - timedelta(minutes=1)),
            a_look(midnight, replace(SEEN, micro=1)),
            a_look(symbol="ETHUSDT", features=replace(SEEN, micro=2)),
        ]
    )
    assert sorted(path.name for path in lake.folder.glob("*.parquet")) == [
        "BTCUSDT-2025-06-01.parquet",
        "BTCUSDT-2025-06-02.parquet",
        "ETHUSDT-2025-06-01.parquet",
    ]
    assert values(lake, "micro") == [-17]  # up to, not including, midnight
    assert values(lake, "micro", "ETHUSDT") == [2]
    assert values(lake, "micro", span=(DAY[0], midnight + timedelta(days=1))) == [-17, 1]


def test_a_day_of_looks_is_small(tmp_path):
    """1,440 minutes of a wandering book; the promise is some kB a day and symbol."""
    rng = np.random.default_rng(3)
    looks = []
    for minute in range(1440):
        said = rng.integers(-(10**6), 10**6, 3).tolist()
        figures = [25, 9_960 + int(rng.integers(0, 80)), int(rng.integers(-5000, 5000)), *said]
        seen = BookFeatures(DAY[0] + timedelta(minutes=minute, seconds=3), *figures, 50_000)
        looks.append(a_look(DAY[0] + timedelta(minutes=minute), seen))
    lake = BookLake(tmp_path)
    lake.write(looks)
    # of noise, which no compression shrinks: four figures of some 20 bits are 13 kB
    assert (lake.folder / "BTCUSDT-2025-06-01.parquet").stat().st_size < 25_000
    assert len(lake.read("BTCUSDT", *DAY)) == 1440


def test_an_altered_file_is_named_and_never_read(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look()])
    path = lake.folder / "BTCUSDT-2025-06-01.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    said = r"BTCUSDT-2025-06-01\.parquet is not what was written"
    for use in (
        lambda: lake.read("BTCUSDT", *DAY),
        lambda: lake.newest("BTCUSDT"),
        lambda: lake.write([a_look(MINUTE + timedelta(minutes=1))]),
    ):
        with pytest.raises(Damaged, match=said):
            use()
    (problem,) = lake.verify().problems
    assert problem.code == "FILE_ALTERED"
    path.unlink()
    (lost,) = lake.verify().problems
    assert lost.code == "FILE_LOST"
    for advice in (problem.text, lost.text):
        assert "restore it from a backup, or" in advice
        assert "what was recorded cannot be fetched again" in advice
        assert "import or fetch" not in advice


def test_an_altered_file_moved_away_with_its_line_lets_recording_go_on(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look(), a_look(symbol="ETHUSDT")])
    path = lake.folder / "BTCUSDT-2025-06-01.parquet"
    path.write_bytes(b"PAR1 no more")
    path.rename(tmp_path.parent / "elsewhere.parquet")  # as the advice says
    sums = lake.folder / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines(True) if "BTCUSDT" not in line]
    sums.write_text("".join(lines))

    assert lake.write([a_look(MINUTE + timedelta(minutes=1))]) == 1
    assert lake.verify().ok and len(lake.read("ETHUSDT", *DAY)) == 1


def test_lost_checksums_are_damage_and_the_advice_is_not_to_fetch(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look()])
    (lake.folder / "SHA256SUMS").unlink()

    with pytest.raises(
        Damaged, match="has no line in SHA256SUMS; restore SHA256SUMS from a backup"
    ):
        lake.write([a_look(MINUTE + timedelta(minutes=1))])
    (problem,) = lake.verify().problems
    assert problem.code == "FILE_UNLISTED"
    assert problem.text.endswith("what was recorded cannot be fetched again")


def test_a_write_cut_short_is_told_without_a_fetch(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look()])
    sums = lake.folder / "SHA256SUMS"
    sums.write_text(f"{'1' * 64}  BTCUSDT-2025-06-01.parquet\n{sums.read_text()}")

    (problem,) = lake.verify().problems
    assert problem.code == "WRITE_CUT_SHORT" and "the next look settles it" in problem.text
    lake.write([a_look(MINUTE + timedelta(minutes=1))])
    assert lake.verify().ok


def test_the_newest_look_is_that_of_the_newest_day(tmp_path):
    lake = BookLake(tmp_path)
    assert lake.newest("BTCUSDT") is None
    seen = datetime(2025, 6, 2, 0, 1, 3, tzinfo=UTC)
    minutes = (MINUTE, datetime(2025, 6, 2, tzinfo=UTC), seen.replace(second=0))
    lake.write([a_look(m, replace(SEEN, at=m + timedelta(seconds=3))) for m in minutes])
    assert lake.newest("BTCUSDT") == seen and lake.newest("ETHUSDT") is None


def test_another_writer_is_waited_for_as_long_as_was_said(tmp_path):
    lake = BookLake(tmp_path)
    with sealed.locked(lake.folder), pytest.raises(Busy, match=r"writing here for 0\.05 s"):
        lake.write([a_look()], 0.05)


def test_verify_tells_the_figures(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look(), a_look(MINUTE + timedelta(minutes=3), source="tick")])
    report = lake.verify()
    assert report.ok
    assert str(report) == (
        "BTCUSDT spot book: 2 looks, 2025-06-01 10:15 to 2025-06-01 10:18 UTC, 2 minutes without one, "
        "1 look by ticks."
    )


def test_a_stranger_in_the_folder_is_named(tmp_path):
    lake = BookLake(tmp_path)
    lake.write([a_look()])
    (lake.folder / "notes.txt").write_text("mine")
    assert [problem.code for problem in lake.verify().problems] == ["STRANGE_FILE"]


def test_nothing_recorded_is_nothing_wrong(tmp_path):
    lake = BookLake(tmp_path / "none")
    assert len(lake.read("BTCUSDT", *DAY)) == 0 and lake.verify().ok
    assert not lake.root.exists()


def test_a_look_refuses_to_be_born_wrong():
    with pytest.raises(DomainError, match="is no whole minute"):
        a_look(MINUTE + timedelta(seconds=3))
    with pytest.raises(DomainError, match="source 'me'; expected one of"):
        a_look(source="me")
    with pytest.raises(DomainError, match="'btc' is not a symbol"):
        a_look(symbol="btc")
