"""The addresses of TGTQR_ALERTS and one attempt to reach one, by apprise; the only place that imports it.

An address is named by its service and its host. Everything else in its URL may be a secret, also what looks like
a host in it, and stays here: words that come back about a failure are cleaned of it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from tgtqr_lib.alerts.messages import CRITICAL, INFO, SUCCESS, WARNING, clip
from tgtqr_lib.credentials import MASK, alert_urls, redact
from tgtqr_lib.home import Home

SEND_S = 20.0  # for one message to one address, whatever its server does
LONGEST_REASON = 200
SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,15}(?=://)", re.IGNORECASE)
A_HOST = re.compile(
    r"localhost|\[?[0-9a-f:.]*:[0-9a-f:.]*\]?|([a-z0-9_-]+\.)+[a-z0-9-]+", re.IGNORECASE
)
SEVERAL = re.compile(r"[,;][a-z0-9]+://", re.IGNORECASE)
TYPES = {INFO: "info", SUCCESS: "success", WARNING: "warning", CRITICAL: "failure"}


class _TooSlow(BaseException):
    """Not an `Exception`: apprise takes those for its own."""


class Address:
    """One address: its name, and how to send to it; `problem` says why it is none."""

    def __init__(self, number: int, url: str) -> None:
        self._url = url
        self.problem: str | None = None
        self._service: Any = None
        with _listening() as said, contextlib.suppress(Exception):
            if SEVERAL.search(url):
                raise ValueError  # apprise would take the second for a part of the first
            from apprise import Apprise, AppriseAsset

            # nothing is kept on disk, no plugins of other folders, log lines without URLs
            asset = AppriseAsset(storage_mode="memory", plugin_paths=[], secure_logging=True)
            self._service = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        scheme = SCHEME.match(url)
        self.name = f"address {number}" + (f" ({scheme[0].lower()}://...)" if scheme else "")
        if self._service:
            self.name = _name_of(self._service)
        else:
            told = [self._clean(text) for text in said if "URL" not in text]
            why = f" ({clip(told[0].rstrip('.'), LONGEST_REASON)})" if told else ""
            self.problem = (
                f"TGTQR_ALERTS: {self.name} is not one that apprise understands{why}; expected "
                "something like ntfys://HOST/TOPIC or mailtos://USER:PASSWORD@HOST, with blanks between "
                "several"
            )

    def send(self, title: str, body: str, severity: str) -> str | None:
        """Send one message; None when the service took it, else why not, in words without secrets."""
        if self.problem:
            return self.problem
        try:
            with _listening() as said, _at_most(SEND_S):
                taken = self._service.notify(
                    title=title, body=body, notify_type=TYPES[severity], body_format="text"
                )
        except _TooSlow:
            return f"no answer within {SEND_S:g} s"
        except Exception as error:
            return clip(self._clean(f"{type(error).__name__}: {error}"), LONGEST_REASON)
        if taken:
            return None
        return clip(self._clean(said[-1] if said else "it did not take it"), LONGEST_REASON)

    def _clean(self, text: str) -> str:
        """`text` in one line, without anything of the URL but its scheme and a host that may be shown."""
        text = redact(" ".join(text.split()))
        for part in _parts(self._url):
            if part not in self.name:
                text = text.replace(part, MASK)
        return text


def open_all(home: Home) -> list[Address]:
    """The addresses of `home`, in their order, each with a name of its own; [] when there are none.

    Raises `DomainError` when `.env` is refused.
    """
    found = [Address(i, url.reveal()) for i, url in enumerate(alert_urls(home), 1)]
    seen: dict[str, int] = {}
    for one in found:
        seen[one.name] = seen.get(one.name, 0) + 1
        if seen[one.name] > 1:
            one.name = f"{one.name}, number {seen[one.name]}"
    return found


def _name_of(service: Any) -> str:
    """`JSON at 127.0.0.1:8080`, `Telegram at api.telegram.org`, `Slack`: only a host that is one for sure."""
    name = str(service.service_name)
    host = _host_of(service)
    if not host or not A_HOST.fullmatch(host):  # a token in the place of a host has no dot
        return name
    port = getattr(service, "port", None)
    return f"{name} at {host}:{port}" if port else f"{name} at {host}"


def _host_of(service: Any) -> str | None:
    if getattr(service, "mode", None) == "cloud":  # what looks like a host is a topic
        return urlsplit(str(getattr(service, "cloud_notify_url", ""))).hostname
    token = service.template_tokens.get("host")
    if token is None:
        return urlsplit(str(getattr(service, "notify_url", None) or "")).hostname
    if token.get("private"):
        return None
    return getattr(service, "smtp_host", None) or service.host


def _parts(url: str) -> list[str]:
    """What lies between the marks of a URL, longest first; pieces of three characters are in any text."""
    rest = url.partition("://")[2] or url
    pieces = re.split(r"[/:@?&=#,+;\s]+", rest)
    every = {one for piece in pieces for one in (piece, unquote(piece))}
    return sorted((one for one in every if len(one) > 3), key=len, reverse=True)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What apprise says meanwhile, from warnings up; below that it may speak of secrets."""
    said: list[str] = []
    logger = logging.getLogger("apprise")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    before = logger.propagate, logger.handlers[:]
    logger.propagate, logger.handlers = False, [handler]
    try:
        yield said
    finally:
        logger.propagate, logger.handlers = before


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise `_TooSlow` in the block after `seconds`: a server that sends a byte now and then has no timeout."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a signal reaches the main thread alone, where commands send
        return

    def ring(*_: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
