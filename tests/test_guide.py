"""The guide holds: its links and pictures exist, its commands parse, and what it shows is what happens."""

import importlib
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tgtqr_lib import cli
from tgtqr_lib.backtest.probes import PROBES
from tgtqr_lib.strategies import registered

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(page: str, *kinds: str) -> list[str]:
    """The code blocks of a page whose language is one of `kinds`."""
    return [text for kind, text in FENCE.findall(PAGES[page]) if kind in kinds]


def prose(page: str) -> str:
    return FENCE.sub("", PAGES[page])


def anchors(text: str) -> set[str]:
    """The places of a page that a link can name, as GitHub makes them of its headings."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), flags=re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        found.add(words.replace(" ", "-"))
    return found


def commands(page: str) -> list[list[str]]:
    """The words after `tgtqr` of every command line in the page's code blocks."""
    found = []
    for text in blocks(page, "", "shell", "bash"):
        for line in text.splitlines():
            line = line.strip().removeprefix("$ ")
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # variables for one command
                words = words[1:]
            if words and words[0] == "tgtqr":
                found.append(words[1:])
    return found


# ---- links


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_of_the_guide_exists(page):
    here, missing = (ROOT / page).parent, []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, place = unquote(target).partition("#")
        path = (here / name).resolve() if name else ROOT / page
        if not path.exists():
            missing.append(target)
        elif place and place not in anchors(path.read_text("utf-8")):
            missing.append(f"{target}: no such heading")
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_project_that_the_guide_names_exists(page):
    named = re.findall(r"`((?:notebooks|tgtqr_lib|tests|docs)/[\w/.*-]*)`", prose(page))
    there = {name for name in named if (ROOT / name).exists()}
    own = {"tgtqr_lib/strategies/breakout.py"}  # which the reader makes
    assert set(named) - there - own == set()


def test_every_page_is_reached_from_the_index():
    seen, waiting = set(), ["docs/README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page not in PAGES:  # a link to nowhere fails above
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+\.md)", PAGES[page]):
            path = ((ROOT / page).parent / target).resolve()
            waiting.append(path.relative_to(ROOT).as_posix())
    assert set(PAGES) <= seen


# ---- commands


class _Reached(Exception):
    """The parser took the words; nothing is run."""


SHOWN = [(page, words) for page in PAGES if "reference/" not in page for words in commands(page)]


@pytest.mark.parametrize("page, words", SHOWN, ids=lambda value: str(value)[:60])
def test_every_command_line_of_the_guide_parses(page, words, monkeypatch, capsys):
    command = next(word for word in words if not word.startswith("-"))
    assert command in cli.COMMANDS

    def reached(options):
        raise SystemExit(0)

    monkeypatch.setattr(importlib.import_module(f"tgtqr_lib.commands.{command}"), "run", reached)
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 0, capsys.readouterr().err


def test_the_guide_shows_commands_at_all():
    # the README and each of these pages have several; a fence that is read wrongly would show none
    for page in ("README.md", "docs/quick_start.md", "docs/how_to/after_a_stop.md"):
        assert len(commands(page)) >= 4


# ---- add a strategy

ADD = "docs/how_to/add_a_strategy.md"


