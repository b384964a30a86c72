"""What `tgtqr ledger backup` and `tgtqr ledger restore` do and say."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from tgtqr_lib import books, journal, ledger, settings
from tgtqr_lib.backup import checking, folders, layout, making, restoring, thinning
from tgtqr_lib.backup.checking import Checked
from tgtqr_lib.backup.planning import Plan
from tgtqr_lib.commands.by import local_user
from tgtqr_lib.commands.output import print_json
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.home import Home

SHOWN = 5  # ticks named in a line


def backup(home: Home, options: argparse.Namespace) -> int:
    """Make a backup, remove old ones if asked; 5 when notebooks of the home are missing or altered."""
    if options.keep is not None and options.keep < 1:
        raise DomainError(f"--keep {options.keep}: expected at least 1")
    now = datetime.now(UTC)
    folders.check_home(home)
    with folders.folder_of(home, options.to) as folder:
        made = making.make(home, folder, now)
        removed = thinning.thin(folder, options.keep, now) if options.keep is not None else []
    _log(home, "backup", to=made.path, seq=made.seq, notebooks=made.notebooks)
    if options.json:
        print_json(
            {
                "backup": str(made.path),
                "seq": made.seq,
                "head": made.head,
                "notebooks": made.notebooks,
                "linked": made.linked,
                "new_bytes": made.new_bytes,
                "wrong": made.wrong,
                "unknown": made.unknown,
                "under_way": made.under_way,
                "removed": removed,
                "left_out": layout.LEFT_OUT,
            }
        )
        return 5 if made.wrong else 0
    print(
        f"{made.path}: the ledger to event {made.seq} and {_count(made.notebooks, 'notebook')}, checked"
    )
    print(
        f"  {_count(made.notebooks - made.linked, 'new notebook')} ({made.new_bytes / 1e6:.1f} MB), "
        f"{made.linked:,} as in the backup before"
    )
    for text in made.wrong:
        print(f"  {text}")
    if made.unknown:
        print(
            f"  kept, though the ledger does not know their notebooks: ticks {_named(made.unknown)}"
        )
    if made.under_way:
        print(f"  had begun and not ended: ticks {_named(made.under_way)}")
    if removed:
        print(f"  removed {_count(len(removed), 'old backup')}")
    print(f"  not in it: {', '.join(layout.LEFT_OUT)}")
    return 5 if made.wrong else 0


def restore(home: Home, options: argparse.Namespace) -> int:
    """Check a backup and bring it back, or drill; 5 when the backup is damaged."""
    path = (options.path or home.root / folders.FOLDER).expanduser().absolute()
    found = layout.find(path)
    return (_drill if options.drill else _restore)(home, found, options)


def _drill(home: Home, backup: layout.Backup, options: argparse.Namespace) -> int:
    with checking.checked(backup) as found:
        done = restoring.drill(home, found, datetime.now(UTC))
        facts = _facts(found, done.plan) | {
            "drill": True, "ok": not done.problems, "problems": list(done.problems),
            "gate": f"STOPPED: {done.gate}" if done.gate else "ACTIVE",
        }  # fmt: skip
        lines = list(_lines(home, found, done.plan, would=True))
    if options.json:
        print_json(facts)
        return 5 if done.problems else 0
    print(_checked(found))
    for text in done.problems:
        print(f"  {text}")
    verdict = "verified" if not done.problems else f"{_count(len(done.problems), 'problem')} found"
    print(
        f"  restored into a temporary home, {verdict}, removed; nothing of {home.root} was changed"
    )
    print(f"  its gate would be {facts['gate']}")
    for line in lines:
        print(f"  {line}")
    return 5 if done.problems else 0


def _restore(home: Home, backup: layout.Backup, options: argparse.Namespace) -> int:
    reason = " ".join((options.reason or "").split()) or "no reason given"
    with checking.checked(backup) as found:
        with restoring.nothing_runs(home):
            done = restoring.restore(home, found, reason, local_user(), datetime.now(UTC))
        facts = _facts(found, done.plan) | {
            "drill": False, "ok": True, "seq": done.seq, "head": done.head, "gate": "STOPPED",
            "replaced": str(done.replaced) if done.replaced else None,
        }  # fmt: skip
        lines = list(_lines(home, found, done.plan, would=False))
    _log(home, "restored", backup=backup.path, seq=done.seq, reason=reason)
    if options.json:
        print_json(facts)
        return 0
    print(_checked(found))
    print(f"  restored; the ledger ends at event {done.seq}, which says so")
    for line in lines:
        print(f"  {line}")
    if done.replaced:
        print(f"  what was there is kept in {done.replaced}")
    print("  STOPPED: look with `tgtqr ledger verify --archive`, then `tgtqr arm --reason ...`")
    return 0


def _checked(found: Checked) -> str:
    notebooks = _count(found.notebooks, "notebook")
    return f"backup {found.backup.path}: {_count(found.events, 'event')} and {notebooks}, all as written"


def _lines(home: Home, found: Checked, plan: Plan, *, would: bool):
    """What a restore does or would do, a sentence each."""
    backup = found.backup
    if would:
        there = plan.ledger
        if there is None:
            yield "a restore would find no ledger here and move none aside"
        else:
            what = (
                "that cannot be read"
                if isinstance(there, str)
                else f"of {_count(there[0], 'event')}"
            )
            yield f"a restore would move the ledger {what} aside, to data/replaced-<time>/"
    if lost := plan.lost_events(backup):
        yield f"{_count(lost, 'event')} came after the backup and {'would not be' if would else 'are not'} in it"
    notebooks = sum(name.startswith(layout.TICKS) for name in plan.bring)
    others = [name for name in plan.bring if not name.startswith(layout.TICKS)]
    if notebooks:
        yield f"{_count(notebooks, 'notebook')} {'would be' if would else 'were'} brought back"
    if others:
        shown = ", ".join(others[:SHOWN]) + (
            f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        )
        yield f"{'would be' if would else 'were'} brought back as well: {shown}"
    if plan.differ:
        yield f"stays as it is here, though the backup's differs: {', '.join(plan.differ)}"
    for text in found.known:
        yield f"known since the backup was made: {text}"
    if later := [tick for tick in plan.later if tick not in backup.facts["unknown"]]:
        stay = "its notebook stays" if len(later) == 1 else "their notebooks stay"
        them = "it" if len(later) == 1 else "them"
        yield (
            f"{_count(len(later), 'tick')} ran after this backup: {_named(later)}; {stay}, the ledger does not "
            f"know {them} and counts {them} as missed, `tgtqr ledger verify --archive` names {them}"
        )
    if backup.facts["env_file"] and not (home.root / ".env").exists():
        yield ".env is in no backup and not here: bring it back from where you keep it"
    if _is_on_an_exchange(home, found):
        yield (
            "orders may have been filled on the exchange after this backup; the next beat compares the "
            "account with the ledger"
        )


def _facts(found: Checked, plan: Plan) -> dict[str, object]:
    backup = found.backup
    return {
        "backup": str(backup.path),
        "made_at": backup.facts["made_at"],
        "backup_seq": backup.seq,
        "events": found.events,
        "notebooks": found.notebooks,
        "lost_events": plan.lost_events(backup),
        "brought_back": plan.bring,
        "later": plan.later,
        "differ": plan.differ,
        "known": list(found.known),
    }


def _is_on_an_exchange(home: Home, found: Checked) -> bool:
    """Whether orders of the backup's account, or of the settings', go to an exchange."""
    with ledger.reading(found.ledger) as con:
        account = books.account(con)
    if account is not None and account.venue is not None:
        return True
    try:
        return settings.load(home).account != "paper"
    except TgtqrError:
        return False


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _named(ticks: list[str]) -> str:
    more = f" and {len(ticks) - SHOWN} more" if len(ticks) > SHOWN else ""
    return ", ".join(ticks[:SHOWN]) + more


def _log(home: Home, event: str, **facts: object) -> None:
    journal.start(home)
    journal.event(event, **facts)
