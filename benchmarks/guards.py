"""The rollout's guards on simulated rollouts: `python -m benchmarks guards`.

How often is a good model rolled back that is looked at every ten of its requests, and after how many requests a bad
one? Beside ours stand two peers that see the same counts: a *threshold* on the point estimate once there are 100
requests, and a *repeated* test of fixed size (score tests at the same split error) made at every look.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import beta, lognorm

from benchmarks.rollouts import Counts, Model, Numbers, draw, observations
from benchmarks.rules import BOUNDS, LIMITS, ON, RULES, Broken
from graphmill.rollout.guards import TAIL, judge

LOOK = 10
"""Requests of the candidate between two looks."""
SHARES = {"5 %": 19, "25 %": 3}
"""Requests of the champion to one of the candidate, by the candidate's share of the traffic."""
BATCH = 10
"""Rollouts that are simulated at a time."""
CHECKED = 3
"""Rollouts of each kind whose verdict is compared with that of `judge`."""


def times(slower: float = 1.0, stalls: float = 0.0) -> Numbers:
    """Shares of the steps of times around 2 ms, some of them ten times that."""
    usual, stalled = (lognorm.cdf(BOUNDS, 0.5, scale=0.002 * slower * many) for many in (1, 10))
    return np.diff((1 - stalls) * usual + stalls * stalled, prepend=0)


def spread(first: float, second: float) -> Numbers:
    """Shares of the twenty steps of scores."""
    return np.diff(beta.cdf(np.arange(21) / 20, first, second))


GOOD = Model(0.001, times(), spread(2, 5), 0.03, 0.8)


def _at_the_bounds() -> tuple[Model, Model]:
    """A champion, and a candidate that uses up all that it may: its error would be one step further."""
    tail = np.zeros(len(BOUNDS))
    tail[[20, 21, 22, 23]] = 0.5, 0.49, 0.005, 0.005  # the champion's 99 % are reached exactly at a bound
    beyond = int(np.searchsorted(BOUNDS, LIMITS.latency_ratio * BOUNDS[21]))
    slow = np.zeros(len(BOUNDS))
    slow[[beyond, beyond + 1]] = TAIL, 1 - TAIL
    scores = GOOD.scores.copy()
    scores[:5] *= 1 - LIMITS.score_distance / scores[:5].sum()
    scores[5] += LIMITS.score_distance
    champion = replace(GOOD, times=tail)
    failing, true = GOOD.failing + LIMITS.error_rate, GOOD.precision - LIMITS.precision
    return champion, Model(failing, slow, scores, LIMITS.disagreement, true)


BAD = {
    "fails 10 %": ("error_rate", replace(GOOD, failing=0.10)),
    "three times slower": ("latency_ratio", replace(GOOD, times=times(3))),
    "10 % take ten times as long": ("latency_ratio", replace(GOOD, times=times(stalls=0.10))),
    "scores shifted": ("score_distance", replace(GOOD, scores=spread(4, 4))),
    "scores constant": ("score_distance", replace(GOOD, scores=np.eye(20)[4])),
    "decides 30 % otherwise": ("disagreement", replace(GOOD, disagreeing=0.30)),
    "30 % of its alarms are true": ("precision", replace(GOOD, precision=0.30)),
}
"""What is bad, beside a champion that is `GOOD`, and the guard that has to see it."""
NOT_GOOD = {
    "fails 5 %": ("error_rate", replace(GOOD, failing=0.05)),
    "twice as slow": ("latency_ratio", replace(GOOD, times=times(2))),
    "5 % take ten times as long": ("latency_ratio", replace(GOOD, times=times(stalls=0.05))),
    "decides 20 % otherwise": ("disagreement", replace(GOOD, disagreeing=0.20)),
}
"""What is beyond a bound too, by less: seen later."""


def run(small: bool) -> dict[str, Any]:
    """Simulate good and bad models: false alarms and delays of each rule, a table, and the line of JSON."""
    rollouts, bad, requests = (20, 10, 1_000) if small else (1_000, 400, 20_000)
    seconds = dict.fromkeys(RULES, 0.0)
    champion, edge = _at_the_bounds()
    good = _first_breaks(GOOD, GOOD, 19, ON, rollouts, requests, seconds)
    at_bound = _first_breaks(champion, edge, 19, ON, rollouts, requests, seconds)
    alarms = {kind: _alarms(found) for kind, found in (("good", good), ("at the bounds", at_bound))}
    delays = {
        f"{name}, {share}": _delays(_first_breaks(GOOD, model, more, (guard,), bad, 2_000, seconds))
        for name, (guard, model) in (BAD | NOT_GOOD).items()
        for share, more in SHARES.items()
    }
    _show(alarms, delays)
    return _told(alarms, delays, seconds, rollouts, requests)


