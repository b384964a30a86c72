"""The committed reference is what the code says, and names neither more nor less than the code has.

What is in the code is found here without the generator: by the help of every command, the fields of the
settings, and a walk over the syntax trees.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

import tgtqr_lib
from tgtqr_lib import cli, daily, settings, signals
from tgtqr_lib.archive import rerunning
from tgtqr_lib.backtest.probes import PROBES
from tgtqr_lib.books import FINAL_STATES
from tgtqr_lib.domain import GateState, SignalState
from tgtqr_lib.parity.findings import Cause
from tgtqr_lib.risk import RULES
from tgtqr_lib.strategies import STRATEGIES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md")}
LIBRARY = Path(tgtqr_lib.__file__).parent

# Words of the code that look like codes and are none: a new one is put here, or becomes a code of the reference.
NO_CODES = {
    "CERTIFICATE_VERIFY_FAILED",  # of OpenSSL
    "LARGEST_MESSAGE",  # of Jupyter's server
    "TICK_ID",  # of help texts
    "BYBIT_API_KEY", "BYBIT_API_SECRET", "REGULAR_MARGIN", "LEVEL_1",  # of the exchange
    "FORCE_SOURCE_DATE", "SOURCE_DATE_EPOCH",  # of TeX
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "LC_ALL", "JUPYTER_PATH", "WAYLAND_DISPLAY",  # of the environment
}  # fmt: skip


def rows(page: str) -> list[list[str]]:
    """The cells of every table row whose first cell is one name in backticks."""
    found = []
    for line in PAGES[page].splitlines():
        if line.startswith("| `"):
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def names(page: str) -> list[str]:
    return [re.fullmatch(r"`([^`]+)`", row[0])[1] for row in rows(page)]


def make(docs: Path, *options: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(docs / "make_reference.py"), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path):
    """The generator and its pages elsewhere, to be spoilt."""
    docs = tmp_path / "project" / "docs"
    shutil.copytree(
        DOCS / "reference", docs / "reference", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(DOCS / "make_reference.py", docs)
    return docs


def test_the_committed_reference_is_what_the_code_says_on_any_machine(tmp_path):
    strange = {"COLUMNS": "37", "HOME": str(tmp_path), "TGTQR_MARKET": "bybit", "LC_ALL": "C"}
    strange |= {"TGTQR_STRATEGY": "no such one", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = make(DOCS, "--check", **strange)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr


def test_a_page_that_differs_is_named_with_its_place(copy):
    page = copy / "reference" / "settings.md"
    page.write_text(PAGES["settings.md"].replace("`TGTQR_COLLAR_BPS`", "`TGTQR_COLLAR`"))
    done = make(copy, "--check")
    assert done.returncode == 5
    line = 1 + PAGES["settings.md"][: PAGES["settings.md"].index("`TGTQR_COLLAR_BPS`")].count("\n")
    assert f"docs/reference/settings.md differs at line {line}" in done.stdout
    assert "`TGTQR_COLLAR`" in page.read_text("utf-8"), "a check writes nothing"


def test_a_code_without_a_sentence_and_a_sentence_without_a_code_are_both_named(copy):
    path = copy / "reference" / "words.py"
    text = path.read_text("utf-8")
    assert text.count('"DATA_GAP":') == 1
    path.write_text(text.replace('"DATA_GAP":', '"DATA_GOP":'))
    before = (copy / "reference" / "codes.md").read_text("utf-8")
    done = make(copy)
    assert done.returncode == 1
    place = 'docs/reference/words.py: TO_DO["rules"]'
    assert f"{place} has no sentence for DATA_GAP; add" in done.stderr
    assert f"{place} has a sentence for DATA_GOP, which the code does not have" in done.stderr
    assert (copy / "reference" / "codes.md").read_text("utf-8") == before


# ---- settings


def keys(model: type[BaseModel], before: str = ""):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{before}{name}.")
        else:
            yield before + name


def test_the_reference_has_every_settings_key_once_and_no_other():
    told = [name for name in names("settings.md") if not name.startswith("TGTQR_")]
    assert told == list(dict.fromkeys(told))
    assert set(told) == set(keys(settings.Settings))


def test_the_told_defaults_are_those_of_a_home_without_settings():
    usual = settings.Settings()
    for row in rows("settings.md"):
        key = row[0].strip("`")
        if key.startswith("TGTQR_") or key == "post_mortem_after_stop":  # which tests turn off
            continue
        default = row[2]
        value = usual
        for part in key.split("."):
            value = getattr(value, part)
        if default == "not set":
            assert value is None, key
            continue
        told = tomllib.loads(f"value = {default.strip('`')}", parse_float=Decimal)["value"]
        assert (tuple(told) if isinstance(told, list) else told) == value, key


@pytest.mark.parametrize("row", rows("settings.md"), ids=lambda row: row[0].strip("`"))
def test_the_told_environment_variable_sets_its_key(row, monkeypatch):
    if row[0].startswith("`TGTQR_"):
        assert row[0].strip("`") not in {
            settings.PREFIX + k.upper() for k in keys(settings.Settings)
        }
        return
    key, variable = row[0].strip("`"), row[3].strip("`")
    odd = '"odd"'  # taken by keys that are any text, and named in the error of all others
    monkeypatch.setenv(variable, odd)
    try:
        value = settings.Settings()
    except ValueError as error:
        assert key.split(".")[-1] in str(error)
    else:
        for part in key.split("."):
            value = getattr(value, part)
        assert str(value) == odd


# ---- codes

CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def texts():
    """Every text constant of the library with its place."""
    for path in sorted(LIBRARY.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, f"tgtqr_lib/{path.relative_to(LIBRARY)}:{node.lineno}"


TEXTS = dict(texts())


def test_every_code_of_the_library_is_in_the_reference():
    told = set(names("codes.md"))
    missing = {
        text: place
        for text, place in TEXTS.items()
        if CODE.fullmatch(text)
        and text not in told | NO_CODES
        and not text.startswith(settings.PREFIX)
    }
    assert not missing, (
        f"{missing}: run docs/make_reference.py; if that finds no new code, the place that makes "
        "it is none that the generator looks at (docs/reference/pages.py, FAMILIES), or it is no code (NO_CODES here)"
    )


def test_every_code_of_one_word_is_in_the_reference():
    told = set(names("codes.md"))
    known = {*RULES, *daily.MEANINGS, *FINAL_STATES, *PROBES}
    known |= {str(one.value) for kind in (GateState, Cause, rerunning.Result) for one in kind}
    known |= {f"SIGNAL_{state}" for state in SignalState}
    from tgtqr_lib import act, safety, tick
    from tgtqr_lib.backtest.probes import findings

    known |= {act.FILLED, act.PARTIAL, act.REFUSED, act.OUTSIDE_COLLAR, act.NO_QUOTE}
    known |= {safety.BREACH, safety.SPENT, tick.ALREADY_DONE}
    known |= {findings.PASSED, findings.FAILED, findings.NOT_JUDGED}
    assert known <= told


def test_every_code_of_the_reference_is_in_the_library():
    in_code = set(TEXTS) | {f"SIGNAL_{state}" for state in SignalState}
    numbers = {"130", "143"} | {
        str(v) for k, v in vars(cli).items() if k.isupper() and type(v) is int
    }
    gone = [name for name in names("codes.md") if name not in in_code | numbers | {"0"}]
    assert not gone


def test_every_exit_code_is_in_the_reference():
    source = (LIBRARY / "cli.py").read_text("utf-8")
    told = [name for name in names("codes.md") if name.isdigit()]
    assert set(told) == {"0", "1", "2", "3", "4", "5", "75", "130", "143"}
    for code in told[:-2]:
        assert re.search(rf"\b{code}\b", cli.EPILOG)
    assert "return 130" in source and "return 143" in source


def test_every_variable_of_the_environment_is_in_the_reference():
    variable = re.compile(rf"{settings.PREFIX}[A-Z_]*[A-Z]")
    seen = {text for text in TEXTS if variable.fullmatch(text)} | settings.NOT_SETTINGS
    assert seen == {name for name in names("settings.md") if name.startswith(settings.PREFIX)}


# ---- commands


def help_of(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        cli.main([*words, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def options(text: str) -> set[str]:
    """The long options of a help, where they are declared."""
    body = text.split("exit codes:")[0]
    found = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", body, flags=re.MULTILINE))
    return found - {"--help", "--home"}


def sections() -> dict[str, str]:
    """Title of each section of the commands -> its text."""
    parts = re.split(r"^#{2,3} (tgtqr .+)$", PAGES["commands.md"], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_reference_has_every_command_and_option_of_the_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    seen = {}
    listed = re.findall(r"^  (\w+) +\S", help_of(capsys).split("options:")[0], flags=re.MULTILINE)
    for name in listed:
        text = help_of(capsys, name)
        seen[f"tgtqr {name}"] = options(text)
        # `a|b ...` of the usage line: actions with options of their own
        usage = " ".join(text.split("\n\n")[0].split())
        for action in re.findall(r"(\w+(?:\|\w+)+) \.\.\.", usage):
            for part in action.split("|"):
                seen[f"tgtqr {name} {part}"] = options(help_of(capsys, name, part))
    told = {
        title: {
            option
            for line in text.splitlines()
            if line.startswith("| `-")
            for option in re.findall(r"--[a-z-]+", line.split(" | ")[0])
        }
        for title, text in sections().items()
    }
    assert told == seen
    assert len(seen) > len(cli.COMMANDS) == len(listed)


def test_every_command_is_told_with_its_first_sentence(capsys):
    for name in cli.COMMANDS:
        lines = help_of(capsys, name).split("\n\n")[1].split()
        told = sections()[f"tgtqr {name}"].replace("\\*", "*").replace("&lt;", "<").split()
        assert " ".join(lines[:8]) in " ".join(told)


# ---- strategies and signals


def test_the_reference_has_every_strategy_with_every_parameter():
    page = PAGES["strategies.md"]
    parts = re.split(r"^## (\w+)$", page, flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(told) == list(STRATEGIES)
    for name, strategy in STRATEGIES.items():
        lines = re.findall(
            r"^\| `(\w+)` \| (-?\d+) \| (-?\d+) to (-?\d+)", told[name], re.MULTILINE
        )
        expected = [(k, p.default, p.low, p.high) for k, p in strategy.parameters.items()]
        assert [(k, int(a), int(b), int(c)) for k, a, b, c in lines] == expected


def test_the_reference_has_every_signal_and_every_file_of_them():
    files = set(re.findall(r"^### `signals/(\w+)\.py`$", PAGES["signals.md"], re.MULTILINE))
    there = {path.stem for path in (LIBRARY / "signals").glob("*.py")} - {"__init__"}
    assert files == there
    assert names("signals.md") == list(getattr(signals, "SIGNALS", {}))
