"""Performance before labels are there, and the audit that checks it: `python -m benchmarks concept`.

Boosted trees on worlds in which other examples come (covariate shift) or the same examples turn out otherwise (concept
shift). How far is the estimate from the truth, and how often does the audit gap fire? Beside ours stand *scores*, which
takes the trees' own probabilities at their word, and *frozen*, which says what was true at validation; beside the audit
gap a *naive* audit: alarmed cases labelled first, their accuracy against that at validation by a z-test.
"""

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from scipy.stats import norm

from graphmill.drift import audit, estimated, gap, streams
from graphmill.drift.params import Params

LIMITS = Params()
SHIFTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
CONCEPTS = (0.0, 0.25, 0.5)
LABELS = 200
RARE = {"one in three": -1.0, "one in twelve": -3.5}
"""Worlds, by how many are positive, and the intercept that makes it so."""
WAYS = ("estimate", "scores", "frozen")

Numbers = NDArray[np.float64]
Labels = NDArray[np.bool_]


def draw(
    state: np.random.Generator, count: int, intercept: float, shift: float = 0.0, concept: float = 0.0
) -> tuple[Numbers, Labels]:
    """Features ``[count, 6]`` and labels; under a concept shift a share of the cases is turned round."""
    x = state.normal(0, 1, (count, 6))
    x[:, 0] += shift
    level = 1.5 * x[:, 0] - x[:, 1] + 0.7 * np.abs(x[:, 2]) + x[:, 3] * x[:, 1]
    turned = state.random(count) < concept
    return x, state.random(count) < expit(np.where(turned, -level, level) + intercept)


@dataclass(frozen=True)
class Trained:
    """A model, what is known of it from validation, and the world that it was trained in."""

    trees: Any
    calibration: estimated.Calibration
    accuracy: float
    intercept: float

    def scores(self, x: Numbers) -> Numbers:
        return np.asarray(self.trees.predict(x), np.float64)


def train(seed: int, intercept: float) -> Trained:
    """Boosted trees on 10,000 rows, a threshold and a calibration from 10,000 others."""
    state = np.random.default_rng(seed)
    x, label = draw(state, 10_000, intercept)
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": seed, "num_leaves": 31}
    trees = lightgbm.train(settings, lightgbm.Dataset(x, label.astype(float)), num_boost_round=150)
    x, label = draw(state, 10_000, intercept)
    score = np.asarray(trees.predict(x), np.float64)
    threshold = float(np.quantile(score, 1 - label.mean()))
    calibration = estimated.fit(score, label, threshold)
    assert calibration is not None
    return Trained(trees, calibration, float(np.mean(label == (score >= threshold))), intercept)


def run(small: bool) -> dict[str, Any]:
    """Errors of the estimates, alarms of the audits, a table, and the line of JSON."""
    models, trials = (2, 20) if small else (5, 200)
    trained = {name: [train(seed, level) for seed in range(models)] for name, level in RARE.items()}
    seconds = dict.fromkeys(("gap", "naive"), 0.0)
    errors = {f"{name}, shift {shift:+g}": _errors(found, shift) for name, found in trained.items() for shift in SHIFTS}
    fired = {
        f"{name}, concept {share:.0%}": _fired(found, share, trials, seconds)
        for name, found in trained.items()
        for share in CONCEPTS
    }
    sequential = _sequential(10 if small else 100) if find_spec("river") else None
    _show(errors, fired)
    return _told(errors, fired, sequential, seconds, trials)


def _errors(trained: list[Trained], shift: float) -> dict[str, dict[str, float]]:
    """Mean distance of each way's accuracy from the true one over models, and its standard error."""
    off: dict[str, list[float]] = {way: [] for way in WAYS}
    for place, model in enumerate(trained):
        x, label = draw(np.random.default_rng(10_000 + place), 20_000, model.intercept, shift)
        score = model.scores(x)
        decision = score >= model.calibration["threshold"]
        true = float(np.mean(label == decision))
        told = {
            "estimate": estimated.estimate(score, model.calibration)["figures"]["accuracy"]["value"],
            "scores": float(np.mean(np.where(decision, score, 1 - score))),
            "frozen": model.accuracy,
        }
        for way in WAYS:
            off[way].append(abs(told[way] - true))
    return {way: _mean(values) for way, values in off.items()}


