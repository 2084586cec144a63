"""The task's metric on weighted examples, sorted once: a resample then costs two running sums."""

import numpy as np
from numpy.typing import NDArray

from graphmill.evaluate.metrics import Labels, Scores

Weights = NDArray[np.integer]


class Ranking:
    """The order of the examples by one model's scores; equal scores are one step, as in scikit-learn.

    Args:
        label: ``[n]``.
        score: ``[n]``.
    """

    def __init__(self, label: Labels, score: Scores) -> None:
        descending = np.argsort(-score, kind="stable")
        self._steps = np.flatnonzero(np.append(np.diff(score[descending]) != 0, True))
        self._order, self._label = descending, label[descending]

    def metric(self, name: str, weight: Weights) -> float:
        """``roc_auc`` or ``average_precision`` with whole weights ``[n]``; both classes must weigh something."""
        sorted_weight = weight[self._order].astype(np.int64)
        true = np.cumsum(sorted_weight * self._label)[self._steps]
        chosen = np.cumsum(sorted_weight)[self._steps]
        gained = np.diff(true, prepend=0)
        if name == "average_precision":
            return float(np.sum(gained * true / np.maximum(chosen, 1)) / true[-1])
        false = chosen - true
        pairs = np.sum(np.diff(false, prepend=0) * (true - gained / 2))
        return float(pairs / (true[-1] * false[-1]))
