"""A report is a notebook and one page that asks no other host for anything, or it is no report."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from tests.dashboard.browser import a_browser
from tests.stage import DAY, PROJECT, decide_without_a_kernel, files, open_stage, rise
from tgtqr_lib import cli, reports, tick
from tgtqr_lib.domain import DataError, DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.kernel import NotebookFailed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A home with a purchase, a refusal and a missed tick, its report, and what its data were before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TGTQR_POST_MORTEM_AFTER_STOP", "false")
        patch.setattr(tick, "run_notebook", decide_without_a_kernel)
        with open_stage(tmp_path_factory.mktemp("reported") / "home") as stage:
            rise(stage)
            stage.arm("10:14")
            stage.tick("10:15")
            stage.beat("10:15:05")
            stage.tick("10:45")
            before = files(stage.home.data)
            yield stage.home, reports.daily(stage.home, DAY), before


class Asked(HTMLParser):
    """Everything that a page would load, follow or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded, self.followed, self.tags = [], [], []
        self.meta, self.handlers = {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.handlers += [name for name in values if name.startswith("on")]
        for name in ("src", "srcset", "data", "poster", "background"):
            self.loaded += [values[name]] if name in values else []
        if tag == "meta":
            self.meta[values.get("name")] = values.get("content")
        if "href" in values:
            (self.followed if tag == "a" else self.loaded).append(values["href"])


def test_the_page_loads_nothing_and_runs_nothing(reported):
    text = reported[1].page.read_text("utf-8")
    page = Asked(text)
    assert page.loaded and all(value.startswith("data:") for value in page.loaded)
    assert not {"script", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.handlers == []
    assert re.findall(r"url\((?!#)|@import|https?://", text) == []
    assert page.meta["viewport"] == "width=device-width, initial-scale=1"
    assert page.meta["color-scheme"] == "light dark" and "prefers-color-scheme: dark" in text
    assert page.tags.count("img") == 1  # the equity


def test_the_page_tells_the_day(reported):
    home, report, _ = reported
    text = report.page.read_text("utf-8")
    # 9 lots bought for 0.9009459 and a fee of 0.00090095, worth 0.9009 at the close: 10 - 0.00094685
    assert (
        "22 November 2026: 3 ticks, 1 fill, fees 0.0009 USDT, equity 10.0000 → 9.9991 USDT" in text
    )
    assert "it was not started within a minute of its time" in text and "1 missed" in text
    assert (
        "<title>Daily report 2026-11-22 - TGT QR</title>" in text and "sealed notebook" not in text
    )
    assert "armed" in text and "by a test" in text
    assert "ticks are equal" in text or "could not be compared" in text
    assert str(home.root) not in text


def test_the_pages_links_lead_to_the_ticks(reported):
    home, report, _ = reported
    links = [link for link in Asked(report.page.read_text("utf-8")).followed if link[0] != "#"]
    found = {(report.page.parent / link).resolve() for link in links}
    assert found == {
        home.ticks.resolve() / f"2026/11/22/20261122T{time}Z.ipynb" for time in ("1015", "1045")
    }


def test_both_files_are_there_and_nothing_else_of_the_run(reported):
    home, report, _ = reported
    folder = home.outputs / "reports"
    seen = {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}
    assert seen == {"daily-2026-11-22.ipynb", "daily-2026-11-22.html"}
    assert report == reports.Report(
        folder / "daily-2026-11-22.ipynb", folder / "daily-2026-11-22.html"
    )
    executed = nbformat.read(report.notebook, as_version=4)
    injected = [c for c in executed.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert f'day = "{DAY}"' in injected[0].source


def test_a_report_leaves_ledger_and_control_as_they_were(reported):
    home, _, before = reported
    changed = {name for name, content in files(home.data).items() if before.get(name) != content}
    assert changed <= {"trading_data.db-shm"}  # where SQLite's readers hold their locks
    assert before.keys() == files(home.data).keys()


def test_the_page_fits_a_phone_without_scrolling_sideways(reported):
    with a_browser() as browser:
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": 390, "height": 844}, color_scheme=scheme
            )
            page, asked = context.new_page(), []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(reported[1].page.as_uri())
            wide = "[...document.querySelectorAll('*')].filter(e => e.scrollWidth > 390).length"
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.evaluate(wide) == 0
            assert all(url.startswith(("file:", "data:")) for url in asked)
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert colour == {"light": "rgb(244, 245, 247)", "dark": "rgb(14, 17, 22)"}[scheme]
            context.close()


def test_the_command_prints_both_paths(reported, capsys):
    home, report, _ = reported
    assert cli.main(["report", "--day", DAY, "--home", str(home.root)]) == 0
    assert capsys.readouterr().out.split() == [str(report.notebook), str(report.page)]
    assert cli.main(["report", "--json", "--home", str(home.root)]) == 0
    assert json.loads(capsys.readouterr().out) == {"day": DAY, **report.plain()}


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["--day", "2026-11-21"], 4, "its ticks go from 2026-11-22 to 2026-11-22"),
        (["--day", "22.11.2026"], 2, "expected something like 2026-11-22"),
        (["--day", ""], 2, "is no day"),
        (["--day", DAY, "--post-mortem", "stop"], 2, "not both"),
        (["--post-mortem", "20250101T0000Z"], 2, "20250101T0000Z"),
        (["--post-mortem", ""], 2, "expected the id of a tick"),
    ],
)
def test_exit_codes(reported, capsys, words, code, said):
    home = reported[0]
    before = files(home.outputs / "reports")
    assert cli.main(["report", *words, "--home", str(home.root)]) == code
    assert said in capsys.readouterr().err
    assert files(home.outputs / "reports") == before


