"""A backup is checked wholly: every byte, the ledger's chain and books, and its notebooks against the ledger."""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tgtqr_lib import audit, ledger
from tgtqr_lib.archive import witness
from tgtqr_lib.archive.opened import NAME, notebooks_in, open_archived, tick_of
from tgtqr_lib.backup import layout, placing
from tgtqr_lib.backup.folders import SCRATCH
from tgtqr_lib.backup.layout import Backup
from tgtqr_lib.domain import Damaged, StoreError, TgtqrError
from tgtqr_lib.home import Home

TICK = re.compile(r"tick (\d{8}T\d{4}Z): ")


@dataclass(frozen=True)
class Checked:
    """A backup in which everything is as it was written.

    ledger  its ledger as a file of its own, there until the check's block ends
    known   sentences about what was wrong with the home's notebooks already when it was made
    """

    backup: Backup
    ledger: Path
    events: int
    notebooks: int
    known: tuple[str, ...]


@contextmanager
def checked(backup: Backup) -> Iterator[Checked]:
    """Check `backup`, with its ledger unpacked beside it for the length of the block.

    Raises `Damaged` with the first thing that is wrong and how many more there are, `StoreError` when
    there is no room to unpack the ledger.
    """
    if problems := list(_sums(backup)):
        raise Damaged(_told(backup, problems))
    with scratch(backup) as folder:
        home = Home(folder)
        home.data.mkdir(parents=True)
        unpack(backup, home.ledger)
        placing.copy(backup.path / layout.WITNESS, home.witness)
        home.outputs.mkdir()
        home.ticks.symlink_to((backup.path / layout.TICKS).resolve(), target_is_directory=True)
        with ledger.reading(home.ledger) as con:
            events, problems = audit.verify(con, home)
            if not problems and ledger.head(con) != (backup.seq, backup.head):
                problems = [f"its ledger ends at event {ledger.head(con)[0]}, not {backup.seq}"]
            if problems:
                raise Damaged(_told(backup, problems))
            notebooks, found = witness.check(con, home)
        told = [text.replace(f"{folder}/", "") for text in found]
        if news := unexpected(backup, told):
            raise Damaged(_told(backup, news))
        yield Checked(backup, home.ledger, events, notebooks, tuple(told))


def unpack(backup: Backup, target: Path) -> None:
    """Write the backup's ledger to `target`."""
    source = backup.path / layout.LEDGER
    try:
        with (
            placing.disk_errors(f"backup {backup.path}: its ledger cannot be unpacked"),
            gzip.open(source, "rb") as packed,
            target.open("wb") as written,
        ):
            shutil.copyfileobj(packed, written, placing.PIECE)
    except (EOFError, zlib.error) as error:
        raise Damaged(
            f"backup {backup.path}: {layout.LEDGER} cannot be unpacked ({error})"
        ) from None


@contextmanager
def scratch(backup: Backup) -> Iterator[Path]:
    """A folder beside the backup, so that its files can be linked, else where temporary files go."""
    try:
        made = tempfile.mkdtemp(prefix=SCRATCH, dir=backup.path.parent)
    except OSError:  # backups on a disk that is only read
        made = tempfile.mkdtemp(prefix="tgtqr-restoring-")
    folder = Path(made)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sums(backup: Backup) -> Iterator[str]:
    """A sentence for every file that is not what was written."""
    for name, expected in sorted(backup.sums.items()):
        try:
            if placing.digest(backup.path / name) != expected:
                yield f"{name} is not what was written, by {layout.SUMS}"
        except FileNotFoundError:
            yield f"{name} is missing"
        except OSError as error:
            raise StoreError(f"backup {backup.path}: {name}: {error.strerror}") from None
    for path in notebooks_in(backup.path / layout.TICKS):
        if (name := path.relative_to(backup.path).as_posix()) not in backup.sums:
            yield f"{name} is there and not in {layout.SUMS}"


def unexpected(backup: Backup, told: list[str]) -> list[str]:
    """Of what an archive's check `told`, the sentences about ticks that the manifest does not excuse."""
    known = {*backup.facts["missing"], *backup.facts["altered"], *backup.facts["unknown"]}
    about = {text: TICK.match(text) for text in told}
    return [text for text, match in about.items() if match is None or match[1] not in known]


def _told(backup: Backup, problems: list[str]) -> str:
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"backup {backup.path}: {problems[0]}{more}; nothing was restored"


# what of a home belongs to a backup


def first_hash(home: Home) -> str | None:
    """The hash of the first event of the home's ledger; None when there is none to be read."""
    try:
        with ledger.reading(home.ledger) as con:
            rows = ledger.between(con, 1, 1)
            return rows[0].hash if rows else None
    except TgtqrError:
        return None


def foreign(home: Home, found: Checked) -> str | None:
    """Why the backup cannot be of `home`, or None.

    By the ledger's first event; without a ledger by the heads that the home's oldest notebooks have seen.
    """
    first = found.backup.facts["ledger"]["first"]
    here = first_hash(home)
    if here is not None:
        if here == first:
            return None
        return f"its ledger begins with {first[:12]}, that of this home with {here[:12]}"
    seen: list[bool] = []
    with ledger.reading(found.ledger) as con:
        for path in notebooks_in(home.ticks)[:5]:
            try:
                facts = open_archived(path).facts["ledger"]
                rows = ledger.between(con, facts["seq"], facts["seq"])
            except (TgtqrError, KeyError, TypeError):
                continue
            if rows:
                seen.append(rows[0].hash == facts["head"])
    if not seen or any(seen):
        return None
    return "none of the notebooks in this home's outputs/ticks has seen its ledger"


def ticks_of(home: Home) -> dict[str, list[Path]]:
    """Tick -> the files of its notebook in `home`, packed or not."""
    found: dict[str, list[Path]] = {}
    for path in notebooks_in(home.ticks):
        name = tick_of(path)
        bare = path.with_name(f"{name}.ipynb")
        both = (bare, bare.with_name(bare.name + ".gz"))
        found[name] = [one for one in both if one.is_file() and NAME.fullmatch(one.name)]
    return found
