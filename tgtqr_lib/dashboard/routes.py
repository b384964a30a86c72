"""What the server answers: the page, its state, the stop, the notebooks of ticks, and the login before them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import tornado.iostream
import tornado.web
from jinja2 import Environment, FileSystemLoader
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from tornado.web import HTTPError
from voila import __version__ as voila_version
from voila.static_file_handler import MultiStaticFileHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from tgtqr_lib import gate, journal, latch
from tgtqr_lib.dashboard import facts
from tgtqr_lib.dashboard.auth import SESSION_DAYS
from tgtqr_lib.dashboard.guards import (
    CONTENT_SECURITY,
    FILE_SECURITY,
    HEADERS,
    LARGEST_MESSAGE,
    PROTOCOL,
    passed_on,
)
from tgtqr_lib.dashboard.kernels import MOST_PAGES
from tgtqr_lib.domain import StoreError

__all__ = ["LARGEST_MESSAGE", "Nothing", "Sessions", "page_config", "routes"]

OWNER = "owner"
KERNEL = r"(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)"
TICK = r"(?P<tick>\d{8}T\d{4}Z)"
REPORT = r"(?P<name>post-mortem-[0-9]{8}T[0-9]{4}Z|daily-[0-9]{4}-[0-9]{2}-[0-9]{2})"
LARGEST_REPORT = 50_000_000  # bytes; one has some 300,000
TEMPLATES = Path(__file__).parent / "share" / "jupyter" / "voila" / "templates" / "tgtqr"
A_YEAR = "private, max-age=31536000, immutable"
STATIC = f"/voila/{voila_version}"  # the version in the path lets browsers keep what they have
TITLES = {
    403: "Not allowed", 404: "Not here", 405: "Not allowed", 429: "Too many tries",
    503: "Not now",
}  # fmt: skip


def routes(server: Any) -> list[tuple]:
    """Every door of the server; what is not listed is `Nothing`."""
    assets = {"path": str(TEMPLATES / "static")}
    return [
        (r"/", Page),
        (r"/login", Login),
        (r"/api/state", State),
        (r"/api/stop", Stop),
        (r"/api/close", Close),
        (rf"/tick/{TICK}", Tick),
        (rf"/report/{REPORT}", Report),
        (r"/report/.*", Nothing, {"text": "There is no such report."}),
        (r"/tick/.*", Nothing, {"text": "A tick is named like 20261122T1015Z; this is not a tick."}),
        (r"/assets/(dashboard\.css|dashboard\.js|icon\.svg)", Assets, assets),
        (rf"/api/kernels/{KERNEL}", KernelModel),
        (rf"/api/kernels/{KERNEL}/channels", Socket),
        (rf"{STATIC}/static/(.*)", Library, {"paths": server.static_paths[:-1]}),
        (rf"{STATIC}/labextensions/(@(?:jupyter-widgets|voila-dashboards)/.*)", Library,
         {"paths": server.labextensions_path}),
    ]  # fmt: skip


def page_config(config: dict[str, Any], **_: Any) -> dict[str, Any]:
    """What Voila's script is told: where its parts lie."""
    return config | {
        "fullStaticUrl": f"{STATIC}/static",
        "fullLabextensionsUrl": f"{STATIC}/labextensions",
    }


@cache
def template(name: str) -> Any:
    """A template of ours; what is filled in is escaped."""
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template(name)


@cache
def asset(name: str) -> str:
    """The address of one of our files, which changes with its content."""
    digest = hashlib.sha256((TEMPLATES / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/assets/{name}?v={digest}"


def now() -> str:
    """This machine's time in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Sessions(IdentityProvider):
    """A visitor is known by the signed cookie of a login, and by nothing else."""

    def get_user(self, handler: Any) -> User | None:
        value = handler.get_signed_cookie(cookie_name(handler), max_age_days=SESSION_DAYS)
        return User(OWNER) if value == OWNER.encode() else None

    def is_token_authenticated(self, handler: Any) -> bool:
        return False  # so that the check of a request's origin is never left out


def cookie_name(handler: Any) -> str:
    """Of the login; the port is part of it, since cookies are shared between the ports of a host."""
    return f"tgtqr-{handler.settings['tgtqr'].port}"


class Guarded:
    """Headers and error pages of every answer."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    @property
    def content_security_policy(self) -> str:
        return CONTENT_SECURITY

    @property
    def server(self) -> Any:
        return self.settings["tgtqr"]

    def get_login_url(self) -> str:
        return "/login"

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        text = getattr(error, "log_message", None) or TITLES.get(status_code, "That did not work.")
        self.say(
            status_code, text if status_code < 500 or status_code == 503 else "A fault of the kit."
        )

    def say(self, status: int, text: str) -> None:
        """Answer with a sentence: a page for a person, JSON below `/api/`."""
        self.set_status(status)
        if self.request.path.startswith("/api/"):
            self.finish_json({"problem": text})
            return
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        title = TITLES.get(status, "That did not work")
        self.finish(
            template("sentence.html.j2").render(title=title, text=text, css=asset("dashboard.css"))
        )

    def finish_json(self, body: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body, ensure_ascii=False))


class Handler(Guarded, JupyterHandler):
    """Of our own pages."""


class Api(Handler):
    """Of our own data: without a login it is refused, not sent to the login page."""

    async def prepare(self) -> None:
        await super().prepare(_redirect_to_login=False)


class Nothing(Handler):
    """Whatever is not listed in `routes`."""

    def initialize(self, text: str = "There is no such page.") -> None:
        self.text = text

    async def answer(self, *_: Any, **__: Any) -> None:
        self.say(404, self.text)

    get = post = put = patch = delete = head = options = answer


class Assets(Guarded, tornado.web.StaticFileHandler):
    """Our style and script; the login page needs them, so they are for everybody."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", A_YEAR)


class Library(Guarded, MultiStaticFileHandler):
    """The files of Voila and the widgets, from this disk."""

    async def prepare(self) -> None:
        if Sessions.get_user(self.server.identity_provider, self) is None:
            raise HTTPError(403)

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", A_YEAR)


class Login(Handler):
    """The form, and the link of this start."""

    @allow_unauthenticated
    async def get(self) -> None:
        if self.current_user:
            self.redirect("/")
        elif token := self.get_query_argument("token", ""):
            await self.try_key(token)
        else:
            self.show()

    @allow_unauthenticated
    async def post(self) -> None:
        await self.try_key(self.get_body_argument("password", "", strip=False))

    async def try_key(self, given: str) -> None:
        """Log in with a password or token, or say why not."""
        keys = self.server.keys
        wait = keys.throttle.wait_s()
        if wait > 0:
            self.set_header("Retry-After", str(int(wait) + 1))
            self.set_status(429)
            self.show(f"Too many wrong tries. Wait {int(wait) + 1} s, then try once more.")
            return
        keys.throttle.count()
        if not await asyncio.get_running_loop().run_in_executor(slow(), keys.opens, given):
            journal.event("dashboard login refused", tries=keys.throttle.wrong)
            self.set_status(401)
            self.show(
                "That is not the password." if keys.hashed else "That link is not of this start."
            )
            return
        keys.throttle.forget()
        self.set_signed_cookie(
            cookie_name(self), OWNER, expires_days=SESSION_DAYS, httponly=True, samesite="Lax",
            secure=self.request.protocol == "https",
        )  # fmt: skip
        self.redirect("/", status=303)

    def show(self, problem: str = "") -> None:
        """The form."""
        page = template("login.html.j2").render(
            problem=problem,
            password=self.server.keys.hashed is not None,
            xsrf=self.xsrf_token.decode(),
            css=asset("dashboard.css"),
        )
        self.finish(page)


@cache
def slow() -> ThreadPoolExecutor:
    """Threads for hashing and drawing."""
    return ThreadPoolExecutor(2, thread_name_prefix="slow")


@cache
def stopping() -> ThreadPoolExecutor:
    """Threads for stopping alone, so that nothing else can be before it."""
    return ThreadPoolExecutor(2, thread_name_prefix="stop")


class Page(Handler):
    """The page: its header at once, then what the notebook shows."""

    async def prepare(self) -> None:
        if self.request.method == "GET" and self.get_query_argument("token", ""):
            self.redirect(f"/login?{self.request.query}", status=303)
            return
        await super().prepare()

    async def get(self) -> None:
        if self.server.pages.count >= MOST_PAGES:
            await self.server.pages.sweep()
        if self.server.pages.count >= MOST_PAGES:
            self.refuse()
            return
        self.write(self.top())
        await self.flush()  # the header does not wait for a kernel, nor for one that hangs
        try:
            opened = await self.server.pages.open()
            if opened is None:
                raise RuntimeError("four pages are open")
            _, snippets = opened
            async for piece in snippets:
                self.write(piece)
                await self.flush()
        except tornado.iostream.StreamClosedError:
            return  # the visitor left; the sweep finds the page
        except Exception as error:
            journal.event("trouble", what="dashboard page", text=repr(error)[:300])
            self.write(
                '<p class="card problem">The sections below the header could not be made. The header and '
                "the stop work. <a href='/'>Load the page again</a></p></main></body></html>"
            )
        self.finish()

    def top(self) -> str:
        """The head of the page, its header and the start of its sections."""
        return template("top.html.j2").render(
            css=asset("dashboard.css"),
            js=asset("dashboard.js"),
            xsrf=self.xsrf_token.decode(),
            server=self.server.start_id,
        )

    def refuse(self) -> None:
        """Four pages are open."""
        self.set_header("Retry-After", "60")
        self.say(
            503,
            "Four pages of the dashboard are open, which is as many as there may be. Close one; within "
            "a minute this page opens. Stopping works without the page: tgtqr stop",
        )


class State(Api):
    """The header's facts."""

    async def get(self) -> None:
        kernel = self.get_query_argument("kernel", "")
        body = dict(await self.server.state.read())
        body["server"] = self.server.start_id
        body["page"] = kernel in self.server.pages if kernel else None
        self.finish_json(body)


class StateReader:
    """Reads the header's facts in a thread, once for all who ask at the same time."""

    def __init__(self, home: Any) -> None:
        self._home = home
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._reading: asyncio.Future | None = None
        self._read_at = 0.0

    async def read(self) -> dict[str, Any]:
        """The facts, at most 0.3 s old."""
        fresh = self._reading and (
            not self._reading.done() or time.monotonic() - self._read_at < 0.3
        )
        if not fresh:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._pool, self._look)
        return await asyncio.shield(self._reading)

    def _look(self) -> dict[str, Any]:
        try:
            return facts.header(self._home)
        except Exception as error:  # the latch is told whatever else cannot be read
            stopped = latch.stopped_because(self._home)
            return {
                "gate": "STOPPED" if stopped else "REDUCING",
                "gate_reason": stopped or "the ledger cannot be read",
                "problem": f"the state cannot be read: {error}"[:300],
            }
        finally:
            self._read_at = time.monotonic()


