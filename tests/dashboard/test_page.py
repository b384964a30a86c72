"""The page in a real browser: what it shows, how it stops, what it takes and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import threading
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.dashboard.browser import DESKTOP, PHONE, Visit, a_browser, visiting
from tests.dashboard.serving import message, pieces, serving, until, wait_for
from tests.stage import PROJECT, command
from tgtqr_lib import latch
from tgtqr_lib.home import Home

pytestmark = pytest.mark.slow

PICTURES = PROJECT / "outputs" / "pages"  # kept for people; not in git
TICKS = 6
PAGE = (PROJECT / "notebooks" / "dashboard.ipynb").as_posix()


@pytest.fixture(scope="module")
def browser():
    with a_browser() as found:
        yield found


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Path:
    """A home after six ticks of the demo."""
    folder = tmp_path_factory.mktemp("played")
    done = command(Home(folder), "demo", "--ticks", str(TICKS), "--json", timeout_s=280)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["home"])


@pytest.fixture
def home(played, tmp_path) -> Home:
    """A home of its own for each test."""
    shutil.copytree(played, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def served(home):
    with serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as found:
        yield found


@pytest.fixture(scope="module")
def shown(played, tmp_path_factory):
    """A served home that no test changes."""
    folder = tmp_path_factory.mktemp("shown") / "home"
    shutil.copytree(played, folder)
    with serving(folder, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as found:
        yield found


def status(home: Home) -> dict:
    return json.loads(command(home, "status", "--json").stdout)


def events(home: Home, kind: str) -> list[dict]:
    with sqlite3.connect(home.ledger) as con:
        rows = con.execute("SELECT body FROM events WHERE kind = ? ORDER BY seq", (kind,))
        return [json.loads(body) for (body,) in rows]


def head(home: Home) -> tuple:
    with sqlite3.connect(home.ledger) as con:
        return con.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()


def field(visit: Visit, name: str):
    return visit.page.get_by_label(name, exact=False)


def press(visit: Visit, name: str) -> None:
    visit.page.get_by_role("button", name=name).click()


# what it shows


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everything_is_there_fits_and_comes_from_here(shown, browser: Browser, size, scheme):
    with visiting(browser, shown.link, size, scheme) as visit:
        visit.wait("figure.chart svg")
        titles = visit.page.locator("section.card h2, .controls h2").all_inner_texts()
        assert {
            "Performance",
            "Positions",
            "Risk",
            "Signals and decisions",
            "Controls",
            "System",
        } < {*titles}
        assert {"BTCUSDT", "ETHUSDT"} < {*titles}
        # the window scrolls down, never sideways
        assert visit.page.evaluate("document.documentElement.scrollWidth") == size[0]
        button = visit.page.locator("#stop").bounding_box()
        assert button["height"] >= 48
        assert button["y"] >= 0 and button["y"] + button["height"] <= size[1]
        assert button["x"] >= 0 and button["x"] + button["width"] <= size[0]
        assert visit.hosts == {f"127.0.0.1:{shown.port}"}
        assert visit.errors == []
        PICTURES.mkdir(parents=True, exist_ok=True)
        name = f"{'desktop' if size == DESKTOP else 'phone'}-{scheme}"
        visit.page.screenshot(path=PICTURES / f"{name}.png")
        visit.page.screenshot(path=PICTURES / f"{name}-whole.png", full_page=True)


def test_the_figures_are_those_of_the_status_command(shown, browser):
    facts = status(shown.home)
    with visiting(browser, shown.link) as visit:
        visit.wait_text("#equity", facts["equity"])
        assert visit.text("#gate") == facts["gate"] == "ACTIVE"
        performance = visit.page.locator("section.card", has_text="Performance").first
        exact = performance.locator("dd span").first.get_attribute("title")
        assert exact == f"{facts['equity']} USDT"
        held = visit.page.locator("section.card", has_text="Positions").first.inner_text()
        for position in facts["positions"]:
            assert position["symbol"] in held and position["quantity"] in held
        risk = visit.page.locator("section.card", has_text="Risk").first.inner_text()
        assert facts["ledger"]["head"][:12] in risk
        assert f"0 of {facts['orders']} orders could exist on Bybit" in risk


def test_a_tick_opens_its_archived_notebook(shown, browser):
    last = events(shown.home, "tick")[-1]["tick_id"]
    with visiting(browser, shown.link) as visit:
        visit.wait(f'a[href="tick/{last}"]')
        with visit.page.context.expect_page() as opened:
            visit.page.locator(f'a[href="tick/{last}"]').first.click()
        opened.value.wait_for_load_state()
        assert last in opened.value.inner_text("body")
        assert opened.value.evaluate("document.documentElement.scrollWidth") <= DESKTOP[0]


def test_times_have_the_readers_own_beside(shown, browser):
    # Kathmandu is 5:45 ahead of UTC all the year
    with visiting(browser, shown.link, timezone_id="Asia/Kathmandu") as visit:
        visit.wait("table.facts time + .local")
        time = visit.page.locator("table.facts time").first
        moment = datetime.fromisoformat(time.get_attribute("datetime"))
        minutes = (moment.hour * 60 + moment.minute + 345) % 1440
        local = visit.page.locator("table.facts time + .local").first.inner_text()
        assert f"{minutes // 60:02}:{minutes % 60:02}" in local


def test_a_new_home_says_what_comes_next(browser, tmp_path):
    with (
        serving(tmp_path / "new", TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served,
        visiting(browser, served.link, PHONE) as visit,
    ):
        assert visit.text("#gate") == "STOPPED"
        visit.wait_text("section.card", "No tick yet")
        visit.wait_text("section.card", "No account yet")
        assert visit.errors == []


def test_names_and_reasons_are_text_and_never_markup(home, browser):
    evil = "<img src=x onerror=document.title='owned'>"
    assert command(home, "stop", "--reason", evil).returncode == 0
    with (
        serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served,
        visiting(browser, served.link) as visit,
    ):
        visit.wait_text("#reason", evil)
        visit.wait("pre.log")
        assert visit.page.locator("img[src=x]").count() == 0
        assert "owned" not in visit.page.title()


# stopping


def test_one_tap_stops_and_says_when(served, home, browser):
    with visiting(browser, served.link, PHONE) as visit:
        visit.page.locator("#stop").click()
        visit.wait_text("#stopping", "Stopped.")
        assert latch.stopped_because(home) is not None
        visit.wait_text("#gate", "STOPPED")
        assert "requested" in visit.text("#stop-requested") and "UTC" in visit.text("#stop-stopped")
    assert events(home, "gate")[-1]["by"] == "the page"


@pytest.mark.parametrize("after_s", [0.3, 1.2, 2.0])
def test_a_stop_while_a_tick_runs_lets_no_entry_through_and_sells_within_a_minute(
    served, home, browser, after_s
):
    with visiting(browser, served.link) as visit:
        before = len(events(home, "order"))
        ticking = threading.Thread(target=command, args=(home, "tick"), kwargs={"timeout_s": 120})
        ticking.start()
        visit.page.wait_for_timeout(1000 * after_s)
        stopped_at = len(events(home, "order"))
        visit.page.locator("#stop").click()
        visit.wait_text("#stopping", "Stopped.")
        booked = len(events(home, "order"))
        ticking.join()
        later = events(home, "order")[booked:]
        assert [o for o in later if o["order"]["side"] == "BUY" and o["result"] == "FILLED"] == []
        assert before <= stopped_at <= booked
        command(home, "watch", "--once")  # the next minute
        assert status(home)["positions"] == []
        visit.wait_text("#stop-flat", "UTC")


def test_the_page_is_stale_when_its_server_is_gone_and_takes_nothing_but_a_stop(served, browser):
    with visiting(browser, served.link) as visit:
        os.kill(served.process.pid, signal.SIGKILL)
        visit.wait("body.stale")  # `make bench` says how soon
        assert visit.text("#gate").startswith("STALE")
        assert visit.page.evaluate("document.getElementById('sections').inert") is True
        assert visit.page.locator("#stop").is_enabled()
        visit.page.locator("#stop").click()
        visit.wait_text("#stopping", "NOT STOPPED YET")


def test_a_stop_pressed_while_the_server_hangs_is_one_stop_and_its_receipt_outlives_a_reload(
    served, home, browser
):
    assert status(home)["gate"] == "ACTIVE"
    with visiting(browser, served.link) as visit:
        served.process.send_signal(signal.SIGSTOP)
        try:
            visit.page.locator("#stop").click()
            visit.wait_text("#stop-words", "NOT STOPPED YET")
            visit.page.wait_for_timeout(6000)  # the page asks again meanwhile
        finally:
            served.process.send_signal(signal.SIGCONT)
        visit.wait_text("#stop-words", "Stopped.")
        told = visit.text("#stop-requested"), visit.text("#stop-stopped")
        visit.page.reload()
        visit.wait_text("#stop-words", "Stopped.")
        assert (visit.text("#stop-requested"), visit.text("#stop-stopped")) == told
    until(lambda: "stop button" in home.log.read_text("utf-8"))
    assert home.log.read_text("utf-8").count("stop button") == 1
    assert [event["what"] for event in events(home, "gate")][-2:] == ["armed", "stopped"]


def test_an_attempt_that_arrives_again_after_an_arming_leaves_it(served, home):
    visitor = served.visitor()
    served.post(visitor, "/api/close", kernel=served.open_page(visitor))

    def stop(attempt: str) -> dict:
        headers = {"X-XSRFToken": visitor.cookies.get("_xsrf"), "X-Attempt": attempt}
        answer = visitor.post(f"{served.address}/api/stop", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    first = stop("one")
    command(home, "watch", "--once")
    assert command(home, "arm", "--reason", "a test").returncode == 0
    assert stop("one") == first and latch.stopped_because(home) is None
    assert stop("two") != first and latch.stopped_because(home) is not None


def test_the_header_says_that_its_time_is_simulated(shown, browser):
    with visiting(browser, shown.link) as visit:
        visit.wait_text("#clock-name", "simulated time")
        stands = status(shown.home)["exchange_time"]
        visit.wait_text("#clock", f"{stands[:10]} {stands[11:19]} UTC")


# arming


def test_arming_needs_a_reason_and_a_second_word(served, home, browser):
    command(home, "stop")
    command(home, "watch", "--once")
    with visiting(browser, served.link) as visit:
        visit.wait_text("#gate", "STOPPED")
        press(visit, "Arm again")
        visit.wait_text(".arming", "needs a reason")
        assert not visit.page.get_by_role("button", name="Yes, allow entries again").is_visible()
        field(visit, "Reason for arming").fill("looked at it, all is well")
        field(visit, "Reason for arming").press("Tab")
        press(visit, "Arm again")
        press(visit, "No, stay stopped")
        visit.wait_text(".arming", "Not armed")
        assert latch.stopped_because(home) is not None
        press(visit, "Arm again")
        press(visit, "Yes, allow entries again")
        visit.wait_text("#gate", "ACTIVE")
    last = events(home, "gate")[-1]
    assert (last["what"], last["by"]) == ("armed", "the page")
    assert last["reason"] == "looked at it, all is well"


def test_arming_is_refused_while_something_is_held(served, home, browser):
    assert status(home)["positions"], "the demo holds something after its sixth tick"
    latch.stop(home, "a test")
    with visiting(browser, served.link) as visit:
        field(visit, "Reason for arming").fill("impatient")
        field(visit, "Reason for arming").press("Tab")
        press(visit, "Arm again")
        press(visit, "Yes, allow entries again")
        visit.wait_text(".arming", "cannot arm while")
        assert latch.stopped_because(home) is not None


# changing


def test_a_parameter_is_changed_after_before_and_after_were_shown(served, home, browser):
    with visiting(browser, served.link) as visit:
        field(visit, "parameters.window").fill("30")
        field(visit, "parameters.window").press("Tab")
        press(visit, "Show what it would change")
        visit.wait_text(".controls", "ticks looked at")
        assert events(home, "control") == []
        press(visit, "Confirm the change")
        visit.wait_text(".controls", "Recorded in the ledger")
    (change,) = events(home, "control")
    assert change["changes"]["parameters.window"]["old"] == "60"
    assert change["changes"]["parameters.window"]["new"] == "30"
    assert change["by"] == "the page" and change["who"]
    assert command(home, "tick", timeout_s=120).returncode == 0
    sealed = sorted((home.ticks).rglob("2*.ipynb"))[-1]
    plan = json.loads(sealed.read_text())["metadata"]["tgtqr"]["inputs"]["plan"]
    assert plan["parameters"]["window"] == 30


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("parameters.window", "1", "2 to 1440"),
        ("parameters.window", "nan", "window"),
        ("limits.daily_loss_usdt", "2.01", "2.00"),
        ("limits.position_usdt", "1e9", "position_usdt"),
        ("limits.total_loss_usdt", "<script>", "total_loss_usdt"),
    ],
)
def test_what_is_out_of_range_or_looser_is_refused_with_a_sentence(
    shown, browser, name, value, words
):
    before = head(shown.home)
    with visiting(browser, shown.link) as visit:
        field(visit, name).fill(value)
        field(visit, name).press("Tab")
        press(visit, "Show what it would change")
        visit.wait_text(".controls p.down", words)
        assert not visit.page.get_by_role("button", name="Confirm the change").is_visible()
    assert head(shown.home) == before


def test_a_limit_once_tightened_is_not_loosened_from_the_page(served, home, browser):
    assert command(home, "settings", "change", "limits.daily_loss_usdt=1.50").returncode == 0
    with visiting(browser, served.link) as visit:
        field(visit, "limits.daily_loss_usdt").fill("1.60")
        field(visit, "limits.daily_loss_usdt").press("Tab")
        press(visit, "Show what it would change")
        visit.wait_text(".controls p.down", "limits.daily_loss_usdt")
    assert len(events(home, "control")) == 1


def test_an_event_of_the_ledger_is_on_the_page(served, home, browser):
    with visiting(browser, served.link) as visit:
        tick = json.loads(command(home, "tick", "--json", timeout_s=120).stdout)["tick_id"]
        visit.wait(f'a[href="tick/{tick}"]')


# hostile visitors


def test_a_thousand_hostile_widget_messages_change_nothing(served, home):
    """Straight over the socket: bounds raised, NaN, strings, huge values, and every button clicked."""
    visitor = served.visitor()
    kernel = served.open_page(visitor)
    before = head(home), status(home)["gate"]
    evil = [
        float("nan"),
        float("inf"),
        1e308,
        -1,
        "",
        "x" * 100_000,
        "1e9",
        [],
        {},
        None,
        True,
        "\u0000",
        "9" * 5000,
    ]
    with served.socket(visitor, kernel) as socket:
        socket.send(message("shell", "comm_info_request", {"target_name": "jupyter.widget"}))
        comms = list(wait_for(socket, "comm_info_reply")["comms"])
        assert len(comms) > 40
        for n in range(1000):
            comm, value = comms[n % len(comms)], evil[n % len(evil)]
            state = {
                "value": value,
                "max": 1e12,
                "min": -1e12,
                "options": [value],
                "index": 99,
                "disabled": False,
            }
            data = {"method": "update", "state": state, "buffer_paths": []}
            if n % 3 == 0:
                data = {"method": "custom", "content": {"event": "click", "value": value}}
            body = json.dumps({"comm_id": comm, "data": data})
            head_of = {"msg_id": f"m{n}", "msg_type": "comm_msg", "session": "s", "username": "u",
                       "version": "5.3", "date": "2026-01-01T00:00:00Z"}  # fmt: skip
            socket.send(pieces("shell", json.dumps(head_of), "{}", "{}", body))
        socket.send(message("shell", "kernel_info_request", {}))
        wait_for(socket, "kernel_info_reply")
    assert (head(home), status(home)["gate"]) == before
    assert events(home, "control") == []


def test_a_click_that_waited_for_the_connection_is_refused(home):
    """The browser's stamp tells how long a message was under way; a stop has its own door."""
    from datetime import UTC, timedelta

    from tgtqr_lib.dashboard.issued import Lateness

    now, late = datetime(2026, 11, 22, 10, 0, tzinfo=UTC), Lateness()
    skew = timedelta(hours=3)  # the phone's clock is three hours behind
    late.note((now - skew - timedelta(milliseconds=80)).isoformat(), now)
    assert late.too_old() is None
    late.note((now - skew).isoformat(), now + timedelta(seconds=29))
    assert late.too_old() is None
    late.note((now - skew).isoformat(), now + timedelta(seconds=31))
    assert "31 s old" in late.too_old()
    late.note("no time at all", now)
    assert late.too_old() is not None


def test_reading_never_holds_up_a_writer(served, home, browser):
    with visiting(browser, served.link), sqlite3.connect(home.ledger, timeout=1.0) as con:
        for _ in range(50):
            con.execute("BEGIN IMMEDIATE")
            con.rollback()


def test_amounts_keep_their_exact_value_beside_the_short_one():
    from tgtqr_lib.dashboard.parts import money

    assert 'title="9.90553484 USDT"' in money("9.90553484")
    assert "9.9055" in money("9.90553484") and "−0.0945" in money(
        Decimal("-0.09446516"), signed=True
    )


def test_the_page_notebook_only_shows_the_page():
    cells = json.loads(Path(PAGE).read_text())["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    assert code == ["from tgtqr_lib.dashboard.page import show\n\nshow()"]
