"""Signed requests go to Bybit's demo and testnet and to a simulator on this machine; no way leads elsewhere."""

import ast
import http.server
import itertools
import re
import socket
import threading
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import tgtqr_lib
from tests.canary import CANARY_KEY, CANARY_SECRET
from tgtqr_lib.brokers.bybit_client import PrivateClient
from tgtqr_lib.credentials import Credentials, Secret
from tgtqr_lib.domain import DomainError
from tgtqr_lib.hosts import check_trading_url, guard, public_host, trading_host
from tgtqr_lib.market.client import Client
from tgtqr_lib.settings import Settings

ROOT = Path(tgtqr_lib.__file__).parent
# written here once more, so that no change of the library alone can widen the list
ALLOWED = {"https://api-demo.bybit.com", "https://api-testnet.bybit.com"}
SIMULATOR = "http://127.0.0.1:8765"
# Bybit's hosts for real money, as its documentation lists them
REAL = [
    "api.bybit.com", "api.bytick.com", "api.bybit.nl", "api.bybit.eu", "api.bybit-tr.com", "api.bybit.kz",
    "api.bybitgeorgia.ge", "api.bybit.ae", "api.bybit.id", "api.bybit-global.com", "stream.bybit.com",
]  # fmt: skip
LOOK_ALIKES = [
    "https://api-demo.bybit.com.evil.example", "https://api-demo.bybit.com@evil.example",
    "https://evil.example/api-demo.bybit.com", "https://evil.example?https://api-demo.bybit.com",
    "https://evil.example#https://api-demo.bybit.com", "https://api-demo.bybit.com.", "https://api-demo.bybit.com./x",
    "https://API-DEMO.bybit.com", "https://api-demo.Bybit.com", "HTTPS://api-demo.bybit.com",
    "http://api-demo.bybit.com", "//api-demo.bybit.com", "api-demo.bybit.com", "https:/api-demo.bybit.com",
    "https:///api-demo.bybit.com", "https://user:pw@api-demo.bybit.com", "https://@api-demo.bybit.com",
    "https://api-demo.bybit.com:8443", "https://api-demo.bybit.com:443@evil.example", "https://api-demo.bybit.com:",
    "https://api-demo.bybit.com\\@evil.example", "https://evil.example\\.api-demo.bybit.com",
    "https://api-demo.bybit.com\n.evil.example", "https://api-demo.bybit.com%2eevil.example",
    "https://api-demo\u3002bybit.com", "https://api\u2010demo.bybit.com", "https://api-demo.bybit.c\u043em",
    " https://api-demo.bybit.com", "https://api-demo.bybit.com ", "https://api-demo.bybit.com /x", "https://apixdemo.bybit.com",
    "https://xapi-demo.bybit.com", "https://api-demo.bybitxcom", "https://demo.bybit.com", "https://bybit.com",
    "wss://stream-demo.bybit.com", "ftp://api-demo.bybit.com", "file:///etc/passwd", "", "https://",
    "http://127.0.0.1.evil.example", "http://127.0.0.1@evil.example", "http://127.0.0.2", "http://127.1", "http://2130706433",
    "http://0.0.0.0:80", "http://192.168.0.7:8765", "https://127.0.0.1", "https://localhost", "http://localhost.evil.example",
    "http://LOCALHOST:1", "http://[::1].evil.example", "http://[::2]", "http://[::ffff:1.2.3.4]", "http://127.0.0.1:0",
    "http://127.0.0.1:70000", "http://127.0.0.1:8765@evil.example/", "http://127.0.0.1:80:80",
]  # fmt: skip


def no_settings(**values):
    """Settings with `values`, whatever they are: nothing checks them."""
    return Settings().model_copy(update=values)


# ---- the list


@pytest.mark.parametrize(
    "url",
    [
        "https://api-demo.bybit.com",
        "https://api-demo.bybit.com/v5/order/create?category=spot#x",
        "https://api-testnet.bybit.com:443/v5/market/time",
        "http://127.0.0.1:8765/v5/market/time",
        "http://localhost:1",
        "http://[::1]:65535/",
        "http://127.0.0.1",
    ],
)
def test_what_is_on_the_list_is_taken(url):
    assert check_trading_url(url) == url


@pytest.mark.parametrize("url", [*(f"https://{name}" for name in REAL), *LOOK_ALIKES])
def test_what_is_not_on_the_list_is_refused(url):
    with pytest.raises(DomainError, match="takes no orders of this kit; expected https://api-demo"):
        check_trading_url(url)


