"""The simulator as a process: `tgtqr simulator` for people, `python -m` for other programs."""

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.market.tables import NOON, ask, kline
from tests.market.test_linear import funding_file
from tgtqr_lib.clock import parse_time, to_ms

MINUTE = 60_000
MODULE = [sys.executable, "-m", "tgtqr_lib.market.simulator", "--with-parent"]
COMMAND = [sys.executable, "-m", "tgtqr_lib.cli", "simulator"]

pytestmark = pytest.mark.slow


def start(*options: str, **settings: Any) -> subprocess.Popen:
    """The module, which ends at the latest with the `with` block that closes its input."""
    return subprocess.Popen(
        [*MODULE, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **settings,
    )


class Command:
    """`tgtqr simulator` with its address; killed at the end should it still be there."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.url = self.process.stdout.readline().strip()

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_module_it_says_where_it_is_and_ends_when_told(number):
    with start("--seed", "7", "--at", "2025-06-01T12:00:03Z", "--spread-bps", "10") as process:
        ready = json.loads(process.stdout.readline())
        assert ready["pid"] == process.pid
        state = ask(f"{ready['url']}/simulator/state")[1]
        assert state["clock"] == {"now": "2025-06-01T12:00:03Z", "now_ms": NOON + 3000, "rate": 0}
        assert state["source"]["name"] == "synthetic market, seed 7"
        assert state["spread_bps"] == 10 and state["rate_limit"] is False
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == ""


def test_as_a_module_it_ends_with_its_parent():
    with start("--at", "now") as process:
        url = json.loads(process.stdout.readline())["url"]
        assert ask(f"{url}/simulator/state")[1]["clock"]["rate"] == 1
        process.stdin.close()  # as the system does when the parent is killed
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    "options, code, sentence",
    [
        (["--at", "noon"], 2, "noon"),
        (["--at", "2025-06-01T00:00Z", "--spread-bps", "0"], 2, "spread_bps 0"),
        (["--at", "2025-06-01T00:00Z", "--port", "70000"], 2, "port 70000"),
        (["--at", "2014-06-01T00:00Z"], 4, "no candle at or before 2014-06-01T00:00:00Z"),
        (["--at", "2025-06-01T00:00Z", "--candles", "absent.parquet"], 4, "absent.parquet"),
        (["--at", "2025-06-01T00:00Z", "--funding", "absent.parquet"], 4, "absent.parquet"),
        (["--at", "2025-06-01T00:00Z", "--faults", "absent.json"], 2, "absent.json"),
        ([], 2, "--at"),
    ],
)
def test_as_a_module_it_refuses_in_a_sentence(options, code, sentence):
    with start(*options, stderr=subprocess.PIPE) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert sentence in said and "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_shows_how_to_play_and_ends_cleanly(number):
    with Command("--at", "2025-06-01T12:00:03Z", "--rate", "0", "--rate-limit") as command:
        state = ask(f"{command.url}/simulator/state")[1]
        assert state["clock"]["now_ms"] == NOON + 3000 and state["rate_limit"] is True
        command.process.send_signal(number)
        assert command.process.wait(timeout=30) == 0
        said, wrong = command.process.stdout.read(), command.process.stderr.read()
    assert wrong == ""
    assert "it is 2025-06-01T12:00:03Z, and the clock stands still" in said
    for word in ("/simulator/clock", "/simulator/faults", "docs/simulator.md", "Ctrl-C"):
        assert word in said


def test_the_command_has_a_form_for_programs():
    with subprocess.Popen([*COMMAND, "--json"], stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = json.loads(process.stdout.readline())
            assert ready["pid"] == process.pid
            # without --at it shows this machine's time and runs with it
            assert ask(f"{ready['url']}/simulator/state")[1]["clock"]["rate"] == 1
        finally:
            process.terminate()


def test_the_command_takes_funding_and_a_script(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"kind": "429", "since": "2025-06-01T12:01Z"}]))
    options = ("--faults", str(script), "--funding", str(funding_file(tmp_path)))
    with Command("--at", "2025-06-01T12:00:30Z", *options) as command:
        path = "/v5/market/funding/history?category=linear&symbol=BTCUSDT"
        rates = ask(command.url + path)[1]["result"]["list"]
        assert [rate["fundingRate"] for rate in rates] == ["-0.00012345", "0.0001"]
        assert ask(f"{command.url}/simulator/clock", {"step_s": 30})[0] == 200
        assert ask(command.url + path)[0] == 429


@pytest.mark.parametrize(
    "options, code, sentence",
    [
        (["--candles", "some.parquet"], 2, "--candles needs --at"),
        (["--port", "-1"], 2, "port -1"),
        (["--at", "2014-06-01T00:00Z"], 4, "no candle at or before"),
    ],
)
def test_the_command_refuses_in_a_sentence(options, code, sentence):
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert sentence in done.stderr and "Traceback" not in done.stderr


def test_recorded_candles_are_served(recorded_data):
    file = recorded_data / "data/candles_1m_bybit-linear.parquet"
    with start("--candles", str(file), "--at", "2025-06-10T10:15:03Z") as process:
        url = json.loads(process.stdout.readline())["url"]
        # the page holds the hour before, without a gap
        rows = kline(url, limit=61)
        newest = to_ms(parse_time("2025-06-10T10:15Z"))
        assert [int(row[0]) for row in rows] == [newest - n * MINUTE for n in range(61)]


def test_importing_it_leaves_the_heavy_libraries_alone():
    code = "import sys, tgtqr_lib.market.simulator; print(*sys.modules, sep='\\n')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not any(name in said.stdout for name in ("duckdb", "pandas", "ccxt", "requests"))
