"""Counters added up from their samples: exact where PromQL's `increase` is not.

`increase` extrapolates to the ends of its window (a third too much after a minute), and does not count what a series
had when it was first seen, which is all that a candidate answered until then.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Sample = tuple[float, float]
"""Seconds since 1970, and the value then."""


class Series(NamedTuple):
    """One time series of an answer."""

    labels: Mapping[str, str]
    samples: Sequence[Sample]


@dataclass
class _Counter:
    seen: float
    """Time of the last sample."""
    value: float
    total: float


class Counters:
    """The increases of counters since a moment, by the model that their process serves.

    A counter that falls began anew: its process did, and the increase goes on from 0. One that was not there at the
    moment began after it. A process's model is what its gauge ``graphmill_model`` says at the time of a sample (those
    of one scrape have the same time); another model at the same address is another counter.

    Args:
        since: seconds since 1970; samples up to it only tell where a counter stood.
    """

    def __init__(self, since: float) -> None:
        self._since = since
        self._counters: dict[tuple[str, frozenset[tuple[str, str]]], _Counter] = {}
        self._models: dict[tuple[str, str], list[tuple[float, str]]] = {}

    def add_models(self, found: Iterable[Series]) -> None:
        """Take in samples of ``graphmill_model`` that are newer than those before."""
        told: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for series in found:
            moments = told.setdefault(_process(series.labels), [])
            moments += [(time, series.labels.get("model", "")) for time, _ in series.samples]
        for process, moments in told.items():
            before = self._models.get(process, [])[-1:]  # what it served when the last look ended
            self._models[process] = sorted({*before, *moments})

    def instances(self, models: Iterable[str]) -> list[str]:
        """Addresses where one of the models is or was served, as far as is known now."""
        wanted = set(models)
        return sorted({
            instance for (_, instance), moments in self._models.items() if wanted & {model for _, model in moments}
        })  # fmt: skip

    def add(self, found: Iterable[Series]) -> None:
        """Take in samples of counters; those known already change nothing."""
        for series in found:
            moments = self._models.get(_process(series.labels), [])
            labels = frozenset(series.labels.items())
            for time, value in series.samples:
                place = bisect_right(moments, time, key=lambda moment: moment[0])
                if place and math.isfinite(value):
                    self._count((moments[place - 1][1], labels), time, value)

    def _count(self, key: tuple[str, frozenset[tuple[str, str]]], time: float, value: float) -> None:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter(-math.inf, 0.0, 0.0)
        if time <= counter.seen:
            return
        if time > self._since:
            counter.total += value - counter.value if value >= counter.value else value
        counter.seen, counter.value = time, value

    def by(self, model: str, name: str, label: str = "") -> dict[str, float]:
        """Increases of one metric of one model's processes, by the values of a label; one that is not there is ""."""
        found: dict[str, float] = {}
        for (of, labels), counter in self._counters.items():
            given = dict(labels)
            if of == model and given.get("__name__") == name:
                value = given.get(label, "")
                found[value] = found.get(value, 0.0) + counter.total
        return found


def _process(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")
