"""Sweeps on a Dask cluster, the processes of this machine or others: the same result, sooner.

A worker gets the candles once, when it starts, also when it takes the place of one that died. A task is a
part of the grid; parts go into their places of the result, so neither order nor figures depend on who
computed what, how often, or when.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import socket
import tempfile
import threading
import time
import types
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
import numpy as np
from distributed import Client, KilledWorker, LocalCluster, WorkerPlugin, as_completed, get_worker

import tgtqr_lib
from tgtqr_lib.backtest.sweep import Job, Points, Progress, SweepResult, parts_of
from tgtqr_lib.backtest.terms import SPREAD_BPS
from tgtqr_lib.domain import DataError, Fees, Instrument, Limits, Plan
from tgtqr_lib.limits import INITIAL_EQUITY

ANSWER_S = 10  # how long a cluster may take to answer
LARGEST_GREETING = 1 << 20  # bytes
EMPTY_S = 30  # how long it may be without a worker in the midst of a sweep
PART = 8_000  # combinations in a task
DEATHS = 20  # workers that may die over one task before it is to blame
FIGURES_COME_FROM = ("backtest/*", "signals/*", "strategies/*", "domain.py", "execution.py")


def sweep_on(
    cluster: Client | str,
    candles: Any,
    plan: Plan,
    grid: Points,
    limits: Limits | None,
    *,
    fees: Fees | None = None,
    instrument: Instrument | Mapping[str, Instrument] | None = None,
    spread_bps: Decimal | int = SPREAD_BPS,
    initial: Decimal = INITIAL_EQUITY,
    funding: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """`sweep` on the workers of `cluster`, a client or the address of a scheduler.

    Raises as `sweep` does, and `DataError` when the cluster does not answer within `ANSWER_S`, has no
    worker, has one with other code than ours, or is lost.
    """
    job = Job.of(
        candles, plan, grid, limits, fees=fees, instrument=instrument, spread_bps=spread_bps,
        initial=initial, funding=funding,
    )  # fmt: skip
    if isinstance(cluster, str):
        with connected(cluster) as client:
            return _shared_out(client, job, progress)
    return _shared_out(cluster, job, progress)


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at `address`. Raises `DataError` when it does not answer."""
    with _quiet():
        try:
            _greeted(address)
            client = Client(address, timeout=ANSWER_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"cluster {address}: no Dask scheduler answered within {ANSWER_S} s"
            ) from error
        with client:
            yield client


def _greeted(address: str) -> None:
    """Wait for the greeting with which every Dask server begins. Raises `OSError` when it is none.

    What is no Dask server is not asked anything: its answer would be taken for lengths, or waited for in vain.
    """
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not port.isdigit():
        return  # other transports greet otherwise
    end = time.monotonic() + ANSWER_S
    while True:
        try:
            line = socket.create_connection((host.strip("[]"), int(port)), ANSWER_S)
            break
        except ConnectionRefusedError:  # it may be starting
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    with line:
        line.settimeout(ANSWER_S)
        first = line.recv(8, socket.MSG_WAITALL)
    if len(first) < 8 or not 0 < int.from_bytes(first, "little") < LARGEST_GREETING:
        raise OSError(f"{address} does not greet as Dask does")


