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
from pathlib import Path

import pytest

from tgtqr_lib.cli import COMMANDS
from tgtqr_lib.market import bybit_v5
from tgtqr_lib.market.faults import FAULTS, read_script

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
    names["exchange"].session.close()
    names["session"].client.close()


def test_the_page_has_snippets_of_every_sort():
    kinds = [kind for kind, _ in SNIPPETS]
    assert kinds[0] == "shell" and {"shell", "python", "json"} == set(kinds)
    assert "simulator" in COMMANDS


def test_the_page_knows_every_fault_and_every_endpoint():
    table = PAGE.split("| kind |")[1].split("\n\n")[0]
    listed = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert listed == set(FAULTS)
    served = PAGE.split("| endpoint, below")[1].split("\n\n")[0]
    paths = {
        p for row in served.splitlines() for p in re.findall(r"`([\w/-]+)`", row.split("|")[1])
    }
    assert {f"/v5/market/{path}" for path in paths - {"/v5/market/"}} == set(bybit_v5.ENDPOINTS)


def test_the_script_of_the_page_makes_sense(tmp_path):
    (text,) = [text for kind, text in SNIPPETS if kind == "json"]
    file = tmp_path / "script.json"
    file.write_text(text)
    assert [entry["kind"] for entry in read_script(file)] == ["5xx", "stale", "jump"]
