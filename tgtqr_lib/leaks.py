"""Looking for secrets in what a run wrote, and putting a file that holds one out of the way.

A secret is looked for as it is and in the spellings that text takes on, also broken over lines: in the bytes of
a file, in the text and the decoded pictures of a notebook, in what gzip, tar or zip packed, in the rows of SQLite.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import logging
import os
import shutil
import sqlite3
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tgtqr_lib import journal
from tgtqr_lib.credentials import SHORTEST, Secret, known_secrets, registered, spellings
from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.home import Home

FOLDER_MODE, FILE_MODE = 0o700, 0o600
DEEPEST = 3  # a packed file in a packed file in a notebook
MOST_PLACES = 5  # of one file; the first one decides
LARGEST = 200_000_000  # bytes that are unpacked
SQLITE, GZIP, ZIP = b"SQLite format 3\0", b"\x1f\x8b", b"PK\x03\x04"
BLANKS = b" \t\r\n"
Needles = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A file that holds a secret, and where in it, in words that do not tell it."""

    path: Path
    where: str


def quarantine_folder(home: Home) -> Path:
    """Where outputs of `home` lie that held a secret."""
    return home.outputs / "quarantine"


def scan(paths: Iterable[Path], secrets: Iterable[Secret]) -> list[Hit]:
    """The places at which the files hold one of the secrets, at most five a file.

    A file that is not there holds none. Raises `OSError` for one that cannot be read.
    """
    wanted = _needles(secrets)
    return (
        [Hit(path, where) for path in paths for where in _in_file(path, wanted)] if wanted else []
    )


def files_below(folders: Iterable[Path]) -> list[Path]:
    """Every regular file below the folders, hidden ones too, sorted; links are not followed."""
    found = []
    for folder in folders:
        every = [folder] if not folder.is_dir() else []
        for root, _, names in os.walk(folder):
            every += [Path(root, name) for name in names]
        for path in every:
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                if stat.S_ISREG(path.lstat().st_mode):
                    found.append(path)
    return sorted(found)


def sweep(home: Home, *paths: Path) -> list[Path]:
    """Quarantine those of the outputs `paths` that hold a known secret; returns where they now are.

    Costs next to nothing while there are no secrets. Raises `OSError` for a file that can be neither read
    nor moved.
    """
    secrets = _secrets_of(home)
    moved = []
    for path in paths if secrets else ():
        if hits := scan([path], secrets):
            moved.append(quarantine(home, path, hits))
    return moved


def quarantine(home: Home, path: Path, hits: Iterable[Hit]) -> Path:
    """Move `path` to outputs/quarantine/, for its owner alone, and write beside it where the hits are."""
    path.chmod(FILE_MODE)  # whatever happens next, nobody else can open it from here on
    folder = quarantine_folder(home)
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    name, number = path.name.lstrip("."), 1
    target = folder / name
    while target.exists():
        number += 1
        target = folder / f"{number}-{name}"
    shutil.move(path, target)
    places = "; ".join(hit.where for hit in hits)
    came = path.relative_to(home.root) if path.is_relative_to(home.root) else path
    with contextlib.suppress(OSError):  # a full disk
        note = target.with_name(target.name + ".why.txt")
        handle = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(
                f"{came} held a secret: a key, or a part of an alert's URL.\nWhere: {places}\n"
                "Whoever could read it before may know the secret: make a new one, then delete this file.\n"
            )
    journal.event(
        "quarantine", logging.WARNING, file=came, to=target.relative_to(home.root), where=places
    )
    return target


def begin(home: Home) -> int:
    """Learn the secrets of `home` at the begin of a run; returns the length of the log, bytes.

    From here on `redact` knows them, and what the run adds to the log is what `sweep_log` looks at.
    """
    _secrets_of(home)
    try:
        return home.log.stat().st_size
    except OSError:
        return 0


def sweep_log(home: Home, begins: int) -> None:
    """Quarantine the log when what was added after `begins` holds a known secret. Never raises.

    Every line is redacted before it is written, so this finds only what came another way.
    """
    try:
        if not (wanted := _needles(_secrets_of(home))):
            return
        with open(home.log, "rb") as file:
            # a shorter log is a new one: the old was moved aside meanwhile
            file.seek(begins if begins <= os.fstat(file.fileno()).st_size else 0)
            hits = [
                Hit(home.log, f"{where} of its new part") for where in _found(file.read(), wanted)
            ]
        if hits:
            quarantine(home, home.log, hits)
    except FileNotFoundError:
        return
    except Exception as error:  # looking at the log is never worth a tick
        journal.event("log_not_looked_at", logging.WARNING, text=f"{type(error).__name__}: {error}")


