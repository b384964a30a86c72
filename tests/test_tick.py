"""A tick from its lock to its seal: with the real notebook, with bad notebooks, and at the wrong time."""

import ast
import hashlib
import json
import shutil
import sys
import threading
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.stage import (
    PROJECT,
    decide_without_a_kernel,
    files,
    moment,
    open_stage,
    rise,
)
from tgtqr_lib import audit, books, cli, ledger, tick
from tgtqr_lib.desk import one_at_a_time
from tgtqr_lib.domain import Busy, DataError, DomainError

CANARY = "canary-7f3a1e9c"


def canonical(value) -> str:
    """Canonical JSON by the design's words, not by the code under test."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# --- two ticks through kernel and papermill, looked at from all sides ---


@pytest.fixture(scope="module")
def played(tmp_path_factory, pool):
    """10:15 buys BTC; 10:30 sells it and buys ETH; then 10:30 is run again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BYBIT_API_SECRET", CANARY)
        with open_stage(tmp_path_factory.mktemp("played") / "home", pool) as stage:
            rise(stage)
            stage.arm()
            stage.market.set("BTCUSDT", "10:29", "99900.0")
            stage.market.set("ETHUSDT", "10:29", "2502.50")
            stage.first = stage.tick("10:15")
            stage.beat("10:29")
            stage.second = stage.tick("10:30")
            yield stage


def sealed(stage, result) -> dict:
    return json.loads((stage.home.root / result.notebook).read_text("utf-8"))


@pytest.mark.slow
def test_a_tick_buys_what_the_signal_says_at_the_books_price(played):
    # close 100100.0 > mean (59 * 100000 + 100100) / 60 = 100001.66666667; limit 101101.0, 9 lots of 0.000001;
    # best ask 100100 * (1 + 0.5 bp) = 100105.005, up to 100105.1; fee 0.9009459 / 1000, up to 1e-8
    choice = played.first.decision.choice("BTCUSDT")
    assert (str(choice.signal.mean), choice.order_text) == (
        "100001.66666667",
        "BUY 0.000009 at most 101101.0",
    )
    (act,) = played.first.plain()["acts"]
    bought = {"order_id": "20261122T1015Z-BTC-B", "price": "100105.1", "notional": "0.90094590"}
    assert {key: act[key] for key in bought} == bought
    assert (act["fee"], act["feasible"]) == ("0.00090095", "no, needs 5.00")
    assert played.first.state == "done"


@pytest.mark.slow
def test_exits_come_before_entries_and_money_adds_up_to_the_last_unit(played):
    acts = played.second.plain()["acts"]
    assert [act["order_id"] for act in acts] == ["20261122T1030Z-BTC-S", "20261122T1030Z-ETH-B"]
    # sale at 99900 * (1 - 0.5 bp) = 99895.005, down to 99895.0: 0.89905500, fee 0.00089906
    # entry 37 lots of 0.00001 at 2502.50 * (1 + 0.5 bp) = 2502.625125, up to 2502.63: 0.92597310, fee 0.00092598
    assert [act["notional"] for act in acts] == ["0.89905500", "0.92597310"]
    assert [act["fee"] for act in acts] == ["0.00089906", "0.00092598"]
    # 10 - 0.9009459 - 0.00090095 + 0.899055 - 0.00089906 - 0.9259731 - 0.00092598
    assert played.cash() == "9.06941001"
    assert played.held() == {"ETHUSDT": "0.00037"}


@pytest.mark.slow
def test_running_a_tick_again_changes_nothing_and_says_so(played):
    head, before = played.head(), files(played.home.ticks)
    again = played.tick("10:30")
    assert (again.state, played.head(), files(played.home.ticks)) == ("already_done", head, before)
    assert again.text.startswith("already ran: done") and again.notebook == played.second.notebook


@pytest.mark.slow
def test_the_command_of_a_tick_that_ran_exits_0_and_says_so(played, capsys):
    head = played.head()
    code = cli.main(["tick", "--home", str(played.home.root), "--at", "2026-11-22T10:30Z"])
    assert (code, played.head()) == (0, head)
    assert "already ran" in capsys.readouterr().out


@pytest.mark.slow
def test_the_ledger_tells_the_tick_step_by_step(played):
    steps = [row.key for row in ledger.with_prefix(played.desk.con, "tick/20261122T1015Z/")]
    assert steps == [
        f"tick/20261122T1015Z/{s}" for s in ("claim", "decision", "acted", "final", "sealed")
    ]
    claim = books.tick_event(played.desk.con, "20261122T1015Z", "claim")
    assert claim["at"] == "2026-11-22T10:15:03Z"
    assert played.events("order")[0].seq < played.events("fill")[0].seq


