"""Where signed requests may go: Bybit's demo and testnet, and a simulator on this machine. Nowhere else.

There is no name of a real-money host in here that could be chosen: what is not on the list is refused,
whoever asks and however it is spelt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tgtqr_lib.domain import DomainError

if TYPE_CHECKING:
    from tgtqr_lib.settings import Settings

DEMO, TESTNET = "https://api-demo.bybit.com", "https://api-testnet.bybit.com"
TRADING = {"demo": DEMO, "testnet": TESTNET}
# the whole of a URL up to its path: no user, no capitals, no trailing dot, no other port
BYBIT = re.compile(r"https://(api-demo|api-testnet)\.bybit\.com(:443)?([/?#].*)?")
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?([/?#].*)?")
EXPECTED = f"expected {DEMO}, {TESTNET} or a simulator at http://127.0.0.1"


def trading_host(settings: Settings, simulator_url: str | None = None) -> str:
    """Where the account of `settings` takes orders, without a slash at the end.

    simulator_url  of the simulator that this process embeds, when the settings name none

    Raises `DomainError` for the paper account, which has no host, and for a host that is not on the list.
    """
    if settings.account not in TRADING:
        raise DomainError(f"account {settings.account}: it has no exchange that takes orders")
    if settings.market != "simulator":
        if simulator_url is not None:
            raise DomainError(f"market {settings.market}: a simulator cannot take its orders")
        return check_trading_url(TRADING[settings.account])
    url = settings.simulator.url or simulator_url
    if url is None:
        raise DomainError(f"account {settings.account}: no simulator is running that has it")
    if not LOOPBACK.fullmatch(url):
        raise DomainError(f"simulator.url {_shown(url)}: cannot take orders; {EXPECTED}")
    return check_trading_url(url).rstrip("/")


def public_host(settings: Settings) -> str:
    """Where Bybit's public data comes from: `exchange_host`, but the testnet's own for a testnet account.

    Its prices differ, so that orders made from the others would miss. Another `exchange_host` is kept.
    """
    default = type(settings).model_fields["exchange_host"].default
    if settings.account == "testnet" and settings.exchange_host == default:
        return TESTNET
    return settings.exchange_host


def check_trading_url(url: str) -> str:
    """`url`, when a signed request may be sent to it. Raises `DomainError` for any other."""
    if re.fullmatch(r"[!-~]+", url) and "\\" not in url:
        if BYBIT.fullmatch(url):
            return url
        if (found := LOOPBACK.fullmatch(url)) and int((found[2] or ":80")[1:]) in range(1, 65536):
            return url
    raise DomainError(f"host {_shown(url)}: takes no orders of this kit; {EXPECTED}")


def guard(session: Any, only: str | None = None) -> None:
    """Let `session` (of requests) open no connection but to hosts on the list, redirects included.

    only  keeps it to this one host of them, as `trading_host` gave it
    """
    from requests.adapters import HTTPAdapter

    class Guarded(HTTPAdapter):
        def send(self, request: Any, *rest: Any, **how: Any) -> Any:
            check_trading_url(request.url)
            if only is not None and not re.match(
                re.escape(only.rstrip("/")) + r"([/?#]|$)", request.url
            ):
                raise DomainError(f"host {_shown(request.url)}: expected {only} alone")
            return super().send(request, *rest, **how)

    adapter = Guarded()
    for old in session.adapters.values():
        old.close()
    session.adapters.clear()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # a longer prefix that somebody mounts later would go around it
    session.get_adapter = lambda url: adapter


def _shown(url: str) -> str:
    """`url` without what may be secret in it: user, password, path and query."""
    scheme, _, rest = url.partition("://")
    place = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{place}"[:100] if rest else repr(url[:40])
