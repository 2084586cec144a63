"""Curves as small CSV files, for `dvc plots` and the report: the first split's test part."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from graphmill.evaluate.bootstrap import Part
from graphmill.evaluate.metrics import calibration_bins

POINTS = 200
Curves = dict[str, pd.DataFrame]


def curves(part: Part, names: list[str], bins: int) -> Curves:
    """ROC, precision and recall, and calibration of each model, up to ``POINTS`` points each."""
    roc, precision_recall, calibration = [], [], []
    for name in names:
        score = part.scores[name]
        false_positive, true_positive, _ = roc_curve(part.label, score)
        roc.append(_thin({"false_positive_rate": false_positive, "true_positive_rate": true_positive}, name))
        precision, recall, _ = precision_recall_curve(part.label, score)
        precision_recall.append(_thin({"recall": recall[::-1], "precision": precision[::-1]}, name))
        calibration.append(pd.DataFrame(calibration_bins(part.label, score, bins)).assign(model=name))
    return {
        "roc": pd.concat(roc, ignore_index=True),
        "precision_recall": pd.concat(precision_recall, ignore_index=True),
        "calibration": pd.concat(calibration, ignore_index=True),
    }


def write(found: Curves, folder: Path) -> None:
    """Write one CSV file a curve."""
    folder.mkdir()
    for name, frame in found.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")


def _thin(columns: dict[str, np.ndarray], name: str) -> pd.DataFrame:
    """Points at equal distances along the curve: by rank, nearly all would lie among the low scores."""
    frame = pd.DataFrame(columns)
    length = np.concatenate([[0.0], np.cumsum(frame.diff().abs().iloc[1:].sum(axis=1))])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], POINTS)))
    return frame.iloc[kept].assign(model=name)