@pytest.mark.slow
def test_the_sealed_notebook_carries_its_evidence_and_its_cell_agrees(played):
    for result in (played.first, played.second):
        notebook = sealed(played, result)
        facts = notebook["metadata"]["tgtqr"]
        assert set(facts) >= {"inputs", "decision", "outcome", "digests", "ledger", "code"}
        (cell,) = [
            c for c in notebook["cells"] if "injected-parameters" in c["metadata"].get("tags", [])
        ]
        values = [
            s.value for s in ast.parse("".join(cell["source"])).body if isinstance(s, ast.Assign)
        ]
        assert json.loads(ast.literal_eval(values[0])) == facts["inputs"]
        assert cell["metadata"]["jupyter"]["source_hidden"] is True
        assert facts["digests"]["inputs_sha256"] == canonical(facts["inputs"])
        judged = {key: facts["decision"][key] for key in ("tick_id", "choices")}
        assert facts["digests"]["decision_sha256"] == canonical(judged)
        assert facts["outcome"]["state"] == "done" and facts["code"]["library_sha256"]


@pytest.mark.slow
def test_ledger_and_sealed_notebook_bear_witness_to_each_other(played):
    for result in (played.first, played.second):
        path = played.home.root / result.notebook
        facts = json.loads(path.read_text("utf-8"))["metadata"]["tgtqr"]
        (row,) = ledger.between(played.desk.con, facts["ledger"]["seq"], facts["ledger"]["seq"])
        assert (row.hash, row.key) == (facts["ledger"]["head"], f"tick/{result.tick_id}/final")
        event = books.tick_event(played.desk.con, result.tick_id, "sealed")
        assert event["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert event["notebook"] == path.relative_to(played.home.root).as_posix()


@pytest.mark.slow
def test_the_sealed_notebook_lies_by_day_and_nothing_half_done_lies_beside_it(played):
    folder = played.home.ticks / "2026" / "11" / "22"
    assert sorted(p.name for p in folder.iterdir()) == [
        "20261122T1015Z.ipynb",
        "20261122T1030Z.ipynb",
    ]
    assert all(p.stat().st_size < 100_000 for p in folder.iterdir())


@pytest.mark.slow
def test_the_sealed_notebook_names_no_place_on_this_machine(played):
    notebook = sealed(played, played.first)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    text = json.dumps(notebook)
    places = [played.home.root, PROJECT, Path.home(), Path(sys.prefix), Path(sys.base_prefix)]
    assert [str(p) for p in places if len(str(p)) > 4 and str(p) in text] == []


@pytest.mark.slow
def test_a_secret_of_the_environment_is_nowhere_in_the_home(played):
    with_it = [
        p for p in played.home.root.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()
    ]
    assert with_it == []
    assert b"BYBIT_API_SECRET" not in played.home.log.read_bytes()


@pytest.mark.slow
def test_run_all_of_a_sealed_notebook_elsewhere_decides_the_same_and_changes_nothing(
    played, tmp_path
):
    before, head = files(played.home.root), played.head()
    copy = tmp_path / "elsewhere" / "tick.ipynb"
    copy.parent.mkdir()
    shutil.copy(played.home.root / played.second.notebook, copy)
    notebook = nbformat.read(copy, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(copy.parent)}}
    nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources=resources
    ).execute()
    mime = "application/vnd.tgtqr.decision+json"
    shown = [
        o["data"][mime]
        for c in notebook.cells
        for o in c.get("outputs", [])
        if mime in o.get("data", {})
    ]
    archived = sealed(played, played.second)["metadata"]["tgtqr"]
    assert [one["decision"] for one in shown] == [archived["decision"]]
    assert shown[0]["decision_sha256"] == archived["digests"]["decision_sha256"]
    assert (files(played.home.root), played.head()) == (before, head)
    assert [p.name for p in copy.parent.iterdir()] == ["tick.ipynb"]


@pytest.mark.slow
def test_the_log_tells_each_tick_on_one_line(played):
    lines = [line for line in played.home.log.read_text().splitlines() if " INFO tick " in line]
    assert len(lines) == 2
    for words in ("tick_id=20261122T1015Z", "state=done", "BTCUSDT_signal=LONG", "cash=9.09815315"):
        assert words in lines[0]


@pytest.mark.slow
def test_the_ledger_of_the_played_ticks_verifies(played):
    events, problems = audit.verify(played.desk.con, played.home)
    assert problems == [] and events == played.head()[0]


