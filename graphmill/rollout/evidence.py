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
SPLITS = 10
"""Ways to split the evidence between two shares; more would move an end by a thousandth of the interval."""


def share(hits: ArrayLike, trials: ArrayLike, error: float) -> tuple[Numbers, Numbers]:
    """The interval of a share, ``[0, 1]`` without trials.

    Args:
        hits: of the trials ``[...]``; may be fractions.
        trials: ``[...]``.
        error: chance that the share is ever outside.
    """
    hits, trials = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(trials, np.float64))
    needed = -np.log(error) + _regret(hits, trials)
    return _lower(hits, trials, needed), _upper(hits, trials, needed)


def difference(
    hits: ArrayLike, trials: ArrayLike, other_hits: ArrayLike, other_trials: ArrayLike, error: float
) -> tuple[Numbers, Numbers]:
    """The interval of a share less another's; each may have any number of trials, and give up any number any time.

    Two gamblers bet on one account, which is multiplied: what one has not won the other may. The second keeps half
    of his money, so that it costs a factor of two, and no more, when there is nothing to win from him: that is so
    when the other share has many more trials. The interval is that of all pairs of shares against which they have
    not won ``1 / error``.
    """
    mine, other = _pair(hits, trials), _pair(other_hits, other_trials)
    won = np.linspace(-2, np.log(2 / error - 1), SPLITS)
    kept = np.concatenate([[-np.log(2)], _kept(won[1:])])  # the first stands for all that he has not won
    needed = np.maximum(-np.log(error) - kept, 0) + _regret(*mine)
    other_needed = np.maximum(won + _regret(*other), 0)
    low = _lower(mine[0], mine[1], needed) - _upper(other[0], other[1], other_needed)
    high = _upper(mine[0], mine[1], needed) - _lower(other[0], other[1], other_needed)
    return low.min(-1), high.max(-1)


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
    total, beyond = _beyond(counts)
    surely_beyond, surely_within = (
        _won(beyond, total, 1 - level, above=above) >= -np.log(error) for above in (True, False)
    )
    lower = np.where(surely_beyond, bounds, 0.0).max(-1, initial=0.0)
    return lower, np.where(surely_within, bounds, np.inf).min(-1, initial=np.inf)


def quantile_ratio(
    counts: ArrayLike, bounds: ArrayLike, others: ArrayLike, other_bounds: ArrayLike, level: float, error: float
) -> tuple[Numbers, Numbers]:
    """The interval of a quantile over another's, both known by steps; see `quantile` and `difference`.

    The other quantile is in some step. For each the other's counts tell how much has been won against it, and the
    own ones how far beyond the own quantile must be for the rest.

    Returns:
        What the ratio is surely beyond (not at), and what it is surely not beyond.
    """
    (total, beyond), (other_total, other_beyond) = _beyond(counts), _beyond(others)
    won = _won(beyond, total, 1 - level, above=True)
    before = np.concatenate([other_total, other_beyond[..., :-1]], axis=-1)
    needed = -np.log(error) - _kept(_won(before, other_total, 1 - level, above=False))
    lowest = np.full(total.shape[:-1], np.inf)
    for place, upper in enumerate(np.asarray(other_bounds, np.float64)):
        mine = np.where(won >= needed[..., place, None], bounds, 0.0).max(-1, initial=0.0)
        with np.errstate(invalid="ignore"):  # beyond all bounds: this step is refuted by the other's counts alone
            lowest = np.minimum(lowest, np.where(np.isinf(mine), np.inf, mine / upper))
    _, high = quantile(counts, bounds, level, error / 2)
    other_low, _ = quantile(others, other_bounds, level, error / 2)
    return lowest, np.divide(high, other_low, out=np.full(high.shape, np.inf), where=other_low > 0)