def test_a_refusal_names_the_host_and_neither_password_nor_path():
    with pytest.raises(DomainError) as caught:
        check_trading_url("https://me:hunter22@api.bybit.com/v5/order?api_key=hunter22")
    assert "https://api.bybit.com" in str(caught.value) and "hunter22" not in str(caught.value)


@given(host=st.text(max_size=12), rest=st.text(max_size=8), base=st.sampled_from(sorted(ALLOWED)))
def test_whatever_is_written_around_an_allowed_host_the_request_goes_to_that_host(host, rest, base):
    for url in (f"{base}{host}{rest}", f"https://{host}{base[8:]}{rest}", f"{host}{base}"):
        try:
            check_trading_url(url)
        except DomainError:
            continue
        # what is let through means the same to the library that opens the connection
        from urllib3.util import parse_url

        seen = parse_url(url)
        assert (seen.scheme, seen.auth, seen.port) in {("https", None, None), ("https", None, 443)}
        assert f"https://{seen.host}" in ALLOWED


# ---- which host an account has


URLS = [None, SIMULATOR, "http://localhost:8765/", "http://10.0.0.7:8765", *LOOK_ALIKES[:3]]
URLS += ["https://api.bybit.com", "https://api-demo.bybit.com"]
HOSTS = ["https://api.bybit.com", "https://api.bytick.com", "https://api-demo.bybit.com"]


@pytest.mark.parametrize("account", ["paper", "demo", "testnet", "real", "live", "", None])
@pytest.mark.parametrize("market", ["simulator", "bybit", "real"])
def test_whatever_the_settings_say_the_host_is_on_the_list_or_there_is_none(account, market):
    """Also settings that could not be loaded: `model_construct` checks nothing."""
    usual = Settings().simulator
    found = set()
    for url, given_url, host in itertools.product(URLS, URLS, HOSTS):
        chosen = no_settings(
            account=account, market=market, exchange_host=host,
            simulator=usual.model_copy(update={"url": url}),
        )  # fmt: skip
        try:
            found.add(trading_host(chosen, given_url))
        except DomainError:
            continue
    mine = {SIMULATOR, "http://localhost:8765"} if market == "simulator" else ALLOWED
    assert found <= mine
    assert bool(found) is (account in ("demo", "testnet"))


@pytest.mark.parametrize("account", ["demo", "testnet"])
def test_demo_and_testnet_have_each_their_own_host(account):
    chosen = no_settings(account=account, market="bybit")
    assert trading_host(chosen) == f"https://api-{account}.bybit.com"


def test_the_simulator_of_the_settings_goes_before_an_embedded_one():
    simulator = Settings().simulator.model_copy(update={"url": f"{SIMULATOR}/"})
    chosen = no_settings(account="demo", market="simulator", simulator=simulator)
    assert trading_host(chosen, "http://127.0.0.1:1") == SIMULATOR
    with pytest.raises(DomainError, match="no simulator is running"):
        trading_host(no_settings(account="demo", market="simulator"))


def test_paper_has_no_host():
    with pytest.raises(DomainError, match="account paper: it has no exchange that takes orders"):
        trading_host(no_settings(account="paper", market="bybit"))


def test_a_simulator_cannot_stand_in_for_bybit():
    with pytest.raises(DomainError, match="market bybit: a simulator cannot take its orders"):
        trading_host(no_settings(account="demo", market="bybit"), SIMULATOR)


def test_public_data_come_from_where_the_account_trades():
    usual = "https://api.bybit.com"  # Bybit: demo accounts trade at the prices of the main market
    assert public_host(no_settings(account="paper")) == usual
    assert public_host(no_settings(account="demo")) == usual
    assert public_host(no_settings(account="testnet")) == "https://api-testnet.bybit.com"
    other = no_settings(account="testnet", exchange_host="https://api.bybit.example")
    assert public_host(other) == "https://api.bybit.example"


# ---- every way to a private request


