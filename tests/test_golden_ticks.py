"""Golden ticks: decided again by the code of today, nothing changes; a planted change is found and counted.

The expected ticks come from a loop over the archived closes that shares no code with the kit.
"""

import gzip
import json
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import tgtqr_lib
from tests.stage import PROJECT, environment, open_stage, rise
from tgtqr_lib import tick
from tgtqr_lib.home import Home

GOLDEN = Path(__file__).parent / "golden" / "ticks"
COUNT = 25
GREATER = ("(scaled > (BPS + band_bps) * total)", "(scaled >= (BPS + band_bps) * total)")


def impact(home, *words, code=PROJECT):
    """`tgtqr impact` by the library in the folder `code`."""
    command = [sys.executable, "-m", "tgtqr_lib.cli", "impact", *map(str, words), "--json"]
    done = subprocess.run(
        command, cwd=code, env=environment(home), capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (0, 5), done.stderr
    return json.loads(done.stdout), done.returncode


def patched(folder: Path, file: str, before: str, after: str) -> Path:
    """A copy of the library with one line of `file` changed."""
    source = Path(tgtqr_lib.__file__).parent
    shutil.copytree(source, folder / "tgtqr_lib", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "tgtqr_lib" / file
    text = path.read_text("utf-8")
    assert text.count(before) == 1, f"{file} has {text.count(before)} lines {before!r}"
    path.write_text(text.replace(before, after), "utf-8")
    return folder


def sealed(path: Path) -> dict:
    """`metadata.tgtqr` and the inputs in the cell, read without the kit."""
    raw = path.read_bytes()
    notebook = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    facts = notebook["metadata"]["tgtqr"]
    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", ()):
            text = re.search(r"inputs = (.*)", "".join(cell["source"]), re.S)[1].strip()
            facts["inputs"] = json.loads(eval(text))
    return facts


def closes(facts: dict, symbol: str) -> list[Fraction]:
    (view,) = (v for v in facts["inputs"]["markets"] if v["symbol"] == symbol)
    return [Fraction(text) for text in view["candles"]["close"].split()]


def side(prices: list[Fraction], window: int) -> str:
    last = prices[-window:]
    mean = sum(last) / window
    return "LONG" if last[-1] > mean else "FLAT" if last[-1] < mean else "HOLD"


def flips(folder: Path, window: int) -> set[tuple[str, str]]:
    """Ticks and symbols whose side of the mean of `window` closes is not that of 60."""
    return {
        (facts["tick_id"], symbol)
        for facts in map(sealed, sorted(folder.glob("*.ipynb*")))
        for symbol in ("BTCUSDT", "ETHUSDT")
        if side(closes(facts, symbol), window) != side(closes(facts, symbol), 60)
    }


def named(found: dict) -> set[tuple[str, str]]:
    return {(one["tick_id"], one["symbol"]) for one in found["changed"]}


def test_the_code_of_today_decides_the_golden_ticks_as_they_were_decided(home):
    found, code = impact(home, GOLDEN, "--expect-none")
    assert (found["ticks"], found["changed"], found["cannot_be_told"], code) == (COUNT, [], [], 0)


def test_the_golden_ticks_say_what_an_independent_loop_says():
    for path in sorted(GOLDEN.glob("*.gz")):
        facts = sealed(path)
        said = {c["symbol"]: c["signal"]["state"] for c in facts["decision"]["choices"]}
        assert said == {symbol: side(closes(facts, symbol), 60) for symbol in said}


def test_a_window_of_59_changes_exactly_the_ticks_that_a_loop_counts(home, tmp_path):
    code = patched(
        tmp_path / "code", "strategies/ma_trend.py",
        "long_flat_hold(history.close_steps, window,",
        "long_flat_hold(history.close_steps, window - 1,",
    )  # fmt: skip
    found, ended = impact(home, GOLDEN, "--expect-none", code=code)
    expected = flips(GOLDEN, 59)
    assert expected  # else a change could not be told from none
    assert named(found) == expected and ended == 5


@pytest.mark.parametrize("window", [30, 45, 90])
def test_a_what_if_changes_exactly_the_ticks_that_a_loop_counts(home, window):
    found, code = impact(home, GOLDEN, "--set", f"window={window}")
    expected = flips(GOLDEN, window)
    assert named(found) == expected and len(expected) > 3 and code == 0
    assert all(Path(one["notebook"]).parent == GOLDEN for one in found["changed"])


def test_a_greater_that_becomes_greater_or_equal_changes_exactly_the_ties(
    home, tmp_path, monkeypatch
):
    """A flat hand-made market ties; one higher close does not."""
    from tests.stage import decide_without_a_kernel

    monkeypatch.setattr(tick, "run_notebook", decide_without_a_kernel)
    with open_stage(tmp_path / "stage") as stage:
        stage.arm()
        stage.tick("10:15")
        rise(stage, since="10:29")
        stage.beat("10:29")
        stage.tick("10:30")
    code = patched(tmp_path / "code", "signals/moving_average.py", *GREATER)
    found, _ = impact(home, stage.home.ticks, code=code)
    ties = {
        ("20261122T1015Z", "BTCUSDT"), ("20261122T1015Z", "ETHUSDT"), ("20261122T1030Z", "ETHUSDT"),
    }  # fmt: skip
    assert named(found) == ties
    assert {one["after"]["signal"] for one in found["changed"]} == {"LONG"}
    assert {one["before"]["reason"] for one in found["changed"]} == {"SIGNAL_TIE"}


def test_a_pure_refactoring_changes_nothing(home, tmp_path):
    code = patched(
        tmp_path / "code", "signals/moving_average.py",
        "scaled = BPS * window * close_steps", "scaled = close_steps * (window * BPS)",
    )  # fmt: skip
    found, ended = impact(home, GOLDEN, "--expect-none", code=code)
    assert (found["ticks"], found["changed"], ended) == (COUNT, [], 0)


def test_several_processes_say_the_same_as_one(tmp_path, home):
    """A hundred copies of the golden ticks under other names; order and content do not depend on processes."""
    folder = tmp_path / "many"
    folder.mkdir()
    for day in range(1, 5):
        for path in GOLDEN.glob("*.gz"):
            shutil.copy(path, folder / path.name.replace("20250601", f"2025060{day}"))
    one, _ = impact(home, folder, "--set", "window=45", "--workers", "1")
    two, _ = impact(home, folder, "--set", "window=45", "--workers", "2")
    assert one == two and one["ticks"] == 4 * COUNT
    assert len(one["changed"]) == 4 * len(flips(GOLDEN, 45))


def test_a_settings_file_is_tried(home, tmp_path):
    path = tmp_path / "try.toml"
    path.write_text("[parameters]\nwindow = 45\n", "utf-8")
    found, _ = impact(home, GOLDEN, "--settings", path)
    assert named(found) == flips(GOLDEN, 45)


def test_since_leaves_older_ticks_out(home):
    found, _ = impact(home, GOLDEN, "--since", "90m")
    # the newest golden tick is 23:30, so 22:00 is the oldest of the last 90 minutes
    assert found["ticks"] == 3


@pytest.mark.parametrize(
    "words, said",
    [
        (["--settings", "nowhere.toml"], "there is no such file"),
        (["--settings", "README.md", "--set", "window=3"], "--settings stands alone"),
        (["/nowhere"], "is no folder"),
        (["--set", "window"], "expected NAME=VALUE"),
        (["--workers", "0"], "expected 1 or more"),
        (["--since", "1y"], "'1y' is not a span of time"),
        ([], "holds no tick notebook"),
        (
            [str(GOLDEN), "--set", "foo=1"],
            "no tick can be told; 20250601T0000Z: strategy ma_trend: unknown",
        ),
        ([str(GOLDEN), "--set", "strategy=x"], "a strategy is named by --strategy x"),
    ],
)
def test_bad_input_is_a_sentence(home: Home, words, said):
    command = [sys.executable, "-m", "tgtqr_lib.cli", "impact", *words]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment(home), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
