"""Intervals that hold at every moment of looking, from counts alone: for a share, two shares, a quantile, a distance.

A share's interval is the set of values against which no gambler has won more than ``1 / error`` (Ville 1939); the
gambler mixes his bets over all shares by Krichevsky and Trofimov's prior (1981). As long as each request, given those
before it, has the share at the most (at the least), the lower (upper) end lies beyond it at any time, ever, with
probability ``error`` together: Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", 2021; for fractions of requests in place of whole ones, Orabona and Jun, "Tight
concentrations and confidence sequences from the regret of universal portfolio", 2024. All functions take arrays.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlog1py, xlogy

Numbers = NDArray[np.float64]
STEPS = 60
"""Newton steps at the most; a dozen is usual."""


def share(hits: ArrayLike, trials: ArrayLike, error: float) -> tuple[Numbers, Numbers]:
    """The interval of a share, ``[0, 1]`` without trials.

    Args:
        hits: of the trials ``[...]``; may be fractions.
        trials: ``[...]``.
        error: chance that the share is ever outside.
    """
    hits, trials = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(trials, np.float64))
    return _lower(hits, trials, error), 1 - _lower(trials - hits, trials, error)


def difference(
    hits: ArrayLike, trials: ArrayLike, other_hits: ArrayLike, other_trials: ArrayLike, error: float
) -> tuple[Numbers, Numbers]:
    """The interval of a share less another's; each may have any number of trials."""
    low, high = share(hits, trials, error / 2)
    other_low, other_high = share(other_hits, other_trials, error / 2)
    return low - other_high, high - other_low


def quantile(counts: ArrayLike, bounds: ArrayLike, level: float, error: float) -> tuple[Numbers, Numbers]:
    """The interval of a quantile that is known by steps: both its ends are bounds of steps.

    One step decides (the counts beyond a bound only fall from bound to bound), so that none has to be paid for twice:
    Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification", 2022.

    Args:
        counts: values by step ``[..., steps]``.
        bounds: upper bounds of the steps, ascending ``[steps]``; the last may be infinite.
        level: of the quantile, 0 to 1.
        error: chance that the quantile is ever outside.

    Returns:
        The largest bound that the quantile is surely beyond (0 where there is none), and the smallest that it is
        surely not beyond (infinite where there is none).
    """
    counts, bounds = np.asarray(counts, np.float64), np.asarray(bounds, np.float64)
    total = counts.sum(-1, keepdims=True)
    low, high = share(total - counts.cumsum(-1), total, error)
    surely_beyond, surely_within = low > 1 - level, high <= 1 - level
    lower = np.where(surely_beyond, bounds, 0.0).max(-1, initial=0.0)
    return lower, np.where(surely_within, bounds, np.inf).min(-1, initial=np.inf)


def distance(counts: ArrayLike, others: ArrayLike, error: float) -> tuple[Numbers, Numbers]:
    """The interval of Kolmogorov and Smirnov's distance between two distributions known by the same steps.

    The error is split over the bounds of the steps and their two sides. With some twenty of them that is narrower
    than a band for all values at once (Dvoretzky, Kiefer and Wolfowitz; made time-uniform by Howard and Ramdas 2022),
    for it knows how small the variance is at each.

    Args:
        counts: values by step ``[..., steps]``.
        others: those of the other distribution ``[..., steps]``.
        error: chance that the distance is ever outside.
    """
    counts, others = np.asarray(counts, np.float64), np.asarray(others, np.float64)
    inner = max(counts.shape[-1] - 1, 1)  # at the last bound both have all of their values
    below, others_below = counts.cumsum(-1)[..., :inner], others.cumsum(-1)[..., :inner]
    total, others_total = counts.sum(-1, keepdims=True), others.sum(-1, keepdims=True)
    low, high = difference(below, total, others_below, others_total, error / inner)
    return np.maximum(np.maximum(low, -high).max(-1), 0.0), np.maximum(high, -low).max(-1)


def _lower(hits: Numbers, trials: Numbers, error: float) -> Numbers:
    """The lower end: below the share of hits, where the mixture's gain over a share is ``1 / error``.

    The gain's logarithm is convex in the logarithm of the share and falls towards the share of hits: Newton's steps
    that begin left of the end never pass it.
    """
    found = np.zeros(hits.shape)
    some = hits > 0
    hit, missed = hits[some], (trials - hits)[some]
    rate = hit / (hit + missed)
    needed = -np.log(error) + _regret(hit, missed)
    log = np.log(rate) - np.sqrt(2 * needed * (1 - rate) / hit) - needed / hit
    for _ in range(STEPS):
        low = np.exp(log)
        gain = xlogy(hit, rate) - hit * log + xlog1py(missed, -rate) - xlog1py(missed, -low) - needed
        slope = missed * low / (1 - low) - hit
        step = -gain / slope
        log = log + step
        if not np.any(np.abs(step) > 1e-12):
            break
    found[some] = np.minimum(np.exp(log), rate)
    return found


def _regret(hits: Numbers, missed: Numbers) -> Any:
    """By how much the best share in hindsight gains more than the mixture, as a logarithm."""
    trials = hits + missed
    best = xlogy(hits, hits / trials) + xlogy(missed, missed / trials)
    return best - betaln(hits + 0.5, missed + 0.5) + betaln(0.5, 0.5)
