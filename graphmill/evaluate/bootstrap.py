"""Bootstrap intervals (Efron, 1979): examples are resampled within their class, splits among themselves.

Two models are compared on the same resamples, so that what both find hard cancels out. Examples count as
independent, unless they are grouped: then whole groups are resampled (Field and Welsh, 2007).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphmill.evaluate.metrics import Labels, Scores, metric
from graphmill.evaluate.params import Params
from graphmill.evaluate.ranking import Ranking

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """The test part of one split: labels, and every model's scores by name."""

    label: Labels
    scores: dict[str, Scores]
    group: NDArray[np.int64] | None = None
    """Which examples belong together; None where each stands for itself."""


class Bootstrap:
    """Resamples of the test parts, the same for every model.

    Args:
        parts: the test part of each split, both classes in each.
        metric_name: the task's metric.
        params: number of resamples, confidence and seed.
    """

    def __init__(self, parts: list[Part], metric_name: str, params: Params) -> None:
        self.parts, self.metric_name, self.confidence = parts, metric_name, params.confidence
        state = np.random.default_rng(params.seed)
        splits = state.integers(0, len(parts), (params.bootstrap, len(parts)))
        names = list(parts[0].scores)
        by_split = np.stack([self._part_draws(part, names, params.bootstrap, state) for part in parts])
        # [split, resample, model] -> [resample, split drawn, model]: a mean over the splits that were drawn
        drawn = by_split.transpose(1, 0, 2)[np.arange(params.bootstrap)[:, None], splits].mean(axis=1)
        self._draws: dict[str, Draws] = dict(zip(names, drawn.T, strict=True))

    def interval(self, name: str) -> tuple[float, float]:
        """Bounds of a model's metric."""
        return self._bounds(self._draws[name])

    def difference(self, name: str, other: str) -> tuple[float, float, float]:
        """How much better a model is than another: the value and its bounds."""
        values = [
            metric(self.metric_name, part.label, part.scores[name])
            - metric(self.metric_name, part.label, part.scores[other])
            for part in self.parts
        ]
        low, high = self._bounds(self._draws[name] - self._draws[other])
        return float(np.mean(values)), low, high

    def _bounds(self, draws: Draws) -> tuple[float, float]:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        return float(low), float(high)

    def _part_draws(self, part: Part, names: list[str], count: int, state: np.random.Generator) -> Draws:
        """The metric of every model on every resample of one part: float64 ``[count, models]``."""
        rankings = [Ranking(part.label, part.scores[name]) for name in names]
        rows = [
            [ranking.metric(self.metric_name, weight) for ranking in rankings]
            for weight in _weights(part, count, state)
        ]
        return np.array(rows)


def _weights(part: Part, count: int, state: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """How often each example is drawn in each resample: int64 ``[n]``."""
    draw = _by_class(part.label, state) if part.group is None else _by_group(part.label, part.group, state)
    yield from itertools.islice(draw, count)


def _by_class(label: Labels, state: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Each class keeps its size."""
    classes = [np.flatnonzero(label), np.flatnonzero(~label)]
    while True:
        weight = np.zeros(len(label), np.int64)
        for places in classes:
            weight[places] = _drawn(len(places), state)
        yield weight


def _by_group(label: Labels, group: NDArray[np.int64], state: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Groups come whole; a resample that has lost a class is drawn again, as it has no metric."""
    place = np.unique(group, return_inverse=True)[1]
    number = int(place.max()) + 1
    while True:
        weight = _drawn(number, state)[place]
        if weight[label].any() and weight[~label].any():
            yield weight


def _drawn(number: int, state: np.random.Generator) -> NDArray[np.int64]:
    """How often each of so many is drawn in as many draws."""
    return np.bincount(state.integers(0, number, number), minlength=number)
