"""Values as TeX: numbers, escaped text, macros and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from tgtqr_lib.domain import DomainError

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}", ">": r"\ensuremath{>}", "−": r"\ensuremath{-}",
    "×": r"\ensuremath{\times}", "²": r"\ensuremath{^2}",
}  # fmt: skip
NOT_A_NUMBER = "n/a"


def escape(text: str) -> str:
    """`text` as TeX prints it; what stands between backticks is set as code.

    Raises `DomainError` for a character that the document's font does not have.
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        raise DomainError(f"text {text!r} has an odd number of backticks")
    return "".join(
        rf"\texttt{{{_plain(part)}}}" if place % 2 else _plain(part)
        for place, part in enumerate(parts)
    )


def _plain(text: str) -> str:
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", text)  # a minus, where it is no hyphen
    found = "".join(SPECIAL.get(character, character) for character in text)
    if odd := [character for character in found if not " " <= character <= "~"]:
        raise DomainError(f"text {text!r} holds {odd[0]!r}, which the document's font may not have")
    return found


def number(value: float | Decimal | int, digits: int | None = None, *, sign: bool = False) -> str:
    """`value` with thousands, right in text and in formulas; without `digits` a `Decimal` as it is.

    Whole numbers have no digits after the point. A value that is not finite is `n/a`.
    """
    if not math.isfinite(value):
        return NOT_A_NUMBER
    if digits is None and isinstance(value, Decimal):
        spec = ",f"
    else:  # a whole number stays one: as a float it would lose digits
        spec = ",d" if isinstance(value, (int, np.integer)) else f",.{digits or 0}f"
    text = f"{value:{'+' if sign else ''}{spec}}"
    if not re.search("[1-9]", text):  # no sign before a zero
        text = text.lstrip("+-")
    return text.replace(",", "{,}").replace("-", r"\ensuremath{-}").replace("+", r"\ensuremath{+}")


def percent(fraction: float | Decimal, digits: int, *, sign: bool = False) -> str:
    """A fraction as a percentage with its sign."""
    shown = number(fraction * 100, digits, sign=sign)
    return shown if shown == NOT_A_NUMBER else rf"{shown}\,\%"


def scientific(power: int) -> str:
    """A power of ten."""
    return rf"\ensuremath{{10^{{{power}}}}}"


@dataclass
class Pages:
    """What the document reads: macros by name, and files by name."""

    macros: dict[str, str] = field(default_factory=dict)
    files: dict[str, str | bytes] = field(default_factory=dict)

    def define(self, **macros: str) -> None:
        """Add macros, TeX by name. Raises `DomainError` for a name TeX cannot have, or one given twice."""
        for name, value in macros.items():
            if not re.fullmatch("[A-Z][A-Za-z]+", name):
                raise DomainError(f"macro {name!r}: expected letters, a capital first")
            if name in self.macros:
                raise DomainError(f"macro {name!r} is defined twice")
            self.macros[name] = value

    def table(
        self, name: str, columns: str, head: Sequence[str], rows: Iterable[Sequence[str]]
    ) -> None:
        """Add a table as the file `table-NAME.tex`; `columns` is TeX's, cells are TeX.

        An empty row is a rule. Raises `DomainError` for a row that is not as long as the head.
        """
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
        lines += [" & ".join(head) + r" \\", r"\midrule"]
        for row in rows:
            if row and len(row) != len(head):
                raise DomainError(f"table {name}: a row has {len(row)} cells, expected {len(head)}")
            lines.append(" & ".join(row) + r" \\" if row else r"\midrule")
        lines += [r"\bottomrule", r"\end{tabular}%", ""]
        self.files[f"table-{name}.tex"] = "\n".join(lines)

    def save(self, folder: Path) -> None:
        """Write `macros.tex` and all files into `folder`, which is made when it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [rf"\newcommand{{\{name}}}{{{value}}}" for name, value in self.macros.items()]
        (folder / "macros.tex").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name, content in self.files.items():
            whole = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(whole)
