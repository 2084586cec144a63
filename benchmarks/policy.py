"""When it pays to retrain: simulated years of daily checks, and replays of real ones: `python -m benchmarks policy`.

Simulated: days without drift and days after a step, judged by the charts and the policy; and what holds retraining
back. Replayed: the sample's year and Bitcoin-OTC by quarter, retrained never, every period, and by the policy.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import replay
from graphmill.drift.charts import ALARM, Series, judge
from graphmill.drift.decision import Check, Decision, Outcome, Past
from graphmill.drift.policy import decide
from graphmill.drift.rules import Policy, Rules
from graphmill.sample.make import make
from graphmill.sample.write import write

DATA = Path(os.environ.get("GRAPHMILL_EXAMPLE_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
DAY = 86_400_000_000
RULES = Rules.of(Policy(cooldown="7d", per="84d"), "timestamp", True, DAY)
FAMILIES = ("feature", "structure", "embedding", "prediction", "performance")
COLUMNS = 50
NATURAL = 0.03
"""Standard deviation of a column's harmless variation from day to day."""
ROWS = 100_000
WINDOW = 30
ALPHA = 0.01
"""Of a family and check: what daily checks use."""
SCALE = 1.0
"""Of the sample: with fewer payments some half-months have no fraud."""
STEP = 0.2
SHIFTED = 5


def run(small: bool) -> dict[str, Any]:
    """Simulate, replay, print two tables, and return the line of JSON."""
    years, steps = (1, 2) if small else (6, 20)
    found: dict[str, Any] = {"quiet": {}, "step": {}}
    for correlation in (0.0, 0.7):
        found["quiet"][str(correlation)] = [_retrains(_year(correlation, seed, 365)) for seed in range(years)]
        found["step"][str(correlation)] = [_after_step(correlation, seed) for seed in range(steps)]
    found["blocked_by"] = {name: scenario() for name, scenario in SCENARIOS.items()}
    assert all(name in blocked for name, blocked in found["blocked_by"].items()), found["blocked_by"]
    found["replay"] = _replays(small)
    _show(found)
    return (
        found
        | _shares(found["replay"])
        | {
            "most_retrains_in_a_quiet_year": max(count for counts in found["quiet"].values() for count in counts),
            "one_retrain_within_three_checks": float(
                np.mean([item for items in found["step"].values() for item in items])
            ),
        }
    )


# ----- simulated days


def _days(correlation: float, seed: int, days: int, step_at: int | None) -> Iterator[dict[str, str]]:
    """Each family's state, day by day; alarmed days are no part of what is usual."""
    random = np.random.default_rng(seed)
    families = {name: _levels(random, correlation, WINDOW + days) for name in FAMILIES[: 1 if step_at else None]}
    if step_at is not None:
        families["feature"][WINDOW + step_at :, :SHIFTED] += STEP
    usual = {name: list(range(WINDOW)) for name in families}
    for day in range(WINDOW, WINDOW + days):
        states = dict.fromkeys(FAMILIES, "ok")
        for name, values in families.items():
            first = usual[name][-WINDOW]
            null = np.array(usual[name][-WINDOW:]) - first
            verdicts = judge(_series(values[first : day + 1]), null, ALPHA)
            if np.any(verdicts.state == ALARM):
                states[name] = "alarm"
            else:
                usual[name].append(day)
        yield states


def _levels(random: np.random.Generator, correlation: float, days: int) -> np.ndarray:
    """Means of columns by day: an autoregressive walk and the noise of the rows."""
    walk = random.normal(0, NATURAL, (days, COLUMNS))
    for day in range(1, days):
        walk[day] = correlation * walk[day - 1] + np.sqrt(1 - correlation**2) * walk[day]
    return walk + random.normal(0, ROWS**-0.5, (days, COLUMNS))


def _series(values: np.ndarray) -> Series:
    count = values.shape[1]
    noise, floor = np.full(values.shape, 1 / ROWS), np.full(count, 0.02)
    none = np.zeros(count, np.int64)
    return Series(values, noise, np.arange(len(values)), floor, np.ones(count), none, none)


def _year(correlation: float, seed: int, days: int, step_at: int | None = None) -> list[Decision]:
    days_of = enumerate(_days(correlation, seed, days, step_at))
    return _decided([_check(day, states) for day, states in days_of])


def _retrains(found: Sequence[Decision]) -> int:
    return sum(decision.answer == "retrain" for decision in found)


