"""Rules that end a rollout, for many rollouts and looks at once: the guards, and two peers that see the same counts."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.rollouts import Counts, Numbers
from graphmill.rollout import evidence
from graphmill.rollout.guards import TAIL
from graphmill.rollout.params import Guards
from graphmill.serving.metrics import SECONDS_STEPS

LIMITS = Guards()
ON = ("error_rate", "latency_ratio", "score_distance", "disagreement", "precision")
ERROR = LIMITS.false_alarm / len(ON)
BOUNDS = np.array([*SECONDS_STEPS, np.inf])
FEW = 100
"""Requests that the threshold waits for."""

Broken = dict[str, NDArray[np.bool_]]
Rule = Callable[[Counts, Counts], Broken]


def ours(candidate: Counts, champion: Counts) -> Broken:
    """What `judge` decides; where the point estimate keeps to a bound the interval does too, and is not computed."""
    broken = {}
    for name, points in (_points(candidate, champion) | _narrower(candidate, champion)).items():
        beyond = points > getattr(LIMITS, name)
        ends = LOW[name](candidate.at(beyond), champion.at(beyond))
        broken[name] = np.zeros(beyond.shape, np.bool_)
        broken[name][beyond] = ends > getattr(LIMITS, name)
    return broken


def _narrower(mine: Counts, other: Counts) -> dict[str, Numbers]:
    """What takes longest is computed less often: an interval as if the champion's distribution were known."""
    others = _below(other.scores)
    low, high = evidence.share(
        mine.scores.cumsum(-1)[..., :-1], mine.scores.sum(-1, keepdims=True), ERROR / others.shape[-1]
    )
    return {"score_distance": np.maximum(low - others, others - high).max(-1)}


def _slower(mine: Counts, other: Counts) -> Numbers:
    low, _ = evidence.quantile_ratio(mine.times, BOUNDS, other.times, BOUNDS, TAIL, ERROR)
    return low * (1 + 1e-12)  # it is beyond that, not at it


LOW: dict[str, Callable[[Counts, Counts], Numbers]] = {
    "error_rate": lambda mine, other: evidence.difference(
        mine.failures, mine.requests, other.failures, other.requests, ERROR
    )[0],
    "latency_ratio": _slower,
    "score_distance": lambda mine, other: evidence.distance(mine.scores, other.scores, ERROR)[0],
    "disagreement": lambda mine, other: evidence.share(mine.disagreed, mine.requests, ERROR)[0],
    "precision": lambda mine, other: -evidence.difference(mine.true, mine.alarms, other.true, other.alarms, ERROR)[1],
}
"""What each measure is surely beyond."""


def threshold(candidate: Counts, champion: Counts) -> Broken:
    """The point estimate, from so many requests on."""
    enough = candidate.requests >= FEW
    return {name: (points > getattr(LIMITS, name)) & enough for name, points in _points(candidate, champion).items()}


def _points(mine: Counts, other: Counts) -> dict[str, Numbers]:
    return {
        "error_rate": mine.failures / mine.requests - other.failures / other.requests,
        "latency_ratio": _tail(mine.times) / _tail(other.times),
        "score_distance": np.abs(_below(mine.scores) - _below(other.scores)).max(-1),
        "disagreement": mine.disagreed / mine.requests,
        "precision": other.true / other.alarms - mine.true / mine.alarms,
    }


def repeated(candidate: Counts, champion: Counts) -> Broken:
    """A one-sided score test at the error of its guard, as if this look were the only one."""
    mine, other = candidate, champion
    beyond = BOUNDS >= LIMITS.latency_ratio * _tail(other.times)[..., None]
    slower = (mine.times * np.roll(beyond, 1, -1) * beyond).sum(-1)
    below, others = _below(mine.scores), _below(other.scores)
    many, more = mine.requests[..., None], other.requests[..., None]
    sides = 2 * below.shape[-1]
    scores = [
        _surely(one, many, two, more, LIMITS.score_distance, ERROR / sides)
        for one, two in ((below, others), (1 - below, 1 - others))
    ]
    return {
        "error_rate": _surely(
            mine.failures / mine.requests, mine.requests, other.failures / other.requests, other.requests,
            LIMITS.error_rate, ERROR,
        ),
        "latency_ratio": _surely(slower / mine.requests, mine.requests, 1 - TAIL, np.inf, 0, ERROR),
        "score_distance": (scores[0] | scores[1]).any(-1),
        "disagreement": _surely(mine.disagreed / mine.requests, mine.requests, LIMITS.disagreement, np.inf, 0, ERROR),
        "precision": _surely(
            1 - mine.true / mine.alarms, mine.alarms, 1 - other.true / other.alarms, other.alarms,
            LIMITS.precision, ERROR,
        ),
    }  # fmt: skip


RULES: dict[str, Rule] = {"guards": ours, "threshold": threshold, "repeated": repeated}


def _surely(rate: Any, trials: Any, other: Any, other_trials: Any, bound: float, error: float) -> NDArray[np.bool_]:
    """The score test of a share that is not more than ``bound`` beyond another."""
    most = np.minimum(other + bound, 1)
    variance = most * (1 - most) / np.maximum(trials, 1) + other * (1 - other) / np.maximum(other_trials, 1)
    surely: NDArray[np.bool_] = rate - other - bound > norm.isf(error) * np.sqrt(variance)
    return surely


def _below(counts: Numbers) -> Numbers:
    below = counts.cumsum(-1)[..., :-1]
    return np.asarray(below / np.maximum(counts.sum(-1, keepdims=True), 1))


def _tail(counts: Numbers) -> Numbers:
    """The 99th percentile as dashboards show it, spread evenly over its step."""
    below = counts.cumsum(-1)
    wanted = TAIL * below[..., -1:]
    place = (below < wanted).sum(-1, keepdims=True)
    lower = np.concatenate([[0.0], BOUNDS[:-1]])[place]
    upper = np.where(np.isfinite(BOUNDS[place]), BOUNDS[place], lower)
    inside = np.take_along_axis(counts, place, -1)
    part = (wanted - np.take_along_axis(below, place, -1) + inside) / np.maximum(inside, 1)
    return np.asarray((lower + part * (upper - lower))[..., 0])
