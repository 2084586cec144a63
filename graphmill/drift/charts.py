"""Two control charts over past periods, and when they alarm. Arrays in, verdicts out.

The *level chart* asks whether an item is where it was, the *difference chart* whether it moved from one period to the
next; a lasting change shows in the first, a sudden one among periods that follow each other closely in the second.
p-values are corrected within their family (Holm 1979, weighted). A warning is one chart beyond ``alpha``. An alarm is
the difference chart beyond half of it, or the level chart beyond a fifth of it, or beyond three times it for the same
item in two of the newest three periods. The null ends before those three: a change that came two periods ago is no
part of what is usual.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.drift.null import Floats, Places, Scores, autocorrelation, calibrated, level, step

OF = 3
"""The newest periods, of which some must have the same item beyond its bound."""
TWICE = 2
"""How many of them."""
REPEATED, ONCE, STEP = 3.0, 0.2, 0.5
"""Times ``alpha``: the bounds of a level seen repeatedly, of one seen once, and of a step."""
NEAR = 2
"""Past periods are judged without those so near: their variation is partly its own."""
TRIFLE = 0.1
"""An item that varied by less than this part of the least deviation is constant."""
FEW = 8
"""Fewer items of a kind do not tell their autocorrelation well."""
LEAST = 4
"""A null of fewer periods says nothing."""
NOTHING = np.zeros(1)
OK, WARN, ALARM = 0, 1, 2

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Items = NDArray[np.intp]


@dataclass(frozen=True)
class Series:
    """One number an item and period, the newest period last. What an item lacks is NaN."""

    values: Floats
    """``[periods, items]``"""
    noise: Floats
    """Variance from the number of rows, ``[periods, items]``."""
    places: Integers
    """Numbers of the periods, ``[periods]``, growing; a period that nobody looked at leaves a gap."""
    floor: Floats
    """Smaller changes are never told, ``[items]``."""
    weight: Floats
    """Share of the family's error that an item may use, ``[items]``, in any unit."""
    kind: Integers
    """Items of one kind are taken to follow themselves equally closely: ``[items]``, any numbers."""
    side: Integers
    """1 where only a rise matters, -1 where only a fall does, else 0: ``[items]``."""

    def of(self, items: Items) -> "Series":
        """The same periods of some items."""
        own = {name: getattr(self, name)[..., items] for name in ("values", "noise", "floor", "weight", "kind", "side")}
        return Series(places=self.places, **own)

    @property
    def least(self) -> Floats:
        """Variance that is there in any case: a quarter of the floor is one standard deviation."""
        return (self.floor / 4) ** 2


@dataclass(frozen=True)
class Chart:
    """What one chart says of one period."""

    z: Floats
    p: Floats
    """Corrected within the family; 1 where the change is below its floor, NaN where there was nothing to judge."""


@dataclass(frozen=True)
class Verdicts:
    """What all charts say, an item each."""

    level: list[Chart]
    """Of the newest period and those before that count together with it, newest first."""
    level_state: Integers
    """0 ok, 1 warn, 2 alarm."""
    difference: Chart
    difference_state: Integers
    correlation: Floats
    """Of a period with the next, ``[items]``."""

    @property
    def state(self) -> Integers:
        """The worse of both."""
        worse: Integers = np.maximum(self.level_state, self.difference_state)
        return worse


def judge(series: Series, null: Integers, alpha: float, differences: bool = True) -> Verdicts:
    """Verdicts on the newest period.

    Args:
        series: of the items of one family.
        null: rows of ``series`` that count as usual, growing. Those among the newest three periods are left out of
            the level chart.
        alpha: a family without drift warns in about this share of the checks by either chart.
        differences: whether the difference chart is asked too; not beside a null that is long gone.
    """
    newest = series.places[-1]
    settled = null[series.places[null] <= newest - OF]
    recent = [row for row in range(len(series.places) - 1, -1, -1) if series.places[row] > newest - OF]
    correlations = _correlations(series, settled)
    levels = [_Draft(series) for _ in recent]
    change = _Draft(series)
    for items in _alike(series, null, correlations):
        own, correlation = series.of(items), float(correlations[items[0]])
        _level(own, settled, recent, correlation, items, levels)
        if differences:
            _difference(own, null, correlation, items, change)
    found = [draft.corrected(series) for draft in levels]
    difference = change.corrected(series)
    return Verdicts(found, _level_state(found, alpha), difference, _step_state(difference, alpha), correlations)


class _Draft:
    """A chart before its p-values are calibrated and corrected."""

    def __init__(self, series: Series) -> None:
        count = len(series.floor)
        self.z, self.log_p, self.change = (np.full(count, np.nan) for _ in range(3))
        self.varies = np.zeros(count, bool)
        self.past = np.full((len(series.places), count), np.nan)

    def put(self, items: Items, scores: Scores, change: Floats, varies: Bools, past: Floats) -> None:
        self.z[items], self.log_p[items] = scores
        self.change[items], self.varies[items] = change, varies
        self.past[: len(past), items[varies]] = past

    def corrected(self, series: Series) -> Chart:
        """p-values that count a change below the floor, or to the harmless side, as none.

        An item that never varied cannot alarm by chance: unless it moved it takes nothing of the family's error.
        """
        there = np.isfinite(self.change)
        matters = there & (np.abs(self.change) >= series.floor) & (self.change * series.side >= 0)
        p = np.where(matters, calibrated(self.log_p, self.past, series.kind), np.where(there, 1.0, np.nan))
        counts = there & (self.varies | matters)
        p[counts] = holm(p[counts], series.weight[counts])
        return Chart(self.z, p)