def test_a_home_without_ticks_exits_4(tmp_path, capsys):
    assert cli.main(["report", "--home", str(tmp_path / "none")]) == 4
    assert "no ledger" in capsys.readouterr().err


def a_notebook(folder: Path, *cells: str) -> None:
    """notebooks/own.ipynb in `folder`, with one parameter."""
    made = [nbformat.v4.new_code_cell("x: str = ''", metadata={"tags": ["parameters"]})]
    made += [nbformat.v4.new_code_cell(source) for source in cells]
    book = nbformat.v4.new_notebook(cells=made)
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python",
        "language": "python",
    }
    nbformat.write(book, folder / "own.ipynb")


@pytest.mark.parametrize(
    "source, why",
    [
        ("1 / 0", "cell .* failed: ZeroDivisionError"),
        ("import sys; sys.exit(0)", "did not run|failed"),
    ],
)
def test_a_failed_cell_keeps_the_old_report_and_its_own_copy_says_failed(
    tmp_path, monkeypatch, source, why
):
    monkeypatch.setattr(reports, "NOTEBOOKS", tmp_path)
    home = Home(tmp_path / "home")
    a_notebook(tmp_path, "print('fine')")
    good = reports.write(home, "own", {"x": "1"}, "own-1")
    before = files(home.outputs)
    a_notebook(tmp_path, source, "print('after')")
    with pytest.raises(NotebookFailed, match=why) as caught:
        reports.write(home, "own", {"x": "2"}, "own-1")
    assert "own-1-FAILED.ipynb" in str(caught.value)
    after = files(home.outputs)
    assert after.keys() - before.keys() == {"reports/own-1-FAILED.ipynb"}
    kept = {"reports/own-1.ipynb", "reports/own-1.html"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    a_notebook(tmp_path, "print('fine again')")
    assert reports.write(home, "own", {"x": "3"}, "own-1") == good
    assert not (home.outputs / "reports/own-1-FAILED.ipynb").exists()


def test_a_notebook_that_papermill_left_without_running_it_is_no_report(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "NOTEBOOKS", tmp_path)
    a_notebook(tmp_path, "1 + 1")

    def copied(source, target, parameters, pool, *, cell_timeout_s):
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(reports, "run_notebook", copied)
    with pytest.raises(NotebookFailed, match="cell 0 did not run"):
        reports.write(Home(tmp_path / "home"), "own", {}, "own-1")
    assert not (tmp_path / "home/outputs/reports/own-1.html").exists()


def test_what_a_cell_says_cannot_run_or_load_in_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "NOTEBOOKS", tmp_path)
    bad = "<script>alert(1)</script><img src='http://example.org/x.png' onerror='x()'><b>told</b>"
    a_notebook(
        tmp_path, f"from IPython.display import HTML, Markdown\nHTML({bad!r})", f"Markdown({bad!r})"
    )
    text = reports.write(Home(tmp_path / "home"), "own", {}, "own-1").page.read_text("utf-8")
    page = Asked(text)
    assert "script" not in page.tags and page.handlers == []
    assert [value for value in page.loaded if "example.org" in value] == []
    assert "<b>told</b>" in text


def test_a_parameter_that_is_not_declared_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "NOTEBOOKS", tmp_path)
    a_notebook(tmp_path, "x")
    with pytest.raises(DomainError, match="'y' is not declared"):
        reports.write(Home(tmp_path / "home"), "own", {"y": "1"}, "own-1")
    with pytest.raises(StoreError, match="no such notebook"):
        reports.write(Home(tmp_path / "home"), "another", {}, "own-1")


def test_a_post_mortem_of_an_empty_archive_is_told(tmp_path):
    with pytest.raises((DataError, DomainError)):
        reports.post_mortem(Home(tmp_path / "home").make(), "20261122T1015Z")


def test_the_committed_notebook_has_no_outputs_and_its_parameters_first():
    book = nbformat.read(PROJECT / "notebooks" / "daily_report.ipynb", as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code[0].metadata.tags == ["parameters"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert all(len(cell.source.splitlines()) <= 8 for cell in code)
    assert not [cell for cell in code if re.search(r"^\s*(def|for|while) ", cell.source, re.M)]
