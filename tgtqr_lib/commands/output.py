"""What commands print: one JSON object, or lines for a person."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def json_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def print_json(facts: dict[str, Any]) -> None:
    """Print `facts` as one JSON object; laid out for a person only where one looks."""
    print(json.dumps(facts, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def money(amount: Any) -> str:
    """`amount` in USDT with its sign kept, or a dash when it is not known."""
    return "-" if amount is None else f"{amount:,.8f} USDT"