def _alike(series: Series, rows: Integers, alike: NDArray[Any]) -> list[Items]:
    """Items that have values in the same of some periods, and are alike: group by group."""
    pattern = np.vstack([np.isfinite(series.values[rows]), alike])
    _, group = np.unique(pattern, axis=1, return_inverse=True)
    return [np.flatnonzero(group == number) for number in range(int(group.max(initial=-1)) + 1)]


def _known(series: Series, rows: Integers) -> Integers:
    """Those rows in which a group of alike items has values."""
    known: Integers = rows[np.isfinite(series.values[rows, 0])]
    return known


def _correlations(series: Series, rows: Integers) -> Floats:
    """The autocorrelation of each item's kind, by the largest group of it; a small kind's is no less than all's."""
    found, count = np.zeros(len(series.kind)), np.zeros(len(series.kind))
    for items in sorted(_alike(series, rows, series.kind), key=len):
        own = series.of(items)
        known = _known(own, rows)
        if len(known) >= LEAST:
            kind = series.kind == own.kind[0]
            found[kind], count[kind] = autocorrelation(own.values[known], _numbers(own, known)), len(items)
    every = round(float(found.mean()), 2) if len(found) else 0.0
    return np.where(count < FEW, np.maximum(found, every), found)


def _numbers(series: Series, rows: Integers) -> Places:
    return tuple(int(place) for place in series.places[rows])


def _level(
    series: Series, settled: Integers, recent: list[int], correlation: float, items: Items, drafts: list[_Draft]
) -> None:
    """Fill in the level charts of the newest periods for a group of items."""
    rows = _known(series, settled)
    if len(rows) < LEAST:
        return
    usual, places = series.values[rows], _numbers(series, rows)
    varies = _varies(usual.std(axis=0), series)
    past = _beside_the_others(series, usual, places, varies, correlation)
    for row, draft in zip(recent, drafts, strict=True):
        more = np.maximum(0, series.noise[row] - series.noise[rows].mean(axis=0))
        at = int(series.places[row])
        scores = level(usual, places, series.values[row], at, correlation, series.least, more)
        draft.put(items, scores, series.values[row] - usual.mean(axis=0), varies, past)


def _beside_the_others(series: Series, usual: Floats, places: Places, varies: Bools, correlation: float) -> Floats:
    """Logarithms of p of every past period beside the others, of the items that vary: ``[periods, items]``."""
    chosen, least, here = usual[:, varies], series.least[varies], np.array(places)
    found = []
    for row, place in enumerate(places):
        kept = np.abs(here - place) > NEAR
        if kept.sum() >= LEAST:
            others = tuple(int(other) for other in here[kept])
            found.append(level(chosen[kept], others, chosen[row], place, correlation, least, NOTHING).log_p)
    return np.array(found).reshape(len(found), int(varies.sum()))


def _difference(series: Series, null: Integers, correlation: float, items: Items, draft: _Draft) -> None:
    """Fill in the step from the null's newest period to the newest one, beside the null's own steps.

    What grows by nature may go on as it did. A step over a gap is larger by nature; it is made as small as one from a
    period to the next.
    """
    rows = np.append(_known(series, null), len(series.places) - 1)
    if len(rows) < LEAST + 2:
        return
    gaps, values = np.diff(series.places[rows]), series.values[rows]
    total = gaps[:-1].sum()
    drift = (values[-2] - values[0]) / total
    away = np.diff(values, axis=0) - drift * gaps[:, None]
    growth = (1 - correlation ** np.append(gaps, total)) / (1 - correlation)
    steps = away / np.sqrt(growth[:-1, None])
    reach = 1 + growth[-1] / growth[-2] * (gaps[-1] / total) ** 2
    usual, varies = steps[:-1], _varies(steps[:-1].std(axis=0), series)
    past = []
    for row in range(len(usual)):  # a step that starts where another ends shares a period with it
        others = usual[np.abs(np.arange(len(usual)) - row) > 1][:, varies]
        past.append(step(others, usual[row, varies], correlation, series.least[varies], NOTHING).log_p)
    more = np.maximum(0, series.noise[-1] - series.noise[rows[:-1]].mean(axis=0))
    scores = step(usual, steps[-1] / np.sqrt(reach), correlation, series.least, more)
    draft.put(items, scores, away[-1], varies, np.array(past))


def _level_state(levels: list[Chart], alpha: float) -> Integers:
    beyond = np.array([chart.p < REPEATED * alpha for chart in levels])
    alarm = (beyond[0] & (beyond.sum(axis=0) >= TWICE)) | (levels[0].p < ONCE * alpha)
    return np.where(alarm, ALARM, np.where(levels[0].p < alpha, WARN, OK))


def _step_state(chart: Chart, alpha: float) -> Integers:
    return np.where(chart.p < STEP * alpha, ALARM, np.where(chart.p < alpha, WARN, OK))


def _varies(deviation: Floats, series: Series) -> Bools:
    varies: Bools = deviation > TRIFLE * np.sqrt(series.least)
    return varies


def holm(p: Floats, weight: Floats) -> Floats:
    """p-values corrected for being many, each with its weight (Holm 1979): ``[items]`` each."""
    if len(p) == 0:
        return p
    order = np.argsort(p / weight, kind="stable")
    left = np.cumsum(weight[order][::-1])[::-1]
    found = np.empty(len(p))
    found[order] = np.minimum(1, np.maximum.accumulate(p[order] * left / weight[order]))
    return found