# what a module must hold to make a signed request, or to name a host of Bybit's
SIGNED = (
    "x-bapi-sign",
    "x-bapi-api-key",
    "privateget",
    "privatepost",
    "private_get",
    "private_post",
    "private_{",
)
SIGNED += (
    "apikey",
    "api_key",
    "openapi",
    "create_order",
    "createorder",
    "cancel_order",
    "edit_order",
    "pybit",
)
SIGNED += ("load_credentials", "set_sandbox_mode", "enable_demo_trading")
MAY_SIGN = {"brokers/bybit_client.py", "credentials.py"}  # the latter: the names of the variables
SERVES = {
    "market/simulation/keys.py",
    "market/simulation/v5_account.py",
}  # the other side, on this machine
HOST = re.compile(
    r"(?i)(://|\bapi[\w-]*\.)\S*(bybit|bytick)|(bybit|bytick)\.\S*/(v[0-9]|spot|unified)"
)
MAY_NAME = {
    "settings.py": r"https://api\.bybit\.com",  # exchange_host: public data
    "market/client.py": r"https://api\.bybit\.com",  # what a host of public data looks like
    "hosts.py": "api-(demo|testnet)",  # the list
}


def texts():
    """Every text of the library that is not a docstring, with the module it stands in."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        told = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node)
        }
        for node in ast.walk(tree):
            name = path.relative_to(ROOT).as_posix()
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in told
            ):
                yield name, node.value
            elif isinstance(node, (ast.Attribute, ast.Name)):
                yield name, node.attr if isinstance(node, ast.Attribute) else node.id
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                yield from ((name, alias.name) for alias in node.names)
                yield name, getattr(node, "module", None) or ""
            elif isinstance(node, ast.keyword) and node.arg:
                yield name, node.arg


TEXTS = list(texts())


def test_only_the_client_of_the_account_makes_signed_requests():
    found = {name for name, text in TEXTS if any(word in text.lower() for word in SIGNED)}
    assert found - MAY_SIGN - SERVES == set()
    assert "brokers/bybit_client.py" in found, "the search found nothing at all"


def test_no_module_names_a_host_for_real_money_but_for_public_data():
    api = {(name, text) for name, text in TEXTS if HOST.search(text)}
    strange = {
        (name, text)
        for name, text in api
        if name not in MAY_NAME or not re.search(MAY_NAME[name], text)
    }
    assert not strange
    assert {name for name, _ in api} == set(MAY_NAME), "a module of the list names none any more"


def test_the_signed_client_is_made_from_a_checked_host_alone():
    makers = [
        path
        for path in ROOT.rglob("*.py")
        if "PrivateClient(" in path.read_text("utf-8") and path.name != "bybit_client.py"
    ]
    assert makers
    for path in makers:  # itself, or the package that hands it the host
        near = [path] if path.parent == ROOT else path.parent.glob("*.py")
        assert any("trading_host(" in one.read_text("utf-8") for one in near), path


def leaves(tree):
    if isinstance(tree, dict):
        for one in tree.values():
            yield from leaves(one)
    elif isinstance(tree, (list, tuple)):
        for one in tree:
            yield from leaves(one)
    elif isinstance(tree, str):
        yield tree


def client(host, **how):
    return PrivateClient(host, Credentials(Secret(CANARY_KEY), Secret(CANARY_SECRET)), **how)


MODES = {
    "as made": lambda c: None,
    "sandbox on": lambda c: c.set_sandbox_mode(True),
    "sandbox on and off": lambda c: (c.set_sandbox_mode(True), c.set_sandbox_mode(False)),
    "demo trading on": lambda c: c.enable_demo_trading(True),
    "demo trading on and off": lambda c: (
        c.enable_demo_trading(True),
        c.enable_demo_trading(False),
    ),
    "another host name": lambda c: setattr(c, "hostname", "bybit.com"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("host", [*sorted(ALLOWED), SIMULATOR])
def test_no_url_that_ccxt_can_build_for_the_account_leaves_its_host(host, mode):
    made = client(host, simulated=host == SIMULATOR)
    ccxt = made._client
    ccxt.nonce = lambda: 1_700_000_000_000
    MODES[mode](ccxt)
    for kind in ("api", "test", "demotrading"):
        if kind in ccxt.urls:
            assert {ccxt.implode_hostname(url) for url in leaves(ccxt.urls[kind])} == {host}
    count = 0
    for kind, verbs in ccxt.api.items():
        for verb, paths in verbs.items():
            for path in paths:
                signed = ccxt.sign(path, [kind], verb.upper(), {})
                assert signed["url"].startswith(f"{host}/{path}")
                assert check_trading_url(signed["url"])
                assert CANARY_SECRET not in repr(signed)
                count += 1
    assert count > 300  # of which ccxt 4.5 has some 400
    made.close()


@pytest.mark.parametrize(
    "url", [*(f"https://{name}/v5/order/create" for name in REAL), *LOOK_ALIKES[:12]]
)
def test_the_signed_client_is_not_made_for_another_host(url):
    with pytest.raises(DomainError, match="takes no orders of this kit"):
        client(url)


# ---- the guard below the client


@pytest.fixture
def no_sockets(monkeypatch):
    """Names that were looked up and connections that were begun, none of which succeeds."""
    tried = []

    def looked_up(host, *rest, **how):
        tried.append(host)
        raise OSError("the test has no network")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: looked_up(address))
    return tried


@pytest.mark.parametrize("name", REAL)
def test_a_request_to_a_real_money_host_opens_no_socket(no_sockets, name):
    made = client("https://api-demo.bybit.com")
    for url in (f"https://{name}/v5/order/create", f"http://{name}/", f"https://{name}:443/v5"):
        with pytest.raises(DomainError, match="takes no orders of this kit"):
            made._client.session.post(url, data="{}")
    with pytest.raises(DomainError):
        made._client.fetch(f"https://{name}/v5/order/create", "POST", {}, "{}")
    assert no_sockets == []
    with pytest.raises(requests.ConnectionError):  # the test sees what is let through
        made._client.session.get("https://api-demo.bybit.com/v5/market/time")
    assert no_sockets == ["api-demo.bybit.com"]


def test_a_client_whose_urls_were_changed_by_hand_opens_no_socket(no_sockets):
    made = client("https://api-demo.bybit.com")
    real = dict.fromkeys(made._client.urls["api"], "https://api.bybit.com")
    made._client.urls["api"] = real
    with pytest.raises(DomainError, match=r"host https://api\.bybit\.com: takes no orders"):
        made._client.private_post_v5_order_create({"category": "spot"})
    assert no_sockets == []


def test_a_host_of_its_own_keeps_the_guard_from_the_others_of_the_list(no_sockets):
    session = requests.Session()
    guard(session, "https://api-demo.bybit.com")
    with pytest.raises(DomainError, match=r"expected https://api-demo\.bybit\.com alone"):
        session.get("https://api-testnet.bybit.com/v5/market/time")
    assert no_sockets == []


def test_an_adapter_that_is_mounted_later_does_not_go_around_the_guard(no_sockets):
    session = requests.Session()
    guard(session)
    session.mount("https://api.bybit.com", requests.adapters.HTTPAdapter())
    with pytest.raises(DomainError):
        session.get("https://api.bybit.com/v5/market/time")
    assert no_sockets == []


class Redirecting(http.server.BaseHTTPRequestHandler):
    """Sends every request on to where its path says."""

    def do_GET(self):
        self.server.seen.append(self.path)
        if self.path == "/end":
            self.send_response(200)
            self.end_headers()
            return
        self.send_response(307)
        self.send_header("Location", self.path.removeprefix("/to/"))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def redirecting():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", server.seen
        server.shutdown()
        thread.join()


def test_a_redirect_to_another_host_is_not_followed(redirecting):
    address, seen = redirecting
    session = requests.Session()
    session.trust_env = False
    guard(session)
    assert session.get(f"{address}/to/{address}/end").status_code == 200
    with pytest.raises(DomainError, match=r"host https://api\.bybit\.com"):
        session.get(f"{address}/to/https://api.bybit.com/v5/order/create")
    assert seen == [
        f"/to/{address}/end", "/end", "/to/https://api.bybit.com/v5/order/create",
    ]  # fmt: skip


def test_the_client_of_public_data_has_no_key_and_signs_nothing(no_sockets, monkeypatch):
    monkeypatch.setenv("BYBIT_API_KEY", CANARY_KEY)
    monkeypatch.setenv("BYBIT_API_SECRET", CANARY_SECRET)
    ccxt = Client("https://api.bybit.com")._client
    assert not ccxt.apiKey and not ccxt.secret
    paths = [(verb.upper(), path) for verb, paths in ccxt.api["private"].items() for path in paths]
    assert len(paths) > 200
    for verb, path in paths:
        with pytest.raises(Exception, match='requires "apiKey" credential') as caught:
            ccxt.sign(path, ["private"], verb, {})
        assert type(caught.value).__name__ == "AuthenticationError"
    with pytest.raises(Exception, match='requires "apiKey" credential'):
        ccxt.private_post_v5_order_create({"category": "spot"})
    assert no_sockets == []
