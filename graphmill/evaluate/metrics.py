"""Figures of one model on one part: ranking, decisions and calibration."""

import math
from typing import Any

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
        hits = int(label[np.argsort(-score, kind="stable")[:count]].sum())
        found[f"precision_at_{share:g}"] = hits / count if both else None
        found[f"recall_at_{share:g}"] = hits / int(label.sum()) if both else None
    found |= {
        "brier": float(np.mean((score - label) ** 2)),
        "calibration_error": calibration_error(label, score, bins),
        "base_rate": float(label.mean()),
        "examples": float(len(label)),
    }
    return found


def _count(share: float, examples: int) -> int:
    return min(examples, max(1, math.ceil(share * examples) if share < 1 else int(share)))


def calibration_bins(label: Labels, score: Scores, bins: int) -> list[dict[str, float]]:
    """Mean prediction, observed share and size of bins of equal size (Naeini, Cooper and Hauskrecht, 2015)."""
    order = np.argsort(score, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        {"predicted": float(score[part].mean()), "observed": float(label[part].mean()), "examples": float(len(part))}
        for part in parts
    ]


def calibration_error(label: Labels, score: Scores, bins: int) -> float:
    """Expected calibration error: mean distance between predicted and observed, over the bins."""
    found = calibration_bins(label, score, bins)
    return float(sum(item["examples"] * abs(item["predicted"] - item["observed"]) for item in found) / len(label))


def metric(name: str, label: Labels, score: Scores, weight: NDArray[Any] | None = None) -> float:
    """The task's metric, of weighted examples."""
    chosen = roc_auc_score if name == "roc_auc" else average_precision_score
    return float(chosen(label, score, sample_weight=weight))


def mean_of(parts: list[Figures]) -> Figures:
    """Mean of each figure over splits, leaving out those without it."""
    found: Figures = {}
    for name in parts[0]:
        values = [part[name] for part in parts if part[name] is not None]
        found[name] = float(np.mean([value for value in values if value is not None])) if values else None
    return found
