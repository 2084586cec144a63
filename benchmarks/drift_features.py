"""Feature drift beside two peers that see the same profiles.

*KS and Holm* tests every column against the past periods together, rows taken as independent, and corrects for being
many. *Share* is the verdict that other tools have by default: drift when half of the columns moved by a fixed distance.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from scipy import stats

from benchmarks.drift_worlds import Nodes, Profile, Table, Variation
from graphmill.drift import compare
from graphmill.drift.baseline import Past
from graphmill.drift.charts import holm
from graphmill.drift.distances import distance
from graphmill.drift.items import Item, ordered
from graphmill.drift.params import Params

PAST, CHECKS, YEAR = 20, 3, 52
TRIALS, FEW = 200, 20
HALF, FAR = 0.5, 0.1
PARAMS = Params()
RULES = ("ours", "KS and Holm", "share")
WARNED = "warned"

NULL: dict[str, tuple[Table | Nodes, float]] = {
    **{
        f"{rows:,} rows, natural {size:g}": (Table(rows, Variation(size)), 0.05)
        for rows in (10_000, 1_000_000)
        for size in (0.0, 0.01, 0.03)
    },
    "autocorrelated 0.7": (Table(100_000, Variation(0.03, 0.7)), 0.07),
    "autocorrelated 0.95": (Table(100_000, Variation(0.03, 0.95)), 0.07),
    "heavy tails": (Table(100_000, Variation(0.03, heavy=True)), 0.10),
    "heavy tails, autocorrelated 0.7": (Table(100_000, Variation(0.03, 0.7, heavy=True)), 0.20),
    "95 % of the nodes persist": (Nodes(renewed=0.05), 0.07),
    "30 % of the communities active": (Nodes(active=0.3, alike=0.1), 0.07),
}
DRIFT: dict[str, tuple[Table, float]] = {
    "0.1 in 5 of 50": (Table(100_000, Variation(0.03), 0.1, 5), 0.85),
    "0.2 in 1 of 50": (Table(100_000, Variation(0.03), 0.2, 1), 0.95),
    "0.05 in 5, autocorrelated 0.95": (Table(100_000, Variation(0.03, 0.95), 0.05, 5), 0.95),
}


@dataclass
class Trial:
    """What each rule said at every check of one simulated past."""

    alarms: dict[str, list[bool]]
    named: bool | None = None
    """Whether the first alarm named a column that drifted; None without an alarm."""


def run(small: bool) -> dict[str, Any]:
    """Simulate every scenario; prints a table."""
    trials = FEW if small else TRIALS
    found = {
        "null": {name: summary(world, trials, bound, False) for name, (world, bound) in NULL.items()},
        "drift": {name: summary(world, trials, bound, True) for name, (world, bound) in DRIFT.items()},
    }
    Console(width=120).print(_grid(found, trials))
    return found


def simulate(world: Table | Nodes, trials: int, checks: int = CHECKS) -> list[Trial]:
    """Trials of a world, each with its own seed."""
    return [_trial(world, np.random.default_rng([trial, checks]), checks) for trial in range(trials)]


def _trial(world: Table | Nodes, state: np.random.Generator, checks: int) -> Trial:
    """A past without drift, then checks; what alarmed is no part of the null, as in the stage."""
    reference, profiles, drifted = world.draw(state, PAST, checks)
    found = Trial({rule: [] for rule in (*RULES, WARNED)})
    excluded: set[int] = set()
    for row in range(PAST, PAST + checks):
        past = Past(reference, profiles[:row], PAST, frozenset(excluded))
        items = compare.items(profiles[row], past, PARAMS)
        state_of = compare.families(items, {}, PARAMS)["feature"]["state"]
        peers = _peers(profiles[row], profiles[:PAST])
        for rule, alarm in zip((*RULES, WARNED), (state_of == "alarm", *peers, state_of != "ok"), strict=True):
            found.alarms[rule].append(alarm)
        if state_of == "alarm":
            excluded.add(row)
            found.named = _first(items) in drifted if found.named is None else found.named
    return found


def _first(items: list[Item]) -> str:
    return ordered(items)[0].name


def _peers(newest: Profile, past: list[Profile]) -> tuple[bool, bool]:
    """Both peers' verdicts on one check."""
    p, far = [], []
    for name, summary in newest["columns"]["node a"].items():
        before = [profile["columns"]["node a"][name] for profile in past]
        now = _counts(summary)
        usual = np.sum([_counts(one) for one in before], axis=0)
        if "counts" in summary or np.count_nonzero(usual) < 4:
            p.append(_chi_squared(now, usual))
        else:
            size = now.sum() * usual.sum() / (now.sum() + usual.sum())
            p.append(float(stats.kstwobign.sf(np.sqrt(size) * distance(now, usual))))
        far.append(float(distance(now, usual)) >= FAR)
    corrected = holm(np.array(p), np.ones(len(p)))
    return bool(corrected.min() < PARAMS.level({})), float(np.mean(far)) >= HALF


def _counts(summary: dict[str, Any]) -> np.ndarray:
    return np.array(list(summary["counts"].values()) if "counts" in summary else summary["histogram"], float)


def _chi_squared(now: np.ndarray, usual: np.ndarray) -> float:
    there = now + usual > 0
    return float(stats.chi2_contingency(np.array([now[there], usual[there]]), correction=False).pvalue)


def summary(world: Table | Nodes, trials: int, bound: float, drift: bool) -> dict[str, Any]:
    """Rates of one scenario, of the checks or, of a planted drift, of the trials in which any check alarmed."""
    found = simulate(world, trials)
    rates = {rule: [_rate(trial.alarms[rule], drift) for trial in found] for rule in (*RULES, WARNED)}
    ours = np.array(rates["ours"])
    summary = {
        "rate": round(float(ours.mean()), 4),
        "error": round(float(ours.std(ddof=1) / np.sqrt(trials)), 4),
        "bound": bound,
        **{rule: round(float(np.mean(rates[rule])), 4) for rule in (*RULES[1:], WARNED)},
    }
    if drift:
        named = [trial.named for trial in found if trial.named is not None]
        summary["named"] = round(float(np.mean(named)), 4) if named else None
    return summary


def _rate(alarms: list[bool], drift: bool) -> float:
    return float(any(alarms)) if drift else float(np.mean(alarms))


def _grid(found: dict[str, Any], trials: int) -> Grid:
    grid = Grid(title=f"Alarms on features: {trials} pasts of {PAST} periods, {CHECKS} checks each")
    for heading in ("world", "alarms", "bound", "warnings", "KS and Holm", "share", "column named"):
        grid.add_column(heading, justify="left" if heading == "world" else "right")
    for part, sign in (("null", "≤"), ("drift", "≥")):
        for name, one in found[part].items():
            named = f"{one['named']:.2f}" if one.get("named") is not None else ""
            rates = (f"{one['rate']:.3f} ± {one['error']:.3f}", f"{sign} {one['bound']:g}", f"{one[WARNED]:.3f}")
            grid.add_row(name, *rates, f"{one['KS and Holm']:.2f}", f"{one['share']:.2f}", named)
        grid.add_section()
    return grid
