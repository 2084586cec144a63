"""What ends a rollout: each guard compares the candidate with the champion and says how sure it is.

A guard breaks when the whole interval of what it measures lies beyond its bound. The intervals hold at every moment
of looking (`graphmill.rollout.evidence`), and the guards that are on share the chance of a false alarm evenly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from graphmill.rollout import evidence
from graphmill.rollout.evidence import Numbers
from graphmill.rollout.observation import Observation, Seen
from graphmill.rollout.params import Guards

TAIL = 0.99
"""The quantile of the time to answer that is compared."""


@dataclass(frozen=True)
class Verdict:
    """What one guard says."""

    name: str
    broken: bool
    value: float | None
    """What was measured; None without evidence."""
    low: float | None
    high: float | None
    """The interval that holds at every moment of looking; None where it has no end, or there is no evidence."""
    bound: float
    evidence: int
    """Requests that it rests on."""
    meaning: str


@dataclass(frozen=True)
class _Found:
    """A measurement: its interval, and in words what was seen and what it would mean to be beyond the bound."""

    value: float
    low: float
    high: float
    evidence: int
    seen: str
    beyond: str


def judge(guards: Guards, seen: Observation) -> list[Verdict]:
    """Every guard that is on, in the order of `Guards`."""
    bounds = {name: bound for name in MEASURES if (bound := getattr(guards, name)) is not None}
    return [_verdict(name, bound, guards.false_alarm / len(bounds), seen) for name, bound in bounds.items()]


def _verdict(name: str, bound: float, error: float, seen: Observation) -> Verdict:
    found = MEASURES[name](bound, error, seen)
    if isinstance(found, str):
        return Verdict(name, False, None, None, None, bound, 0, found)
    broken = found.low > bound
    sure = "surely" if broken else "surely not" if found.high <= bound else "not shown to be"
    high = found.high if np.isfinite(found.high) else None
    meaning = f"{found.seen}; {sure} {found.beyond}"
    return Verdict(name, broken, found.value, found.low, high, bound, found.evidence, meaning)


def _error_rate(bound: float, error: float, seen: Observation) -> _Found | str:
    """Share of failures less the champion's. A mirrored request that the candidate did not answer is a failure."""
    failures, requests = _failures(seen.candidate)
    failures, requests = failures + seen.mirrored_failures, requests + seen.compared + seen.mirrored_failures
    others, other_requests = _failures(seen.champion)
    if not (requests and other_requests):
        return _nothing("requests", requests, other_requests)
    low, high = evidence.difference(failures, requests, others, other_requests, error)
    rate, other = failures / requests, others / other_requests
    told = f"fails {_percent(rate)} of {requests:,} requests, the champion {_percent(other)} of {other_requests:,}"
    return _Found(rate - other, float(low), float(high), requests, told, f"more than {_percent(bound)} worse")


def _failures(version: Seen) -> tuple[int, int]:
    """Failures and requests, where failures can be seen."""
    return (0, 0) if version.failures is None else (min(version.failures, version.requests), version.requests)


def _latency_ratio(bound: float, error: float, seen: Observation) -> _Found | str:
    """The candidate's 99th percentile over the champion's, both known by the steps of their histograms."""
    mine, other = _steps(seen.candidate.latency), _steps(seen.champion.latency)
    if not (mine.total and other.total):
        return _nothing("times to answer", mine.total, other.total)
    histograms = (mine.counts, mine.bounds), (other.counts, other.bounds)
    low, high = (float(end) for end in evidence.quantile_ratio(*histograms[0], *histograms[1], TAIL, error))
    ends, usual_ends = (map(float, evidence.quantile(*one, TAIL, error / 2)) for one in histograms)
    slow, usual = _tail(mine), _tail(other)
    told = (
        f"99 % of {mine.total:,} requests take up to {_time(slow)} ({_between(*ends)}), "
        f"the champion's {other.total:,} up to {_time(usual)} ({_between(*usual_ends)})"
    )
    # the ratio is beyond `low`, not at it: one at the bound is beyond it, also where rounding hides it
    beyond = float(np.nextafter(round(low, 12), np.inf))
    return _Found(slow / usual if usual else 1.0, beyond, high, mine.total, told, f"more than {bound:g} times slower")


