"""Receivers of alerts that are real servers on this machine: HTTP with good and bad days, and SMTP."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """An HTTP server; `mode` is ok, 500, hang (no answer until it is released) or drip (a byte now and then)."""

    port: int = 0
    mode: str = "ok"
    got: list[dict[str, Any]] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "path", query: str = "") -> str:
        return f"json://127.0.0.1:{self.port}/{path}{query}"

    @property
    def titles(self) -> list[str]:
        return [one["title"].removeprefix("TGT QR: ") for one in self.got]


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.asked.set()
            if receiver.mode == "hang":
                receiver.released.wait()
                return
            if receiver.mode == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not receiver.released.wait(0.05):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                return
            if receiver.mode == "ok":
                receiver.got.append(json.loads(content))
            self.send_response(500 if receiver.mode == "500" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # a sender that left
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """What an SMTP server took: each with its recipients."""

    port: int = 0
    got: list[tuple[list[str], EmailMessage]] = field(default_factory=list)


@contextmanager
def smtp_receiver() -> Iterator[Mailbox]:
    """As much of RFC 5321 as a client needs to leave a message."""
    mailbox = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def answer(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            recipients: list[str] = []
            self.answer("220 here")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "DATA":
                    self.answer("354 go on")
                    mailbox.got.append((recipients, self.message()))
                    recipients = []
                elif verb == "RCPT":
                    recipients.append(line.partition("<")[2].partition(">")[0])
                self.answer("221 bye" if verb == "QUIT" else "250 ok")
                if verb == "QUIT":
                    return

        def message(self) -> EmailMessage:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            return message_from_bytes(b"".join(lines), policy=policy.default)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        mailbox.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join()
