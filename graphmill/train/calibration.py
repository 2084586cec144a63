"""Scores to probabilities, and the threshold for a decision; both from the validation part."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def fit(label: NDArray[np.float32], logits: Scores) -> tuple[float, float]:
    """Slope and intercept of Platt's scaling (Platt, 1999): the logit of the probability is linear in the score."""
    from sklearn.linear_model import LogisticRegression  # who only applies a calibration needs none of it

    model = LogisticRegression(C=1e6, max_iter=1_000).fit(logits[:, None], label.astype(int))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:  # a score that ranks the wrong way round on validation: keep the order, say the base rate
        slope, intercept = 1e-3, float(np.log(label.mean() / (1 - label.mean())))
    return slope, intercept


def apply(logits: Scores, calibration: tuple[float, float]) -> Scores:
    """Probabilities: float64 ``[n]``."""
    slope, intercept = calibration
    return 1.0 / (1.0 + np.exp(-np.clip(slope * logits + intercept, -50, 50)))


def threshold(label: NDArray[np.float32], probability: Scores) -> float:
    """The probability from which on the F1 of the validation part is best."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, borders = precision_recall_curve(label, probability)
    score = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(borders[int(np.argmax(score[:-1]))])
