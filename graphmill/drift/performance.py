"""How good predictions turned out to be: cohorts by their time, with label maturity and intervals."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.drift import cohorts, estimated
from graphmill.drift.cohorts import ENOUGH, Cohort, Enough
from graphmill.drift.intervals import Interval, bootstrap, wilson
from graphmill.drift.source import Floats, Period, Source, rounded

BINS = 10
"""Of the calibration error."""

Block = dict[str, Any]
Labels = NDArray[np.bool_]


def build(
    source: Source, period: Period, reference: Block, least_scored: float = 0.0, enough: Enough = ENOUGH
) -> Block:
    """Figures of the cohort that is looked at when the period ends.

    Args:
        source: scores are aligned with its examples, NaN where there is none.
        period: the period; its cohort is older by ``reference["label_age"]``.
        reference: with ``label_age``, ``slices``, ``scores`` (whose ``threshold`` decides) and ``estimate``.
        least_scored: the share of the cohort that must have a score; with less there are no figures.
        enough: labels that figures need.

    Returns:
        ``cohort`` (start and end), ``examples``, ``labels``, ``positives``, ``maturity`` (labelled / expected) and
        ``groups``: the task's node type, and each slice of it, with ``state`` and, if that is ``ok``, ``figures`` with
        an interval each; ``expected``, what the cohort's scores promised, and ``estimated``, what those of the period
        itself do, both as ``estimated.estimate`` says it.
    """
    found = cohorts.cohort(source, period, reference["label_age"])
    block: Block = {
        "cohort": [found.period.start, found.period.end],
        "examples": len(found.rows),
        "labels": int(found.known.sum()),
        "positives": int(found.label.sum()),
        "maturity": rounded(found.maturity),
        "groups": {},
    }
    if source.scores is None or reference["scores"] is None:
        return block
    if (estimates := reference["estimate"]) is not None:
        now = source.scores[source.example_places(period)]
        now = now[np.isfinite(now)]
        block["estimated"] = estimated.estimate(now, estimates) if len(now) else None
    score = source.scores[found.rows]
    there = np.isfinite(score)
    if not there.any() or there.mean() < least_scored:
        return block
    groups = _Groups(source, _only(found, there), score[there], reference["scores"]["threshold"], enough)
    node = source.graph.task.node
    block["groups"][node] = groups.judge(np.ones(int(there.sum()), bool), whole=True)
    for name, inside in cohorts.slices(source.examples, found.rows[there], reference["slices"]):
        block["groups"][f"{node} {name}"] = groups.judge(inside, whole=False)
    if estimates is not None:
        block["expected"] = estimated.estimate(score[there], estimates)
    return block


def _only(found: Cohort, there: Labels) -> Cohort:
    return Cohort(found.rows[there], found.label[there], found.known[there], found.period)


class _Groups:
    """A scored cohort, and figures of parts of it."""

    def __init__(self, source: Source, cohort: Cohort, score: Floats, threshold: float | None, enough: Enough) -> None:
        self.cohort, self.score, self.threshold, self.enough = cohort, score, threshold, enough
        self.metric = source.graph.task.metric
        self.node = source.examples["node"].to_numpy(np.int64)[cohort.rows]

    def judge(self, inside: Labels, whole: bool) -> Block:
        """State and figures of a part; shares of decisions of the whole only."""
        known = inside & self.cohort.known
        label, score = self.cohort.label[known], self.score[known]
        positives = int(label.sum())
        expected = int(inside.sum())
        found: Block = {
            "examples": expected,
            "labels": len(label),
            "positives": positives,
            "maturity": rounded(len(label) / expected) if expected else None,
            "state": "insufficient_labels",
        }
        ripe = expected > 0 and len(label) >= self.enough.labelled * expected
        if not ripe or min(positives, len(label) - positives) < self.enough.positives:
            return found
        figures = _ranked(self.metric, label, score, self.node[known])
        if whole and self.threshold is not None:
            figures |= _decided(label, score >= self.threshold)
        return {**found, "state": "ok", "figures": {name: one for name, one in figures.items() if one is not None}}


def _ranked(metric: str, label: Labels, score: Floats, node: NDArray[np.int64]) -> dict[str, Interval | None]:
    """The task's metric and the expected calibration error; examples of one node are drawn together."""
    from graphmill.evaluate.metrics import bin_places  # that package imports this one
    from graphmill.evaluate.ranking import Ranking

    _, cluster = np.unique(node, return_inverse=True)
    ranking, place = Ranking(label, score), bin_places(score, BINS)

    def error(weight: NDArray[np.int64]) -> float:
        return float(np.abs(np.bincount(place, (score - label) * weight)).sum() / weight.sum())

    def rank(weight: NDArray[np.int64]) -> float:
        return ranking.metric(metric, weight)

    judged: list[tuple[str, Callable[[NDArray[np.int64]], float], bool]] = [
        (metric, rank, False),
        ("calibration_error", error, True),  # resampling adds noise to each bin, and the error counts noise
    ]
    return {name: bootstrap(figure, cluster, seed=0, centred=centred) for name, figure, centred in judged}


def _decided(label: Labels, decision: Labels) -> dict[str, Interval | None]:
    hits, right = int((label & decision).sum()), int((label == decision).sum())
    return {
        "accuracy": wilson(right, len(label)),
        "precision": wilson(hits, int(decision.sum())),
        "recall": wilson(hits, int(label.sum())),
        "label_rate": wilson(int(label.sum()), len(label)),
    }
