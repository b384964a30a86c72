"""What preflight does when there is little to look at, when the exchange is odd, and when a check breaks."""

import json
import re
import socket
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.preflight.lab import SECRET, in_state
from tests.stage import PROJECT, HandMarket, command, files, ms
from tgtqr_lib import cli, preflight
from tgtqr_lib.commands.preflight import CODES, table
from tgtqr_lib.credentials import Secret, register
from tgtqr_lib.home import Home
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.preflight import Case, Check, Finding, Kind, State
from tgtqr_lib.preflight.finding import passed

PRIVATE = [name for name in preflight.CHECKS if name.startswith("key")]
PRIVATE += ["account_type", "balance", "coins", "fee_rates"]


def a_case(home) -> Case:
    return Case(home, port=5000, disk_mb=1, memory_mb=1, doors=lambda: None)


# ---- little to look at


def test_with_the_paper_account_private_checks_are_skipped_with_the_reason(lab):
    lab.account = "paper"
    lab.settings()
    code, found = lab.look()
    assert code == 0
    assert {found[name]["state"] for name in PRIVATE} == {"skip"}
    assert {found[name]["detail"] for name in PRIVATE} == {"no account is set"}
    paper = (
        "1.00 USDT cannot be traded on Bybit: spot needs 5.00; paper orders are filled all the same"
    )
    assert found["smallest_order"]["state"] == "pass"
    assert found["smallest_order"]["detail"].startswith(paper)


