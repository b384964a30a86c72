"""Bybit's bad days: each becomes one sentence that ends in what to do."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tgtqr_lib.domain import DataError, VenueUnavailable
from tgtqr_lib.market.client import Client

TIME = '{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1","timeNano":"1000000000"},"time":1000}'


def refusal(code: int, text: str = "no") -> str:
    return f'{{"retCode":{code},"retMsg":"{text}","result":{{}},"retExtInfo":{{}},"time":1000}}'


class Gateway:
    """A host that gives its answers one after the other, the last of them for ever."""

    def __init__(self) -> None:
        self.answers = [(200, TIME)]
        self.asked = 0
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = gateway.answers[min(gateway.asked, len(gateway.answers) - 1)]
                gateway.asked += 1
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def client(self, timeout_s: float = 0.3) -> Client:
        return Client(self.host, timeout_s=timeout_s, simulated=True)


@pytest.fixture
def gateway():
    made = Gateway()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_answer_is_its_result(gateway):
    assert gateway.client().ask("market_time")["timeNano"] == "1000000000"


@pytest.mark.parametrize(
    "status, body, what_to_do",
    [
        (429, "slow down", "wait a minute, and run one fetch at a time"),
        (200, refusal(10006, "Too many visits!"), "wait a minute, and run one fetch at a time"),
        (200, refusal(10018), "wait a minute, and run one fetch at a time"),
        (200, refusal(10429), "wait a minute, and run one fetch at a time"),
        (
            503,
            "Service Unavailable",
            "under maintenance .* see its status page and ask again later",
        ),
        (502, "<html>Bad Gateway</html>", "under maintenance .* see its status page"),
        (200, refusal(10016, "Server error."), "under maintenance .* see its status page"),
        (200, refusal(10000, "Server Timeout"), "under maintenance .* see its status page"),
        (404, "nothing here", "not Bybit's API; check exchange_host, .* https://api.bybit.com"),
    ],
)
def test_a_bad_day_is_asked_again_and_then_told(gateway, status, body, what_to_do):
    gateway.answers = [(status, body)]
    with pytest.raises(VenueUnavailable, match=f"no usable answer within 0.3 s .*{what_to_do}"):
        gateway.client().ask("market_time")
    assert gateway.asked >= 2
    gateway.answers = [(status, body), (200, TIME)]
    gateway.asked = 0
    assert gateway.client(5).ask("market_time")["timeNano"] == "1000000000"


def test_a_refused_address_is_not_asked_again(gateway):
    gateway.answers = [(403, "The Amazon CloudFront distribution is configured to block access")]
    with pytest.raises(VenueUnavailable, match=r"refuses this address: .* US, .* wait 10 minutes"):
        gateway.client(5).ask("market_time")
    assert gateway.asked == 1


def test_a_refused_question_is_not_asked_again(gateway):
    gateway.answers = [(200, refusal(10001, "params error: Category is invalid"))]
    with pytest.raises(DataError, match="Category is invalid"):
        gateway.client(5).ask("market_time")
    assert gateway.asked == 1


def test_a_page_instead_of_data_may_be_maintenance_or_another_host(gateway):
    gateway.answers = [(200, "<html><body>System upgrade in progress</body></html>")]
    with pytest.raises(DataError, match=r"under maintenance, .* later, or .* check exchange_host"):
        gateway.client().ask("market_time")


@pytest.mark.parametrize("body", ["<html>Welcome to our hotel</html>", "[]", "{}"])
def test_a_host_that_is_another_is_named(gateway, body):
    gateway.answers = [(200, body)]
    with pytest.raises((DataError, VenueUnavailable), match=gateway.host):
        gateway.client().ask("market_time")
    gateway.answers = [(200, '{"retCode":0,"result":"hotel"}')]
    with pytest.raises(DataError, match=r"the answer is not Bybit's .* check exchange_host"):
        gateway.client().ask("market_time")


def test_a_proxy_that_spoils_tls_is_told_at_once(gateway):
    secure = gateway.host.replace("http:", "https:")  # a port that answers, but speaks no TLS
    with pytest.raises(
        VenueUnavailable, match=r"no secure connection .* check exchange_host and HTTPS_PROXY"
    ):
        Client(secure, timeout_s=5).ask("market_time")


def test_a_name_that_is_not_known_is_told(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        VenueUnavailable, match=r"exchange https://api.bybit.example: .* misspelt; check both"
    ):
        Client("https://api.bybit.example", timeout_s=0.2).ask("market_time")


def test_a_dead_proxy_is_told(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(VenueUnavailable, match="the proxy does not answer; check HTTPS_PROXY"):
        Client("https://api.bybit.example", timeout_s=0.2).ask("market_time")


def test_a_proxy_is_no_business_of_this_machines_own_simulator(gateway, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert gateway.client().ask("market_time")["timeNano"] == "1000000000"


def test_the_real_exchange_is_paced_and_the_simulator_is_not(gateway):
    real = Client(gateway.host)
    # ccxt's own figures: cost 5 of 20 ms each is a request every 100 ms, where Bybit allows 600 in 5 s
    assert real._client.enableRateLimit and real._client.rateLimit == 20
    assert gateway.client()._client.rateLimit < 1


def test_the_origin_is_the_exchange_or_a_simulated_market(gateway):
    assert Client("https://api.bybit.com").origin() == "bybit"
    gateway.answers = [(200, '{"source": {"name": "synthetic market, seed 7"}}')]
    assert gateway.client().origin() == "simulator (synthetic market, seed 7)"
    gateway.answers = [(404, "nothing")]
    with pytest.raises(VenueUnavailable, match="no simulator answers there"):
        gateway.client().origin()
