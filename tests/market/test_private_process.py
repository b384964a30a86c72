"""Accounts of a simulator that is a process: opened by request or by a file, kept in a journal, never shown."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from tests.market.signed import KEY, SECRET, Signed
from tests.market.tables import Table, ask, at, flat
from tests.market.test_simulator_process import COMMAND, Command, start
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

ACCOUNT = {"key": KEY, "secret": SECRET, "balances": {"USDT": "100"}}


@pytest.fixture
def served():
    with running(Table(flat(0, 1000)), SimulatorClock(at(0, 3))) as simulator:
        yield simulator


def account_file(folder, content=ACCOUNT, mode=0o600):
    file = folder / "account.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    file.chmod(mode)
    return str(file)


def client_of(url: str, now_ms: int) -> Signed:
    """A client of another process's simulator, whose clock stands."""
    clock = SimpleNamespace(now_ms=lambda: now_ms)
    return Signed(SimpleNamespace(url=url, clock=clock))


def test_an_account_is_opened_by_a_request(served):
    client = Signed(served)
    assert client.get("account/info")["retCode"] == 10003
    status, state = ask(f"{served.url}/simulator/account", ACCOUNT)
    assert (status, state["environment"], state["minimum_usdt"]) == (200, "demo", "5")
    assert state["accounts"] == [
        {
            "environment": "demo",
            "name": "main",
            "key": "a-de...",
            "permissions": ["SpotTrade"],
            "read_only": False,
            "wallet": {"USDT": "100", "BTC": "0", "ETH": "0"},
            "orders": 0,
            "open_orders": 0,
            "executions": 0,
        }
    ]
    assert client.placed("Buy", "0.1", "100.1")["orderStatus"] == "Filled"
    (after,) = ask(f"{served.url}/simulator/state")[1]["accounts"]
    assert after["wallet"] == {"USDT": "89.99", "BTC": "0.0999", "ETH": "0"}
    assert (after["orders"], after["executions"]) == (1, 1)
    # what a key may do is changed by opening it again
    more = {**ACCOUNT, "read_only": True, "permissions": ["SpotTrade", "Withdraw"]}
    assert ask(f"{served.url}/simulator/account", more)[0] == 200
    assert client.place("Buy", "0.1", "100.1")["retCode"] == 10005
    client.close()


@pytest.mark.parametrize(
    "body, words",
    [
        ({"secret": SECRET}, "account: expected its key, a text"),
        ({"key": KEY, "secret": 7}, "account: expected its secret, a text"),
        ({**ACCOUNT, "kee": KEY}, "account: unknown kee, expected key, secret, balances,"),
        ({**ACCOUNT, "ips": "127.0.0.1"}, "account: ips '127.0.0.1', expected list"),
        ({**ACCOUNT, "read_only": "no"}, "account: read_only 'no', expected true or false"),
        ({**ACCOUNT, "balances": ["USDT"]}, "balances ['USDT']: expected an object such as"),
        ({**ACCOUNT, "balances": {"USDT": 0.5}}, "USDT 0.5: expected a decimal number as text"),
        ({**ACCOUNT, "environment": "live"}, "environment 'live': expected one of demo, testnet"),
    ],
)
def test_an_account_that_makes_no_sense_is_refused_without_its_secret(served, body, words):
    status, reply = ask(f"{served.url}/simulator/account", body)
    assert status == 400 and words in reply["error"]
    assert KEY not in reply["error"] and SECRET not in reply["error"]
    assert ask(f"{served.url}/simulator/state")[1]["accounts"] == []


@pytest.mark.slow
def test_the_command_opens_accounts_of_a_file_and_a_journal_keeps_them(tmp_path):
    path = account_file(tmp_path, [ACCOUNT, {**ACCOUNT, "key": "second", "name": "other"}])
    journal = tmp_path / "accounts.jsonl"
    options = ("--at", "2025-06-01T10:15:03Z", "--account-file", path, "--journal", str(journal))
    now_ms = 1748772903000  # date -u -d 2025-06-01T10:15:03Z +%s
    wallets = []
    for _ in range(2):
        with Command(*options, "--minimum", "1", "--json") as command:
            url = json.loads(command.url)["url"]
            client = client_of(url, now_ms)
            path = "/v5/market/tickers?category=spot&symbol=BTCUSDT"
            price = ask(url + path)[1]["result"]["list"][0]["ask1Price"]
            assert client.placed("Buy", "0.00002", price)["orderStatus"] == "Filled"  # 1.65 USDT
            wallets.append(client.wallet()["BTC"])
            names = [one["name"] for one in ask(f"{url}/simulator/state")[1]["accounts"]]
            assert names == ["main", "other"]
            client.close()  # and the process is killed
    assert [str(one) for one in wallets] == ["0.00001998", "0.00003996"]
    said = journal.read_text()
    assert KEY not in said and SECRET not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "content, mode, words",
    [
        (ACCOUNT, 0o644, "others may read it (mode 0644), and it holds a secret; expected 0600"),
        (ACCOUNT, 0o640, "mode 0640"),
        ('{"key": "' + KEY + '", "secret"', 0o600, "it is not JSON"),
        ([{"key": KEY}], 0o600, "account: expected its secret, a text"),
        ([ACCOUNT, [SECRET]], 0o600, "account: expected an object with key, secret and balances"),
    ],
)
def test_an_account_file_that_is_open_to_others_or_wrong_is_refused(tmp_path, content, mode, words):
    file = account_file(tmp_path, content, mode)
    with start(
        "--at", "2025-06-01T10:15:03Z", "--account-file", file, stderr=subprocess.PIPE
    ) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2 and words in said and "Traceback" not in said
    assert KEY not in said and SECRET not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, code, words",
    [
        (["--minimum", "five"], 2, "minimum 'five' USDT: expected a decimal number"),
        (["--environment", "mainnet"], 2, "invalid choice: 'mainnet'"),
        (["--account-file", "absent.json"], 2, "absent.json: No such file or directory"),
        (["--journal", "absent/accounts.jsonl"], 1, "absent/accounts.jsonl: the simulator's accounts"),
    ],
)  # fmt: skip
def test_the_command_refuses_what_makes_no_sense(options, code, words):
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
