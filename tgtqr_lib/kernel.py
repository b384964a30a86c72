"""Running a notebook by papermill in a kernel that was started ahead.

papermill's own signs of success cannot be trusted (`sys.exit(0)` in a cell counts as success, a dead
kernel leaves a file without an error), so callers judge a run by the notebook's sentinel.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tgtqr_lib.domain import DomainError, TgtqrError

# what a kernel may know of its surroundings: no keys, no settings, no home
ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "MPLCONFIGDIR", "IPYTHONDIR", "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
)  # fmt: skip
START = (
    "import tgtqr_lib.tick_page, tgtqr_lib.charts, tgtqr_lib.decide; "
    "tgtqr_lib.tick_page.banner.shown = False; "  # this run is compared, or is the first
    "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
)
START_TIMEOUT_S = 30
PREFIX = "tgtqr-kernel-"
LONGEST_FOLDER = 60  # bytes


class NotebookFailed(TgtqrError):
    """A notebook did not run to its end; the text says which cell and why."""


class Kernels:
    """Fresh kernels, one a run, each started while there is other work to do."""

    def __init__(self, folder: Path, *, ahead: bool = False) -> None:
        """`folder` is where the kernels run; `ahead` starts the next one as soon as one is taken."""
        self._folder = folder
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="kernel")
        self._next: Future | None = None

    def prepare(self) -> None:
        """Begin to start the next kernel, unless one is starting or waiting."""
        if self._next is None:
            self._next = self._pool.submit(_start_kernel, self._folder)

    def take(self) -> Any:
        """The kernel manager of a started kernel; the caller shuts it down."""
        self.prepare()
        waiting, self._next = self._next, None
        manager = waiting.result()
        if self._ahead:
            self.prepare()
        return manager

    def close(self) -> None:
        """Shut down the kernel that waits, if there is one."""
        if self._next is not None:
            with contextlib.suppress(Exception):
                end(self._next.result())
            self._next = None
        self._pool.shutdown()


@contextmanager
def kernels(folder: Path, *, ahead: bool = False) -> Iterator[Kernels]:
    """Kernels that run in `folder`; none is left at the end."""
    pool = Kernels(folder, ahead=ahead)
    try:
        yield pool
    finally:
        pool.close()


def _start_kernel(folder: Path) -> Any:
    """A kernel of this very Python: a stray kernel spec on the machine cannot take its place."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import KernelManager

    class OwnSpec(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            argv = [sys.executable, "-c", START, "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3 (ipykernel)", language="python")

    class Manager(KernelManager):
        """Remembers its clients: nbclient leaves that of a manager it did not make, threads and all."""

        def client(self, **how: Any) -> Any:
            made = super().client(**how)
            self.clients.append(made)
            return made

    _clean_up()
    sockets = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_folder()))
    manager = Manager(
        kernel_name="python3",
        kernel_spec_manager=OwnSpec(),
        client_class="jupyter_client.asynchronous.client.AsyncKernelClient",
        # sockets that are files of this user; a TCP port could be read by others on the machine
        transport="ipc",
        ip=str(sockets / "kernel"),
        connection_file=str(sockets / "connection.json"),
    )
    manager.sockets, manager.clients = sockets, []
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    manager.start_kernel(
        stdout=subprocess.DEVNULL,  # what it says there concerns its maker alone
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=str(folder),
        extra_arguments=["--HistoryManager.enabled=False", "--InteractiveShell.colors=NoColor"],
    )
    return manager


def _short_folder() -> str:
    """The folder for temporary files, or /tmp when that is too long: a socket's path has 107 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual.encode()) <= LONGEST_FOLDER else "/tmp"


def _clean_up() -> None:
    """Remove the sockets of processes that were killed before they could."""
    for path in Path(_short_folder()).glob(f"{PREFIX}*-*"):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if (
            owner.isdigit()
            and not Path("/proc", owner).exists()
            and path.stat().st_uid == os.getuid()
        ):
            shutil.rmtree(path, ignore_errors=True)


def end(manager: Any) -> None:
    """Kill a kernel, which has nothing to save, close its clients, and remove its sockets."""
    for client in manager.clients:
        with contextlib.suppress(Exception):
            client.stop_channels()
            client.context.destroy(linger=0)
    with contextlib.suppress(Exception):
        manager.shutdown_kernel(now=True)
    shutil.rmtree(manager.sockets, ignore_errors=True)


def import_papermill() -> Any:
    """papermill, without the grammar of internationalised web addresses.

    jsonschema compiles that grammar when it is imported, which takes 1.7 s, for a check of `iri` fields
    that no notebook has; it does without when the module is not there.
    """
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill

    if sys.modules.get("rfc3987_syntax", "") is None:
        del sys.modules["rfc3987_syntax"]
    return papermill


def run_notebook(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    pool: Kernels,
    *,
    cell_timeout_s: int,
) -> None:
    """Execute `source` with `parameters` and write the executed copy to `target`, also on failure.

    Raises `DomainError` for a parameter that the notebook does not declare (papermill would only warn),
    and `NotebookFailed` when a cell fails, takes too long or loses its kernel.
    """
    papermill = import_papermill()
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError

    declared = papermill.inspect_notebook(str(source))
    if unknown := sorted(set(parameters) - set(declared)):
        raise DomainError(
            f"{source.name}: parameter {unknown[0]!r} is not declared; expected {sorted(declared)}"
        )
    papermill_engines.register("prepared", NBClientEngine)
    manager = pool.take()
    try:
        papermill.execute_notebook(
            str(source),
            str(target),
            parameters=dict(parameters),
            engine_name="prepared",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=START_TIMEOUT_S,
            execution_timeout=cell_timeout_s,
            km=manager,
        )
    except PapermillExecutionError as error:
        name, value = error.ename, str(error.evalue)[:300]
        raise NotebookFailed(
            f"{source.name}: cell {error.cell_index} failed: {name}: {value}"
        ) from None
    except CellTimeoutError:
        raise NotebookFailed(f"{source.name}: a cell took longer than {cell_timeout_s} s") from None
    except (DeadKernelError, RuntimeError, TimeoutError) as error:
        raise NotebookFailed(f"{source.name}: the kernel was lost ({error})") from None
    finally:
        end(manager)