@contextmanager
def local(workers: int) -> Iterator[Client]:
    """A client of `workers` processes on this machine, one thread each; they end with the block."""
    with _quiet(), ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="tgtqr-sweep-", ignore_cleanup_errors=True)
        )
        failures = {"distributed.scheduler.allowed-failures": DEATHS}
        stack.enter_context(dask.config.set(failures | {"temporary-directory": folder}))
        with _undisturbed():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # a health page
                    local_directory=folder,
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                )
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
        yield client


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until workers have started, and Ctrl-C from them for good.

    In a terminal it reaches every process; who started the workers ends them. The mask is inherited by the
    thread that starts them, now and when one died, and so by themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # when it starts it lifts the mask of the thread that needs it
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {one: signal.signal(one, lambda number, _: held.append(number)) for one in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for one, handler in before.items():
            signal.signal(one, handler)
        for one in held[:1]:
            signal.raise_signal(one)


def _shared_out(client: Client, job: Job, progress: Progress | None) -> SweepResult:
    where = f"cluster {client.scheduler.address}"
    workers = _workers(client, where)
    count, name = len(job.points), f"tgtqr-sweep-{uuid.uuid4().hex}"
    found = np.empty((8, count), dtype=np.int64)
    futures: dict[Any, tuple[int, int]] = {}
    try:
        client.register_plugin(Holder(job, code()), name)
        for start, stop in parts_of(count, workers, PART if job.quick else 100):
            key = f"{name}-{start}"
            futures[client.submit(_part, name, start, stop, key=key, pure=False)] = start, stop
        done = 0
        for future in _finished(client, list(futures), where):
            start, stop = futures[future]
            found[:, start:stop] = future.result()
            del futures[future]
            future.release()
            done += stop - start
            if progress is not None:
                progress(done, count)
    except KilledWorker as error:
        raise DataError(f"{where}: {DEATHS} workers died over one part of the grid") from error
    except (CancelledError, OSError) as error:
        raise DataError(f"{where}: was lost before the sweep was done") from error
    finally:
        _forget(client, list(futures), name)
    return job.result(found)


def _finished(client: Client, futures: list[Any], where: str) -> Iterator[Any]:
    """The futures as they finish. Raises `DataError` when there has been no worker for `EMPTY_S`."""
    finished = as_completed(futures, loop=client.loop)
    manned = looked = time.monotonic()
    left = len(futures)
    while left:
        batch = finished.next_batch(block=False)
        left -= len(batch)
        yield from batch
        if not batch:
            time.sleep(0.01)
        if time.monotonic() > looked + 1:
            looked = time.monotonic()
            manned = looked if client.nthreads() else manned
            if looked > manned + EMPTY_S:
                raise DataError(f"{where}: all its workers left, and none came for {EMPTY_S} s")


def _forget(client: Client, futures: list[Any], name: str) -> None:
    """Leave nothing on a cluster that may not be ours; what cannot be reached needs no cleaning."""
    try:
        client.cancel(futures, force=True)
        client.unregister_worker_plugin(name)
    except Exception:
        logging.getLogger(__name__).debug("the cluster was gone before its cleaning", exc_info=True)


class Holder(WorkerPlugin):
    """Brings the job to a worker when it starts, and keeps it there."""

    def __init__(self, job: Job, code: str) -> None:
        self.job, self.code = job, code


def _part(name: str, start: int, stop: int) -> np.ndarray:
    """One task: the figures (8, k) of the points from `start` to before `stop`."""
    held = get_worker().plugins[name]
    if held.code != code():
        raise DataError(f"cluster: a worker came with other code than {tgtqr_lib.__version__}")
    return held.job.figures(start, stop)


@cache
def code() -> str:
    """A digest of the sources that figures come from: workers must have the same."""
    root, digest = Path(tgtqr_lib.__file__).parent, hashlib.sha256()
    for pattern in FIGURES_COME_FROM:
        for path in sorted(root.glob(pattern)):
            if path.suffix == ".py":
                digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _workers(client: Client, where: str) -> int:
    """How many threads the workers have. Raises `DataError` when there is none, or other code."""
    try:
        client.wait_for_workers(1, timeout=ANSWER_S)
    except TimeoutError as error:
        raise DataError(f"{where}: has no worker after {ANSWER_S} s; expected one") from error
    ours = tgtqr_lib.__version__, code()
    for address, seen in client.run(_by_value(_version)).items():
        if seen is None:
            raise DataError(f"{where}: worker {address} has no tgtqr_lib; expected {ours[0]}")
        if seen[0] != ours[0]:
            raise DataError(
                f"{where}: worker {address} has tgtqr_lib {seen[0]}; expected {ours[0]}"
            )
        if seen[1] != ours[1]:
            raise DataError(
                f"{where}: worker {address} has tgtqr_lib {seen[0]} with other code than here"
            )
    return max(1, sum(client.nthreads().values()))


def _version():
    """Version and digest of a worker's tgtqr_lib, None without one. It is sent whole: see `_by_value`."""
    try:
        import tgtqr_lib
    except ImportError:
        return None
    try:
        from tgtqr_lib.backtest.cluster import code
    except ImportError:
        return tgtqr_lib.__version__, None
    return tgtqr_lib.__version__, code()


def _by_value(function: types.FunctionType) -> types.FunctionType:
    """A copy that is sent as code, not as the name of a module that a worker may lack."""
    copy = types.FunctionType(function.__code__, {"__builtins__": __builtins__}, "asked")
    copy.__module__ = "__main__"
    return copy


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells its own troubles at length; ours are told in a sentence."""
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    handlers = {h for one in loggers if one.name.startswith("distributed") for h in one.handlers}
    levels = {handler: handler.level for handler in handlers}
    for handler in levels:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)
