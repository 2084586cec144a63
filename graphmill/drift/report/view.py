"""What the report is drawn from: the verdicts, and every item's values over the periods."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from graphmill.clock import text
from graphmill.drift import charts, compare
from graphmill.drift.baseline import Past
from graphmill.drift.measures import Measure, histograms
from graphmill.drift.null import Floats, autocorrelation, spread
from graphmill.drift.params import Params
from graphmill.drift.profile import Profile
from graphmill.drift.record import Line

Key = tuple[str, str, str]
"""Family, name and statistic."""


class Band(NamedTuple):
    """Where an item lies by itself, looked at alone."""

    low: float
    high: float


@dataclass(frozen=True)
class View:
    """A report, and what it was made from."""

    found: dict[str, Any]
    newest: Profile
    past: Past
    params: Params
    lines: list[Line]
    """The record up to this check, oldest first."""

    @property
    def profiles(self) -> list[Profile]:
        """Of every period, the newest last."""
        return [*self.past.history, self.newest]

    @cached_property
    def labels(self) -> list[str]:
        """Each period's name: when it ends; without time its number."""
        if not self.past.reference["timed"]:
            return [str(number) for number in range(1, len(self.profiles) + 1)]
        ends = [text(profile["end"], self.found["clock"]) for profile in self.profiles]
        whole_days = all(end.endswith("T00:00:00") for end in ends)
        return [end.partition("T")[0] if whole_days else end for end in ends]

    @property
    def reach(self) -> str:
        """How far the past reaches, where it ends before the newest period begins; else empty."""
        last = self.past.history[-1]["end"] if self.past.history and self.past.reference["timed"] else None
        return f"up to {self.labels[-2]}" if last is not None and last < self.newest["start"] else ""

    @cached_property
    def table(self) -> compare.Table:
        """Every item of the newest period beside its past."""
        return compare.tabulate(self.profiles, self.past.reference, self.params)

    @cached_property
    def _column(self) -> dict[Key, int]:
        return {measure.key: place for place, measure in enumerate(self.table.newest)}

    def values(self, key: Key) -> Floats | None:
        """An item over the periods, NaN where one has none; None for an item that is no number."""
        place = self._column.get(key)
        return None if place is None else self.table.values[:, place]

    @cached_property
    def pooled(self) -> dict[tuple[str, str], list[int]]:
        """Histograms of all accepted past periods together."""
        found: dict[tuple[str, str], list[int]] = {}
        for profile in self.past.usual:
            for item in histograms(profile):
                known = found.get((item.family, item.name), [0] * len(item.counts))
                found[item.family, item.name] = [a + b for a, b in zip(known, item.counts, strict=True)]
        return found

    @cached_property
    def now(self) -> dict[tuple[str, str], list[int]]:
        """Histograms of the newest period."""
        return {(item.family, item.name): item.counts for item in histograms(self.newest)}

    def band(self, key: Key) -> Band | None:
        """Where the newest value of an item would lie but for once in twenty times; None in a cold start.

        Of the level chart: accepted periods before the newest three, as closely as its kind follows itself. Not
        corrected for the number of items, for it is read beside one of them; no narrower than the practical floor.
        """
        place = self._column.get(key)
        rows = self._settled
        if place is None or len(self.past.usual) < self.params.enough:
            return None
        values = self.table.values[rows, place]
        there = np.isfinite(values)
        if there.sum() < charts.LEAST:
            return None
        measure, known = self.table.newest[place], values[there]
        places = tuple(int(number) for number in self.table.places[rows][there])
        seen = spread(places, int(self.table.places[-1]), self._correlations[measure.kind])
        deviation = float(np.sqrt(np.sum((known - known.mean()) ** 2) / seen.total))
        reach = float(stats.t.ppf(0.975, seen.freedom)) * deviation * seen.reach
        reach = max(reach, self._floor(measure, float(known.mean())))
        return Band(float(known.mean()) - reach, float(known.mean()) + reach)

    @cached_property
    def _settled(self) -> charts.Integers:
        usual = np.flatnonzero(np.array(self.past.accepted, bool))[-self.params.window :]
        settled: charts.Integers = usual[self.table.places[usual] <= self.table.places[-1] - charts.OF]
        return settled

    @cached_property
    def _correlations(self) -> dict[tuple[str, str], float]:
        """How closely the items of each kind follow themselves from period to period."""
        rows, found = self._settled, {}
        places = tuple(int(number) for number in self.table.places[rows])
        for kind in {measure.kind for measure in self.table.newest}:
            own = [place for place, measure in enumerate(self.table.newest) if measure.kind == kind]
            values = self.table.values[rows][:, own]
            whole = values[:, np.all(np.isfinite(values), axis=0)]
            found[kind] = autocorrelation(whole, places) if whole.shape[1] and len(rows) >= charts.LEAST else 0.0
        return found

    def _floor(self, measure: Measure, mean: float) -> float:
        """The least change that is ever told."""
        if measure.unit == "structure":
            least = self.params.structure.floor * max(abs(mean), 0.005 if measure.share else 1.0)
            return max(least, self.params.rate.floor if measure.share else 0.0)
        return float(getattr(self.params, measure.unit).floor * measure.scale)


def key(item: dict[str, Any]) -> Key:
    """What identifies an item of a report."""
    return item["family"], item["name"], item["statistic"]
