"""The dashboard's server at work: pages and their kernels, login, state, stop, ticks, start and end."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import requests
from jupyter_server.auth import passwd

from tests.dashboard.serving import (
    PATIENCE_S,
    kernel_process,
    serving,
    start,
    until,
)
from tests.stage import PROJECT, environment
from tgtqr_lib import archive, books, latch, ledger
from tgtqr_lib.dashboard import self_check
from tgtqr_lib.dashboard.auth import Throttle, password_hash
from tgtqr_lib.dashboard.child import start as start_child
from tgtqr_lib.dashboard.kernels import connection_folder
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.home import Home

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"
TICK = "20250601T1015Z"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(served):
    return served.visitor()


def arm(home: Home) -> None:
    """Put the latch where `tgtqr arm` would."""
    with latch.arming(home):
        pass
    assert latch.stopped_because(home) is None


# ---------------------------------------------------------------------- pages and their kernels


def test_the_fifth_page_gets_a_sentence_and_a_closed_one_makes_room(served, visitor):
    kernels = [served.open_page(visitor) for _ in range(4)]

    fifth = visitor.get(served.address + "/", timeout=PATIENCE_S)
    served.post(visitor, "/api/close", kernel=kernels[0])
    again = visitor.get(served.address + "/", timeout=PATIENCE_S)

    assert len(set(kernels)) == 4
    assert fifth.status_code == 503
    assert "Four pages of the dashboard are open" in fifth.text
    assert "jupyter-config-data" not in fifth.text
    assert again.status_code == 200
    # nobody ever connected to the five: their kernels end by themselves, each of them
    for kernel in kernels:
        until(lambda kernel=kernel: kernel_process(kernel) is None)


def test_the_kernel_of_a_closed_tab_ends(served, visitor):
    kernel = served.open_page(visitor)
    with served.socket(visitor, kernel):
        process = until(lambda: kernel_process(kernel))
        state = visitor.get(
            f"{served.address}/api/state?kernel={kernel}", timeout=PATIENCE_S
        ).json()
        assert state["page"] is True

    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    state = visitor.get(f"{served.address}/api/state?kernel={kernel}", timeout=PATIENCE_S).json()
    assert state["page"] is False


def test_a_page_whose_kernel_died_is_told_so(served, visitor):
    kernel = served.open_page(visitor)
    with served.socket(visitor, kernel):
        until(lambda: kernel_process(kernel)).kill()

        until(
            lambda: visitor.get(f"{served.address}/api/state?kernel={kernel}", timeout=PATIENCE_S)
            .json()["page"] is False
        )  # fmt: skip


def test_the_header_comes_before_the_sections_of_a_notebook_that_hangs(tmp_path):
    # the first kernel runs through, as the self-check demands; every later one sleeps
    source = (
        "import os, pathlib, time\n"
        "seen = pathlib.Path(os.environ['TGTQR_HOME']) / 'seen'\n"
        "time.sleep(600 if seen.exists() else 0); seen.touch()"
    )
    with serving(tmp_path, source=source) as served:
        visitor = served.visitor()
        served.open_page(visitor)
        answer = visitor.get(served.address + "/", stream=True, timeout=PATIENCE_S)
        arriving, head = answer.iter_content(None), b""
        while b'id="loading"' not in head:
            head += next(arriving)
        assert b'id="stop"' in head and b"jupyter-config-data" not in head

        arm(served.home)
        served.post(visitor, "/api/stop")
        assert latch.stopped_because(served.home) == "the stop button (by the page)"
        answer.close()


# ---------------------------------------------------------------------- state and stop


def test_the_state_of_a_home_without_a_ledger_is_stopped(served, visitor):
    state = visitor.get(served.address + "/api/state", timeout=PATIENCE_S).json()

    assert state["gate"] == "STOPPED"
    assert state["equity"] is None and state["page"] is None
    assert re.fullmatch("[0-9a-f]{16}", state["server"])


def test_the_button_stops_at_once_while_the_ledger_is_locked(served, visitor):
    served.post(visitor, "/api/close", kernel=served.open_page(visitor))
    arm(served.home)
    ledger.connect(served.home.ledger).close()
    before = datetime.now(UTC)
    with sqlite3.connect(served.home.ledger, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        first = served.post(visitor, "/api/stop")
        held = latch.stopped_because(served.home)
        second = served.post(visitor, "/api/stop")
        other.execute("ROLLBACK")
    other.close()

    assert held == "the stop button (by the page)"
    for answer in (first, second):
        assert answer.status_code == 200
        requested, stopped = (
            datetime.fromisoformat(answer.json()[name]) for name in ("requested", "stopped")
        )
        assert before.replace(microsecond=0) <= requested <= stopped <= datetime.now(UTC)


def test_the_button_tells_the_ledger_when_it_can(served, visitor):
    served.post(visitor, "/api/close", kernel=served.open_page(visitor))
    con = ledger.connect(served.home.ledger)
    arm(served.home)
    with ledger.writing(con):
        books.book_gate(con, "armed", datetime.now(UTC), "a test", "a test")
    armed = ledger.head(con)[0]

    for _ in range(3):
        served.post(visitor, "/api/stop")

    [booked] = until(lambda: ledger.of_kind(con, "gate", after=armed))
    con.close()
    assert (booked.body["what"], booked.body["by"]) == ("stopped", "the page")


def test_a_stop_that_cannot_be_written_says_so(served, visitor):
    served.post(visitor, "/api/close", kernel=served.open_page(visitor))
    control, aside = served.home.control, served.home.data / "control.aside"
    control.rename(aside)
    control.write_text("in the way")
    try:
        answer = served.post(visitor, "/api/stop")
    finally:
        control.unlink()
        aside.rename(control)

    # a control folder that is a file holds no ARMED, so the kit is stopped whatever can be written
    assert answer.status_code == 200 or "NOT STOPPED" in answer.json()["problem"]


# ---------------------------------------------------------------------- ticks


def seal(home: Home, tick: str, *cells: dict) -> None:
    """A sealed notebook, written by hand."""
    path = archive.sealed_path(home, tick)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(body), "utf-8")


def an_output(html: str) -> dict:
    data = {"text/html": html, "application/javascript": "alert(3)", "text/plain": "plain"}
    return {
        "cell_type": "code", "execution_count": 1, "id": "c", "metadata": {}, "source": "x < 1",
        "outputs": [{"output_type": "display_data", "metadata": {}, "data": data}],
    }  # fmt: skip


def test_a_sealed_notebook_is_a_page_that_runs_and_loads_nothing(served, visitor):
    evil = (
        "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(4)'>a</a>"
        "<iframe src=//evil.example></iframe><table style='text-align:left;background:url(//evil.example/b)'>"
        "<tr><td>17.5</td></tr></table><style>@import '//evil.example/c'</style>"
    )
    prose = {
        "cell_type": "markdown",
        "id": "m",
        "metadata": {},
        "source": "# Title\n\n<script>alert(5)</script>",
    }
    seal(served.home, TICK, prose, an_output(evil))

    answer = visitor.get(f"{served.address}/tick/{TICK}", timeout=PATIENCE_S)

    assert answer.status_code == 200
    assert "<td>17.5</td>" in answer.text and ">Title" in answer.text and "x &lt; 1" in answer.text
    assert 'href="/"' in answer.text
    assert not re.search(
        r"<(script|iframe|style)|<[^>]+(onerror|javascript:|evil\.example)", answer.text
    )
    assert "alert(3)" not in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'none'" in policy and "default-src 'none'" in policy


def test_a_tick_that_is_sealed_anew_is_read_anew(served, visitor):
    url = f"{served.address}/tick/20250601T1030Z"
    seal(served.home, "20250601T1030Z", an_output("<p>first</p>"))
    first = visitor.get(url, timeout=PATIENCE_S).text
    seal(served.home, "20250601T1030Z", an_output("<p>the second</p>"))

    assert "first" in first
    assert "the second" in visitor.get(url, timeout=PATIENCE_S).text


@pytest.mark.parametrize(
    "name, words",
    [
        ("20250601T1200Z", "There is no notebook of the tick 20250601T1200Z."),
        ("20259999T9999Z", "There is no notebook of the tick 20259999T9999Z."),
        ("20250601", "this is not a tick"),
        ("..%2f..%2fsettings.toml", "this is not a tick"),
        ("20250601T1015Z.ipynb", "this is not a tick"),
    ],
)
def test_an_unknown_tick_gets_a_sentence(served, visitor, name, words):
    answer = visitor.get(f"{served.address}/tick/{name}", timeout=PATIENCE_S)

    assert answer.status_code == 404
    assert words in answer.text


def test_a_notebook_cut_short_gets_a_sentence(served, visitor):
    path = archive.sealed_path(served.home, "20250601T1045Z")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"cells": [')

    answer = visitor.get(f"{served.address}/tick/20250601T1045Z", timeout=PATIENCE_S)

    assert answer.status_code == 404
    assert "cannot be read" in answer.text


# ---------------------------------------------------------------------- login


def log_in(address: str, session: requests.Session, password: str) -> requests.Response:
    session.get(address + "/login", timeout=PATIENCE_S)
    form = {"password": password, "_xsrf": session.cookies["_xsrf"]}
    return session.post(address + "/login", data=form, timeout=PATIENCE_S, allow_redirects=False)


def test_a_password_logs_in_is_throttled_and_outlives_a_restart(tmp_path):
    (tmp_path / ".env").write_text(f"# a comment\nTGTQR_PASSWORD_HASH='{passwd(PASSWORD)}'\n")
    hashed = password_hash(Home(tmp_path))
    with serving(tmp_path, TGTQR_PASSWORD_HASH=hashed) as served:
        assert "token" not in served.link
        session = requests.Session()
        wrong = log_in(served.address, session, "wrong")
        right = log_in(served.address, session, PASSWORD)
        state = session.get(served.address + "/api/state", timeout=PATIENCE_S)
        assert (wrong.status_code, right.status_code, state.status_code) == (401, 303, 200)

        other = requests.Session()
        answers = [log_in(served.address, other, "wrong") for _ in range(6)]
        late = log_in(served.address, other, PASSWORD)
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        assert late.status_code == 429 and "Too many wrong tries. Wait" in late.text
        time.sleep(int(late.headers["Retry-After"]) + 0.5)
        assert log_in(served.address, other, PASSWORD).status_code == 303

        port = served.port
        cookie = dict(session.cookies)
    with serving(tmp_path, "--port", str(port), TGTQR_PASSWORD_HASH=hashed) as served:
        state = requests.get(served.address + "/api/state", cookies=cookie, timeout=PATIENCE_S)
        assert state.status_code == 200
    with serving(
        tmp_path, "--port", str(port), TGTQR_PASSWORD_HASH=passwd("another one")
    ) as served:
        state = requests.get(served.address + "/api/state", cookies=cookie, timeout=PATIENCE_S)
        assert state.status_code == 403


def test_the_link_of_another_start_does_not_log_in(served):
    answer = requests.get(f"{served.address}/?token=guessed", timeout=PATIENCE_S)

    assert answer.status_code == 401
    assert "That link is not of this start." in answer.text


def test_the_link_leads_to_the_page_without_its_token(served):
    session = requests.Session()

    answer = session.get(served.link, timeout=PATIENCE_S)
    served.post(session, "/api/close", kernel=re.search(r'"kernelId": "([\w-]+)"', answer.text)[1])

    assert answer.url == served.address + "/"
    assert answer.status_code == 200


def test_waits_double_after_five_wrong_tries():
    throttle = Throttle()
    waits = []
    for _ in range(8):
        throttle.count()
        waits.append(round(throttle.wait_s()))

    assert waits == [0, 0, 0, 0, 2, 4, 8, 16]
    throttle.forget()
    assert throttle.wait_s() == 0


@pytest.mark.parametrize(
    "line",
    ["TGTQR_PASSWORD_HASH=argon2:$argon2id$x", "export TGTQR_PASSWORD_HASH='argon2:$argon2id$x'"],
)
def test_a_hash_is_read_from_the_home(tmp_path, monkeypatch, line):
    monkeypatch.delenv("TGTQR_PASSWORD_HASH", raising=False)
    (tmp_path / ".env").write_text(f"OTHER=1\n#TGTQR_PASSWORD_HASH=argon2:$argon2id$no\n{line}\n")

    assert password_hash(Home(tmp_path)) == "argon2:$argon2id$x"


def test_a_hash_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TGTQR_PASSWORD_HASH", "secret")

    with pytest.raises(DomainError, match="is not a hash"):
        password_hash(Home(tmp_path))


def test_the_command_prints_a_line_that_is_the_password(tmp_path):
    code = (
        "import getpass; getpass.getpass = lambda prompt: 'correct horse battery'\n"
        "from tgtqr_lib.cli import main; raise SystemExit(main(['dashboard', 'password']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=PROJECT
    )
    line = done.stdout.splitlines()[-1]
    (tmp_path / ".env").write_text(line + "\n")
    kept = os.environ.pop("TGTQR_PASSWORD_HASH", None)
    try:
        hashed = password_hash(Home(tmp_path))
    finally:
        if kept is not None:
            os.environ["TGTQR_PASSWORD_HASH"] = kept

    from jupyter_server.auth import passwd_check

    assert passwd_check(hashed, PASSWORD) and not passwd_check(hashed, "correct horse")
    assert PASSWORD not in done.stdout + done.stderr


# ---------------------------------------------------------------------- start and end


def refused(home: Home, *words: str, **changes: str) -> str:
    """Start a server that must refuse with exit code 2; returns what it said."""
    process = start(home, *words, **changes)
    said, trouble = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (2, ""), trouble
    return trouble


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(Home(tmp_path), "--port", str(port))

    assert f"port {port} of 127.0.0.1 cannot be had" in told and "--port" in told


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_a_password_only_this_machine_is_served(tmp_path, host):
    told = refused(Home(tmp_path), "--host", host)

    assert f"--host {host} can be reached from other machines" in told
    assert "tgtqr dashboard password" in told


def test_a_server_that_is_terminated_takes_its_kernels_with_it(tmp_path):
    with serving(tmp_path) as served:
        children = until(lambda: psutil.Process(served.process.pid).children(recursive=True))
        served.process.terminate()
        assert served.process.wait(PATIENCE_S) == 0

    for child in children:
        until(lambda child=child: not child.is_running())


def test_a_child_serves_for_the_length_of_a_block(tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    for name, value in environment(Home(tmp_path)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TGTQR_PASSWORD_HASH", "")
    monkeypatch.setenv("TGTQR_DASHBOARD_NOTEBOOK", str(PROJECT / "notebooks" / "tick.ipynb"))

    with start_child(Home(tmp_path), 0) as link:
        address = link.split("?")[0]
        assert requests.get(address + "login", timeout=PATIENCE_S).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=PATIENCE_S)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                TgtqrError, match=f"did not start: port {port} of 127.0.0.1 cannot be had"
            ),
            start_child(Home(tmp_path), port),
        ):
            pass


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    code = (
        "import time, tgtqr_lib.dashboard.child as child\nfrom tgtqr_lib.home import Home\n"
        "with child.start(Home.find(), 0) as link:\n    print(link, flush=True); time.sleep(600)"
    )
    changes = {
        "TGTQR_PASSWORD_HASH": "",
        "TGTQR_DASHBOARD_NOTEBOOK": str(PROJECT / "notebooks" / "tick.ipynb"),
    }
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT,
        env=environment(Home(tmp_path)) | changes,
    )  # fmt: skip
    link = parent.stdout.readline()
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    parent.stdout.close()

    assert link.startswith("http://127.0.0.1:") and len(children) >= 2
    for child in children:
        until(lambda child=child: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(
    "new, old, found",
    [
        ({}, {}, None),
        ({"voila.server_extension": False}, {"voila.server_extension": True}, None),
        ({"voila.server_extension": True}, {}, "voila.server_extension is enabled"),
        ({"voila": True}, {}, "voila is enabled"),
        ({}, {"voila.server_extension": True}, "voila.server_extension is enabled"),
        ({"jupyterlab": True}, {}, None),
    ],
)
def test_the_self_check_reads_the_lists_of_extensions(tmp_path, monkeypatch, new, old, found):
    monkeypatch.setattr("jupyter_core.paths.jupyter_config_path", lambda: [str(tmp_path)])
    (tmp_path / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"jpserver_extensions": new}})
    )
    (tmp_path / "jupyter_notebook_config.json").write_text(
        json.dumps({"NotebookApp": {"nbserver_extensions": old}})
    )

    problem = self_check.extension_problem()

    assert (problem is None) if found is None else (found in problem)


@pytest.mark.parametrize("length", [10, 20, 24, 25, 39, 40, 41, 90])
def test_a_kernels_socket_fits_whatever_the_folder_for_temporary_files(monkeypatch, length):
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        usual = Path(short, "x" * max(1, length - len(short) - 1))
        usual.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(usual))
        folder = connection_folder()
        try:
            # Linux' sun_path holds 108 bytes, the last of them zero
            assert len(f"{folder}/kernel-{uuid.uuid4()}-ipc-5") <= 107
        finally:
            folder.rmdir()