@pytest.fixture
def its_file(tmp_path, monkeypatch):
    """A folder with `breakout.py` as the page has it."""
    assert "Save this as `breakout.py`" in PAGES[ADD]
    (tmp_path / "breakout.py").write_text(blocks(ADD, "python")[0], "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "breakout.py"
    sys.modules.pop("breakout", None)


def test_the_strategy_of_the_page_passes_its_check(its_file, capsys):
    words = commands(ADD)[0]
    assert words == ["check", "breakout.py"]
    assert cli.main(words) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == blocks(ADD, "text")[0].strip()
    assert last == f"breakout passed all {len(PROBES)} probes"


def test_the_peek_of_the_page_fails_as_it_says(its_file, capsys):
    before, after = "now > before", "np.roll(now, -1) > before"
    assert f"replace `{before}` by `{after}`" in PAGES[ADD]
    text = its_file.read_text("utf-8")
    assert text.count(before) == 1
    its_file.write_text(text.replace(before, after), "utf-8")
    assert cli.main(["check", "breakout.py"]) == 5
    assert capsys.readouterr().out.strip().splitlines()[-1] == blocks(ADD, "text")[1].strip()


def test_the_notebook_cell_of_the_page_compares_three(its_file):
    cell = blocks(ADD, "python")[1]
    body, last = cell.rstrip().rsplit("\n", 1)
    names = {}
    exec(compile(body, ADD, "exec"), names)
    assert names["past"].made_up
    assert [row[0] for row in eval(last, names).rows] == ["breakout", "ma trend", "buy and hold"]


def test_the_line_that_keeps_the_strategy_fits_the_registry(its_file):
    from tgtqr_lib import strategies

    breakout = importlib.import_module("breakout")
    with registered(breakout.STRATEGY):
        assert strategies.STRATEGIES["breakout"] is breakout.STRATEGY
    registry = {}
    exec(blocks(ADD, "python")[2], {"STRATEGIES": registry, "breakout": breakout})
    assert registry == {"breakout": breakout.STRATEGY}
    source = (ROOT / "tgtqr_lib/strategies/__init__.py").read_text("utf-8")
    assert '    "ma_trend": ma_trend.STRATEGY,' in source  # the form that the page tells
    assert '`"breakout": breakout.STRATEGY,`' in PAGES[ADD]


def test_the_settings_of_the_page_are_settings(its_file, home):
    from tgtqr_lib import settings
    from tgtqr_lib.strategies import strategy_named

    home.settings.write_text(blocks(ADD, "toml")[0], "utf-8")
    chosen = settings.load(home)
    breakout = importlib.import_module("breakout")
    with registered(breakout.STRATEGY):
        assert strategy_named(chosen.strategy).checked(chosen.parameters) == {"window": 240}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")])
def test_every_settings_file_of_the_guide_loads(page, home):
    from tgtqr_lib import settings

    for text in blocks(page, "toml"):
        home.settings.write_text(text, "utf-8")
        assert settings.load(home) is not None


# ---- what is shown is what happens


def lines_in_order(wanted: str, seen: str) -> bool:
    """Whether every line of `wanted` stands in `seen`, in its order."""
    rest = iter(seen.splitlines())
    return all(line in rest for line in wanted.rstrip().splitlines())


@pytest.mark.slow
def test_the_quick_start_and_the_way_after_a_stop_happen_as_they_are_told(capsys):
    start, stop = "docs/quick_start.md", "docs/how_to/after_a_stop.md"
    shown = blocks(start, "text")
    seen = ""
    for words in commands(start):
        code = cli.main(words)
        out = capsys.readouterr()
        seen += out.out + out.err
        assert code == 0, f"{words}: {out.err}"
        if words[0] == "rerun":
            assert out.out.split()[:2] == [words[1], "MATCH"]
        if words[0] == "stop":
            cli.main(["status"])
            seen += capsys.readouterr().out
    for text in shown:
        assert lines_in_order(text, seen), text
    assert "fees 0.00368213 USDT in 4 fills" in told_by("status", capsys)  # "cost 0.0037 USDT"

    later = told_by("ledger verify --archive", capsys)
    later += told_by("data fetch --from 2025-05-31", capsys) + told_by("data verify", capsys)
    for page in ("docs/how_to/a_post_mortem.md", "docs/how_to/run_on_real_data.md"):
        for text in blocks(page, "text"):
            assert lines_in_order(text, later), f"{text}\n{later}"

    # the account lives, so a new one is refused
    told_by("arm --reason again", capsys)
    assert cli.main(["account", "new", "--reason", "too early"]) == 3
    seen += capsys.readouterr().err
    for text in blocks(stop, "text"):
        assert lines_in_order(text, seen), text


def told_by(line: str, capsys) -> str:
    assert cli.main(shlex.split(line)) == 0
    return capsys.readouterr().out
