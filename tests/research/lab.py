"""The real JupyterLab on a copy of a notebook, as a reader opens it, and the hands that use it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests
from playwright.sync_api import Browser, Page

from tests.dashboard.browser import DESKTOP, PATIENCE_MS
from tests.stage import PROJECT
from tgtqr_lib.home import Home

PATIENCE_S = PATIENCE_MS / 1000
# no questions about news on the first visit, and nothing that would ask the network
SETTINGS = {
    "notification": {"fetchNews": "false", "checkForUpdates": False},
    "themes": {"theme": "JupyterLab Light"},
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def lab(
    home: Home, folder: Path, notebook: Path, dark: bool = False, root: Path | None = None
) -> Iterator[str]:
    """The link of a JupyterLab that has a copy of `notebook` alone, and keeps all it writes in `folder`.

    root  the folder that it shows instead; the notebook is then no copy
    """
    (folder / "notebooks").mkdir(parents=True)
    if root is None:
        root = folder / "notebooks"
        shutil.copy(notebook, root)
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in SETTINGS.items():
        chosen = {"theme": "JupyterLab Dark"} if dark and name == "themes" else values
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(chosen), "utf-8")
    port, token = free_port(), secrets.token_hex(16)
    known = {k: v for k, v in os.environ.items() if not k.startswith(("TGTQR_", "JUPYTER"))}
    known |= {
        "TGTQR_HOME": str(home.root),
        "PYTHONPATH": str(PROJECT),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    log = (folder / "lab.log").open("w")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
            f"--ServerApp.root_dir={root}", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={token}", "--LabApp.extension_manager=readonly",
        ],
        env=known, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/api/status?token={token}", process, folder / "lab.log")
        yield f"{address}/doc/tree/{notebook.name}?token={token}"
    finally:
        _end(process)
        log.close()


def _wait_for(link: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(link, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab never answered:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen) -> None:
    """End the server and the kernels it started."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in psutil.wait_procs(started, timeout=10)[1]:
        child.kill()


@contextmanager
def opened(
    browser: Browser, link: str, size: tuple[int, int] = DESKTOP, scheme: str = "light"
) -> Iterator[tuple[Page, list[str]]]:
    """The notebook in a fresh profile, all its cells run; and the errors of the page."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(link, timeout=PATIENCE_MS)
    try:
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        # before its kernel is there, Run All would only ask which one
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
        page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        yield page, errors
    finally:
        context.close()
