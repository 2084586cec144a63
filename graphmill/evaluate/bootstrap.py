"""Bootstrap intervals (Efron, 1979): examples are resampled within their class, splits among themselves.

Two models are compared on the same resamples, so that what both find hard cancels out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphmill.evaluate.metrics import Labels, Scores, metric

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """The test part of one split: labels, and every model's scores by name."""

    label: Labels
    scores: dict[str, Scores]


class Bootstrap:
    """Resamples of the test parts, the same for every model.

    Args:
        parts: the test part of each split.
        metric_name: the task's metric.
        count: number of resamples.
        confidence: share of the resamples inside an interval.
        seed: seed of the draws.
    """

    def __init__(self, parts: list[Part], metric_name: str, count: int, confidence: float, seed: int) -> None:
        self.parts, self.metric_name, self.confidence = parts, metric_name, confidence
        state = np.random.default_rng(seed)
        self.splits = state.integers(0, len(parts), (count, len(parts)))
        self.weights = [_weights(part.label, count, state) for part in parts]
        self._draws: dict[str, Draws] = {}

    def draws(self, name: str) -> Draws:
        """The metric of a model on every resample, a mean over the splits drawn: float64 ``[count]``."""
        if name not in self._draws:
            by_split = np.stack([self._part_draws(place, name) for place in range(len(self.parts))], axis=1)
            self._draws[name] = np.take_along_axis(by_split, self.splits, axis=1).mean(axis=1)
        return self._draws[name]

    def interval(self, name: str) -> tuple[float, float]:
        """Bounds of a model's metric."""
        return self._bounds(self.draws(name))

    def difference(self, name: str, other: str) -> tuple[float, float, float]:
        """How much better a model is than another: the value and its bounds."""
        values = [
            metric(self.metric_name, part.label, part.scores[name])
            - metric(self.metric_name, part.label, part.scores[other])
            for part in self.parts
        ]
        low, high = self._bounds(self.draws(name) - self.draws(other))
        return float(np.mean(values)), low, high

    def _bounds(self, draws: Draws) -> tuple[float, float]:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        return float(low), float(high)

    def _part_draws(self, place: int, name: str) -> Draws:
        part = self.parts[place]
        score = part.scores[name]
        return np.array([metric(self.metric_name, part.label, score, weight) for weight in self.weights[place]])


def _weights(label: Labels, count: int, state: np.random.Generator) -> NDArray[np.int32]:
    """How often each example is drawn in each resample: int32 ``[count, n]``; each class keeps its size."""
    weights = np.zeros((count, len(label)), np.int32)
    for value in (True, False):
        places = np.flatnonzero(label == value)
        for row in weights:
            row[places] = np.bincount(state.integers(0, len(places), len(places)), minlength=len(places))
    return weights