def _after_step(correlation: float, seed: int) -> bool:
    """Whether a step is answered within three checks, once in the thirty days after it, and nothing before."""
    found = _year(correlation, 1_000 + seed, 50, step_at=20)
    return [day for day, decision in enumerate(found) if decision.answer == "retrain"][:1] in ([20], [21], [22]) and (
        _retrains(found) == 1
    )


def _check(day: int, states: dict[str, str], **given: Any) -> Check:
    known = {"labels": 5_000, "new_labels": 500, "new_edges": 0.2}
    return Check(day * DAY, "m", dict.fromkeys(FAMILIES, "ok") | states, **{**known, **given})


def _decided(checks: Sequence[Check], rules: Rules = RULES, outcome: Outcome = "promoted") -> list[Decision]:
    past: list[Past] = []
    found = []
    for check in checks:
        decision = decide(check, past, rules)
        past.append(Past(check, decision.answer, decision.families, outcome))
        found.append(decision)
    return found


# ----- what holds retraining back


TWICE = replace(RULES, alarms=2, checks=3)


def _alarms(days: Sequence[int], until: int, **given: Any) -> list[Check]:
    return [_check(day, {"feature": "alarm"} if day in days else {}, **given) for day in range(until)]


def _last(checks: Sequence[Check], rules: Rules = TWICE, outcome: Outcome = "promoted") -> list[str]:
    return _decided(checks, rules, outcome)[-1].blocked_by


SCENARIOS: dict[str, Callable[[], list[str]]] = {
    "persistence": lambda: _last(_alarms([9], 10)),
    "hysteresis": lambda: _last(_alarms(range(1, 100, 2), 100)),
    "unseen": lambda: _last(_alarms([8, 9], 10, learns_until=5 * DAY)),
    "cooldown": lambda: _last([*_alarms([8, 9], 10), _check(10, {"structure": "alarm"})], replace(TWICE, alarms=1)),
    "budget": lambda: _last(_alarms([], 60, trained=0), replace(TWICE, schedule=7 * DAY)),
    "integrity": lambda: _last(_alarms([1, 2], 3, broken=("no rows, payment",))),
    "failure": lambda: _last(_alarms([1, 2], 3, failed=("structure",))),
    "backoff": lambda: _last(_alarms(range(1, 12), 12), outcome="rejected"),
    "rejections": lambda: _last(_alarms(range(1, 60), 60), outcome="rejected"),
    "rollout": lambda: _last(_alarms(range(1, 12), 12), outcome="pending"),
    "labels": lambda: _last(_alarms([1, 2], 3, new_labels=3)),
    "edges": lambda: _last(_alarms([1, 2], 3, new_edges=0.001)),
}


# ----- replays


def _replays(small: bool) -> dict[str, Any]:
    """Each data set's replay that can be run; ``small`` leaves the sample's year out, which takes long."""
    found: dict[str, Any] = {}
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="graphmill-policy-") as name:
        folder = Path(name)
        if (source := DATA / "bitcoin_otc").is_dir():
            world = replay.bitcoin(source, folder / "bitcoin")
            found[world.name] = replay.run(replay.Replay(world, folder / "bitcoin" / "run"), console.print)
        else:
            console.print(f"{source}: not there, so Bitcoin-OTC is left out; GRAPHMILL_EXAMPLE_DATA names the folder")
        if not small:
            write(make(7, SCALE), folder / "data")
            world = replay.sample(folder / "data")
            found[world.name] = replay.run(replay.Replay(world, folder / "sample"), console.print)
    return found


def _shares(found: dict[str, Any]) -> dict[str, float | None]:
    """The worst over the data sets where retraining gains anything."""
    gains = [item["share_of_gain"] for item in found.values() if item["share_of_gain"] is not None]
    return {
        "share_of_gain": min(gains, default=None),
        "share_of_retrains": max((item["share_of_retrains"] for item in found.values()), default=None),
    }


def _show(found: dict[str, Any]) -> None:
    table = Table("data set", "strategy", "average precision, mean over periods", "retrainings")
    for name, item in found["replay"].items():
        for strategy in ("never", "every", "policy"):
            table.add_row(name, strategy, f"{item[strategy]['mean']:.4f}", str(item[strategy]["retrainings"]))
    Console(width=120).print(table)
    table = Table("days", "autocorrelation", "result")
    for correlation, counts in found["quiet"].items():
        table.add_row("a year without drift", correlation, f"drift retrainings by year: {counts}")
    for correlation, right in found["step"].items():
        table.add_row(
            f"{STEP} σ in {SHIFTED} columns", correlation, f"once within 3 checks: {sum(right)} of {len(right)}"
        )
    Console(width=120).print(table)
