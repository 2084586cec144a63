"""What harmless periods do by themselves: how they follow each other, how far a new one strays, how often far.

Columns of a matrix are items (a mean, a share), rows are periods. Periods of a graph share most of its nodes, so
an item's values follow each other like an autoregressive series of first order. Its autocorrelation is too uncertain
from twenty periods; one number for all items together is not. Everything else follows from it exactly.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Places = tuple[int, ...]

SCALES = np.exp(np.linspace(-14, 8, 89))
"""Where the quadrature of ``_expected`` looks."""
GRID = np.linspace(0.0, 0.98, 50)
"""Autocorrelations that are told apart; a negative one counts as none, which is the careful side."""
EXTREMES = 40
"""Of a kind's past scores together, so many of the largest, a fifth of them at most, say how heavy its tails are."""
LEANING = 5
"""All kinds' tails weigh as much as so many of these."""


class Spread(NamedTuple):
    """How values of one series lie about their mean, in units of the series' own variance."""

    total: float
    """Expected sum of their squared distances from the mean."""
    freedom: float
    """Degrees of freedom of that sum (Satterthwaite 1946)."""
    reach: float
    """Standard deviation of a new value's distance from the mean."""


class Scores(NamedTuple):
    """One chart's view of one period: both ``[items]``."""

    z: Floats
    log_p: Floats


@lru_cache(maxsize=4096)
def spread(places: Places, at: int, correlation: float) -> Spread:
    """How far the value at the period ``at`` lies from the mean of those at ``places``.

    Without autocorrelation these are the usual numbers: K - 1, K - 1 and the root of 1 + 1/K.
    """
    here = np.array(places)
    covariance = correlation ** np.abs(np.subtract.outer(here, here))
    centre = np.eye(len(here)) - 1 / len(here)
    about = centre @ covariance @ centre
    total = float(np.trace(about))
    reach = 1 + covariance.mean() - 2 * float(np.mean(correlation ** np.abs(at - here)))
    return Spread(total, total**2 / float(np.sum(about**2)), float(np.sqrt(reach)))


@lru_cache(maxsize=256)
def _expected(places: Places) -> Floats:
    """The mean lag-1 autocorrelation of so short a sample, at each of ``GRID``: less than there is.

    The exact mean of a ratio of quadratic forms in normal variables (Magnus 1986), by quadrature.
    """
    here = np.array(places)
    centre = np.eye(len(here)) - 1 / len(here)
    next_to = np.abs(np.subtract.outer(here, here)) == 1
    found = []
    for correlation in GRID:
        root = (
            np.linalg.cholesky(correlation ** np.abs(np.subtract.outer(here, here)))
            if correlation
            else np.eye(len(here))
        )
        size, basis = np.linalg.eigh(root.T @ centre @ root)
        products = np.diag(basis.T @ root.T @ centre @ next_to @ centre @ root @ basis) / 2
        damped = 1 + 2 * np.outer(SCALES, np.maximum(size, 0))
        inside = (products / damped).sum(axis=1) / np.sqrt(damped.prod(axis=1))
        found.append(np.trapezoid(inside * SCALES, np.log(SCALES)))
    return np.maximum.accumulate(np.array(found))


def autocorrelation(values: Floats, places: Places) -> float:
    """Lag-1 autocorrelation of all items together, corrected for the bias of short series.

    Args:
        values: ``[periods, items]``, without gaps.
        places: the periods' numbers; only neighbours count.

    Returns:
        0 to 0.98; 0 where nothing varies.
    """
    about = values - values.mean(axis=0)
    squares = np.sum(about**2, axis=0)
    varies = squares > 0
    neighbours = np.diff(np.array(places)) == 1
    if not np.any(varies) or not np.any(neighbours):
        return 0.0
    products = np.sum((about[1:] * about[:-1])[neighbours], axis=0)
    found = float(np.mean(products[varies] / squares[varies]))
    return round(float(np.interp(found, _expected(tuple(place - places[0] for place in places)), GRID)), 2)


def level(
    null: Floats, places: Places, value: Floats, at: int, correlation: float, least: Floats, more: Floats
) -> Scores:
    """Distance of a value from the mean of the null, in predicted standard deviations, and ln of its p-value.

    The predictive t of a new observation of an autoregressive series: its variance, that of the mean, what the two
    share and the bias of the sample variance are exact; with autocorrelation fewer degrees of freedom are left.

    Args:
        null: ``[periods, items]``.
        places: the periods' numbers.
        value: ``[items]``.
        at: its period's number.
        correlation: lag-1 autocorrelation of all items.
        least: variance ``[items]`` that is there in any case: a null that never varied makes nothing certain.
        more: variance ``[items]`` that the value has beyond the null's, of fewer rows for instance.
    """
    known = spread(places, at, correlation)
    mean = null.mean(axis=0)
    variance = np.maximum(np.sum((null - mean) ** 2, axis=0) / known.total, least)
    z = (value - mean) / np.sqrt(variance * known.reach**2 + more)
    return Scores(z, _log_p(z, known.freedom))


def step(null: Floats, value: Floats, correlation: float, least: Floats, more: Floats) -> Scores:
    """A change from one period to the next beside the past ones, whose mean is zero; arguments as of ``level``.

    Two changes that follow each other share a period, so they are worth less than two.
    """
    variance = np.maximum(np.mean(null**2, axis=0), 2 * least)
    z = value / np.sqrt(variance + more)
    return Scores(z, _log_p(z, len(null) / (1 + (1 - correlation) ** 2 / 2)))


def calibrated(log_p: Floats, past: Floats, kind: NDArray[np.int64]) -> Floats:
    """The larger of a chart's p-value and the one that the past periods of its kind give it: ``[items]``.

    Harmless variation may have heavier tails than the chart knows. Each past period was judged beside the others by
    the same chart, so their p-values, all items of a kind together, say how often the chart is wrong. Beyond what they
    reach their tail goes on as a power of p, whose exponent the ``EXTREMES`` give (Hill 1975); a small kind leans on
    all kinds.

    Args:
        log_p: logarithms of the chart's p-values, ``[items]``.
        past: those of the past periods, ``[periods, items]``; NaN where there is none or the item does not vary.
        kind: ``[items]``.
    """
    found = np.exp(log_p)
    everywhere = _tail(past).slope
    for one in np.unique(kind):
        own = kind == one
        tail = _tail(past[:, own])
        slope = (tail.many * tail.slope + LEANING * everywhere) / (tail.many + LEANING)
        beyond = np.maximum(-log_p[own] - tail.bound, 0)
        strange = tail.share * np.exp(-beyond / max(1.0, slope))
        found[own] = np.where(beyond > 0, np.maximum(found[own], strange), found[own])
    return found


class _Tail(NamedTuple):
    """The largest of many scores -ln p; of a chart that is right they are exponential with slope 1."""

    many: int
    share: float
    """Of all scores that are beyond the bound."""
    bound: float
    slope: float


def _tail(past: Floats) -> _Tail:
    scores = -past[np.isfinite(past)]
    count = min(EXTREMES, len(scores) // 5)
    if count == 0:
        return _Tail(0, 1.0, np.inf, 1.0)
    largest = np.partition(scores, -count - 1)[-count - 1 :]
    bound = float(largest.min())
    return _Tail(count, count / len(scores), bound, float(np.sum(largest - bound)) / count)


def _log_p(z: Floats, freedom: float) -> Floats:
    """Of both sides together; the logarithm does not vanish however far out."""
    found: Floats = np.log(2) + stats.t.logsf(np.abs(z), freedom)
    return found
