"""The dashboard's server: Voila for one notebook, with a login before it and few doors.

Voila's own routes, its search for configuration and its log are left out: what is served is listed in
`routes.routes`. The link is told only after the self-check has knocked on every door.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tgtqr_lib import journal
from tgtqr_lib.dashboard.auth import Keys, find_keys
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.home import PROJECT, Home

SHARE = Path(__file__).parent / "share" / "jupyter"
TEMPLATE = "tgtqr"
NOTEBOOK = "TGTQR_DASHBOARD_NOTEBOOK"  # another notebook than the project's, for tests
PING_S = 10.0
EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8"]
TOKEN = re.compile(r"token=[^&\s'\")]+")


def serve(
    home: Home,
    host: str = "127.0.0.1",
    port: int = 5000,
    told: Callable[[str], None] = print,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the dashboard of `home` until SIGTERM or Ctrl-C.

    port   0 lets the system choose one
    told   hears the lines for a person; the last one is the link
    ready  is called with the link when the page can be opened

    Raises `DomainError` for a port that is taken, an address that is not this machine's own without a
    password, or a bad hash; `TgtqrError` when the self-check fails.
    """
    keys = find_keys(home)
    check_address(host, keys)
    with listening(host, port) as door:
        home.make()
        asyncio.run(_serve(home, keys, door, told, ready))


def check_address(host: str, keys: Keys) -> None:
    """Raise `DomainError` when `host` is reachable from elsewhere and there is no password."""
    if keys.hashed is None and not is_loopback(host):
        raise DomainError(
            f"--host {host} can be reached from other machines; expected a password first: "
            "`tgtqr dashboard password` prints the line for .env"
        )


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def listening(host: str, port: int) -> Any:
    """A listening socket. Raises `DomainError` when `host` or `port` cannot be had."""
    if not 0 <= port <= 65535:
        raise DomainError(f"--port {port}: expected 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        door = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise DomainError(f"--host {host} --port {port}: no such address ({error})") from None
    with door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(address)
            door.listen(128)
        except OSError as error:
            raise DomainError(
                f"port {port} of {host} cannot be had ({error.strerror}); "
                "choose another one with --port"
            ) from None
        door.setblocking(False)
        yield door


async def _serve(
    home: Home,
    keys: Keys,
    door: socket.socket,
    told: Callable[[str], None],
    ready: Callable[[str], None] | None,
) -> None:
    """Start everything, check it, tell the link, and wait for the end."""
    from tornado.httpserver import HTTPServer

    from tgtqr_lib.dashboard.self_check import check

    quiet_logs()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    host, port = door.getsockname()[:2]
    server = make_server(home, keys, port)
    web = HTTPServer(server.app, max_body_size=100_000)
    web.add_socket(door)
    sweeping = asyncio.create_task(server.pages.keep_swept())
    try:
        checking = asyncio.ensure_future(check(server, host, port))
        waiting = asyncio.ensure_future(ended.wait())
        await asyncio.wait([checking, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not checking.done():
            checking.cancel()
            return
        if problem := checking.result():
            journal.event("dashboard refused", logging.ERROR, text=problem)
            raise TgtqrError(f"the dashboard failed its self-check and is not served: {problem}")
        journal.event("dashboard", host=host, port=port, password=keys.hashed is not None)
        address = f"[{host}]" if ":" in host else host
        link = f"http://{address}:{port}/"
        if keys.hashed is None:
            link += f"?token={keys.token}"
        told(f"dashboard: {link}")
        sys.stdout.flush()
        if ready is not None:
            ready(link)
        await waiting
    finally:
        sweeping.cancel()
        web.stop()
        with contextlib.suppress(Exception):
            await server.kernel_manager.shutdown_all(now=True)
        shutil.rmtree(server.connection_dir, ignore_errors=True)


def make_server(home: Home, keys: Keys, port: int) -> Any:
    """Voila as this project uses it, with `app`, the web application, made and its first kernel starting."""
    # its template is looked for here first, and no kernel or extension of another path is seen
    os.environ["JUPYTER_PATH"] = str(SHARE)
    os.environ["TGTQR_HOME"] = str(home.root)
    import tornado.web
    from traitlets.config import Config
    from voila.app import Voila
    from voila.configuration import VoilaConfiguration

    from tgtqr_lib.dashboard import routes
    from tgtqr_lib.dashboard.kernels import Kernels, OwnSpec, Pages, connection_folder

    notebook = Path(os.environ.get(NOTEBOOK) or PROJECT / "notebooks" / "dashboard.ipynb").resolve()
    if not notebook.is_file():
        raise DomainError(f"{notebook.name}: there is no such notebook to show")
    config = Config()
    config.KernelManager.transport = (
        "ipc"  # sockets of this user; TCP ports could be seen by others
    )
    config.KernelManager.autorestart = False  # a kernel without the notebook's widgets is of no use
    config.VoilaConfiguration.template = TEMPLATE
    config.VoilaConfiguration.allow_template_override = "NO"
    config.VoilaConfiguration.allow_theme_override = "NO"
    config.VoilaConfiguration.preheat_kernel = True
    config.VoilaConfiguration.default_pool_size = 1
    config.VoilaConfiguration.kernel_spec_manager_class = OwnSpec
    config.VoilaConfiguration.multi_kernel_manager_class = Kernels
    config.VoilaConfiguration.extension_allowlist = EXTENSIONS
    config.VoilaConfiguration.page_config_hook = routes.page_config
    config.VoilaConfiguration.show_tracebacks = True  # the template shows the last line alone
    config.VoilaConfiguration.file_allowlist = []
    server = Voila(config=config, log=logging.getLogger("tgtqr_dashboard"))
    server.notebook_path, server.root_dir = str(notebook), str(notebook.parent)
    server.open_browser, server.port, server.token = False, port, ""
    server.cookie_secret = keys.cookie_secret
    server.identity_provider_class = routes.Sessions
    server.connection_dir = str(connection_folder())
    server.voila_configuration = VoilaConfiguration(parent=server)
    server.setup_template_dirs()
    server.keys, server.home, server.start_id = keys, home, secrets.token_hex(8)
    # the kernel manager that `init_settings` makes asks for `app.settings` when its first kernel starts
    server.app = tornado.web.Application()
    settings = server.init_settings()
    settings |= {
        "tgtqr": server,
        "compress_response": True,
        "default_handler_class": routes.Nothing,
        "log_function": log_request,
        "websocket_max_message_size": routes.LARGEST_MESSAGE,
        "ws_ping_interval": PING_S * 1000,
        "ws_ping_timeout": 2 * PING_S * 1000,
        "xsrf_cookie_kwargs": {"samesite": "Lax"},
    }
    server.state = routes.StateReader(home)
    server.pages = Pages(server.kernel_manager, notebook.name)
    server.app = tornado.web.Application(routes.routes(server), **settings)
    return server


def quiet_logs() -> None:
    """Warnings of the libraries go to the screen, without tokens; requests are not logged."""
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(without_token)
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR)
    logging.getLogger("tornado.access").disabled = True


def without_token(record: logging.LogRecord) -> bool:
    """Take tokens out of a record's text; it is always kept."""
    record.msg, record.args = TOKEN.sub("token=...", record.getMessage()), ()
    return True


def log_request(handler: Any) -> None:
    """Log answers that are our fault, by path alone."""
    if handler.get_status() >= 500 and handler.get_status() != 503:
        journal.event(
            "trouble", logging.ERROR, what="dashboard", path=handler.request.path,
            status=handler.get_status(),
        )  # fmt: skip