RECEIPTS = 64  # attempts that are remembered


class Stop(Api):
    """The emergency stop: the latch first, the ledger after the answer."""

    # A page repeats what was not answered. What waited in the line of a server that hung is one stop, not
    # several, and the repetition of one that held does not undo an arming since. The oldest comes first.
    attempts: ClassVar[dict[str, asyncio.Future[dict[str, str]]]] = {}

    async def post(self) -> None:
        attempt = self.request.headers.get("X-Attempt", "")[:64] or uuid4().hex
        requested = now()
        if attempt not in self.attempts:
            self.attempts[attempt] = asyncio.ensure_future(self.stop(requested))
            while len(self.attempts) > RECEIPTS:
                self.attempts.pop(next(iter(self.attempts)))
        try:
            receipt = await asyncio.shield(self.attempts[attempt])
        except OSError as error:
            self.attempts.pop(attempt, None)  # the next repetition tries again
            text = f"data/control cannot be written ({error.strerror}); remove data/control/ARMED by hand"
            self.set_status(500)
            self.finish_json({"problem": f"NOT STOPPED: {text}", "requested": requested})
            return
        self.finish_json(receipt)

    async def stop(self, requested: str) -> dict[str, str]:
        """Stop once; the receipt. Raises `OSError` as `latch.stop` does."""
        loop, home = asyncio.get_running_loop(), self.server.home
        stopped = await loop.run_in_executor(stopping(), stop_now, home)
        threading.Thread(target=tell_ledger, args=(home,), daemon=True).start()
        return {"requested": requested, "stopped": stopped}