def test_the_embedded_simulator_needs_no_key_and_no_network(home, crontab, capsys):
    home.settings.write_text('account = "demo"\ndemo_limits_scale = 10\n', "utf-8")
    before = files(home.root)
    assert cli.main(["preflight", "--json", "--memory-mb", "1"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert found["exchange"]["state"] == found["smallest_order"]["state"] == "pass"
    for name in PRIVATE:
        assert found[name]["state"] == "skip" and "no key is needed" in found[name]["detail"]
    for name in ("region", "clock", "schedule"):
        assert found[name]["state"] == "skip" and "simulator" in found[name]["detail"]
    assert files(home.root) == before


def test_a_home_that_does_not_exist_is_said_and_not_made(tmp_path, crontab, capsys):
    root = tmp_path / "nowhere"
    assert cli.main(["preflight", "--json", "--home", str(root), "--memory-mb", "1"]) == 2
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert in_state(found, "fail") == {"home"}
    assert "does not exist" in found["home"]["detail"]
    assert (
        found["ledger"]["detail"] == found["permissions"]["detail"] == "there is no home; see home"
    )
    assert not root.exists()


def test_a_simulator_with_a_time_of_its_own_has_no_clock_to_be_off(lab):
    lab.simulator.clock.set("2025-06-01T00:00:03Z")
    found = lab.look()[1]
    assert found["clock"]["state"] == "skip" and "time of its own" in found["clock"]["detail"]
    assert found["key_valid"]["state"] == "pass"


def test_a_demo_key_is_no_testnet_key(home, lab):
    with running(
        SyntheticSource(7), SimulatorClock.host(), accounts=lab.accounts, environment="testnet"
    ) as testnet:
        lab.account, lab.url = "testnet", testnet.url
        lab.settings()
        code, found = lab.look()
    assert in_state(found, "warn", "fail") == {"key_valid"} and code == 2
    assert "a demo key is not a testnet key" in found["key_valid"]["detail"]
    assert "testnet.bybit.com" in found["key_valid"]["do"]


@pytest.mark.parametrize(
    "account, hosts",
    [
        ("paper", {"prices": "https://api.bybit.com"}),
        ("demo", {"prices": "https://api.bybit.com", "account": "https://api-demo.bybit.com"}),
        ("testnet", {"prices": "https://api-testnet.bybit.com"}),
    ],
)
def test_prices_and_account_of_bybit_are_asked_where_they_are(home, account, hosts):
    home.settings.write_text(f'market = "bybit"\naccount = "{account}"\n', "utf-8")
    assert a_case(home).hosts() == hosts


# ---- an odd exchange


@contextmanager
def between(url, change):
    """A server in front of `url` whose answers are what `change(path, answer)` makes of them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            passed_on = {k: v for k, v in self.headers.items() if k.upper().startswith("X-BAPI")}
            request = urllib.request.Request(f"{url}{self.path}", headers=passed_on)
            with urllib.request.urlopen(request, timeout=10) as reply:
                answer = change(self.path.split("?")[0], json.load(reply))
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_a_demo_account_is_not_told_is_skipped_and_the_rest_looked_at(lab):
    """Bybit's demo has neither /v5/user/query-api nor /v5/account/fee-rate; it answers 10032."""

    def as_on_demo(path, answer):
        if path in ("/v5/user/query-api", "/v5/account/fee-rate"):
            text = "Demo trading are not supported."
            return {**answer, "retCode": 10032, "retMsg": text, "result": {}}
        return answer

    lab.patience_s = 1
    with between(lab.simulator.url, as_on_demo) as lab.url:
        lab.settings()
        code, found = lab.look()
    assert code == 0 and in_state(found, "warn", "fail") == set()
    untold = {"key_expiry", "key_may_trade", "key_cannot_withdraw", "key_address", "fee_rates"}
    assert in_state(found, "skip") - {"time_sync"} == untold
    assert "does not tell a demo account" in found["key_expiry"]["detail"]
    assert found["key_valid"]["state"] == found["balance"]["state"] == "pass"


def test_a_demo_key_that_expired_is_named_though_the_demo_tells_nothing_of_keys(lab):
    def as_on_demo(path, answer):
        if path == "/v5/user/query-api":
            return {"retCode": 10032, "retMsg": "Demo trading are not supported.", "result": {}}
        if path.startswith("/v5/account/"):
            return {"retCode": 33004, "retMsg": "Your api key has expired.", "result": {}}
        return answer

    lab.patience_s = 1
    with between(lab.simulator.url, as_on_demo) as lab.url:
        lab.settings()
        code, found = lab.look()
    assert in_state(found, "warn", "fail") == {"key_expiry"} and code == 2


def test_a_permission_of_the_wallet_that_is_not_known_yet_counts_as_one_that_moves_money(lab):
    def with_more(path, answer):
        if path == "/v5/user/query-api":
            answer["result"]["permissions"]["Wallet"] = ["SendByPost"]
        return answer

    with between(lab.simulator.url, with_more) as lab.url:
        lab.settings()
        _, found = lab.look()
    assert in_state(found, "warn", "fail") == {"key_cannot_withdraw"}
    assert "SendByPost" in found["key_cannot_withdraw"]["detail"]


def test_a_key_whose_permissions_are_not_told_is_not_taken_for_harmless(lab):
    def without(path, answer):
        if path == "/v5/user/query-api":
            del answer["result"]["permissions"]
        return answer

    with between(lab.simulator.url, without) as lab.url:
        lab.settings()
        _, found = lab.look()
    assert in_state(found, "skip") - {"time_sync"} == {"key_may_trade", "key_cannot_withdraw"}


def test_a_symbol_that_is_not_traded_now_is_named(lab):
    def halted(path, answer):
        if path == "/v5/market/instruments-info":
            for one in answer["result"]["list"]:
                one["status"] = "PreLaunch" if one["symbol"] == "ETHUSDT" else one["status"]
        return answer

    with between(lab.simulator.url, halted) as lab.url:
        lab.settings()
        code, found = lab.look()
    assert in_state(found, "warn", "fail") == {"instruments"} and code == 4
    assert found["instruments"]["detail"] == "ETHUSDT has status PreLaunch, expected Trading"


class OneSymbol(HandMarket):
    symbols = ("BTCUSDT",)


def test_a_symbol_that_is_not_listed_is_named(lab):
    with running(OneSymbol(), SimulatorClock(ms("10:00")), accounts=Accounts()) as small:
        lab.account, lab.url = "paper", small.url
        lab.settings()
        code, found = lab.look()
    assert in_state(found, "warn", "fail") == {"instruments"} and code == 4
    assert found["instruments"]["detail"].startswith("ETHUSDT is not listed")


def test_an_exchange_that_never_answers_is_asked_once(lab):
    callers = []

    def take(door):
        while True:
            try:
                callers.append(door.accept())
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as door:
        taking = threading.Thread(target=take, args=(door,), daemon=True)
        taking.start()
        lab.url, lab.patience_s = f"http://127.0.0.1:{door.getsockname()[1]}", 1
        lab.settings()
        _, found = lab.look()
        door.shutdown(socket.SHUT_RDWR)
    taking.join()
    assert in_state(found, "warn", "fail") == {"exchange"}
    # one question within its second; a time-out of ccxt is tried again when there is time left
    assert 1 <= len(callers) <= 2


def test_a_private_side_that_fails_alone_is_named_by_the_key(lab):
    lab.patience_s = 1
    lab.settings()
    lab.simulator.faults.add("5xx", endpoint="/v5/user/query-api")
    code, found = lab.look()
    assert in_state(found, "warn", "fail") == {"key_valid"} and code == 2
    assert "503" in found["key_valid"]["detail"]


def test_a_request_refused_for_its_time_is_the_clocks_when_the_clock_is_off(lab):
    lab.patience_s = 1
    lab.settings()
    lab.simulator.faults.add("clock_ahead", endpoint="/v5/user/query-api", seconds=20)
    code, found = lab.look()
    assert in_state(found, "warn", "fail") == {"key_valid"} and code == 2
    assert "10002" in found["key_valid"]["detail"]
    lab.simulator.faults.add("clock_ahead", endpoint="/v5/market/time", seconds=10)
    code, found = lab.look()
    assert in_state(found, "warn", "fail") == {"clock"} and code == 1
    assert found["key_valid"]["detail"].endswith("see clock")


# ---- checks that break


def test_a_check_that_breaks_is_a_failure_in_a_sentence(home):
    checks = {
        "broken": Check(lambda case: 1 / 0, Kind.MACHINE),
        "well": Check(lambda case: passed("well"), Kind.EXCHANGE),
    }
    broken, well = found = preflight.look(a_case(home), checks)
    assert broken.state is State.FAIL and "ZeroDivisionError: division by zero" in broken.detail
    assert well.state is State.PASS
    assert preflight.first_failure(found, checks) is Kind.MACHINE


def test_a_check_that_hangs_is_given_up_and_others_do_not_wait_for_its_answer(home):
    never, answered = threading.Event(), []

    def hangs(case):
        return case.once("a fact", never.wait)

    def wants_the_same(case):
        answered.append(case.once("a fact", lambda: "made again"))

    checks = {
        "hangs": Check(hangs, Kind.MACHINE, patience_s=0.05),
        "same": Check(wants_the_same, Kind.MACHINE, patience_s=30.0),
    }
    hanging, same = preflight.look(a_case(home), checks)
    never.set()
    assert hanging.state is State.FAIL and "no answer within 0.05 s" in hanging.detail
    assert same.state is State.SKIP and "still waits" in same.detail
    assert answered == []


def test_the_first_check_that_failed_decides_the_exit_code(home):
    kinds = {"a": Kind.SETUP, "b": Kind.EXCHANGE, "c": Kind.MACHINE}
    checks = {name: Check(lambda case: passed(""), kind) for name, kind in kinds.items()}
    states = {"a": State.WARN, "b": State.FAIL, "c": State.FAIL}
    found = [Finding(name, state, "", "") for name, state in states.items()]
    assert CODES[preflight.first_failure(found, checks)] == 4
    assert CODES[preflight.first_failure(found[:1], checks)] == 0


def test_a_secret_in_an_answer_is_not_printed(home):
    register([Secret(SECRET)])
    checks = {"leaks": Check(lambda case: passed(f"the secret is {SECRET}"), Kind.SETUP)}
    assert SECRET not in preflight.look(a_case(home), checks)[0].detail


# ---- the table

SOME = [
    Finding("home", State.PASS, "there", ""),
    Finding(
        "clock", State.FAIL, "this machine is 900 ms ahead of the exchange", "keep time with chrony"
    ),
    Finding("key", State.SKIP, "no account is set", ""),
    Finding("balance", State.SKIP, "no account is set", ""),
    Finding("alerts", State.WARN, "nobody is told", "name somebody"),
]


def test_the_table_is_aligned_and_says_below_each_warning_what_to_do():
    assert list(table(SOME, 80)) == [
        "pass  home     there",
        "fail  clock    this machine is 900 ms ahead of the exchange",
        "               do: keep time with chrony",
        "skip  key      no account is set (also balance)",
        "warn  alerts   nobody is told",
        "               do: name somebody",
        "1 pass, 1 warn, 1 fail, 2 skip",
    ]


def test_the_table_keeps_to_its_width():
    lines = list(table(SOME, 40))
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).split()).count("900 ms ahead of the exchange") == 1


