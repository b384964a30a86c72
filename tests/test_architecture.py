"""Imports run down only, floors have no cycles, and the core sees neither clock, disk nor network."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tgtqr_lib

ROOT = Path(tgtqr_lib.__file__).parent

# The building of the design. A module or package of tgtqr_lib that is not listed fails below: choose its floor.
FLOORS = {
    0: [
        "domain", "clock", "limits", "settings", "canonical", "home",
        "credentials", "hosts",
    ],
    1: ["decide", "signals", "strategies", "sizing", "risk", "execution", "portfolio"],
    2: ["backtest", "charts", "pages", "tick_page"],
    3: [
        "market", "brokers", "ledger", "gate", "alerts", "records",
        "latch", "journal", "books", "kernel", "leaks",
    ],
    4: [
        "tick", "watch", "schedule", "archive", "backup", "research", "demo",
        "desk", "freeze", "act", "safety", "audit", "up", "standing",
        "orders", "controls", "impact", "what_if", "parity", "daily", "daily_page", "reports",
        "post_mortem", "after_stop", "after_day", "learn", "recording", "strategy_document",
        "alerting", "twin", "preflight",
    ],
    5: ["cli", "commands", "dashboard", "jupyter"],
}  # fmt: skip
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}

FORBIDDEN_IN_THE_CORE = {
    "os", "sys", "io", "socket", "ssl", "http", "urllib", "requests", "aiohttp", "sqlite3", "duckdb",
    "ccxt", "pybit", "time", "random", "secrets", "uuid", "threading", "multiprocessing", "asyncio",
    "subprocess", "pathlib", "shutil", "tempfile", "logging", "pandas", "papermill", "locale", "platform",
}  # fmt: skip
AMBIENT = {"now", "utcnow", "today", "time_ns", "monotonic", "perf_counter", "localtime", "gmtime"}
HEAVY = {"ccxt", "duckdb", "pandas", "papermill", "matplotlib", "pydantic", "pybit", "voila"}


def modules():
    """Every source file of the library as (dotted name below tgtqr_lib, path)."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imported(path):
    """Dotted names of all modules that a file imports, anywhere in it; relative ones made absolute."""
    package = ("tgtqr_lib", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from tgtqr_lib import ledger` imports tgtqr_lib.ledger
            yield from (f"{base}.{a.name}" if base == "tgtqr_lib" else base for a in node.names)


def tops(path):
    """The top-level modules of tgtqr_lib that a file imports."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("tgtqr_lib.")}
    return names & {name.split(".")[0] for name in MODULES}


def top_of(name):
    return name.split(".")[0]


IMPORTS: dict[str, set[str]] = {}  # top-level module -> those it imports
for module_name, module_path in MODULES.items():
    if module_name:
        IMPORTS.setdefault(top_of(module_name), set()).update(
            tops(module_path) - {top_of(module_name)}
        )


@pytest.mark.parametrize("name", sorted(IMPORTS))
def test_every_module_has_a_floor(name):
    assert name in FLOOR, (
        f"tgtqr_lib/{name} has no floor; list it in FLOORS of tests/test_architecture.py "
        "on the lowest floor that suits it"
    )


@pytest.mark.parametrize("name", sorted(IMPORTS))
def test_imports_run_down_only(name):
    floor = FLOOR.get(name, 5)
    upward = {other for other in IMPORTS[name] if FLOOR.get(other, 5) > floor}
    assert not upward, f"{name} (floor {floor}) imports {sorted(upward)} from above"


@pytest.mark.parametrize("floor", FLOORS)
def test_within_a_floor_there_is_no_cycle(floor):
    here = {name: IMPORTS[name] & set(FLOORS[floor]) for name in FLOORS[floor] if name in IMPORTS}
    while free := [name for name, others in here.items() if not others]:
        here = {name: others - set(free) for name, others in here.items() if name not in free}
    assert not here, f"these import each other: {here}"


def on_floors(*floors):
    return [name for name in MODULES if name and FLOOR.get(top_of(name)) in floors]


@pytest.mark.parametrize("name", on_floors(1))
def test_the_core_imports_no_disk_network_clock_or_chance(name):
    outside = {top_of(other) for other in imported(MODULES[name])} & FORBIDDEN_IN_THE_CORE
    assert not outside, f"{name} is in the pure core and imports {sorted(outside)}"


def ambient_calls(source):
    """Attributes such as `datetime.now`, whatever the owner is called, and imports of `time`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in AMBIENT:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"from time import {alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name == "time")


@pytest.mark.parametrize("name", on_floors(0, 1))
def test_ground_and_core_read_no_clock(name):
    found = list(ambient_calls(MODULES[name].read_text(encoding="utf-8")))
    assert not found, f"{name} reads this machine's clock: {found}"


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.now()",
        "import datetime\nx = datetime.datetime.now(datetime.UTC)",
        "from datetime import date\ndate.today()",
        "import time",
        "from time import monotonic as m",
        "import datetime\nf = datetime.datetime.utcnow",
        "from datetime import datetime as d\nd.now()",
    ],
)
def test_the_search_for_clocks_finds_them(source):
    assert list(ambient_calls(source))


@pytest.mark.parametrize("name", on_floors(1))
def test_the_core_opens_no_file_and_prints_nothing(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize("name", on_floors(1))
def test_the_core_keeps_no_state(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assert not [n for n in ast.walk(tree) if isinstance(n, (ast.Global, ast.Nonlocal))]


def loaded_by(statement):
    """Names of all modules in memory after `statement` in a fresh Python."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    return set(done.stdout.split())


STOP_NEEDS = [name for name in ("home", "latch") if name in MODULES]  # what stopping imports


@pytest.mark.parametrize("name", STOP_NEEDS)
def test_stop_needs_nothing_but_the_standard_library(name):
    loaded = loaded_by(f"import tgtqr_lib.{name}")
    outside = {top_of(other) for other in loaded} & (HEAVY | {"numpy", "sqlite3"})
    assert not outside, f"importing tgtqr_lib.{name} loads {sorted(outside)}"
    ours = {other for other in loaded if other.startswith("tgtqr_lib.")}
    assert ours <= {"tgtqr_lib.home", "tgtqr_lib.latch"}


@pytest.mark.parametrize("name", [n for n in ("decide", "gate") if n in MODULES])
def test_deciding_and_the_gate_load_nothing_heavy(name):
    outside = {top_of(other) for other in loaded_by(f"import tgtqr_lib.{name}")} & HEAVY
    assert not outside, f"importing tgtqr_lib.{name} loads {sorted(outside)}"
