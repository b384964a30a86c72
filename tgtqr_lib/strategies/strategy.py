"""What a strategy is: a pure function from history to targets, with its declared parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tgtqr_lib.domain import DomainError, History


@dataclass(frozen=True, slots=True)
class Parameter:
    """A whole-number parameter with its default and the range it must stay in."""

    default: int
    low: int
    high: int
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class MeanBand:
    """A declaration: `targets` compares the close with the mean of the last closes and a band around it.

    Long above mean x (1 + band), flat below mean x (1 - band), hold between and on the edges, over as many
    closes as the lookback says. The backtest has a quick and exact way for this shape.

    window, band_bps  names of the parameters
    """

    window: str
    band_bps: str


NEEDS = ("book", "funding")  # what can be frozen with a tick beside candles and quote


@dataclass(frozen=True, slots=True)
class Told:
    """Why a strategy says what it says at the last candle: for a hold the code of its reason, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named strategy.

    targets     (history, **parameters) -> (n,) of 1 long, 0 flat, NaN hold; row t uses the rows
                t-lookback+1..t only
    lookback    (**parameters) -> minutes that one row needs
    reference   (history, **parameters) -> the price in steps that the last close is compared with,
                exact; None when the history is too short. A strategy that compares with no price has none
    parameters  name -> Parameter
    fast        the shape of `targets`, when it is one that a backtest can compute quickly; it never
                changes a result
    needs       "book", "funding": what it reads beside closes; where that is absent it is never long
    explain     (history, **parameters) -> Told of the last row, or None where the usual sentence about
                close and reference says it all
    never_long  whether it is flat on purpose, as a yardstick
    """

    name: str
    text: str
    targets: Callable[..., np.ndarray]
    lookback: Callable[..., int]
    reference: Callable[..., Fraction | None] | None
    parameters: Mapping[str, Parameter]
    fast: MeanBand | None = None
    needs: tuple[str, ...] = ()
    explain: Callable[..., Told | None] | None = None
    never_long: bool = False

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.needs) - set(NEEDS)):
            raise DomainError(
                f"strategy {self.name}: needs {unknown[0]!r}; expected some of {', '.join(NEEDS)}"
            )

    def __call__(self, history: History, **parameters: int) -> np.ndarray:
        """The targets of every row of `history` for checked `parameters`."""
        return self.targets(history, **self.checked(parameters))

    def checked(self, parameters: Mapping[str, int]) -> dict[str, int]:
        """`parameters` completed by the defaults.

        Raises `DomainError` for an unknown name, a value that is no whole number or out of range.
        """
        if unknown := sorted(set(parameters) - set(self.parameters)):
            raise DomainError(
                f"strategy {self.name}: unknown parameter {unknown[0]!r}; "
                f"expected {sorted(self.parameters)}"
            )
        values = {name: p.default for name, p in self.parameters.items()} | dict(parameters)
        for name, p in self.parameters.items():
            value = values[name]
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise DomainError(f"strategy {self.name}: {name} {value!r} is not a whole number")
            if not p.low <= value <= p.high:
                raise DomainError(
                    f"strategy {self.name}: {name} {value} is out of range; "
                    f"expected {p.low} to {p.high} {p.unit}"
                )
        return {name: int(value) for name, value in values.items()}
