"""Controls: parameters and limits that the owner changes while the kit runs, each change an event of the ledger.

The settings file is where they begin. A change is proposed (every value is checked here, whoever asks), booked
as one `control` event, and read anew by every tick and beat. A limit only gets tighter; to loosen one
needs a reason, holds from the next UTC day, and stays within the hard limit and the file's.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tgtqr_lib import books, journal, ledger
from tgtqr_lib.clock import utc_day
from tgtqr_lib.domain import UNIT, ZERO, DomainError
from tgtqr_lib.ledger import Event, Row
from tgtqr_lib.limits import HARD
from tgtqr_lib.settings import LimitSettings, Settings
from tgtqr_lib.strategies import strategy_named

PARAMETER, LIMIT, ORDER_TARGET = "parameters.", "limits.", "order_target_usdt"
LIMIT_NAMES = tuple(f"{LIMIT}{name}" for name in LimitSettings.model_fields)
NEXT_TICK = "next tick"
PAGE, COMMAND_LINE = "the page", "the command line"
WHOLE = re.compile(r"[0-9]{1,9}")
AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,8})?")
LONGEST_REASON = 300  # characters
END_OF_TIME = datetime.max.replace(tzinfo=UTC)  # when every loosening holds
RESET = object()  # asked for in place of a value: what the settings file says


@dataclass(frozen=True, slots=True)
class Change:
    """One name with its value before and after, as plain text; `reset` lets the settings file decide again."""

    name: str
    old: str
    new: str
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """Checked changes that are booked together; either all of them loosen a limit, or none does.

    strategy  whose parameters they are
    notes     what the owner should know before, one sentence each
    """

    strategy: str
    changes: tuple[Change, ...]
    loosens: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """The booked change that a value comes from; `since` is the UTC date of a loosening."""

    new: Any
    by: str
    at: str | None
    since: str | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """What is in force at a time, and why.

    now      the settings in force
    file     what settings file and environment say
    held     name -> the control that its value comes from; others come from `file`
    coming   limit -> the loosening that waits for its day
    ignored  a sentence for each control that does not fit the settings of today
    """

    now: Settings
    file: Settings
    held: Mapping[str, Control]
    coming: Mapping[str, Control]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A value in force with the range it may have, and where it comes from; all as plain text."""

    name: str
    value: str
    low: str
    high: str
    unit: str
    text: str
    source: str
    coming: str | None = None

    def plain(self) -> dict[str, str | None]:
        """As `--json` tells it."""
        return {name: getattr(self, name) for name in self.__slots__}


def names(settings: Settings) -> tuple[str, ...]:
    """Every name that can be changed: those of the strategy's parameters, the limits, the order target."""
    parameters = strategy_named(settings.strategy).parameters
    return (*(f"{PARAMETER}{name}" for name in parameters), *LIMIT_NAMES, ORDER_TARGET)


def value_of(settings: Settings, name: str) -> int | Decimal:
    """The value that `settings` give `name`, the strategy's default included."""
    if name.startswith(PARAMETER):
        strategy, short = strategy_named(settings.strategy), name.removeprefix(PARAMETER)
        return settings.parameters.get(short, strategy.parameters[short].default)
    owner = settings.limits if name.startswith(LIMIT) else settings
    return getattr(owner, name.removeprefix(LIMIT))


def propose(
    now: Settings,
    changes: Mapping[str, Any],
    *,
    loosen: bool = False,
    overview: Overview | None = None,
) -> Proposal:
    """`changes` (name -> new value, or RESET) checked against the settings in force, `now`.

    A name that already has its new value is left out. `loosen` is for limits that are raised, and for
    nothing else. `overview` says what the file allows and what is already on its way; RESET needs it.

    Raises `DomainError` naming the first name that is wrong, its value and what is expected.
    """
    known = names(now)
    if not isinstance(changes, Mapping) or not changes:
        raise DomainError(f"nothing is to be changed; expected some of {', '.join(known)}")
    for name in changes:
        if not isinstance(name, str) or name not in known:
            raise DomainError(
                f"{_shown(name)} cannot be changed; expected one of {', '.join(known)}"
            )
    wanted = {name: changes[name] for name in known if name in changes}
    resets = {name for name, value in wanted.items() if value is RESET}
    values = {
        name: _file_value(name, overview) if name in resets else _read(name, value, now)
        for name, value in wanted.items()
    }
    for name in wanted:
        if name in LIMIT_NAMES:
            _check_limit(name, values[name], now, overview, loosen=loosen)
        elif loosen:
            raise DomainError(f"{name} is not a limit; expected some of {', '.join(LIMIT_NAMES)}")
    kept = [
        name
        for name in wanted
        if name in resets or values[name] != value_of(now, name) or _withdraws(name, overview)
    ]
    if not kept:
        told = ", ".join(f"{name} is {_text(value)}" for name, value in values.items())
        raise DomainError(f"nothing would change: {told} already")
    _check_target(values, now)
    made = tuple(
        Change(name, _text(value_of(now, name)), _text(values[name]), name in resets)
        for name in kept
    )
    return Proposal(now.strategy, made, loosen, _notes(values, now, overview))


