"""The keys of a Bybit account and the URLs of alerts: found, checked, and never shown.

They come from the environment or from `.env` in the home, which nobody else may read. Whatever is read here
is known to `redact` from then on, in every spelling that text takes on its way into a log or a page.
"""

from __future__ import annotations

import base64
import hmac
import html
import io
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, quote_plus, unquote

from tgtqr_lib.domain import DomainError

if TYPE_CHECKING:
    from tgtqr_lib.home import Home

KEY, SECRET, ALERTS = "BYBIT_API_KEY", "BYBIT_API_SECRET", "TGTQR_ALERTS"
PASSWORD_HASH = "TGTQR_PASSWORD_HASH"
MASK = "********"
SHORTEST = 8  # characters; a shorter text is in half of all words, and no secret
PLACEHOLDER = re.compile(r"(?i)your|change.?me|placeholder|insert|-here$|^(.)\1*$")
HOST = re.compile(r"(?i)\[[0-9a-f:]+\]|localhost|([a-z0-9_-]+\.)+[a-z0-9-]+")
WORD = re.compile(r"[a-z]+")  # in the path of an alert's URL: `services`, `notifications`
MOST_MADE = 16  # a process has one account; a test has one after the other
_known: dict[
    str, bool
] = {}  # secrets that `redact` knows -> whether they were read, not made by a simulator
_pattern: re.Pattern[str] | None = None


class Secret:
    """A text that shows itself to nobody who does not ask by `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Key and secret of one account."""

    key: Secret
    secret: Secret

    def __post_init__(self) -> None:
        register((self.key, self.secret), read=False)


def find(home: Home) -> Credentials | None:
    """The account's keys: of the environment, else of `.env` in `home`, else None.

    Both come from the same place. Raises `DomainError` when one of them is missing or is no key, or `.env` is
    refused; the sentence never holds a value.
    """
    path = home.root / ".env"
    places = {"environment": os.environ}
    if not any(os.environ.get(name) for name in (KEY, SECRET)):
        places = {str(path): read_env_file(path)}
    for place, values in places.items():
        key, secret = values.get(KEY, ""), values.get(SECRET, "")
        if not key and not secret:
            continue
        for name, value in ((KEY, key), (SECRET, secret)):
            if wrong := _what_is_wrong(value):
                raise DomainError(f"{place}: {name} {wrong}")
        if key == secret:
            raise DomainError(f"{place}: {KEY} and {SECRET} are the same; expected one of each")
        learn(values)
        return Credentials(Secret(key), Secret(secret))
    return None


def lookup(home: Home, name: str) -> str | None:
    """The variable `name` of the environment, else of `.env` in `home`; None when neither has it."""
    if name in os.environ:
        return os.environ[name]
    return read_env_file(home.root / ".env").get(name)


def alert_urls(home: Home) -> tuple[Secret, ...]:
    """The URLs of TGTQR_ALERTS, in their order; () when there are none."""
    found = tuple(Secret(url) for url in (lookup(home, ALERTS) or "").split())
    register(Secret(part) for url in found for part in _parts_of(url.reveal()))
    return found


def known_secrets(home: Home) -> tuple[Secret, ...]:
    """Every secret of `home` and of the environment: keys, alert URLs and what they hold, the page's hash.

    Wrong and half pairs count too. Raises `DomainError` when `.env` is refused.
    """
    return tuple(dict.fromkeys((*learn(os.environ), *learn(read_env_file(home.root / ".env")))))


def learn(variables: Mapping[str, str]) -> tuple[Secret, ...]:
    """The secrets among `variables`, known to `redact` from now on."""
    found = tuple(Secret(text) for text in _secrets_in(variables))
    register(found)
    return found


def without_secrets(given: Mapping[str, str], *, keep: str | None = None) -> dict[str, str]:
    """The environment `given` for a process that needs none of the secrets, or only the variable `keep`."""
    secret = {KEY, SECRET, ALERTS, PASSWORD_HASH} - {keep}
    return {name: value for name, value in given.items() if name.upper() not in secret}


def registered() -> tuple[Secret, ...]:
    """Every secret that this process has read so far."""
    return tuple(Secret(text) for text in _known)


# ---------------------------------------------------------------------- the file


