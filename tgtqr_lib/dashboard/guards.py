"""What a visitor cannot do: the headers of every answer, and the few messages that reach a kernel.

A page needs to read and move widgets. Nothing else passes: no execution, no files, no other comm than
the one that widgets use.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

PROTOCOL = "v1.kernel.websocket.jupyter.org"
LARGEST_MESSAGE = 1_000_000  # bytes
LARGEST_COUNT = 64  # parts of a message
MESSAGES = frozenset(
    {"comm_open", "comm_close", "comm_msg", "comm_info_request", "kernel_info_request"}
)
COMM_TARGETS = frozenset({"jupyter.widget.control"})  # by which a page asks for its widgets

# scripts are files of this server and nothing else; styles stand in the page, widgets put them there
CONTENT_SECURITY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
# of a page made from a file: nothing of it may run or load
FILE_SECURITY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'none'",
        "style-src 'self' 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def passed_on(message: Any) -> bytes | None:
    """The message for the kernel, written anew from what was understood of `message`; None if it may not pass.

    Writing it anew makes sure that the kernel reads what was looked at here.
    """
    try:
        channel, parts = _read(message)
        header, parent, metadata, content = (json.loads(part) for part in parts[:4])
        kind = header["msg_type"]
        if not all(isinstance(part, dict) for part in (header, parent, metadata, content)):
            return None
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    if channel != "shell" or not isinstance(kind, str) or kind not in MESSAGES:
        return None
    if kind == "comm_open" and not _is_widget_control(content):
        return None
    plain = [json.dumps(part).encode() for part in (header, parent, metadata, content)]
    return _write(channel, [*plain, *parts[4:]])


def _is_widget_control(content: dict[str, Any]) -> bool:
    # `target_module` would make the kernel import what it names
    target = content.get("target_name")
    return isinstance(target, str) and target in COMM_TARGETS and not content.get("target_module")


def _read(message: Any) -> tuple[str, list[bytes]]:
    """Channel and parts of a message: a count, offsets (both 64-bit little-endian), then the pieces."""
    if not isinstance(message, bytes) or len(message) > LARGEST_MESSAGE:
        raise ValueError("not a binary message of a proper length")
    count = int.from_bytes(message[:8], "little")
    if not 6 <= count <= LARGEST_COUNT:
        raise ValueError(f"{count} offsets")
    at = [int.from_bytes(message[8 * (i + 1) : 8 * (i + 2)], "little") for i in range(count)]
    if at != sorted(at) or at[0] != 8 * (count + 1) or at[-1] != len(message):
        raise ValueError("offsets that do not fit")
    pieces = [message[start:end] for start, end in pairwise(at)]
    return pieces[0].decode("ascii"), pieces[1:]


def _write(channel: str, parts: list[bytes]) -> bytes:
    """The inverse of `_read`."""
    pieces = [channel.encode("ascii"), *parts]
    at = [8 * (len(pieces) + 2)]
    for piece in pieces:
        at.append(at[-1] + len(piece))
    numbers = [len(at), *at]
    return b"".join([*(n.to_bytes(8, "little") for n in numbers), *pieces])
