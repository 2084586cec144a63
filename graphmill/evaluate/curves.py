"""Curves as small CSV files, for `dvc plots` and the report: the first split's test part."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from graphmill.evaluate.bootstrap import Part
from graphmill.evaluate.metrics import Labels, Scores, calibration_bins

POINTS = 200
Curves = dict[str, pd.DataFrame]


def curves(part: Part, names: list[str], bins: int) -> Curves:
    """ROC, precision and recall, and calibration of each model, up to ``POINTS`` points each."""
    roc_of, precision_recall, calibration = [], [], []
    for name in names:
        score = part.scores[name]
        roc_of.append(roc(part.label, score).drop(columns="threshold").assign(model=name))
        precision, recall, _ = precision_recall_curve(part.label, score)
        frame = pd.DataFrame({"recall": recall[::-1], "precision": precision[::-1]})
        precision_recall.append(frame.iloc[_thin(frame)].assign(model=name))
        calibration.append(pd.DataFrame(calibration_bins(part.label, score, bins)).assign(model=name))
    return {
        "roc": pd.concat(roc_of, ignore_index=True),
        "precision_recall": pd.concat(precision_recall, ignore_index=True),
        "calibration": pd.concat(calibration, ignore_index=True),
    }


def roc(label: Labels, score: Scores) -> pd.DataFrame:
    """The ROC curve, up to ``POINTS`` points: both rates, and the threshold (finite: at most 1)."""
    false_positive, true_positive, threshold = roc_curve(label, score)
    frame = pd.DataFrame({"false_positive_rate": false_positive, "true_positive_rate": true_positive})
    kept = _thin(frame)
    return frame.iloc[kept].assign(threshold=np.minimum(threshold[kept], 1.0))


def write(found: Curves, folder: Path) -> None:
    """Write one CSV file a curve."""
    folder.mkdir()
    for name, frame in found.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")


def _thin(frame: pd.DataFrame) -> np.ndarray:
    """Places of points at equal distances along the curve: by rank, nearly all would lie among the low scores."""
    length = np.concatenate([[0.0], np.cumsum(frame.diff().abs().iloc[1:].sum(axis=1))])
    return np.unique(np.searchsorted(length, np.linspace(0, length[-1], POINTS)))