def test_colours_change_no_column_and_stay_off_a_pipe(lab):
    plain, coloured = list(table(SOME, 80)), list(table(SOME, 80, coloured=True))
    assert coloured[1].startswith("\033[31mfail\033[0m  clock")
    for state in ("\033[31m", "\033[32m", "\033[33m", "\033[2m", "\033[0m"):
        coloured = [line.replace(state, "") for line in coloured]
    assert coloured == plain
    shown = lab.shown()
    assert "\033" not in shown
    assert shown.splitlines()[-1].split(", ")[1:3] == ["0 warn", "0 fail"]


def test_a_home_is_only_read_while_a_process_of_its_own_looks(lab):
    before = files(lab.home.root)
    done = command(Home(lab.home.root), "preflight", "--memory-mb", "1")
    after = {
        name: text for name, text in files(lab.home.root).items() if not name.startswith("tmp/")
    }
    assert done.returncode == 0 and after == before


@pytest.mark.parametrize("words", [["--port", "x"], ["--disk-mb", "some"]])
def test_wrong_usage_is_refused(words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["preflight", *words])
    assert left.value.code == 2


# ---- the page of the guide

GUIDE = (PROJECT / "docs/how_to/preflight.md").read_text("utf-8")


def test_the_guide_names_every_check_with_its_exit_code_in_order():
    told = [
        (name, int(code))
        for names, code in re.findall(r"^\| ((?:`\w+` ?)+) \| (\d) \|", GUIDE, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    ]
    assert told == [(name, CODES[check.kind]) for name, check in preflight.CHECKS.items()]


def test_the_guide_shows_what_is_seen(lab, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    lab.scale = "1"
    lab.settings()
    shown = re.search(r"```text\n(.*?)```", GUIDE, flags=re.DOTALL)[1]
    assert shown in lab.shown()
