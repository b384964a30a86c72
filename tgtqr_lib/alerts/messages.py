"""What an alert says: the conditions with their codes, and the words of a message, made for a phone."""

from __future__ import annotations

from dataclasses import dataclass

from tgtqr_lib.clock import from_ms
from tgtqr_lib.credentials import redact

INFO, SUCCESS, WARNING, CRITICAL = "info", "success", "warning", "critical"
SEVERITIES = (INFO, SUCCESS, WARNING, CRITICAL)  # the order of weight
LONGEST_TITLE, LONGEST_TEXT, LONGEST_NAME = 59, 300, 40
SUMMARY, HELD_BACK, DROPPED, TEST = "SUMMARY", "HELD_BACK", "DROPPED", "TEST"


@dataclass(frozen=True, slots=True)
class Kind:
    """A condition that the owner hears of.

    severity  unless the condition itself says another
    title     while it holds, and `over` when it does no longer
    latched   each occurrence is worth a message, however soon after the one before
    """

    severity: str
    title: str
    over: str
    latched: bool = False


KINDS: dict[str, Kind] = {
    "STOPPED": Kind(CRITICAL, "STOPPED", "armed again", latched=True),
    "LEAK": Kind(CRITICAL, "a secret was in an output", "the quarantine is empty", latched=True),
    "ORDER_UNKNOWN": Kind(
        CRITICAL, "an order's outcome is unknown", "every order's outcome is known"
    ),
    "ACCOUNT": Kind(CRITICAL, "trouble with the account", "the account is well again"),
    "LEDGER": Kind(CRITICAL, "trouble with the ledger", "the ledger is well again"),
    "MONITOR": Kind(CRITICAL, "nobody watches", "the watch is back"),
    "TICKS_FAILED": Kind(CRITICAL, "ticks fail", "ticks succeed again"),
    "DATA_TROUBLE": Kind(WARNING, "trouble with the data", "the data are well again"),
    "TICK_MISSED": Kind(WARNING, "a tick was missed", "ticks run again"),
    "LIMIT_80": Kind(WARNING, "80 % of a loss limit is used", "below 80 % of the loss limit"),
    "DISK": Kind(WARNING, "the disk is nearly full", "the disk has room again"),
    "CLOCK": Kind(WARNING, "the clock is off", "the clock is right again"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now (or, as an `event`, that happened): a code of `KINDS` and a plain sentence.

    about     what sets it apart from others of the code that hold at once: `day`, `total`, ...
    severity  when it is another than the kind's, and so `title`
    mark      names the occurrence; another mark is another occurrence
    """

    code: str
    text: str
    about: str = ""
    severity: str = ""
    title: str = ""
    mark: str = ""
    event: bool = False

    @property
    def key(self) -> str:
        return f"{self.code} {self.about}".strip()

    @property
    def weight(self) -> str:
        return self.severity or KINDS[self.code].severity

    @property
    def words(self) -> str:
        return self.title or KINDS[self.code].title


def title(text: str) -> str:
    """The title of a message, at most 59 characters."""
    return clip(f"TGT QR: {redact(text)}", LONGEST_TITLE)


def body(text: str, code: str, home: str, at_ms: int) -> str:
    """The two lines of a message: the sentence; then code, home and UTC time."""
    sentence = clip(" ".join(redact(text).split()), LONGEST_TEXT)
    moment = from_ms(at_ms).strftime("%Y-%m-%d %H:%M UTC")
    return f"{sentence}\n{code}, home {clip(home, LONGEST_NAME)}, {moment}"


def clip(text: str, longest: int) -> str:
    """`text`, cut to `longest` characters with three dots at its end."""
    return text if len(text) <= longest else f"{text[: longest - 3].rstrip()}..."


def lasted(ms: int) -> str:
    """A duration in its two largest units: `45 s`, `12 min`, `2 h 5 min`, `3 d 4 h`."""
    seconds = max(ms, 0) // 1000
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        parts.append((seconds // size, name))
        seconds %= size
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [parts[first]]
    if first < 2 and parts[first + 1][0]:  # seconds beside minutes tell nobody anything
        shown.append(parts[first + 1])
    return " ".join(f"{count} {name}" for count, name in shown)