def _fired(
    trained: list[Trained], concept: float, trials: int, seconds: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Share of the periods in which an audit of 200 labels alarms; without a concept shift the covariates move."""
    alarms: dict[str, list[float]] = {"gap": [], "naive": []}
    for trial in range(trials):
        model, state = trained[trial % len(trained)], np.random.default_rng(20_000 + trial)
        x, label = draw(state, 4_000, model.intercept, float(state.normal(0, 0.5)), concept)
        score = model.scores(x)
        began = time.process_time()
        alarms["gap"].append(_gap(model, score, label, trial))
        between = time.process_time()
        alarms["naive"].append(_naive(model, score, label))
        seconds["gap"] += between - began
        seconds["naive"] += time.process_time() - between
    return {name: _rate(found) for name, found in alarms.items()}


def _gap(model: Trained, score: Numbers, label: Labels, seed: int) -> bool:
    """What the stage does: a stratified sample, weights, the gap and its p-values."""
    decision = score >= model.calibration["threshold"]
    frame = pd.DataFrame({"key": np.arange(len(score)), "time": np.arange(len(score)), "score": score})
    drawn = audit.sample(frame.assign(decision=decision), LABELS, seed)
    place = drawn["time"].to_numpy()
    drawn = drawn.assign(score=score[place], label=pd.array(label[place], dtype="boolean"))
    figures = gap.gap(drawn, model.calibration)["figures"].values()
    return any(one["p"] < LIMITS.audit_level and abs(one["gap"]) >= LIMITS.audit_floor for one in figures)


def _naive(model: Trained, score: Numbers, label: Labels) -> bool:
    """The highest scores are looked at, and their accuracy compared with that of everybody at validation."""
    first = np.argsort(-score)[:LABELS]
    right = float(np.mean(label[first] == (score[first] >= model.calibration["threshold"])))
    error = float(np.sqrt(model.accuracy * (1 - model.accuracy) / LABELS))
    return bool((right - model.accuracy) / error < norm.ppf(LIMITS.audit_level))


def _sequential(trials: int) -> dict[str, dict[str, float]]:
    """Alarms of the sequential tests on 10,000 errors: all alike, in unlike batches, and more from the middle on."""
    found: dict[str, dict[str, float]] = {}
    for test in ("adwin", "page_hinkley"):
        kinds: dict[str, list[float]] = {"alike": [], "batches differ": [], "0.10 to 0.15": []}
        for trial in range(trials):
            state = np.random.default_rng(trial)
            level = {
                "alike": np.full(10_000, 0.1),
                "batches differ": np.repeat(np.clip(state.normal(0.1, 0.02, 20), 0, 1), 500),
                "0.10 to 0.15": np.repeat([0.1, 0.15], 5_000),
            }
            for kind, share in level.items():
                kinds[kind].append(bool(streams.alarms(state.random(10_000) < share, test, 0.1)))
        found[test] = {kind: float(np.mean(values)) for kind, values in kinds.items()}
    return found


def _mean(values: list[float]) -> dict[str, float]:
    error = float(np.std(values) / np.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "error": error, "largest": float(np.max(values))}


def _rate(values: list[float]) -> dict[str, float]:
    rate = float(np.mean(values))
    return {"rate": rate, "error": round(float(np.sqrt(rate * (1 - rate) / len(values))), 5)}


def _show(errors: dict[str, Any], fired: dict[str, Any]) -> None:
    table = Table(title="distance of the accuracy told from the true one")
    for heading in ("positives, covariates moved by", *WAYS):
        table.add_column(heading, justify="left" if heading.startswith("pos") else "right")
    for kind, found in errors.items():
        table.add_row(kind, *(f"{found[way]['mean']:.4f} ± {found[way]['error']:.4f}" for way in WAYS))
    Console(width=120).print(table)
    table = Table(title=f"audits of {LABELS} labels that alarm")
    for heading in ("positives, cases turned round", "gap", "naive"):
        table.add_column(heading, justify="left" if heading.startswith("pos") else "right")
    for kind, found in fired.items():
        table.add_row(kind, *(f"{one['rate']:.1%} ± {one['error']:.1%}" for one in found.values()))
    Console(width=120).print(table)


def _told(
    errors: dict[str, Any], fired: dict[str, Any], sequential: dict[str, Any] | None, seconds: dict[str, float],
    trials: int,
) -> dict[str, Any]:  # fmt: skip
    worst = {way: max(found[way]["mean"] for found in errors.values()) for way in WAYS}
    quiet = [found for kind, found in fired.items() if kind.endswith("concept 0%")]
    half = [found for kind, found in fired.items() if kind.endswith("concept 50%")]
    return {
        "name": "concept",
        "ratio": round(worst["scores"] / worst["estimate"], 2),
        "ours": "estimate", "peer": "scores",
        "estimated_accuracy_error": worst["estimate"],
        "estimated_accuracy_largest_error": max(found["estimate"]["largest"] for found in errors.values()),
        "peer_accuracy_error": worst["scores"],
        "frozen_accuracy_error": worst["frozen"],
        "audit_false_alarm_rate": max(found["gap"]["rate"] for found in quiet),
        "audit_power": min(found["gap"]["rate"] for found in half),
        "naive_false_alarm_rate": max(found["naive"]["rate"] for found in quiet),
        "naive_power": min(found["naive"]["rate"] for found in half),
        "errors": errors, "alarms": fired, "streams": sequential, "cpu": seconds, "trials": trials,
        "what": "worst mean error of the accuracy that the scores themselves promise over that of the estimate",
    }  # fmt: skip
