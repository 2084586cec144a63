"""Intervals at 95 %: of shares, plain and weighted, and of figures by the bootstrap."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from graphmill.drift.source import rounded

Z = float(stats.norm.isf(0.025))
RESAMPLES = 200

Interval = dict[str, float | None]
Weights = NDArray[np.int64]


def interval(value: float, low: float, high: float, deviation: float | None = None) -> Interval:
    """``value``, ``low``, ``high`` and, where it is known, the ``deviation`` (one standard error), rounded."""
    found = {"value": rounded(value), "low": rounded(low), "high": rounded(high)}
    return found if deviation is None else {**found, "deviation": rounded(deviation)}


def wilson(hits: float, trials: float, value: float | None = None) -> Interval | None:
    """A share by its score interval (Wilson, 1927); None without trials.

    Args:
        hits: successes; with ``trials`` an effective number, may be a fraction.
        trials: how many independent trials it is worth.
        value: the share, where it is not ``hits / trials``.
    """
    if trials <= 0:
        return None
    share, square = hits / trials, Z**2 / trials
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * float(np.sqrt(share * (1 - share) / trials + square / (4 * trials)))
    return interval(share if value is None else value, max(0.0, middle - half), min(1.0, middle + half))


def bootstrap(
    figure: Callable[[Weights], float], clusters: NDArray[np.int64], seed: int, centred: bool = False
) -> Interval:
    """A figure and its interval when whole clusters are drawn again (Efron, 1979; Field and Welsh, 2007).

    Args:
        figure: the figure when each example counts so often, int64 ``[n]``.
        clusters: which examples stand or fall together, numbered from 0: int64 ``[n]``.
        seed: of the draws.
        centred: two standard errors around the value, in place of percentiles; for figures that resampling inflates.
    """
    state, count = np.random.default_rng(seed), int(clusters.max()) + 1
    value = figure(np.ones(len(clusters), np.int64))
    drawn = np.array([
        figure(np.bincount(state.integers(0, count, count), minlength=count)[clusters]) for _ in range(RESAMPLES)
    ])  # fmt: skip
    deviation = float(np.nanstd(drawn, ddof=1))
    if centred:
        return interval(value, max(0.0, value - Z * deviation), value + Z * deviation, deviation)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return interval(value, float(low), float(high), deviation)