def consider(
    con: sqlite3.Connection,
    settings: Settings,
    at: datetime | None,
    changes: Mapping[str, Any],
    *,
    loosen: bool = False,
) -> Proposal:
    """`propose` against what the ledger says is in force at exchange time `at`.

    Without a time every loosening counts as holding: what is then booked can still only tighten.
    """
    found = overview(con, settings, at or END_OF_TIME)
    return propose(found.now, changes, loosen=loosen, overview=found)


def apply(
    con: sqlite3.Connection,
    proposal: Proposal,
    *,
    at: datetime | None,
    who: str,
    by: str,
    reason: str | None = None,
) -> Row:
    """Book `proposal` as one event. Inside `writing`; best together with the `consider` that made it.

    at   exchange time, None when the exchange does not tell it; a loosening needs it
    who  the local user; by  PAGE or COMMAND_LINE

    Raises `DomainError` for a loosening without reason or time, and for a reason that is not one line.
    """
    since = NEXT_TICK
    reason = _checked_reason(reason)
    if proposal.loosens:
        reason = books.check_reason(reason, "tgtqr settings loosen")
        if at is None:
            raise DomainError("a limit is loosened from the next UTC day; expected a time")
        since = utc_day(at + timedelta(days=1))
    changes = {
        c.name: {"old": c.old, "new": c.new, **({"reset": True} if c.reset else {})}
        for c in proposal.changes
    }
    body = {
        "at": at,
        "who": who,
        "by": by,
        "strategy": proposal.strategy,
        "changes": changes,
        "reason": reason,
        "from": since,
    }
    key = f"control/{len(ledger.of_kind(con, 'control')) + 1}"
    ledger.append(con, Event("control", key, body))
    return ledger.get(con, key)


def in_force(
    con: sqlite3.Connection, settings: Settings, at: datetime, told: set[str] | None = None
) -> Settings:
    """`settings` with the ledger's controls, as they hold at exchange time `at`. Reads the ledger only.

    A limit is the smallest of the hard one, the file's and the controls'; of a parameter and the order
    target the latest control wins. What must be ignored is logged, unless `told` has heard it before.
    """
    held, ignored = _replay(ledger.of_kind(con, "control"), settings, utc_day(at))
    heard = set() if told is None else told
    for sentence in ignored:
        if sentence not in heard:
            journal.event("control_ignored", text=sentence)
            heard.add(sentence)
    return _with(settings, held)


def overview(con: sqlite3.Connection, settings: Settings, at: datetime) -> Overview:
    """What is in force at exchange time `at`, where it comes from, and what waits."""
    rows = ledger.of_kind(con, "control")
    held, ignored = _replay(rows, settings, utc_day(at))
    later, _ = _replay(rows, settings, utc_day(END_OF_TIME))
    now = _with(settings, held)
    coming = {
        name: later[name]
        for name in LIMIT_NAMES
        if value_of(_with(settings, later), name) > value_of(now, name)
    }
    return Overview(now, settings, held, coming, ignored)


def sources(con: sqlite3.Connection, settings: Settings, at: datetime) -> list[Source]:
    """Each name with its value at exchange time `at`, its range, and where the value comes from."""
    found = overview(con, settings, at)
    return [_source(name, found) for name in names(settings)]


# what the ledger says


def _replay(
    rows: list[Row], settings: Settings, day: str
) -> tuple[dict[str, Control], tuple[str, ...]]:
    """The control of each name that has one on the UTC date `day`, and a sentence for each ignored one."""
    held: dict[str, Control] = {}
    ignored: list[str] = []
    for row in rows:
        since = None if row.body["from"] == NEXT_TICK else row.body["from"]
        if since is not None and since > day:
            continue
        for name, change in row.body["changes"].items():
            if change.get("reset"):
                held.pop(name, None)
                continue
            try:
                new = _booked(name, change["new"], row.body["strategy"], settings)
            except DomainError as error:
                ignored.append(f"{row.key} is ignored: {error}")
                continue
            known = held.get(name)
            # whatever was in force when it was proposed: only a loosening raises a limit
            if name in LIMIT_NAMES and since is None and known and known.new <= new:
                continue
            held[name] = Control(new, row.body["by"], row.body["at"], since)
    return held, tuple(ignored)


def _booked(name: str, new: str, strategy: str, settings: Settings) -> int | Decimal:
    """A booked value. Raises `DomainError` when it does not fit the strategy that the file names today."""
    if name.startswith(PARAMETER) and strategy != settings.strategy:
        raise DomainError(f"{name} {new} is for strategy {strategy}, not {settings.strategy}")
    if name not in names(settings):
        raise DomainError(f"strategy {settings.strategy} has no {name}")
    return _read(name, new, settings)


def _with(settings: Settings, held: Mapping[str, Control]) -> Settings:
    """`settings` with the values of `held`; each limit the smallest of hard, file and control."""
    values = {name: control.new for name, control in held.items()}
    limits = {}
    for name in LIMIT_NAMES:
        short = name.removeprefix(LIMIT)
        hard = getattr(HARD, short)
        limits[short] = min(hard, value_of(settings, name), values.get(name, hard))
    parameters = {
        name.removeprefix(PARAMETER): value
        for name, value in values.items()
        if name.startswith(PARAMETER)
    }
    return settings.model_copy(
        update={
            "parameters": settings.parameters | parameters,
            "limits": settings.limits.model_copy(update=limits),
            "order_target_usdt": values.get(ORDER_TARGET, settings.order_target_usdt),
        }
    )


def _source(name: str, found: Overview) -> Source:
    value, control = value_of(found.now, name), found.held.get(name)
    if control is not None and (
        name not in LIMIT_NAMES or control.new < value_of(found.file, name)
    ):
        source = f"{control.by} at {control.at or 'a time not known'}"
    else:
        source = "settings" if _is_set(found.file, name) else "default"
    waits = found.coming.get(name)
    low, high, unit, text = _range(name, found.now)
    return Source(
        name,
        _text(value),
        _text(low),
        _text(high),
        unit,
        text,
        source,
        f"{_text(waits.new)} from {waits.since}" if waits else None,
    )


def _is_set(settings: Settings, name: str) -> bool:
    """Whether settings file or environment give `name`."""
    if name.startswith(PARAMETER):
        return name.removeprefix(PARAMETER) in settings.parameters
    if name.startswith(LIMIT):
        return name.removeprefix(LIMIT) in settings.limits.model_fields_set
    return name in settings.model_fields_set


# what may be asked for


def _range(name: str, settings: Settings) -> tuple[int | Decimal, int | Decimal, str, str]:
    """Least and greatest value of `name`, its unit, and what it is."""
    if name.startswith(PARAMETER):
        p = strategy_named(settings.strategy).parameters[name.removeprefix(PARAMETER)]
        return p.low, p.high, p.unit, p.text
    if name == ORDER_TARGET:
        return UNIT, settings.limits.position_usdt, "USDT", "what an entry buys for"
    texts = {
        "position_usdt": "what a symbol may cost, fees in",
        "daily_loss_usdt": "what a UTC day may lose",
        "total_loss_usdt": "what the account may lose",
    }
    short = name.removeprefix(LIMIT)
    return ZERO, getattr(HARD, short), "USDT", texts[short]