def _score_distance(bound: float, error: float, seen: Observation) -> _Found | str:
    """Kolmogorov and Smirnov's distance at the bounds that both histograms have."""
    mine, other = _scores(seen.candidate, seen.compared), _scores(seen.champion)
    if not (mine.total and other.total):
        return _nothing("scores", mine.total, other.total)
    bounds = np.intersect1d(mine.bounds, other.bounds)
    counts, others = mine.between(bounds), other.between(bounds)
    low, high = evidence.distance(counts, others, error)
    shares, usual = counts.cumsum() / counts.sum(), others.cumsum() / others.sum()
    worst = int(np.abs(shares - usual).argmax())
    told = (
        f"{_percent(shares[worst])} of {mine.total:,} scores are at most {bounds[worst]:g}, "
        f"of the champion's {other.total:,} {_percent(usual[worst])}"
    )
    apart = float(abs(shares - usual)[worst])
    return _Found(apart, float(low), float(high), mine.total, told, f"more than {bound:g} apart")


def _disagreement(bound: float, error: float, seen: Observation) -> _Found | str:
    """Share of the same requests that both decide differently."""
    if not seen.compared:
        return "nothing was mirrored and compared yet"
    disagreed = min(seen.disagreed, seen.compared)  # two counters of several processes are read at two moments
    low, high = evidence.share(disagreed, seen.compared, error)
    rate = disagreed / seen.compared
    told = f"decides {_percent(rate)} of {seen.compared:,} requests otherwise than the champion"
    return _Found(rate, float(low), float(high), seen.compared, told, f"more than {_percent(bound)}")


def _precision(bound: float, error: float, seen: Observation) -> _Found | str:
    """The champion's share of true alarms less the candidate's."""
    mine, other = seen.candidate, seen.champion
    if not (mine.alarms and other.alarms):
        return _nothing("alarms with a known label", mine.alarms, other.alarms)
    high, low = (
        -end for end in evidence.difference(mine.true_alarms, mine.alarms, other.true_alarms, other.alarms, error)
    )
    share, usual = mine.true_alarms / mine.alarms, other.true_alarms / other.alarms
    told = f"{_percent(share)} of {mine.alarms:,} alarms are true, of the champion's {other.alarms:,} {_percent(usual)}"
    return _Found(usual - share, float(low), float(high), mine.alarms, told, f"more than {_percent(bound)} fewer")


MEASURES: Mapping[str, Callable[[float, float, Observation], _Found | str]] = {
    "error_rate": _error_rate,
    "latency_ratio": _latency_ratio,
    "score_distance": _score_distance,
    "disagreement": _disagreement,
    "precision": _precision,
}
"""Each measures, or says in words why it has nothing to measure."""


@dataclass(frozen=True)
class _Steps:
    """A histogram: counts ``[steps]`` by upper bounds ``[steps]``, ascending."""

    bounds: Numbers
    counts: Numbers

    @property
    def total(self) -> int:
        """All of its values."""
        return int(self.counts.sum())

    def between(self, bounds: Numbers) -> Numbers:
        """Counts by fewer of its bounds; what is beyond the last falls into the last."""
        below = self.counts.cumsum()[np.searchsorted(self.bounds, bounds)]
        below[-1:] = self.counts.sum()
        return np.diff(below, prepend=0)


def _steps(histogram: Mapping[float, int]) -> _Steps:
    ordered = sorted(histogram.items())
    return _Steps(np.array([bound for bound, _ in ordered]), np.array([count for _, count in ordered], np.float64))


def _scores(version: Seen, compared: int = 0) -> _Steps:
    """Scores of one request are not independent: they count together as one."""
    steps, answers = _steps(version.scores), max(version.requests - (version.failures or 0), 0) + compared
    return _Steps(steps.bounds, steps.counts * min(1.0, answers / max(steps.total, 1))) if answers else steps


def _tail(steps: _Steps) -> float:
    """The quantile as dashboards show it: values are spread evenly over their step; in the last, its lower bound."""
    below = steps.counts.cumsum()
    place = int(np.searchsorted(below, TAIL * below[-1]))
    lower = steps.bounds[place - 1] if place else 0.0
    if not np.isfinite(steps.bounds[place]):
        return float(lower)
    part = (TAIL * below[-1] - below[place] + steps.counts[place]) / steps.counts[place]
    return float(lower + part * (steps.bounds[place] - lower))


def _nothing(what: str, mine: int, other: int) -> str:
    if not mine:
        return f"no {what} of the candidate seen yet"
    return f"no {what} of the champion seen yet, to compare {mine:,} of the candidate with"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _between(low: float, high: float) -> str:
    if not np.isfinite(high):
        return f"surely more than {_time(low)}" if low else "too few to be sure"
    return f"surely {_time(low)} to {_time(high)}" if low else f"surely no more than {_time(high)}"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