def _first_breaks(
    champion: Model, candidate: Model, more: int, on: tuple[str, ...], rollouts: int, requests: int,
    seconds: dict[str, float],
) -> dict[str, Numbers]:  # fmt: skip
    """Requests of the candidate at the first look that breaks a guard ``[rollouts]``, infinite where none does."""
    random = np.random.default_rng(1)
    found: dict[str, list[Numbers]] = {name: [] for name in RULES}
    while (done := sum(map(len, found["guards"]))) < rollouts:
        many, looks = min(BATCH, rollouts - done), requests // LOOK
        mine, other = draw(candidate, many, looks, LOOK, random), draw(champion, many, looks, LOOK * more, random)
        for name, rule in RULES.items():
            began = time.process_time()
            broken = rule(mine, other)
            seconds[name] += time.process_time() - began
            first = _first(np.any([broken[guard] for guard in on], axis=0))
            found[name].append(first)
            if name == "guards" and not done:
                _check(broken, mine, other, first)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _check(broken: Broken, mine: Counts, other: Counts, first: Numbers) -> None:
    """What is measured here is what a rollout does: `judge` says the same at the look that decides."""
    for rollout in range(min(CHECKED, len(first))):
        look = int(min(first[rollout] / LOOK, mine.requests.shape[-1])) - 1
        for at in (look, max(look - 1, 0)):
            asked, mirrored = (judge(LIMITS, seen) for seen in observations(mine, other, BOUNDS, rollout, at))
            said = {one.name: one.broken or two.broken for one, two in zip(asked, mirrored, strict=True)}
            assert said == {name: bool(one[rollout, at]) for name, one in broken.items()}


def _first(broken: NDArray[np.bool_]) -> Numbers:
    return np.where(broken.any(-1), (broken.argmax(-1) + 1) * float(LOOK), np.inf)


def _alarms(found: dict[str, Numbers]) -> dict[str, dict[str, float]]:
    """Share of the rollouts that were rolled back, and its standard error."""
    rates = {name: float(np.isfinite(first).mean()) for name, first in found.items()}
    many = len(found["guards"])
    return {name: {"rate": rate, "error": round((rate * (1 - rate) / many) ** 0.5, 5)} for name, rate in rates.items()}


def _delays(found: dict[str, Numbers]) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of the requests until the first break, their standard errors by the bootstrap.

    Both are infinite where so many never broke within the simulation.
    """
    told = {}
    for name, first in found.items():
        drawn = np.random.default_rng(2).choice(first, (500, len(first)))
        with np.errstate(invalid="ignore"):  # the difference of two rollouts that never broke
            spreads = [float(np.quantile(drawn, level, axis=1, method="higher").std()) for level in (0.5, 0.95)]
        median, late = (float(np.quantile(first, level, method="higher")) for level in (0.5, 0.95))
        told[name] = {"median": median, "median_error": spreads[0], "p95": late, "p95_error": spreads[1]}
    return told


def _show(alarms: dict[str, Any], delays: dict[str, Any]) -> None:
    table = Table(title="rolled back, of good models; requests until a bad one is (median, 95 %)")
    for heading in ("model", *RULES):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for kind, found in alarms.items():
        table.add_row(kind, *(f"{one['rate']:.2%} ± {one['error']:.2%}" for one in found.values()))
    for kind, found in delays.items():
        table.add_row(kind, *(f"{one['median']:,.0f}, {one['p95']:,.0f}" for one in found.values()))
    Console(width=120).print(table)


def _told(
    alarms: dict[str, Any], delays: dict[str, Any], seconds: dict[str, float], rollouts: int, requests: int
) -> dict[str, Any]:
    late = {name: delays[f"{name}, 5 %"]["guards"]["p95"] for name in BAD}
    labelled = [name for name, (guard, _) in BAD.items() if guard == "precision"]
    ours_at, peer_at = (alarms["good"][name]["rate"] for name in ("guards", "threshold"))
    return {
        "name": "guards",
        "ratio": round(peer_at / max(ours_at, 1 / rollouts), 2),
        "ours": "guards", "peer": "threshold",
        "false_alarm_rate": ours_at, "peer_false_alarm_rate": peer_at,
        "repeated_false_alarm_rate": alarms["good"]["repeated"]["rate"],
        "requests_to_roll_back": max(value for name, value in late.items() if name not in labelled),
        "alarms_to_roll_back": max(late[name] for name in labelled),
        "alarms": alarms, "delays": {name: _finite(found) for name, found in delays.items()},
        "cpu": seconds, "rollouts": rollouts, "requests": requests,
        "what": "false alarms of a rule on point estimates over ours (at least one rollout), the same good models",
    }  # fmt: skip


def _finite(delays: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """JSON has no infinity: what never came is null."""
    return {
        name: {key: round(value, 1) if np.isfinite(value) else None for key, value in found.items()}
        for name, found in delays.items()
    }
