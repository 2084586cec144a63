"""The audit gap: what labels of a random sample say, beside what the scores expect of the very same predictions.

The estimate from scores assumes that P(y|x) did not change. Where the two part, it did: this is the one sign of
concept drift that need not wait for the labels of everybody. Both are weighted by the sample's inclusion
probabilities (Horvitz and Thompson, 1952), and compared on the same rows, so that how the sample fell cancels out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.drift.cohorts import ENOUGH, Enough
from graphmill.drift.estimated import ASSUMES, Calibration, probability
from graphmill.drift.intervals import wilson
from graphmill.drift.source import rounded

LEAST = 30
"""Audit labels below which nothing is said."""
DRAWS = 4_000
WORSE = {"accuracy": -1, "precision": -1, "missed": 1}
"""Figures, and in which direction they are worse; ``missed`` is the share of positives among those let pass."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Figure:
    """A weighted share of some rows: of right decisions, of true alarms, of missed positives."""

    inside: NDArray[np.bool_]
    right_if_positive: NDArray[np.bool_]
    """Whether a positive label counts ``[n]``; where not, a negative one does."""

    def share(self, positive: Floats, weight: Floats) -> Any:
        """Weighted share ``[...]`` for labels or probabilities ``[..., n]``."""
        sign = np.where(self.right_if_positive, 1.0, -1.0)
        inside = weight * self.inside  # linear in the labels, so that many draws are one product
        return (positive @ (sign * inside) + inside[sign < 0].sum()) / inside.sum()


def gap(audit: pd.DataFrame, calibration: Calibration, enough: Enough = ENOUGH) -> dict[str, Any]:
    """Audited figures, expected ones, and how likely so large a gap is when nothing changed.

    Args:
        audit: columns ``score``, ``label`` (nullable boolean, NA where nobody has looked yet), ``weight`` and
            ``stratum`` of the sample's rows.
        calibration: as ``estimated.fit`` made it, with a threshold.
        enough: the share of the sample that must be labelled; the quickly labelled are not a random part.

    Returns:
        ``labels``, ``sampled``, ``state`` (``ok`` when it could be judged, else ``insufficient_labels``) and, if it
        could, ``figures``: each with ``audited`` (an interval), ``expected``, ``gap`` and ``p``, one-sided towards
        worse and corrected for their number (Holm, 1979).
    """
    rows = audit[audit["label"].notna()]
    found = {"sampled": len(audit), "labels": len(rows), "assumes": ASSUMES}
    if len(rows) < LEAST or len(rows) < enough.labelled * len(audit):
        return {**found, "state": "insufficient_labels"}
    label = rows["label"].to_numpy(bool).astype(np.float64)
    weight = _answered(audit)[audit["label"].notna().to_numpy()]
    chance = probability(rows["score"].to_numpy(np.float64), calibration)
    drawn = (np.random.default_rng(0).random((DRAWS, len(rows))) < chance).astype(np.float64)
    figures: dict[str, dict[str, Any]] = {}
    for name, figure in _figures(rows["score"].to_numpy(np.float64) >= calibration["threshold"]).items():
        audited, expected = float(figure.share(label, weight)), float(figure.share(chance, weight))
        as_bad = WORSE[name] * (figure.share(drawn, weight) - audited) >= -1e-12
        trials = _worth(audited, label, figure, weight, rows["stratum"].to_numpy(str))
        figures[name] = {
            "audited": wilson(audited * trials, trials),
            "expected": rounded(expected),
            "gap": rounded(audited - expected),
            "p": float((1 + as_bad.sum()) / (1 + DRAWS)),
        }
    return {**found, "state": "ok", "figures": _holm(figures)}


def _figures(decision: NDArray[np.bool_]) -> dict[str, _Figure]:
    every = np.ones(len(decision), bool)
    found = {"accuracy": _Figure(every, decision)}
    if decision.any():
        found["precision"] = _Figure(decision, every)
    if not decision.all():
        found["missed"] = _Figure(~decision, every)
    return found


def _answered(audit: pd.DataFrame) -> Floats:
    """Weights ``[n]`` when those who are labelled stand for all that were drawn in their stratum."""
    labelled = audit["label"].notna().groupby(audit["stratum"]).transform("mean")
    return np.asarray(audit["weight"].to_numpy(np.float64) / np.maximum(labelled.to_numpy(np.float64), 1e-12))


def _worth(share: float, label: Floats, figure: _Figure, weight: Floats, stratum: NDArray[Any]) -> float:
    """How many independent trials a stratified share is worth (Korn and Graubard, 1998).

    A stratum in which all answers are alike still varies: its share is drawn towards the whole's by one trial.
    """
    inside = figure.inside
    counted = np.where(figure.right_if_positive, label, 1 - label)[inside]
    whole = (share * len(counted) + 0.5) / (len(counted) + 1)
    _, place = np.unique(stratum[inside], return_inverse=True)
    size, part = np.bincount(place), np.bincount(place, weight[inside]) / weight[inside].sum()
    own = (np.bincount(place, counted) + whole) / (size + 1)
    variance = float(np.sum(part**2 * own * (1 - own) / size))
    return whole * (1 - whole) / variance


def _holm(figures: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    worst = 0.0
    for place, figure in enumerate(sorted(figures.values(), key=lambda one: float(one["p"]))):
        worst = max(worst, min(1.0, figure["p"] * (len(figures) - place)))
        figure["p"] = rounded(worst)
    return figures
