"""A sealed notebook read back: its evidence as values, and a sentence for everything that is wrong with it."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tgtqr_lib import tick_page
from tgtqr_lib.archive.differences import differences
from tgtqr_lib.archive.digests import (
    INPUTS_TAG,
    OUTCOME_TAG,
    outputs_sha256,
    sha256_of,
    tagged,
    text_of,
)
from tgtqr_lib.archive.sealing import SCHEMA, sealed_path
from tgtqr_lib.canonical import load_inputs
from tgtqr_lib.clock import parse_time
from tgtqr_lib.domain import Damaged, DomainError, Inputs, StoreError
from tgtqr_lib.home import Home

PACKED = ".gz"
COPY = "tgtqr_rerun"  # in the metadata of what a re-run wrote
NAME = re.compile(r"(\d{8}T\d{4}Z)\.ipynb(\.gz)?")
KEYS = {"tick_id", "inputs", "decision", "outcome", "digests", "ledger", "code"}
LARGEST = 20_000_000  # bytes; a sealed tick has a tenth of a million


@dataclass(frozen=True, eq=False)
class Archived:
    """A sealed notebook.

    path      its file, packed or not
    notebook  as plain JSON
    facts     `metadata.tgtqr`
    sha256    of the notebook's bytes, unpacked: what the ledger's `sealed` event holds
    """

    path: Path
    notebook: dict[str, Any]
    facts: dict[str, Any]
    sha256: str

    @property
    def tick_id(self) -> str:
        return self.facts["tick_id"]

    @property
    def pruned(self) -> bool:
        """Whether it was thinned to inputs and decision."""
        return "pruned" in self.facts

    @property
    def decision(self) -> dict[str, Any] | None:
        """The sealed decision as plain values, None when there was none."""
        return self.facts["decision"]

    @cached_property
    def cell_inputs(self) -> dict[str, Any] | None:
        """The inputs as the notebook's own cell holds them, plain; what a re-run decides from."""
        source = self.inputs_source
        if source is None:
            return None
        try:
            for statement in ast.parse(source).body:
                if isinstance(statement, ast.Assign) and statement.targets[0].id == "inputs":
                    return json.loads(ast.literal_eval(statement.value))
        except (SyntaxError, ValueError, AttributeError):
            pass
        raise Damaged(f"{self.path}: the cell of its inputs cannot be read")

    @property
    def inputs_source(self) -> str | None:
        """The source of the cell that holds the inputs."""
        for cell in self.notebook["cells"]:
            if tagged(cell, INPUTS_TAG):
                return text_of(cell.get("source", ""))
        return None

    def inputs(self) -> Inputs:
        """The frozen inputs. Raises `DomainError` when nothing was frozen, or they cannot be read."""
        plain = self.facts["inputs"] or self.cell_inputs
        if not plain:
            raise DomainError(f"tick {self.tick_id}: it ended before its inputs were frozen")
        return load_inputs(json.dumps(plain))

    def code(self) -> str:
        """Which code made it, in words."""
        code = self.facts["code"]
        return (
            f"tgtqr {code.get('version')}, library {str(code.get('library_sha256'))[:12]}, "
            f"Python {code.get('python')}"
        )

    def altered(self) -> list[str]:
        """A sentence for each piece of evidence that does not agree with the others; none when all do."""
        return [
            *self._altered_seal(),
            *self._altered_inputs(),
            *self._altered_decision(),
            *self._altered_page(),
        ]

    def _altered_seal(self) -> Iterator[str]:
        name = NAME.fullmatch(self.path.name)
        if name is not None and name[1] != self.tick_id:
            yield f"tick: the file is named after {name[1]} and holds the notebook of {self.tick_id}"
        expected = self.facts["digests"].get("seal_sha256")
        if expected is None:
            return
        found = sha256_of([self.facts[key] for key in ("tick_id", "ledger", "code")])
        if found != expected:
            yield f"seal: tick, ledger head and code hash to {found[:12]}, sealed as {expected[:12]}"

    def _altered_inputs(self) -> Iterator[str]:
        sealed, cell = self.facts["inputs"], self.cell_inputs
        if sealed is not None and sealed != cell:
            yield _told("inputs", "the metadata have", "the cell has", differences(sealed, cell))
        expected = self.facts["digests"].get("inputs_sha256")
        if expected is None:
            return
        for where, value in (("metadata", sealed), ("cell", cell)):
            if value is not None and sha256_of(value) != expected:
                yield f"inputs: those in the {where} hash to {sha256_of(value)[:12]}, sealed as {expected[:12]}"

    def _altered_decision(self) -> Iterator[str]:
        decision, expected = self.decision, self.facts["digests"].get("decision_sha256")
        if decision is not None and expected is not None:
            core = {name: decision.get(name) for name in ("tick_id", "choices")}
            if sha256_of(core) != expected:
                yield f"decision: it hashes to {sha256_of(core)[:12]}, sealed as {expected[:12]}"
        if self.pruned:
            return
        shown = tick_page.read_sentinel(self.notebook)
        if (shown is None) != (decision is None):
            yield "decision: only one of metadata and last cell has it"
        elif shown is not None and shown["decision"] != decision:
            told = differences(decision, shown["decision"])
            yield _told("decision", "the metadata have", "the last cell has", told)

    def _altered_page(self) -> Iterator[str]:
        digests, outcome = self.facts["digests"], self.facts["outcome"]
        expected = digests.get("outcome_sha256")
        if expected is not None and sha256_of(outcome) != expected:
            yield f"outcome: it hashes to {sha256_of(outcome)[:12]}, sealed as {expected[:12]}"
        if self.pruned:
            return
        expected = digests.get("outputs_sha256")
        if expected is not None and outputs_sha256(self.notebook) != expected:
            yield (
                f"page: sources and outputs hash to {outputs_sha256(self.notebook)[:12]}, "
                f"sealed as {expected[:12]}"
            )
        told = [text_of(c.get("source")) for c in self.notebook["cells"] if tagged(c, OUTCOME_TAG)]
        if told != [tick_page.outcome_markdown(outcome)]:
            yield "outcome: the last cell does not say what the metadata say"