REASON, BY = "the stop button", "the page"
_telling = threading.Lock()


def stop_now(home: Any) -> str:
    """Latch the kit; the time when the latch held."""
    latch.stop(home, f"{REASON} (by {BY})")
    return now()


def tell_ledger(home: Any) -> None:
    """Book the stop if the ledger can be told at once; the next beat does it otherwise."""
    with _telling:  # two at once would both find it unbooked
        told = gate.tell_ledger_of_stop(home, REASON, BY)
    journal.event("stop button", in_ledger=told)


class Close(Api):
    """A page says that it is left."""

    async def post(self) -> None:
        await self.server.pages.close(self.get_body_argument("kernel", ""), "it was left")
        self.set_status(204)
        self.finish()


class Tick(Handler):
    """The sealed notebook of a tick."""

    async def get(self, tick: str) -> None:
        from tgtqr_lib.dashboard.tick_html import tick_html

        try:
            page = await asyncio.get_running_loop().run_in_executor(
                slow(), tick_html, self.server.home, tick, asset("dashboard.css")
            )
        except StoreError as error:
            self.say(404, str(error))
            return
        if page is None:
            self.say(404, f"There is no notebook of the tick {tick}.")
            return
        self.set_header("Content-Security-Policy", FILE_SECURITY)
        self.finish(page)


class Report(Handler):
    """A report's page as it lies in `outputs/reports/`."""

    async def get(self, name: str) -> None:
        path = self.server.home.outputs / "reports" / f"{name}.html"
        page = await asyncio.get_running_loop().run_in_executor(slow(), read_report, path)
        if page is None:
            self.say(404, f"There is no report {name}.")
            return
        self.set_header("Content-Security-Policy", FILE_SECURITY)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish(page)


def read_report(path: Path) -> bytes | None:
    """The bytes of a report; None when there is none, it is no file of its own, or it is far too large."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_REPORT:
            return None
        return path.read_bytes()
    except OSError:
        return None


class KernelModel(Guarded, KernelHandler):
    """What Voila's script asks about its kernel; nothing can be done to it here."""

    async def get(self, kernel_id: str) -> None:
        if kernel_id not in self.server.pages:
            raise HTTPError(404, "That page was closed.")
        await super().get(kernel_id)

    async def delete(self, kernel_id: str) -> None:
        raise HTTPError(405)


class Socket(Guarded, VoilaKernelWebsocketHandler):
    """A page's line to its kernel."""

    async def get(self, kernel_id: str) -> None:
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        if PROTOCOL not in [word.strip() for word in offered.split(",")]:
            raise HTTPError(403, f"Only the protocol {PROTOCOL} is spoken here.")
        pages = self.server.pages
        if kernel_id not in pages and kernel_id != pages.admitted:
            raise HTTPError(404, "That page was closed.")
        await super().get(kernel_id)

    def on_message(self, ws_message: Any) -> None:
        message = passed_on(ws_message)
        if message is None:
            if self.kernel_id != self.server.pages.admitted:  # the self-check knocks on purpose
                journal.event("dashboard message refused")
        else:
            super().on_message(message)
