"""The same history gives the same targets: again, after others, and in other processes; it is left alone.

The other processes differ in the seed of Python's hashes, in the number of threads and in the time zone.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from tgtqr_lib.backtest.probes.case import Case, counted, named, word
from tgtqr_lib.backtest.probes.findings import Failed
from tgtqr_lib.domain import Candles, History

TIMEOUT_S = 120
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
ELSEWHERE = (("1", "1", "UTC"), ("2", "2", "Pacific/Kiritimati"))  # hash seed, threads, time zone
CODE = """
import os, pickle, sys
answer = os.dup(1)
os.dup2(2, 1)  # what the strategy prints must not mix with the answer
targets, history, sets = pickle.load(sys.stdin.buffer)
said = [targets(history, **params) for params in sets]
with os.fdopen(answer, "wb") as out:
    pickle.dump(said, out)
"""


def probe(case: Case) -> str:
    before = _digest(case.candles)
    first = [case.targets(case.candles, params) for params in case.sets]
    kept = [said.copy() for said in first]
    for params in case.sets:
        case.targets(case.wild, params)  # something else in between
    again = [case.targets(case.candles, params) for params in reversed(case.sets)]
    if _digest(case.candles) != before:
        raise Failed("it changes the candles that it is given; expected them to be left alone")
    _compare(case, kept, again[::-1], "asked again")
    _compare(case, kept, first, "of the first answer, once others were asked for,")
    asked = _packed(case.strategy.targets, case.history(case.candles), case.sets)
    others = [_start(*terms) for terms in ELSEWHERE]
    answers = [_answer(other, asked) for other in others]
    for said in answers:
        _compare(case, kept, said, "in another process")
    sets = counted(len(case.sets), "parameter set")
    return f"{len(case.candles):,} minutes × {sets}, asked twice here and in {len(others)} other processes"


def _compare(case: Case, kept: list[np.ndarray], other: list[np.ndarray], when: str) -> None:
    for params, one, two in zip(case.sets, kept, other, strict=True):
        if one.shape != two.shape:
            raise Failed(f"{when} it gives {two.shape} targets instead of {one.shape}")
        odd = np.flatnonzero(~((one == two) | (np.isnan(one) & np.isnan(two))))
        if len(odd):
            row = int(odd[0])
            raise Failed(
                f"at {case.minute(row)}: {word(one[row])}, and {word(two[row])} {when}{named(params)}"
            )


def _digest(candles: Candles) -> str:
    columns = (getattr(candles, name).tobytes() for name in ("open_ms", *Candles.COLUMNS))
    return hashlib.sha256(b"".join(columns)).hexdigest()


def _packed(targets: Callable[..., np.ndarray], history: History, sets: tuple) -> bytes:
    """What another process needs; functions of notebooks, tests and single files travel by value."""
    import cloudpickle

    home = sys.modules.get(getattr(targets, "__module__", None) or "")
    by_value = home is not None and not home.__name__.startswith(("tgtqr_lib.", "__main__"))
    if by_value:
        cloudpickle.register_pickle_by_value(home)
    try:
        return cloudpickle.dumps((targets, history, sets))
    except (pickle.PicklingError, TypeError) as error:
        raise Failed(f"targets cannot be sent to another process: {error}") from None
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(home)


def _start(hash_seed: str, threads: str, zone: str) -> subprocess.Popen[bytes]:
    changes = {f"{name}_NUM_THREADS": threads for name in THREADS}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    changes |= {"PYTHONHASHSEED": hash_seed, "TZ": zone, "PYTHONPATH": path}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **changes},
    )  # fmt: skip


def _answer(process: subprocess.Popen[bytes], asked: bytes) -> list[np.ndarray]:
    try:
        told, complaints = process.communicate(asked, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"another process gave no answer in {TIMEOUT_S} s") from None
    if process.returncode != 0:
        lines = complaints.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise Failed(f"another process ended with code {process.returncode}: {lines[-1]}")
    return pickle.loads(told)
