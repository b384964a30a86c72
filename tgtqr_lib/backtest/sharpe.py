"""How sure a Sharpe ratio is, and how high the best of many worthless rules would have stood.

PSR and track record: Bailey, Lopez de Prado (2012), The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2).
Deflation: Bailey, Lopez de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5).
Sharpe ratios here are *per observation*, never annualised; a year's is divided by sqrt(365) first.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, inf, sqrt
from statistics import NormalDist

import numpy as np

from tgtqr_lib.domain import DomainError

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Moments:
    """What the formulas need of a series of returns.

    sharpe    mean over standard deviation (n - 1), per observation
    skew      third standardised moment, 0 for a normal distribution
    kurtosis  fourth standardised moment, 3 for a normal distribution
    """

    sharpe: float
    skew: float
    kurtosis: float
    observations: int


def moments(returns: np.ndarray) -> Moments:
    """The moments of `returns`. Raises `DomainError` when they have no spread."""
    returns = np.asarray(returns, dtype=np.float64)
    centred = returns - returns.mean() if len(returns) else returns
    variance = float(np.mean(centred**2)) if len(returns) > 1 else 0.0
    if not variance > 1e-30:
        raise DomainError(f"{len(returns)} returns without spread have no Sharpe ratio")
    return Moments(
        float(returns.mean() / np.std(returns, ddof=1)),
        float(np.mean(centred**3) / variance**1.5),
        float(np.mean(centred**4) / variance**2),
        len(returns),
    )


def _spread(seen: Moments) -> float:
    """Standard error of the Sharpe ratio times sqrt(n - 1), squared (Mertens 2002)."""
    # never negative for moments of real returns, because kurtosis >= 1 + skew^2
    return 1 - seen.skew * seen.sharpe + (seen.kurtosis - 1) / 4 * seen.sharpe**2


def probabilistic_sharpe(seen: Moments, benchmark: float = 0.0) -> float:
    """PSR: one minus the p-value of the Sharpe ratio seen, were the true one `benchmark` (per observation).

    The share of histories as long that would then show a lower ratio; it is not the probability that the true
    ratio is above `benchmark`.
    Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)), 2012, equation 9.
    """
    error = sqrt(max(_spread(seen), 1e-12))
    return NORMAL.cdf((seen.sharpe - benchmark) * sqrt(seen.observations - 1) / error)


def minimum_track_record(seen: Moments, benchmark: float = 0.0, level: float = 0.95) -> float:
    """Observations needed until PSR reaches `level`; infinite when the Sharpe ratio is not above `benchmark`.

    1 + (1 - skew SR + (kurtosis - 1) / 4 SR^2) (Phi^-1(level) / (SR - SR*))^2, 2012, equation 11.
    """
    if seen.sharpe <= benchmark:
        return inf
    return 1 + _spread(seen) * (NORMAL.inv_cdf(level) / (seen.sharpe - benchmark)) ** 2


def expected_maximum(trials: float, variance: float) -> float:
    """The best Sharpe ratio that `trials` independent worthless rules are expected to show.

    sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))), g Euler's constant; 2014, equation 1.
    variance  of the Sharpe ratios among the trials, per observation
    """
    if trials < 1 or variance < 0:
        raise DomainError(f"{trials} trials of variance {variance}; expected at least 1 and 0")
    if trials <= 1:
        return 0.0  # the best of one is itself
    g = float(np.euler_gamma)
    high = NORMAL.inv_cdf(1 - 1 / trials), NORMAL.inv_cdf(1 - 1 / (trials * e))
    return max(sqrt(variance) * ((1 - g) * high[0] + g * high[1]), 0.0)


def deflated_sharpe(seen: Moments, trials: float, variance: float) -> float:
    """DSR: PSR against the Sharpe ratio that the best of `trials` worthless rules is expected to show."""
    return probabilistic_sharpe(seen, expected_maximum(trials, variance))


def independent_trials(trials: int, mean_correlation: float) -> float:
    """How many independent trials correlated ones are worth: r + (1 - r) M; 2014, appendix 3.

    mean_correlation  mean of the correlations between the trials' returns, in [0, 1]
    """
    if not 0 <= mean_correlation <= 1:
        raise DomainError(f"mean correlation {mean_correlation} is not between 0 and 1")
    return mean_correlation + (1 - mean_correlation) * trials