def _secrets_of(home: Home) -> set[Secret]:
    """The secrets of `home` and those that this process has read before."""
    with contextlib.suppress(TgtqrError):  # a refused .env: whoever needs its keys says so
        return {*registered(), *known_secrets(home)}
    return set(registered())


def _needles(secrets: Iterable[Secret]) -> Needles:
    texts = {s.reveal() for s in secrets if len(s.reveal()) >= SHORTEST}
    spelled = {spelling.encode() for text in texts for spelling in spellings(text)}
    return tuple(sorted(spelled | {text.encode("utf-16-le") for text in texts}))


def _in_file(path: Path, wanted: Needles) -> list[str]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    every = _places(content, wanted, 0)
    if content.startswith(SQLITE):
        every = chain(every, _rows(path, wanted))
    return list(islice(every, MOST_PLACES))


def _places(content: bytes, wanted: Needles, depth: int) -> Iterator[str]:
    """Where `content` holds one of `wanted`: in its bytes, or in what is packed or coded in them."""
    yield from _found(content, wanted)
    if depth == DEEPEST:
        return
    for name, inner in _unpacked(content):
        yield from (f"{name}, {where}" for where in _places(inner, wanted, depth + 1))
    if b'"cells"' in content and content.lstrip()[:1] == b"{":
        with contextlib.suppress(ValueError):
            yield from _in_notebook(json.loads(content), wanted, depth)


def _found(content: bytes, wanted: Needles) -> Iterator[str]:
    places = [place for needle in wanted if (place := content.find(needle)) >= 0]
    if places:
        yield f"byte {min(places)}"
        return
    # broken over lines, by a terminal's width or as base64 is
    squeezed = content.replace(b"\\n", b"").translate(None, BLANKS)
    if len(squeezed) < len(content) and any(needle in squeezed for needle in wanted):
        yield "broken over lines"


def _unpacked(content: bytes) -> Iterator[tuple[str, bytes]]:
    """What is packed in `content`, by name; nothing when it cannot be unpacked."""
    with contextlib.suppress(OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError):
        if content.startswith(GZIP):
            while content:  # one packed file may follow another
                unpacker = zlib.decompressobj(wbits=31)
                yield "unpacked", unpacker.decompress(content, LARGEST)
                content = unpacker.unused_data
        elif content.startswith(ZIP):
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                for one in packed.infolist():
                    if one.file_size <= LARGEST:
                        yield one.filename, packed.read(one)
        elif content[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(content)) as packed:
                for one in packed:
                    if (file := packed.extractfile(one)) is not None:
                        yield one.name, file.read(LARGEST)


def _in_notebook(notebook: Any, wanted: Needles, depth: int) -> Iterator[str]:
    """Hits in texts whose lines stand apart in the file, and in pictures that are coded in it."""
    cells = notebook.get("cells", ()) if isinstance(notebook, dict) else ()
    for number, cell in enumerate(cells if isinstance(cells, list) else ()):
        for kind, lines in _texts(cell):
            where, text = f"cell {number}", "".join(lines)
            if len(lines) > 1:  # a single one was seen in the bytes
                yield from (f"{where}, {place}" for place in _found(text.encode(), wanted))
            if kind.startswith(("image/", "application/", "audio/")) and "json" not in kind:
                with contextlib.suppress(binascii.Error, ValueError):
                    inner = base64.b64decode(text)
                    yield from (f"{where}, {kind}, {p}" for p in _places(inner, wanted, depth + 1))


def _texts(value: Any, kind: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every text in a cell as its lines, with the key it stands under."""
    if isinstance(value, str):
        yield kind, [value]
    elif isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        yield kind, value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, kind)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(one, str(key))


def _rows(path: Path, wanted: Needles) -> Iterator[str]:
    """Hits in the rows of an SQLite file: a long text lies in pieces in its bytes."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)
        ) as con,
    ):
        con.text_factory = bytes
        tables = con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            name = table.decode()
            quoted = '"' + name.replace('"', '""') + '"'
            for number, row in enumerate(con.execute(f"SELECT * FROM {quoted}"), 1):
                if any(n in one for one in row if isinstance(one, bytes) for n in wanted):
                    yield f"table {name}, row {number}"