def distance(counts: ArrayLike, others: ArrayLike, error: float) -> tuple[Numbers, Numbers]:
    """The interval of Kolmogorov and Smirnov's distance between two distributions known by the same steps.

    The error is split over the bounds of the steps. With some twenty of them that is narrower than a band for all
    values at once (Dvoretzky, Kiefer and Wolfowitz; made time-uniform by Howard and Ramdas 2022), for it knows how
    small the variance is at each.

    Args:
        counts: values by step ``[..., steps]``.
        others: those of the other distribution ``[..., steps]``.
        error: chance that the distance is ever outside.
    """
    (total, beyond), (other_total, other_beyond) = _beyond(counts), _beyond(others)
    inner = max(beyond.shape[-1] - 1, 1)  # beyond the last bound there is nothing
    low, high = difference(beyond[..., :inner], total, other_beyond[..., :inner], other_total, error / inner)
    return np.maximum(np.maximum(low, -high).max(-1), 0.0), np.maximum(high, -low).max(-1)


def _pair(hits: ArrayLike, trials: ArrayLike) -> tuple[Numbers, Numbers]:
    """Both of one shape, and a last axis ``[..., 1]`` for the ways to split the evidence."""
    first, second = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(trials, np.float64))
    return first[..., None], second[..., None]


def _beyond(counts: ArrayLike) -> tuple[Numbers, Numbers]:
    """All values ``[..., 1]``, and those beyond each bound ``[..., steps]``."""
    found = np.asarray(counts, np.float64)
    total = found.sum(-1, keepdims=True)
    return total, total - found.cumsum(-1)


def _kept(won: Any) -> Any:
    """The logarithm of what he has who bet half of it."""
    return np.logaddexp(0, won) - np.log(2)


def _won(hits: Numbers, trials: Numbers, share: float, above: bool) -> Numbers:
    """The logarithm of what bets have won against every share up to ``share`` (above), or from it on."""
    hits, trials = np.broadcast_arrays(hits, trials)
    rate = hits / np.maximum(trials, 1)
    against = np.minimum(share, rate) if above else np.maximum(share, rate)
    worth = _logarithm(hits, trials, rate) - _logarithm(hits, trials, against) - _regret(hits, trials)
    return np.asarray(worth)


def _lower(hits: Numbers, trials: Numbers, needed: Numbers) -> Numbers:
    """The share below that of the hits against which the best share in hindsight has won ``needed`` (a logarithm).

    What it has won is convex in the share's logarithm and falls towards the share of hits: Newton's steps that begin
    left of the end never pass it.
    """
    hits, trials, needed = np.broadcast_arrays(hits, trials, needed)
    found = np.zeros(hits.shape)
    some = hits > 0
    hit, missed, least = hits[some], (trials - hits)[some], np.maximum(needed[some], 1e-9)
    rate = hit / (hit + missed)
    best = _logarithm(hit, hit + missed, rate)
    log = np.log(rate) - np.sqrt(2 * least * (1 - rate) / hit) - least / hit
    for _ in range(STEPS):
        low = np.exp(log)
        won = best - hit * log - xlog1py(missed, -low)
        step = (won - least) / (hit - missed * low / (1 - low))
        log = log + step
        if not np.any(np.abs(step) > 1e-12):
            break
    found[some] = np.minimum(np.exp(log), rate)
    return found


def _upper(hits: Numbers, trials: Numbers, needed: Numbers) -> Numbers:
    return 1 - _lower(trials - hits, trials, needed)


def _logarithm(hits: Numbers, trials: Numbers, share: Any) -> Any:
    """Of the likelihood of a share."""
    return xlogy(hits, share) + xlog1py(trials - hits, -share)


def _regret(hits: Numbers, trials: Numbers) -> Any:
    """By how much the best share in hindsight wins more than the mixture, as a logarithm."""
    missed = trials - hits
    rate = hits / np.maximum(trials, 1)
    return _logarithm(hits, trials, rate) - betaln(hits + 0.5, missed + 0.5) + betaln(0.5, 0.5)