# --- notebooks that do not do what they should ---


def altered(folder, cell_id, source=None, *, before=None) -> Path:
    """A copy of the tick notebook whose cell `cell_id` is `source`, or has a cell `before` it."""
    notebook = json.loads((PROJECT / "notebooks" / "tick.ipynb").read_text("utf-8"))
    (place,) = [i for i, cell in enumerate(notebook["cells"]) if cell["id"] == cell_id]
    if source is not None:
        notebook["cells"][place]["source"] = [source]
    if before is not None:
        cell = {"cell_type": "code", "id": "new", "metadata": {}, "outputs": [], "source": [before]}
        notebook["cells"].insert(place, {**cell, "execution_count": None})
    path = folder / "tick.ipynb"
    path.write_text(json.dumps(notebook), "utf-8")
    return path


FORGE = """
from tgtqr_lib.tick_page import MIME, sentinel
bundle = sentinel(decision)._repr_mimebundle_()
bundle[MIME]["decision"]["choices"] = []
from IPython.display import publish_display_data
publish_display_data(bundle)
"""
BAD = {
    "leaves early": ({"before": "import sys; sys.exit(0)"}, "ended without its decision"),
    "loses its kernel": ({"before": "import os; os.kill(os.getpid(), 9)"}, "the kernel was lost"),
    "hangs": ({"before": "import time; time.sleep(60)"}, "a cell took longer than 1 s"),
    "raises": ({"before": "raise ValueError(__import__('os').environ.get('BYBIT_API_SECRET', 'no key'))"},
               "failed: ValueError: no key"),
    "decides otherwise": (
        {"before": "import dataclasses; decision = dataclasses.replace(decision, choices=())"},
        "is not ours",
    ),
    "forges the decision under the right hash": ({"source": FORGE}, "is not ours"),
    "shows it twice": ({"before": "from IPython.display import display; display(tick_page.sentinel(decision))",
                        "source": "tick_page.sentinel(decision); None"}, "ended without its decision"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", BAD)
def test_a_tick_whose_notebook_is_bad_fails_without_an_order(
    real_stage, tmp_path, monkeypatch, what
):
    stage, (change, text) = real_stage, BAD[what]
    monkeypatch.setenv("BYBIT_API_SECRET", CANARY)
    monkeypatch.setattr(tick, "NOTEBOOK", altered(tmp_path, "sentinel", **change))
    if what == "hangs":
        stage.desk.settings = stage.desk.settings.model_copy(update={"cell_timeout_s": 1})
    rise(stage)
    stage.arm()
    result = stage.tick("10:15")
    assert (result.state, result.reason) == ("failed", "NOTEBOOK_FAILED")
    assert text in result.text and text in stage.final("10:15")["text"]
    assert stage.events("order", "fill") == [] and result.acts == []
    # the executed copy is kept, also of a failure, and the next tick is as good as ever
    assert (stage.home.ticks / "2026/11/22/20261122T1015Z.ipynb").is_file()
    monkeypatch.setattr(tick, "run_notebook", decide_without_a_kernel)
    stage.beat("10:29")
    after = stage.tick("10:30")
    assert (after.state, after.acts[0].result) == ("done", "FILLED")


@pytest.mark.slow
def test_a_misspelt_parameter_is_refused_though_papermill_would_only_warn(
    real_stage, tmp_path, monkeypatch
):
    path = altered(tmp_path, "parameters", 'input: str = "x"  # frozen inputs')
    monkeypatch.setattr(tick, "NOTEBOOK", path)
    rise(real_stage)
    real_stage.arm()
    result = real_stage.tick("10:15")
    assert (result.state, result.acts) == ("failed", [])
    assert result.text == "tick.ipynb: parameter 'inputs' is not declared; expected ['input']"


@pytest.mark.slow
def test_while_stopped_the_reason_is_on_the_screen_in_the_notebook_and_in_the_ledger(
    real_stage, capsys
):
    stage = real_stage
    rise(stage)
    stage.arm()
    (stage.home.control / "STOP").write_text("the owner's finger")
    stage.at("10:15:03")
    code = cli.main(["tick", "--home", str(stage.home.root), "--at", "2026-11-22T10:15Z"])
    shown = capsys.readouterr()
    assert code == 3
    assert "GATE_STOPPED - stopped: the owner's finger" in shown.out
    assert stage.final("10:15")["state"] == "refused"
    assert stage.final("10:15")["text"] == "stopped: the owner's finger"
    notebook = (stage.home.ticks / "2026/11/22/20261122T1015Z.ipynb").read_text("utf-8")
    assert "GATE\\\\_STOPPED" in notebook or "GATE_STOPPED" in notebook
    assert "the owner" in notebook and stage.events("order", "fill") == []


# --- the wrong time ---


def test_a_tick_in_the_future_is_refused_and_not_claimed(stage):
    stage.at("10:14:59.999")
    with pytest.raises(DomainError, match=r"20261122T1030Z is in the future.*10:14:59.999Z"):
        tick.run_tick(stage.desk, None, moment("10:30"))
    assert stage.events("tick", "claim") == []


@pytest.mark.parametrize("text", ["10:14", "10:15:03", "10:16"])
def test_a_tick_off_the_quarter_hour_is_refused(stage, text):
    stage.at("10:16")
    with pytest.raises(DomainError, match="not a quarter hour; expected minute 00, 15, 30 or 45"):
        tick.run_tick(stage.desk, None, moment(text))


@pytest.mark.parametrize(
    "start_s, state", [(3, "done"), (60, "done"), (60.001, "missed"), (900, "missed")]
)
def test_a_tick_starts_at_most_60_s_after_its_boundary(stage, start_s, state):
    stage.arm()
    result = stage.tick("10:15", start_s)
    assert result.state == state
    assert stage.final("10:15")["state"] == state


def test_a_missed_tick_never_trades_not_even_afterwards(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15", 61)
    assert stage.tick("10:15").state == "already_done"
    assert stage.events("order", "fill", "decision") == []


@pytest.mark.parametrize("at", ["10:15:00", "10:15:02.999"])
def test_a_tick_waits_until_3_s_after_its_boundary(stage, at):
    stage.arm("10:14")
    stage.at(at)
    later = threading.Timer(0.3, stage.at, ["10:15:03"])
    later.start()
    result = tick.run_tick(stage.desk, None, moment("10:15"))
    later.join()
    claim = books.tick_event(stage.desk.con, result.tick_id, "claim")
    assert (result.state, claim["at"]) == ("done", "2026-11-22T10:15:03Z")


def test_a_clock_that_stands_before_the_start_is_given_up_on(stage, monkeypatch):
    monkeypatch.setattr(tick, "LONGEST_WAIT_S", 0.3)
    stage.at("10:15:02")
    with pytest.raises(
        DataError, match="stands at 2026-11-22T10:15:02Z, expected 2026-11-22T10:15:03Z"
    ):
        tick.run_tick(stage.desk, None, moment("10:15"))
    assert stage.events("tick", "claim") == []


def test_without_a_time_the_latest_quarter_hour_runs(stage):
    stage.arm()
    stage.at("10:15:20")
    assert tick.run_tick(stage.desk, None).tick_id == "20261122T1015Z"


def test_an_older_tick_than_the_newest_is_missed(stage):
    stage.arm()
    stage.tick("10:30")
    stage.simulator.clock.set(int(moment("10:15:03").timestamp() * 1000))
    result = tick.run_tick(stage.desk, None, moment("10:15"))
    assert (result.state, result.text) == ("missed", "tick 20261122T1030Z ran before it")


def test_a_tick_records_those_that_were_missed_before_it(stage):
    stage.arm()
    stage.tick("10:15")
    stage.tick("11:15")
    finals = {
        row.body["tick_id"]: row.body["state"]
        for row in stage.events("tick")
        if "state" in row.body
    }
    assert finals == {
        "20261122T1015Z": "done",
        "20261122T1030Z": "missed",
        "20261122T1045Z": "missed",
        "20261122T1100Z": "missed",
        "20261122T1115Z": finals["20261122T1115Z"],
    }


def test_two_ticks_at_once_are_refused_at_the_lock(stage):
    stage.at("10:15:03")
    with one_at_a_time(stage.home.control / "tick.lock", "tick"), pytest.raises(Busy):
        tick.run_tick(stage.desk, None, moment("10:15"))
    assert stage.events("tick", "claim") == []


def test_a_tick_that_a_beat_called_missed_meanwhile_is_not_run(stage, monkeypatch):
    # the tick looked at the clock within its minute, then slept; the watch recorded it as missed
    rise(stage)
    stage.arm()
    stage.tick("10:00", 61)
    in_time = tick._missed

    def sleep_afterwards(desk, boundary):
        result = in_time(desk, boundary)
        with ledger.writing(desk.con):
            books.record_missed(desk.con, moment("10:16"), "asleep")
        return result

    monkeypatch.setattr(tick, "_missed", sleep_afterwards)
    assert stage.tick("10:15").state == "already_done"
    assert stage.final("10:15")["state"] == "missed" and stage.events("order") == []
