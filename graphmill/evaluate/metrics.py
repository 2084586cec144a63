"""Figures of one model on one part: ranking, decisions and calibration."""

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]
Figures = dict[str, float | None]


def figures(label: Labels, score: Scores, threshold: float, top: list[float], bins: int) -> Figures:
    """All figures; None where one class alone leaves a figure without meaning.

    Args:
        label: ``[n]``.
        score: calibrated probabilities ``[n]``.
        threshold: from which probability on the decision is positive.
        top: shares below 1 or counts, for precision and recall among the highest scores.
        bins: number of bins of equal size for the calibration error.
    """
    both = bool(label.any() and not label.all())
    decision = score >= threshold
    found: Figures = {
        "roc_auc": float(roc_auc_score(label, score)) if both else None,
        "average_precision": float(average_precision_score(label, score)) if both else None,
        "f1": float(f1_score(label, decision, zero_division=0.0)) if both else None,
        "precision": float(precision_score(label, decision, zero_division=0.0)) if both else None,
        "recall": float(recall_score(label, decision, zero_division=0.0)) if both else None,
    }
    for share in top:
        count = _count(share, len(label))
        hits = _hits(label, score, count)
        found[f"precision_at_{share:g}"] = hits / count if both else None
        found[f"recall_at_{share:g}"] = hits / int(label.sum()) if both else None
    found |= {
        "brier": float(np.mean((score - label) ** 2)),
        "calibration_error": calibration_error(label, score, bins),
        "base_rate": float(label.mean()),
        "examples": float(len(label)),
        "positives": float(label.sum()),
    }
    return found


def _count(share: float, examples: int) -> int:
    return min(examples, max(1, math.ceil(share * examples) if share < 1 else int(share)))


def _hits(label: Labels, score: Scores, count: int) -> float:
    """Positives among the ``count`` highest scores; of equal scores at the border each has an equal chance."""
    border = np.partition(score, len(score) - count)[len(score) - count]
    above, tied = score > border, score == border
    return float(label[above].sum() + (count - above.sum()) * label[tied].mean())


def bin_places(score: Scores, bins: int) -> NDArray[np.int64]:
    """The bin of each score, of equal size as far as equal scores, which stay together, allow: int64 ``[n]``."""
    ordered = np.sort(score)
    middle = (np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right") - 1) / 2
    return np.asarray(np.floor(middle * bins / len(score)), np.int64)


def calibration_bins(label: Labels, score: Scores, bins: int) -> list[dict[str, float]]:
    """Mean prediction, observed share and size of each bin that holds something."""
    place = bin_places(score, bins)
    parts = [place == one for one in np.unique(place)]
    return [
        {"predicted": float(score[part].mean()), "observed": float(label[part].mean()), "examples": float(part.sum())}
        for part in parts
    ]


def calibration_error(label: Labels, score: Scores, bins: int) -> float:
    """Expected calibration error over bins of equal size (Naeini, Cooper and Hauskrecht, 2015)."""
    gap = np.bincount(bin_places(score, bins), score - label)
    return float(np.abs(gap).sum() / len(label))


def chance_errors(score: Scores, bins: int, count: int, seed: int) -> NDArray[np.float64]:
    """The calibration error that the scores would show if they were true (Bröcker and Smith, 2007).

    Returns:
        float64 ``[count]``, one for each set of labels drawn with the scores as probabilities.
    """
    state, place = np.random.default_rng(seed), bin_places(score, bins)
    gaps = [np.bincount(place, score - (state.random(len(score)) < score)) for _ in range(count)]
    return np.asarray(np.abs(gaps).sum(axis=1) / len(score))


def metric(name: str, label: Labels, score: Scores) -> float:
    """The task's metric."""
    chosen = roc_auc_score if name == "roc_auc" else average_precision_score
    return float(chosen(label, score))


def mean_of(parts: list[Figures]) -> Figures:
    """Mean of each figure over splits, leaving out those without it."""
    found: Figures = {}
    for name in parts[0]:
        values = [part[name] for part in parts if part[name] is not None]
        found[name] = float(np.mean([value for value in values if value is not None])) if values else None
    return found


def deviation_of(parts: list[Figures]) -> Figures:
    """Standard deviation (n - 1) of each figure over splits; None where fewer than two have it."""
    found: Figures = {}
    for name in parts[0]:
        values = [value for part in parts if (value := part[name]) is not None]
        found[name] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return found
