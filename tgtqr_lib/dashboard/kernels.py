"""The kernels behind the pages: one waits ready, at most four serve, and none outlives its page for long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from tgtqr_lib import journal
from tgtqr_lib.credentials import without_secrets
from tgtqr_lib.kernel import ENVIRONMENT

MOST_PAGES = 4
GONE_AFTER_S = 20.0  # without a connection; a dead connection is noticed in up to 30 s before that
NEVER_CAME_AFTER_S = 30.0
SWEEP_EVERY_S = 5.0
FOLDER = "tgtqr-dashboard-"
# what is left of a socket's 107 bytes for the folder that holds ours: process ids have up to seven digits
LONGEST_FOLDER = 107 - len(f"/{FOLDER}4194304-12345678/kernel-{'0' * 36}-ipc-5")


class OwnSpec(KernelSpecManager):
    """A kernel of this very Python: a stray kernel spec on the machine cannot take its place."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [
            sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}",
            "--HistoryManager.enabled=False",
        ]  # fmt: skip
        return KernelSpec(argv=argv, display_name="Python 3 (ipykernel)", language="python")

    def find_kernel_specs(self) -> dict[str, str]:
        return {"python3": ""}

    def get_all_specs(self) -> dict[str, Any]:
        spec = self.get_kernel_spec("python3").to_dict()
        return {"python3": {"resource_dir": "", "spec": spec}}


class Kernels(AsyncMappingKernelManager):
    """Kernels that see the home and the settings, and neither the password nor other secrets."""

    async def _async_start_kernel(self, **kwargs: Any) -> str:
        kwargs["env"] = kernel_environment(kwargs.get("env") or os.environ)
        return await super()._async_start_kernel(**kwargs)

    start_kernel = _async_start_kernel


def kernel_environment(given: dict[str, str]) -> dict[str, str]:
    """What a page's kernel may know of its surroundings."""
    return {
        name: value
        for name, value in without_secrets(given).items()
        if name in ENVIRONMENT or name.startswith("TGTQR_")
    }


@dataclass
class Page:
    """A page that was handed out; times in seconds on the monotonic clock."""

    handed: float
    connected: float | None = None  # when a connection was last seen


class Pages:
    """The open pages by the id of their kernel.

    `manager` is Voila's, with its pool of kernels that have run the notebook already.
    """

    def __init__(self, manager: Any, notebook: str) -> None:
        self._manager = manager
        self._notebook = notebook
        self._open: dict[str, Page] = {}
        self._opening = 0
        self.admitted: str | None = None  # the kernel that the self-check may speak to

    def __contains__(self, kernel_id: str) -> bool:
        return kernel_id in self._open

    @property
    def count(self) -> int:
        """Pages that are open or about to be."""
        return len(self._open) + self._opening

    async def warm_kernel(self) -> str:
        """The id of the kernel that waits for the next page. Raises what its start raised."""
        return (await asyncio.shield(self._pool()[0]))["kernel_id"]

    def _pool(self) -> list[asyncio.Task]:
        self._manager.fill_if_needed(delay=0, notebook_name=self._notebook)
        return self._manager._pools[self._notebook]

    async def open(self) -> tuple[str, Any] | None:
        """A kernel's id and its page as a generator of HTML; None while four pages are open."""
        if self.count >= MOST_PAGES:
            await self.sweep()
        if self.count >= MOST_PAGES:
            return None
        self._opening += 1
        try:
            self._pool()
            try:
                rendering, ready, kernel_id = await self._manager.get_rendered_notebook(
                    notebook_name=self._notebook
                )
            except Exception:
                self._pool()  # what failed was taken out of the pool: try anew for the next page
                raise
            self._open[kernel_id] = Page(time.monotonic())
        finally:
            self._opening -= 1
        return kernel_id, _snippets(rendering, ready)

    async def close(self, kernel_id: str, why: str) -> None:
        """Shut down the kernel of a page."""
        page = self._open.pop(kernel_id, None)
        if page is None:
            return
        journal.event("page closed", why=why, open_s=round(time.monotonic() - page.handed))
        with contextlib.suppress(Exception):
            await self._manager.shutdown_kernel(kernel_id, now=True)

    async def sweep(self) -> None:
        """Close the pages that nobody looks at, and replace a waiting kernel that died."""
        now = time.monotonic()
        for kernel_id, page in list(self._open.items()):
            if self._manager._kernel_connections.get(kernel_id, 0) > 0:
                page.connected = now
            if not await self._alive(kernel_id):
                await self.close(kernel_id, "its kernel died")
            elif page.connected is None and now - page.handed > NEVER_CAME_AFTER_S:
                await self.close(kernel_id, "it never connected")
            elif page.connected is not None and now - page.connected > GONE_AFTER_S:
                await self.close(kernel_id, "its connection ended")
        for task in [t for t in self._pool() if t.done()]:
            failed = task.cancelled() or task.exception() is not None
            if failed or not await self._alive(task.result()["kernel_id"]):
                with contextlib.suppress(ValueError):
                    self._pool().remove(task)
                if not failed:
                    with contextlib.suppress(Exception):
                        await self._manager.shutdown_kernel(task.result()["kernel_id"], now=True)
        self._pool()

    async def _alive(self, kernel_id: str) -> bool:
        try:
            return bool(await self._manager.get_kernel(kernel_id).is_alive())
        except Exception:
            return False

    async def keep_swept(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self.sweep()
            except Exception as error:  # one that fails must not be the last
                journal.event("trouble", what="dashboard sweep", text=repr(error))


async def _snippets(rendering: asyncio.Task, ready: list[str]) -> Any:
    """The HTML of a page: what was rendered ahead, then the rest as it comes."""
    sent = len(ready)
    yield "".join(ready[:sent])
    rendered, rest = await rendering
    yield "".join(rendered[sent:])
    async for html, _ in rest:
        yield html


def connection_folder() -> Path:
    """A private folder for kernels' sockets; those of servers that were killed are removed.

    A socket's path has at most 107 bytes, so a long folder for temporary files is not used.
    """
    usual = tempfile.gettempdir()
    parent = Path(usual if len(usual.encode()) <= LONGEST_FOLDER else "/tmp")
    for old in parent.glob(f"{FOLDER}*-*"):
        owner = old.name.removeprefix(FOLDER).split("-")[0]
        with contextlib.suppress(OSError):
            if (
                owner.isdigit()
                and not Path("/proc", owner).exists()
                and old.stat().st_uid == os.getuid()
            ):
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=parent))
