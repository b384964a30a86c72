"""Knocking on the doors before the link is told: the server must refuse what it says it refuses.

Over real HTTP and WebSocket: no page and no socket without a login, no execution with one; and the
extension of Voila for Jupyter servers, which would execute code for every visitor, must be disabled.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from tgtqr_lib.dashboard.guards import PROTOCOL

PATIENCE_S = 60.0
DISABLE = "jupyter server extension disable voila.server_extension --sys-prefix"


async def check(server: Any, host: str, port: int) -> str | None:
    """What is wrong with the server that listens at `host` and `port`, in a sentence; None when nothing is."""
    loop = asyncio.get_running_loop()
    if problem := await loop.run_in_executor(None, extension_problem):
        return problem
    try:
        server.pages.admitted = kernel_id = await server.pages.warm_kernel()
    except Exception as error:
        return f"the first kernel did not start ({error})"
    try:
        cookie = login_cookie(server, port)
        return await loop.run_in_executor(None, knock, host, port, kernel_id, cookie)
    finally:
        server.pages.admitted = None


def extension_problem() -> str | None:
    """Why Voila's server extension would be loaded by a Jupyter server of this environment, or None."""
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager
    from jupyter_server.services.config.manager import ConfigManager

    paths = jupyter_config_path()
    found = dict(ExtensionConfigManager(read_config_path=paths).get_jpserver_extensions())
    old = ConfigManager(read_config_path=paths).get("jupyter_notebook_config")
    # notebook_shim loads the extensions of the classic notebook that the newer list does not name
    found = old.get("NotebookApp", {}).get("nbserver_extensions", {}) | found
    for name, enabled in found.items():
        if enabled and name.split(".")[0] == "voila":
            return f"the Jupyter server extension {name} is enabled here; disable it: {DISABLE}"
    return None


def login_cookie(server: Any, port: int) -> str:
    """A cookie as a login would set it."""
    from tornado.web import create_signed_value

    from tgtqr_lib.dashboard.routes import OWNER

    name = f"tgtqr-{port}"
    return f"{name}={create_signed_value(server.cookie_secret, name, OWNER).decode()}"


def knock(host: str, port: int, kernel_id: str, cookie: str) -> str | None:
    """Try the doors of the server; what is wrong in a sentence, or None."""
    channels = f"/api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}"
    try:
        for path in ("/", "/api/state", "/tick/20250101T0000Z", channels):
            status = get(host, port, path, {})
            if status not in (302, 401, 403):
                return f"{path.split('?')[0]} answered {status} to a visitor who is not logged in"
        if upgraded(host, port, channels, {}):
            return "a kernel's socket opened to a visitor who is not logged in"
        with tempfile.TemporaryDirectory(prefix="tgtqr-check-") as folder:
            return try_to_execute(host, port, channels, cookie, Path(folder) / "executed")
    except Exception as error:
        return f"it could not be checked ({type(error).__name__}: {error})"


def get(host: str, port: int, path: str, headers: dict[str, str]) -> int:
    """The status of a GET request."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def address(host: str, port: int, path: str) -> str:
    return f"ws://[{host}]:{port}{path}" if ":" in host else f"ws://{host}:{port}{path}"


def upgraded(host: str, port: int, path: str, headers: dict[str, str]) -> bool:
    """Whether the socket opens."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    try:
        with connect(
            address(host, port, path), subprotocols=[PROTOCOL], additional_headers=headers,
            open_timeout=PATIENCE_S, proxy=None,
        ):  # fmt: skip
            return True
    except InvalidStatus:
        return False


def try_to_execute(host: str, port: int, path: str, cookie: str, witness: Path) -> str | None:
    """Ask a kernel, as somebody who is logged in, to create `witness`; it must not."""
    from websockets.sync.client import connect

    code = f"open({str(witness)!r}, 'w').close()"
    request = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
    with connect(
        address(host, port, path), subprotocols=[PROTOCOL], additional_headers={"Cookie": cookie},
        open_timeout=PATIENCE_S, proxy=None, max_size=None,
    ) as socket:  # fmt: skip
        for channel in ("shell", "control"):
            socket.send(message(channel, "execute_request", request))
        # what is allowed comes back after what was asked before it, so the answer ends the waiting
        asked = message("shell", "kernel_info_request", {}, msg_id := uuid.uuid4().hex)
        socket.send(asked)
        while True:
            answer = socket.recv(timeout=PATIENCE_S)
            header, parent = parts_of(answer)[:2]
            if header["msg_type"] == "execute_reply":
                return "a kernel answered to execute_request"
            if header["msg_type"] == "kernel_info_reply" and parent.get("msg_id") == msg_id:
                break
    return "a kernel executed what came over its socket" if witness.exists() else None


def message(channel: str, kind: str, content: dict[str, Any], msg_id: str | None = None) -> bytes:
    """A message in the binary protocol of Jupyter's sockets."""
    header = {
        "msg_id": msg_id or uuid.uuid4().hex,
        "msg_type": kind,
        "session": uuid.uuid4().hex,
        "username": "check",
        "version": "5.3",
    }
    pieces = [channel.encode(), *(json.dumps(part).encode() for part in (header, {}, {}, content))]
    at = [8 * (len(pieces) + 2)]
    for piece in pieces:
        at.append(at[-1] + len(piece))
    return b"".join([*(n.to_bytes(8, "little") for n in [len(at), *at]), *pieces])


def parts_of(answer: bytes) -> list[dict[str, Any]]:
    """Header, parent header, metadata and content of a message."""
    count = int.from_bytes(answer[:8], "little")
    at = [int.from_bytes(answer[8 * (i + 1) : 8 * (i + 2)], "little") for i in range(count)]
    return [json.loads(answer[at[i] : at[i + 1]]) for i in range(1, 5)]