def _read(name: str, value: Any, settings: Settings) -> int | Decimal:
    """`value` as the number it means. Raises `DomainError` for anything but a plain one in the range."""
    low, high, unit, _ = _range(name, settings)
    whole = name.startswith(PARAMETER)
    if name == ORDER_TARGET:
        high = HARD.position_usdt  # against the limit in force it is checked when it is proposed
    number = _whole(value) if whole else _amount(value)
    if number is None or not low <= number <= high:
        kind = "a whole number" if whole else "an amount with at most 8 decimals"
        raise DomainError(
            f"{name} {_shown(value)}: expected {kind} from {_text(low)} to {_text(high)} {unit}"
        )
    return number


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if WHOLE.fullmatch(value) else None
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _amount(value: Any) -> Decimal | None:
    """An exact amount with at most 8 decimals and no sign; a float is none, because it is not exact."""
    if isinstance(value, str):
        return Decimal(value) if AMOUNT.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    number = Decimal(value)
    if not number.is_finite() or number.is_signed() or number >= 10**9:
        return None
    return number if number == number.quantize(UNIT) else None


def _file_value(name: str, overview: Overview | None) -> int | Decimal:
    """The value that a reset gives back. Raises `DomainError` when no control holds `name`."""
    if overview is None or name not in overview.held:
        raise DomainError(f"{name} is as the settings file has it; there is nothing to reset")
    return value_of(overview.file, name)


def _check_limit(
    name: str, new: Decimal, now: Settings, overview: Overview | None, *, loosen: bool
) -> None:
    old = value_of(now, name)
    if not loosen:
        if new > old:
            raise DomainError(
                f"{name} {_text(new)} is above the limit in force, {_text(old)}; a limit is loosened "
                f"by `tgtqr settings loosen {name}={_text(new)} --reason ...`, from the next UTC day"
            )
        return
    if new < old:
        raise DomainError(
            f"{name} {_text(new)} is below the limit in force, {_text(old)}; a limit is tightened "
            f"by `tgtqr settings change {name}={_text(new)}`, at once"
        )
    if overview is not None and new > (top := value_of(overview.file, name)):
        raise DomainError(
            f"{name} {_text(new)} is above what the settings file allows; expected at most {_text(top)}"
        )


def _check_target(values: Mapping[str, int | Decimal], now: Settings) -> None:
    """An order target that is asked for must fit the position limit, also one tightened with it."""
    target = values.get(ORDER_TARGET)
    limit = min(
        now.limits.position_usdt, values.get(f"{LIMIT}position_usdt", now.limits.position_usdt)
    )
    if target is not None and target > limit:
        raise DomainError(
            f"{ORDER_TARGET} {_text(target)} is above the position limit; expected more than 0, "
            f"at most {_text(limit)} USDT"
        )


def _withdraws(name: str, overview: Overview | None) -> bool:
    """Whether giving `name` the value it has takes back a loosening that waits."""
    return overview is not None and name in overview.coming


def _notes(
    values: Mapping[str, int | Decimal], now: Settings, overview: Overview | None
) -> tuple[str, ...]:
    notes = [
        f"this takes back the loosening of {name} to {_text(overview.coming[name].new)} "
        f"from {overview.coming[name].since}"
        for name, value in values.items()
        if _withdraws(name, overview) and value < overview.coming[name].new
    ]
    limit = values.get(f"{LIMIT}position_usdt", now.limits.position_usdt)
    target = values.get(ORDER_TARGET, now.order_target_usdt)
    if target > limit:
        notes.append(
            f"an entry buys for {_text(target)} USDT, above the position limit {_text(limit)}: every "
            f"entry is refused until {ORDER_TARGET} is lowered as well"
        )
    return tuple(notes)


def _checked_reason(reason: str | None) -> str | None:
    if not reason or not str(reason).strip():
        return None
    reason = str(reason)
    if len(reason) > LONGEST_REASON or not reason.strip().isprintable():
        raise DomainError(
            f"reason {_shown(reason)}: expected one line of at most {LONGEST_REASON} characters"
        )
    return reason.strip()


def _text(value: int | Decimal) -> str:
    """A number in plain digits; an amount with at least two decimals."""
    if not isinstance(value, Decimal):
        return str(value)
    short = value.normalize()
    return f"{short:f}" if short.as_tuple().exponent < -2 else f"{short:.2f}"


def _shown(value: Any) -> str:
    """`value` as a message can show it, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # a number of too many digits, an object that cannot tell
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."