def read_env_file(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of `.env`, nothing interpolated; {} when there is no such file.

    Raises `DomainError` unless it is a regular file of this user or root with mode 0600 or 0400, every line
    can be read, and every name is BYBIT_API_KEY, BYBIT_API_SECRET or begins with TGTQR_.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DomainError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        _check_owner(path, os.fstat(handle))  # of what was opened: the name may change meanwhile
        with open(handle, "rb", closefd=False) as file:
            content = file.read()
    finally:
        os.close(handle)
    try:
        found = _parsed(path, content.decode("utf-8"))
    except UnicodeDecodeError:
        raise DomainError(f"{path}: is not text in UTF-8") from None
    learn(found)
    return found


def _check_owner(path: Path, facts: os.stat_result) -> None:
    mode = stat.S_IMODE(facts.st_mode)
    if not stat.S_ISREG(facts.st_mode):
        raise DomainError(f"{path}: is not a file; expected a regular file of mode 0600")
    if facts.st_uid not in (os.geteuid(), 0):
        raise DomainError(
            f"{path}: belongs to user {facts.st_uid}; expected user {os.geteuid()}, who runs this, or root"
        )
    if mode not in (0o600, 0o400):
        raise DomainError(
            f"{path}: has mode {mode:04o}, so that others may read your keys; expected 0600: "
            f"chmod 600 {path}"
        )


def _parsed(path: Path, text: str) -> dict[str, str]:
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    line = 1
    for one in parse_stream(io.StringIO(text)):
        begins = line + len(re.match(r"\s*", one.original.string)[0].splitlines())
        line += len(re.findall(r"\r\n|\n|\r", one.original.string))
        where = f"{path}: line {min(begins, line)}"
        if one.error or (one.key is not None and one.value is None):
            raise DomainError(f"{where} cannot be read; expected NAME=value")
        if one.key is None:
            continue
        if not (one.key in (KEY, SECRET) or one.key.startswith("TGTQR_")):
            # what stands before the = may be anything, also a key in the wrong place
            name = one.key if re.fullmatch(r"[A-Z][A-Z_]{0,40}", one.key) else "its name"
            raise DomainError(
                f"{where}: {name} is not known; expected {KEY}, {SECRET} or a name with TGTQR_"
            )
        if one.key in found:
            raise DomainError(f"{where}: {one.key} stands there twice; expected it once")
        found[one.key] = one.value
    return found


def _what_is_wrong(value: str) -> str | None:
    """What keeps `value` from being a key, in words that do not hold it; None when nothing does."""
    if not value:
        return "is missing; expected key and secret, both of the same demo or testnet account"
    if value.startswith("-----BEGIN"):
        return "is an RSA key; expected a system-generated key, which has a secret of its own"
    if value != value.strip() or re.search(r"\s", value):
        return "holds a blank or a line break; expected it as Bybit showed it"
    if re.search("[\"'`\u2018\u2019\u201c\u201d]", value):
        return "holds a quote; expected it as Bybit showed it, without quotes"
    if PLACEHOLDER.search(value):
        return "is a placeholder; expected what Bybit showed when the key was made"
    if not re.fullmatch(r"[!-~]+", value):
        return "holds a character that no key has; expected it as Bybit showed it"
    if len(value) < SHORTEST:
        return f"has {len(value)} characters; expected at least {SHORTEST}, as Bybit showed it"
    return None


def _secrets_in(values: Mapping[str, str]) -> list[str]:
    """The secrets among the variables `values`, those shorter than `SHORTEST` left out."""
    found = [values.get(name, "").strip() for name in (KEY, SECRET, PASSWORD_HASH)]
    for url in values.get(ALERTS, "").split():
        found += _parts_of(url)
    return [text for text in found if len(text) >= SHORTEST]


def _parts_of(url: str) -> list[str]:
    """An alert's URL and what in it is secret by itself: user, password, tokens of its path and query.

    Names of hosts and plain words are not: they stand in any text.
    """
    rest = url.partition("://")[2].rstrip("/")
    parts = [url]
    # the @ behind user and password; one in the query belongs to somebody's address
    authority, address = re.match(r"[^/?#]*", rest)[0], re.match(r"[^?#]*", rest)[0]
    before, at, _ = (authority if "@" in authority else address).rpartition("@")
    after = rest[len(before) + 1 :] if at else rest
    if at:
        parts += [before, *before.split(":")]
    for token in re.split(r"[/:@?&=#,+;]", after):
        if not (HOST.fullmatch(token) or WORD.fullmatch(token)):
            parts.append(token)
    parts += [unquote(part) for part in parts]
    return [part for part in dict.fromkeys(parts) if len(part) >= SHORTEST]


# ---------------------------------------------------------------------- redaction


def register(secrets: Iterable[Secret], *, read: bool = True) -> None:
    """Make `secrets` known to `redact`; one shorter than eight characters is left out.

    Those that were not `read` make room for newer ones: each run of an embedded simulator has keys of its own.
    """
    global _pattern
    before = dict(_known)
    for text in (secret.reveal() for secret in secrets):
        if len(text) >= SHORTEST:
            _known[text] = read or _known.get(text, False)
    for text in [text for text, was_read in _known.items() if not was_read][:-MOST_MADE]:
        del _known[text]
    if before.keys() != _known.keys():
        _pattern = None


def redact(text: str) -> str:
    """`text` with every known secret, in any of its spellings, replaced by ********."""
    global _pattern
    if not _known:
        return text
    if _pattern is None:
        every = {spelled for secret in list(_known) for spelled in spellings(secret)}
        longest_first = sorted(every, key=lambda one: (-len(one), one))
        _pattern = re.compile("|".join(re.escape(one) for one in longest_first))
    return _pattern.sub(MASK, text)


def spellings(secret: str) -> tuple[str, ...]:
    """How `secret` may stand in a text: as it is, URL-encoded, JSON, Python, HTML, hexadecimal, base64."""
    plain = secret.encode()
    found = [secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)]
    found += [quote(secret, safe="").lower(), html.escape(secret, quote=False)]
    for spelled in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)):
        # once escaped, and escaped again as in the source of a notebook within a notebook
        found += [spelled[1:-1], json.dumps(spelled[1:-1])[1:-1]]
    found += [plain.hex(), plain.hex().upper()]
    for shift in range(3):  # base64 looks different for each place in a group of three
        coded = base64.b64encode(b"\0" * shift + plain).decode().rstrip("=")
        first = -(-shift * 8 // 6)  # digits that also depend on what comes before
        whole = coded[first : (shift + len(plain)) * 8 // 6]  # and not on what comes after
        found += [whole, whole.replace("+", "-").replace("/", "_")]
    return tuple(dict.fromkeys(found))
