"""What the probes found, as values, as text, and as a small table in a notebook."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape
from typing import Any

PASSED, FAILED, NOT_JUDGED = "passed", "FAILED", "not judged"
WIDTH = 78  # characters of a detail before it goes on in the next line


class Failed(Exception):
    """What a probe saw that must not be, with the first minute where it happens, as a sentence."""


class NotJudged(Exception):
    """Why a probe can say neither yes nor no."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One probe's answer: `state` is PASSED, FAILED or NOT_JUDGED; `detail` counts or names what it saw."""

    name: str
    state: str
    detail: str

    @property
    def passed(self) -> bool:
        return self.state == PASSED

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "passed": self.passed,
            "state": self.state.lower(),
            "detail": self.detail,
        }


@dataclass(frozen=True, repr=False)
class Findings:
    """All answers about one strategy, in the order of `PROBES`.

    params   the parameters that were asked about, complete
    history  the candles it was checked on, in words
    """

    strategy: str
    params: dict[str, int]
    history: str
    probes: tuple[Finding, ...]

    def __getitem__(self, name: str) -> Finding:
        """The answer of the probe called `name`. Raises `KeyError` when there is none."""
        return {probe.name: probe for probe in self.probes}[name]

    @property
    def passed(self) -> bool:
        """True when every probe passed."""
        return all(probe.passed for probe in self.probes)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the probes that failed."""
        return tuple(probe.name for probe in self.probes if probe.state == FAILED)

    @property
    def title(self) -> str:
        named = ", ".join(f"{name} {value}" for name, value in self.params.items())
        return f"{self.strategy}{f' ({named})' if named else ''} on {self.history}"

    @property
    def summary(self) -> str:
        """The last line: what passed, what failed, what nobody could judge."""
        good = sum(probe.passed for probe in self.probes)
        if self.passed:
            return f"{self.strategy} passed all {good} probes"
        open_ = [probe.name for probe in self.probes if probe.state == NOT_JUDGED]
        parts = [f"FAILED {', '.join(self.failed)}"] if self.failed else ["failed none"]
        parts.append(f"{good} of {len(self.probes)} passed")
        if open_:
            parts.append(f"not judged: {', '.join(open_)}")
        return f"{self.strategy} {'; '.join(parts)}"

    def plain(self) -> dict[str, Any]:
        """As `tgtqr check --json` tells it."""
        return {
            "strategy": self.strategy,
            "params": dict(self.params),
            "history": self.history,
            "passed": self.passed,
            "probes": [probe.plain() for probe in self.probes],
        }

    def __str__(self) -> str:
        wide = max(len(probe.name) for probe in self.probes)
        lines = [self.title, ""]
        for probe in self.probes:
            first, *rest = textwrap.wrap(probe.detail, WIDTH) or [""]
            lines.append(f"{probe.name:<{wide}}  {probe.state:<10}  {first}")
            lines += [" " * (wide + 14) + more for more in rest]
        return "\n".join([*lines, "", self.summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """A table for notebooks; every text is escaped."""
        rows = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align:left">{cell}</td>'
                for cell in (
                    escape(probe.name),
                    f"<strong>{probe.state}</strong>" if probe.state == FAILED else probe.state,
                    escape(probe.detail),
                )
            )
            + "</tr>"
            for probe in self.probes
        )
        head = "".join(
            f'<th style="text-align:left">{name}</th>' for name in ("probe", "", "what was seen")
        )
        return (
            f"<p><strong>{escape(self.summary)}</strong><br>{escape(self.title)}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )
