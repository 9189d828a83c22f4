"""The one paired test of all comparisons: two methods by the same seeds on the same test cells."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95


class PairedTests(NamedTuple):
    """Tests of mean differences, one element a pair: the 95 % interval, and the two-sided p-value."""

    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def paired_t(difference: ArrayLike, *spreads: tuple[ArrayLike, ArrayLike]) -> PairedTests:
    """t-test of a mean difference whose variance has several sources, seeds and cells.

    The losses of two methods differ by d[s, c] = mu + seed[s] + cell[c] + rest[s, c] for seed s and cell c,
    with independent random effects (crossed, estimated by moments). Its mean over S seeds and C cells has the
    variance ::

        var_s(mean over c of d) / S + var_c(mean over s of d) / C

    because each sample variance estimates its own effect and its share of the rest. The rest is counted
    twice, so the test is a little conservative. The degrees of freedom are Satterthwaite's (1946).

    The formula is closed, not a bootstrap, for two reasons: with five seeds, percentile intervals cover less
    than they say, and no random number is needed. Paired differences of cells: Miller 2024,
    arXiv:2411.00640. Crossed random effects: Owen 2007, Annals of Applied Statistics 1:386.

    Returns three arrays. Equal methods have p = 1. A difference without any spread cannot be tested: NaN.

    Parameters
    ----------
    difference : mean differences.
    spreads : for each source, the sample variance of the differences and their number. A variance that is
        missing (NaN) adds nothing: the test then says nothing of that source.

    Examples
    --------
    >>> paired_t(0.2, (0.01, 5)).p_value.round(4)
    array(0.0111)
    """
    from scipy.special import stdtr, stdtrit

    difference = np.asarray(difference, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.divide(variance, n) for variance, n in spreads]
        parts = [np.where(np.isfinite(part), part, 0.0) for part in parts]
        variance = np.asarray(sum(parts))
        shares = [
            np.where(p > 0, p**2 / np.subtract(n, 1), 0) for p, (_, n) in zip(parts, spreads, strict=True)
        ]
        freedom = variance**2 / sum(shares)
        error = np.sqrt(np.where(variance > 0, variance, np.nan))
        p_value = 2 * stdtr(freedom, -np.abs(difference) / error)
        half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
    equal = (variance == 0) & (difference == 0)
    p_value, half = np.where(equal, 1.0, p_value), np.where(equal, 0.0, half)
    return PairedTests(difference - half, difference + half, p_value)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values corrected over those that are given (Holm 1979, Scandinavian Journal of Statistics 6:65).

    A missing p-value stays missing and does not count in the correction. statsmodels' ``multipletests`` does
    the same, but each of 2,000 calls takes 0.1 s for garbage collection.
    """
    p_values = np.asarray(p_values, float)
    corrected, tested = p_values.copy(), np.flatnonzero(np.isfinite(p_values))
    tested = tested[np.argsort(p_values[tested], kind="stable")]
    steps = p_values[tested] * np.arange(len(tested), 0, -1)
    corrected[tested] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected
