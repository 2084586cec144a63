"""Predictions of a period: the distribution of scores and the share of positive decisions, overall and by slice."""

from typing import Any

import numpy as np

from graphmill.drift import cohorts, features
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


def build(source: Source, period: Period, reference: Summary, least_scored: float = 0.0) -> Summary:
    """Summary of the period's scores.

    Args:
        source: scores are aligned with its examples, NaN where there is none.
        period: the period.
        reference: with ``scores``, as ``freeze`` made it, and ``slices``; without scores nothing is summarised.
        least_scored: the share of the period's examples that must have a score for ``scores`` to be there.

    Returns:
        ``examples``, how many there are; ``scores``, with a histogram on the frozen edges and the share ``above`` the
        threshold; ``slices``, by ``channel=online`` the same in few numbers.
    """
    rows, frozen = source.example_places(period), reference["scores"]
    found: Summary = {"examples": len(rows)}
    if source.scores is None or frozen is None or len(rows) == 0:
        return found
    there = rows[np.isfinite(source.scores[rows])]
    if len(there) == 0 or len(there) < least_scored * len(rows):
        return found
    scores = source.scores[there]
    found["scores"] = summary(scores, frozen)
    found["slices"] = {
        name: _few(scores[inside], frozen)
        for name, inside in cohorts.slices(source.examples, there, reference["slices"])
        if inside.any()
    }
    return found


def summary(scores: Floats, frozen: Summary) -> Summary:
    """Moments, quantiles and histogram of scores ``[n]``, and the share above the threshold."""
    return features.number(scores, frozen) | _above(scores, frozen)


def merge(one: Summary, other: Summary, frozen: Summary) -> Summary:
    """The block of two parts of a period's examples; a slice that one part lacks is the other's."""
    found: Summary = {"examples": one["examples"] + other["examples"]}
    parts = [part for part in (one, other) if "scores" in part]
    if len(parts) < 2:
        return found | {name: part[name] for part in parts for name in ("scores", "slices")}
    left, right = (part["slices"] for part in parts)
    both = {name: _merged(left[name], right[name], frozen) for name in left if name in right}
    return found | {
        "scores": _merged(one["scores"], other["scores"], frozen),
        "slices": {**left, **right, **both},
    }


def _merged(one: Summary, other: Summary, frozen: Summary) -> Summary:
    found = features.merge(one, other, frozen)
    kept = {name: found[name] for name in one if name in found}  # a slice has few numbers
    if one["above"] is None or other["above"] is None:
        return kept | {"above": None}
    first, second = (part["rows"] - part["missing"] for part in (one, other))
    share = (first * one["above"] + second * other["above"]) / (first + second)
    return kept | {"above": rounded(share)}


def _few(scores: Floats, frozen: Summary) -> Summary:
    mean, deviation = rounded(float(scores.mean())), rounded(float(scores.std()))
    return {"rows": len(scores), "missing": 0.0, "mean": mean, "deviation": deviation} | _above(scores, frozen)


def _above(scores: Floats, frozen: Summary) -> Summary:
    threshold = frozen["threshold"]
    return {"above": None if threshold is None else rounded(float(np.mean(scores >= threshold)))}
