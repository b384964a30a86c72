"""Who may open the dashboard: who knows the password, or has this start's link.

The hash of the password is read from `TGTQR_PASSWORD_HASH`, `<home>/.env` or the project's `.env`. A login
becomes a signed cookie; its key lies in `data/control/session.key`, so that a restart logs nobody out, and
depends on the hash, so that a new password logs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import PROJECT, Home

PASSWORD_HASH = "TGTQR_PASSWORD_HASH"
KNOWN_HASH = "argon2:$argon2"
SESSION_DAYS = 30
FREE_TRIES = 5
LONGEST_WAIT_S = 600.0
LONGEST_PASSWORD = 1000  # characters; hashing takes longer the longer the text


@dataclass
class Throttle:
    """Slows guessing down: after five wrong tries each further one doubles the wait."""

    wrong: int = 0
    _until: float = 0.0  # on the monotonic clock

    def wait_s(self) -> float:
        """Seconds until the next try is looked at; 0 when it may come."""
        return max(0.0, self._until - time.monotonic())

    def count(self) -> None:
        """A try begins: it counts as wrong until `forget`, so that many at once are slowed as well."""
        self.wrong += 1
        if self.wrong >= FREE_TRIES:
            wait = min(2.0 ** (self.wrong - FREE_TRIES + 1), LONGEST_WAIT_S)
            self._until = time.monotonic() + wait

    def forget(self) -> None:
        """The try was right."""
        self.wrong, self._until = 0, 0.0


@dataclass
class Keys:
    """What opens the page: a password's hash, or else the token of this start.

    cookie_secret  signs the cookie of a login
    """

    hashed: str | None
    cookie_secret: bytes = field(repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    throttle: Throttle = field(default_factory=Throttle)

    def opens(self, given: str) -> bool:
        """Whether `given` is the password, or the token where there is none. Slow: not for the event loop."""
        if self.hashed is None:
            return hmac.compare_digest(given.encode(), self.token.encode())
        from jupyter_server.auth import passwd_check

        return len(given) <= LONGEST_PASSWORD and passwd_check(self.hashed, given)


def find_keys(home: Home) -> Keys:
    """The keys of `home`. Raises `DomainError` for a hash that is not one, or a `.env` that cannot be read."""
    hashed = password_hash(home)
    return Keys(hashed, cookie_secret(home, hashed))


def password_hash(home: Home) -> str | None:
    """The hash from the environment, else from `<home>/.env`, else from the project's `.env`, or None."""
    if PASSWORD_HASH in os.environ:  # also when it is empty: then there is no password
        places = [("environment", os.environ[PASSWORD_HASH])]
    else:
        places = [(str(p), _read_env(p).get(PASSWORD_HASH)) for p in _env_files(home)]
    for place, value in places:
        if not value:
            continue
        if not value.startswith(KNOWN_HASH):
            raise DomainError(
                f"{place}: {PASSWORD_HASH} is not a hash; expected the line that "
                "`tgtqr dashboard password` prints"
            )
        return value
    return None


def _env_files(home: Home) -> list[Path]:
    return list(dict.fromkeys([home.root / ".env", PROJECT / ".env"]))


def _read_env(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file; {} when there is none. A value may stand in quotes."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"{path}: cannot be read ({error})") from None
    found = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        if equals and not name.startswith("#"):
            found[name.strip()] = value
    return found


def cookie_secret(home: Home, hashed: str | None) -> bytes:
    """The key that signs cookies: the home's own, mixed with the password's hash."""
    path = home.control / "session.key"
    try:
        home.control.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or len(path.read_bytes()) < 32:
            fresh = path.with_suffix(f".{os.getpid()}")
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
            os.replace(fresh, path)
        own = path.read_bytes()
    except OSError:  # a full disk must not keep the page from opening
        own = secrets.token_bytes(32)
    return hmac.new(own, (hashed or "").encode(), hashlib.sha256).digest()


def new_password_line(first: str, second: str) -> str:
    """The line for `.env` that sets the password. Raises `DomainError` when the two differ or are short."""
    if first != second:
        raise DomainError("the two passwords differ; nothing was changed")
    if not 10 <= len(first) <= LONGEST_PASSWORD:
        raise DomainError(
            f"the password has {len(first)} characters; expected 10 to {LONGEST_PASSWORD}"
        )
    from jupyter_server.auth import passwd

    return f"{PASSWORD_HASH}='{passwd(first, 'argon2')}'"
