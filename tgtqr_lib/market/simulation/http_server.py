"""HTTP for the simulator: JSON in, JSON out, connections kept alive, on the loopback interface only."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.calls import Page

HOST = "127.0.0.1"
MAX_BODY = 100_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back to a client.

    `cut` sends half of the content and breaks the connection; `closed` sends nothing and closes it.
    """

    page: Page
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    closed: bool = False


def json_reply(
    status: int,
    body: Any,
    headers: Mapping[str, str] | None = None,
    cut: bool = False,
    closed: bool = False,
) -> Reply:
    """A JSON value as a reply."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return Reply(Page(int(status), "application/json", content), headers or {}, cut, closed)


class Application(Protocol):
    """What answers.

    private_paths   those whose requests are signed: they go to `private` as they were sent
    """

    private_paths: Container[str]

    def private(
        self, method: str, path: str, payload: str, headers: Mapping[str, str], address: str
    ) -> Reply:
        """The reply to a signed request with the query string or body `payload`."""

    def get(self, path: str, asked: Mapping[str, str], address: str) -> Reply:
        """The reply to a GET from `address`."""

    def post(self, path: str, body: Any) -> Reply:
        """The reply to a POST of JSON; DomainError when it makes no sense."""


# http.server, though aiohttp and Starlette are pleasanter: importing one of them takes longer than a command
# that asks this server for prices may take in all.
class Server(ThreadingHTTPServer):
    """One thread a connection; knows its connections, so that stopping ends them too."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, application: Application, port: int) -> None:
        """OSError when the port is taken; 0 is any free one."""
        self.application = application
        self._open: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def server_bind(self) -> None:
        # HTTPServer would ask the name service for this host's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):  # the client may have been faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Turns HTTP into calls of the application."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a client's delayed ACK can hold a reply back for 40 ms
    server: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path in self.server.application.private_paths:
            return self._private("GET", url.path, url.query)
        asked = dict(parse_qsl(url.query))
        self._send(self.server.application.get(url.path, asked, self.client_address[0]))

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        try:
            body = self._body()
            if path in self.server.application.private_paths:
                return self._private("POST", path, body.decode("utf-8", "replace"))
            self._send(self.server.application.post(path, _json(body)))
        except DomainError as error:
            self._send(json_reply(HTTPStatus.BAD_REQUEST, {"error": str(error)}))

    def log_message(self, *args: Any) -> None:
        """Nothing: a day of a demo is thousands of requests, and /simulator/state counts them."""

    def _private(self, method: str, path: str, payload: str) -> None:
        address = self.client_address[0]
        self._send(self.server.application.private(method, path, payload, self.headers, address))

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True  # what follows on it cannot be told from this body
            raise DomainError(f"expected a JSON body with a Content-Length up to {MAX_BODY}")
        return self.rfile.read(int(length))

    def _send(self, reply: Reply) -> None:
        """One write a reply. Without a Date: this machine's time is no business of a simulated exchange."""
        if reply.closed:
            self.close_connection = True
            return
        status, content = reply.page.status, reply.page.content
        self.close_connection = self.close_connection or reply.cut
        lines = {
            "Content-Type": reply.page.kind,
            "Content-Length": len(content),
            "Connection": "close" if self.close_connection else "keep-alive",
            **reply.headers,
        }
        head = f"HTTP/1.1 {status} {self.responses.get(status, ('',))[0]}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in lines.items()
        )
        sent = content[: len(content) // 2] if reply.cut else content
        self.wfile.write(f"{head}\r\n".encode() + sent)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise DomainError(f"the body is not JSON: {error}") from None
