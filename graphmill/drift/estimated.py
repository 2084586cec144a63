"""Performance before labels are there: what the calibrated scores themselves expect.

If one in ten of the examples with a score of 0.1 is positive, as it was when the calibration was fitted, then the
share of right decisions follows from the scores alone (confidence-based performance estimation: Guillory et al.,
"Predicting with confidence on unseen distributions", 2021; Garg et al., 2022; NannyML's CBPE). That holds when other
examples come (P(x) changes) and fails when the same examples turn out otherwise (P(y|x) changes). So an estimate asks
for labels and never replaces them; the audit (`gap`) tells whether it still holds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from graphmill.drift.intervals import Interval, interval
from graphmill.drift.source import Floats, rounded

ASSUMES = "P(y|x) unchanged"
BINS = 256
LEAST = 30
"""Positive and negative labels that a calibration needs."""
DRAWS = 200

Calibration = dict[str, Any]
Labels = NDArray[np.bool_]


def fit(score: Floats, label: Labels, threshold: float | None) -> Calibration | None:
    """An isotonic calibration (Zadrozny and Elkan, 2002) as plain JSON values.

    Shares of equal scores are pooled until they rise, drawn a little towards the whole (one more example of the
    overall share in each pool, for no score is certain), and joined by lines between the pools' mean scores.

    Args:
        score: scores of examples that the model was not trained on, ``[n]``.
        label: ``[n]``.
        threshold: the score from which on a decision is positive.

    Returns:
        ``scores`` and ``shares`` to read between; ``expected``, the figures on these examples. None for too few.
    """
    if min(label.sum(), (~label).sum()) < LEAST:
        return None
    edges = np.unique(np.quantile(score, np.arange(1, BINS) / BINS))
    _, place, counts = np.unique(np.searchsorted(edges, score, "right"), return_inverse=True, return_counts=True)
    means, hits = np.bincount(place, score), np.bincount(place, label)
    first = isotonic_regression(hits / counts, weights=counts).blocks[:-1]
    size = np.add.reduceat(counts, first)
    share = (np.add.reduceat(hits, first) + label.mean()) / (size + 1)
    calibration: Calibration = {
        "scores": [rounded(float(one)) for one in np.add.reduceat(means, first) / size],
        "shares": [rounded(float(one)) for one in np.maximum.accumulate(share)],
        "lowest": rounded(float(score.min())),
        "highest": rounded(float(score.max())),
        "examples": len(label),
        "positives": int(label.sum()),
        "threshold": threshold,
        "assumes": ASSUMES,
    }
    return {**calibration, "expected": estimate(score, calibration)["figures"]}


def probability(score: Floats, calibration: Calibration) -> Floats:
    """The share of positives among examples with such a score, as it was: float64 ``[n]``."""
    return np.asarray(np.interp(score, calibration["scores"], calibration["shares"]))


def estimate(score: Floats, calibration: Calibration) -> dict[str, Any]:
    """What the scores expect of themselves, and what that assumes.

    The intervals are those of the figures that labels would show: chance of the labels, and of those of the
    calibration.

    Args:
        score: ``[n]``, at least one, all finite.
        calibration: as ``fit`` made it.

    Returns:
        ``assumes`` in words, ``examples``, ``outside`` (the share of scores beyond those ever calibrated) and
        ``figures`` with an interval each.
    """
    ordered = np.sort(score)[::-1]
    threshold = calibration["threshold"]
    alarms = None if threshold is None else int(np.sum(ordered >= threshold))
    chance = probability(ordered, calibration)
    state = np.random.default_rng(0)
    drawn = [figures((state.random(len(chance)) < chance).astype(np.float64), alarms) for _ in range(DRAWS)]
    wider = float(np.sqrt(1 + len(score) / calibration["examples"]))
    outside = (score < calibration["lowest"]) | (score > calibration["highest"])
    return {
        "assumes": ASSUMES,
        "examples": len(score),
        "outside": rounded(float(outside.mean())),
        "figures": {
            name: _around(value, np.array([one[name] for one in drawn]), wider)
            for name, value in figures(chance, alarms).items()
            if np.isfinite(value)
        },
    }


def figures(positive: Floats, alarms: int | None) -> dict[str, float]:
    """Figures of examples in the order of their scores, the highest first; NaN for those without meaning.

    Args:
        positive: 0 or 1 where the label is known, else its probability: float64 ``[n]``.
        alarms: how many of the highest are decided positive; None leaves the figures of decisions out.
    """
    count, total = len(positive), float(positive.sum())
    before = np.cumsum(positive) - positive
    negative_after = (count - total) - np.cumsum(1 - positive)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "average_precision": float(np.divide(np.sum(positive * (before + 1) / np.arange(1, count + 1)), total)),
            "roc_auc": float(np.divide(np.sum(positive * negative_after), total * (count - total))),
        }
        if alarms is not None:
            hits = float(positive[:alarms].sum())
            found |= {
                "accuracy": (hits + (count - alarms) - (total - hits)) / count,
                "precision": float(np.divide(hits, alarms)),
                "recall": float(np.divide(hits, total)),
                "f1": float(np.divide(2 * hits, alarms + total)),
            }
    return found


def _around(value: float, drawn: Floats, wider: float) -> Interval:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return interval(
        value, max(0.0, value + wider * min(low - value, 0)), min(1.0, value + wider * max(high - value, 0))
    )
