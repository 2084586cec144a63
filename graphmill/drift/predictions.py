"""Predictions of a period: the distribution of scores, the share of positive decisions, the label rate."""

from typing import Any

import numpy as np

from graphmill.clock import ALWAYS, duration
from graphmill.drift import features
from graphmill.drift.source import Floats, Integers, Period, Source, rounded

Summary = dict[str, Any]


def held_out(source: Source, reference: Summary) -> Integers:
    """Rows of ``examples`` that the model was not trained on: int64 ``[n]``.

    With time, those from the end of *its* training on: the split in newer features has moved on.
    """
    if reference["train_end"] is not None:
        return np.flatnonzero(source.examples["time"].to_numpy(np.int64) >= reference["train_end"])
    if "split_0" not in source.examples:
        return np.arange(len(source.examples))
    return np.flatnonzero((source.examples["split_0"] != "train").to_numpy(bool))


def freeze(scores: Floats | None, threshold: float | None) -> Summary | None:
    """Edges and deviation of the scores of examples held out of training; None without scores."""
    if scores is None or not np.any(np.isfinite(scores)):
        return None
    return {**features.freeze_number(scores), "histogram": True, "threshold": threshold}


def build(source: Source, period: Period, frozen: Summary | None, least_scored: float = 0.0) -> Summary:
    """Summary of the period's scores and labels.

    Args:
        source: scores are aligned with its examples, NaN where there is none.
        period: the period.
        frozen: as ``freeze`` made it; without it scores are not summarised.
        least_scored: the share of the period's examples that must have a score for ``scores`` to be there.
    """
    rows = source.example_places(period)
    found = {"examples": len(rows), **_labels(source, period)}
    if source.scores is None or frozen is None or len(rows) == 0:
        return found
    scores = source.scores[rows]
    there = scores[np.isfinite(scores)]
    if len(there) == 0 or len(there) < least_scored * len(rows):
        return found
    above = None if frozen["threshold"] is None else rounded(float(np.mean(there >= frozen["threshold"])))
    return {**found, "scores": {**features.number(there, frozen), "above": above}}


def _labels(source: Source, period: Period) -> Summary:
    """Labels of examples of equal age: the period is moved back by the time that labels take."""
    delay = label_delay(source)
    rows = source.example_places(Period(max(period.start, ALWAYS + delay) - delay, period.end - delay))
    label = source.examples["label"].iloc[rows]
    known = label[label.notna()].astype(bool)
    return {
        "labelled": rounded(len(known) / len(rows)) if len(rows) else None,
        "labels": len(known),
        "positives": int(known.sum()),
        "label_rate": rounded(float(known.mean())) if len(known) else None,
    }


def label_delay(source: Source) -> int:
    """How long a label takes, where all take equally long."""
    task, clock = source.graph.task, source.graph.clock
    if task.split.kind != "temporal" or task.label.known_at is not None:
        return 0
    behind = task.label.between[1] if task.label.between else 0
    return duration(task.label.known_after, clock) + max(0, duration(behind, clock))
