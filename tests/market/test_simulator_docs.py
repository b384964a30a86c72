"""Every snippet of docs/simulator.md runs, in its order, against a simulator started by its own first line."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from inspect import signature
from pathlib import Path

import pytest

from tgtqr_lib.cli import COMMANDS
from tgtqr_lib.market import bybit_v5
from tgtqr_lib.market.faults import FAULTS, read_script
from tgtqr_lib.market.simulation.accounts import Accounts

PAGE = (Path(__file__).parents[2] / "docs/simulator.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
TGTQR = f"{shlex.quote(sys.executable)} -m tgtqr_lib.cli"


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


def stand_in_for_curl(folder: Path) -> Path:
    """A folder with a `curl` that knows `-s URL [-d BODY]`, for machines that have none."""
    program = folder / "programs" / "curl"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"#!{sys.executable}\nimport sys, urllib.request as r\n"
        "url = next(w for w in sys.argv if w.startswith('http'))\n"
        "body = sys.argv[sys.argv.index('-d') + 1].encode() if '-d' in sys.argv else None\n"
        "print(r.urlopen(r.Request(url, body)).read().decode())\n"
    )
    program.chmod(0o755)
    return program.parent


def run_shell(text: str, folder: Path) -> None:
    """Run the lines; the first that fails fails the test. A reply of curl must be JSON without an error."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    if not shutil.which("curl"):
        environment["PATH"] = f"{stand_in_for_curl(folder)}{os.pathsep}{os.environ['PATH']}"
    for line in text.splitlines():
        ours = re.sub(r"\btgtqr (?=[a-z])", f"{TGTQR} ", line)
        done = subprocess.run(
            ["bash", "-c", ours],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        if line.startswith("curl"):
            reply = json.loads(done.stdout)
            assert reply.get("retCode", 0) == 0 and "error" not in reply


@pytest.mark.slow
def test_every_snippet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    port = free_port()
    (_, first), *others = [(kind, text.replace("8765", port)) for kind, text in SNIPPETS]
    command = shlex.split(first.replace("tgtqr", TGTQR, 1))
    names: dict[str, object] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline().strip() == f"http://127.0.0.1:{port}"
            for kind, text in others:
                if kind == "python":
                    exec(compile(text, "docs/simulator.md", "exec"), names)
                elif kind == "json":
                    Path("script.json").write_text(text)
                else:
                    run_shell(text, tmp_path)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/state") as reply:
                state = json.load(reply)
        finally:
            process.terminate()
    # and they did what they say
    assert len(names["spot"]) == 60 and 0 < abs(names["basis"]) < 0.002
    assert len(names["rates"]) == 90
    assert state["clock"]["now"] == "2025-06-01T12:00:03Z"
    assert [fault["kind"] for fault in state["faults"]] == ["5xx", "stale", "jump"]
    assert state["rate_limit"] is False
    (account,) = state["accounts"]
    assert (account["open_orders"], account["executions"]) == (0, 2)
    assert names["lost"][0]["filled"] == 0.001
    names["exchange"].session.close()
    names["session"].client.close()


def test_the_page_has_snippets_of_every_sort():
    kinds = [kind for kind, _ in SNIPPETS]
    assert kinds[0] == "shell" and {"shell", "python", "json"} == set(kinds)
    assert "simulator" in COMMANDS


def first_cells(heading: str, pattern: str) -> set[str]:
    """What the first column of every table with this heading names."""
    tables = [text.split("\n\n")[0] for text in PAGE.split(f"| {heading} ")[1:]]
    rows = [row for table in tables for row in table.splitlines() if row.count("|") > 2]
    return {name for row in rows for name in re.findall(pattern, row.split("|")[1])}


def test_the_page_knows_every_fault_and_every_endpoint():
    assert first_cells("kind |", r"`(\w+)`") == set(FAULTS)
    public = first_cells("endpoint, below `/v5/market/` |", r"`([\w/-]+)`")
    assert {f"/v5/market/{path}" for path in public} == set(bybit_v5.ENDPOINTS)
    private = first_cells("endpoint, below `/v5/` |", r"`([\w/-]+)`")
    assert {f"/v5/{path}" for path in private} == set(bybit_v5.PRIVATE)


def test_the_page_knows_everything_an_account_may_be_told():
    options = set(signature(Accounts.open).parameters) - {"self"}
    assert first_cells("of an account |", r"`(\w+)`") == options


def test_the_script_of_the_page_makes_sense(tmp_path):
    (text,) = [text for kind, text in SNIPPETS if kind == "json"]
    file = tmp_path / "script.json"
    file.write_text(text)
    assert [entry["kind"] for entry in read_script(file)] == ["5xx", "stale", "jump"]