def _told(what: str, one: str, other: str, found: list[Any]) -> str:
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{what}: {first.where} differs: {one} {first.before}, {other} {first.after}{more}"


def read_bytes(path: Path) -> bytes:
    """The notebook's bytes at `path`, unpacked.

    Raises `DomainError` when there is no such file, `Damaged` when it cannot be unpacked, `StoreError`
    when it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise StoreError(f"{path}: is no ordinary file; expected a notebook")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DomainError(f"{path}: there is no such notebook") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    if path.suffix != PACKED:
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(f"{path}: cannot be unpacked ({error})") from None


def open_archived(path: Path) -> Archived:
    """The sealed notebook at `path`.

    Raises `DomainError` for a file that is no sealed tick, or one of a newer schema, and `Damaged` for
    one that was cut short.
    """
    raw = read_bytes(path)
    if len(raw) > LARGEST:
        raise DomainError(f"{path}: has {len(raw)} bytes; a sealed tick has some 90,000")
    try:
        notebook = json.loads(raw)
    except ValueError as error:
        if raw.lstrip()[:1] == b"{":
            raise Damaged(f"{path}: is cut short or damaged ({error})") from None
        raise DomainError(f"{path}: is not a notebook; expected a sealed tick, .ipynb") from None
    if not raw.strip() or not isinstance(notebook, dict) or "cells" not in notebook:
        raise DomainError(f"{path}: is not a notebook; expected a sealed tick, .ipynb")
    metadata = notebook.get("metadata")
    facts = metadata.get("tgtqr") if isinstance(metadata, Mapping) else None
    if not isinstance(facts, Mapping):
        copy = isinstance(metadata, Mapping) and COPY in metadata
        what = "a re-run's copy or a what-if" if copy else "a notebook"
        raise DomainError(f"{path}: is {what}, but no sealed tick (it has no metadata.tgtqr)")
    schema = facts.get("schema")
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        hint = "a newer kit sealed it" if newer else "that is no schema"
        raise DomainError(f"{path}: schema {schema!r} of the archive; expected {SCHEMA} ({hint})")
    if missing := sorted(KEYS - set(facts)):
        raise Damaged(f"{path}: metadata.tgtqr has no {missing[0]!r}; expected {sorted(KEYS)}")
    return Archived(path, notebook, dict(facts), hashlib.sha256(raw).hexdigest())


def find_sealed(home: Home, tick: str) -> Path | None:
    """The file of the tick called `tick`, packed or not; None when there is none."""
    path = sealed_path(home, tick)
    packed = path.with_name(path.name + PACKED)
    return next((one for one in (path, packed) if one.is_file()), None)


def find(home: Home, word: str) -> Path:
    """The notebook that `word` means: a path, or the id of a tick of `home`.

    Raises `DomainError` when there is none.
    """
    if "/" in word or word.endswith((".ipynb", PACKED)) or Path(word).is_file():
        return Path(word)
    try:
        parse_time(word)
    except (DomainError, ValueError):
        raise DomainError(
            f"{word!r} is neither a file nor the id of a tick; expected one like 20261122T1015Z"
        ) from None
    path = find_sealed(home, word)
    if path is None:
        raise DomainError(f"tick {word} has no notebook; {_span(home)}")
    return path


def _span(home: Home) -> str:
    names = [tick_of(path) for path in notebooks_in(home.ticks)]
    if not names:
        return f"{home.ticks} holds none"
    return f"{home.ticks} holds {len(names):,} from {names[0]} to {names[-1]}"


def tick_of(path: Path) -> str:
    """The id of the tick that the file at `path` is named after."""
    return NAME.fullmatch(path.name)[1]


def notebooks_in(
    folder: Path, since: datetime | None = None, until: datetime | None = None
) -> list[Path]:
    """The tick notebooks in `folder` and below, from `since` to `until`, oldest first.

    Of a tick that is there both packed and not, the latter counts: packing was cut short.
    """
    found: dict[str, Path] = {}
    for path in sorted(files_in(folder), reverse=True):  # .ipynb after .ipynb.gz
        match = NAME.fullmatch(path.name)
        if match is not None:
            found[match[1]] = path
    low = "" if since is None else f"{since:%Y%m%dT%H%MZ}"
    high = "9" if until is None else f"{until:%Y%m%dT%H%MZ}"
    return [found[name] for name in sorted(found) if low <= name <= high]


def files_in(folder: Path) -> Iterator[Path]:
    """Every file in `folder` and below, without Jupyter's checkpoints; none when there is no such folder.

    Raises `StoreError` for a folder that cannot be read.
    """

    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise StoreError(f"{error.filename}: cannot be read ({error.strerror})") from None

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if name != ".ipynb_checkpoints")
        yield from (Path(place, name) for name in names)


def moment_of(path: Path) -> datetime:
    """The boundary of the tick that the file at `path` is named after."""
    return parse_time(tick_of(path))
