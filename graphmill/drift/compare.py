"""The newest period against the past periods: one verdict an item.

The null is how the past periods differed among themselves, not how rows of one period differ: with many rows every
harmless change is significant. From enough past periods on the charts decide, beside the newest accepted periods and
beside those of the training; from fewer the tail is not known well enough for p-values, and sizes alone do.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from graphmill.drift import charts
from graphmill.drift.baseline import Past
from graphmill.drift.charts import Integers, Items, Series
from graphmill.drift.distances import distances
from graphmill.drift.findings import findings
from graphmill.drift.items import SEVERITY, Item, unjudged
from graphmill.drift.measures import Measure, measures
from graphmill.drift.null import Floats
from graphmill.drift.params import Bounds, Family, Params
from graphmill.drift.profile import Profile
from graphmill.drift.source import rounded

STATES = ("ok", "warn", "alarm")
GRAINS = 2
"""A share must change by as much as so many rows, nodes or edges do: what never varied would alarm at one."""
SMALLEST = 1e-12
"""A change of nothing is none, whatever the floor."""
FAMILIES: tuple[Family, ...] = get_args(Family)
ALWAYS_TOLD = ("feature", "structure", "prediction")
"""Families that every report has; the others are there when something was measured."""


@dataclass(frozen=True)
class Table:
    """Every item of the newest period beside its past: rows are periods, oldest first."""

    newest: list[Measure]
    values: Floats
    """``[periods, items]``, NaN where a period has none."""
    noise: Floats
    """Variance from the number of rows, ``[periods, items]``."""
    places: Integers
    """The periods' numbers."""


class Opinion(NamedTuple):
    """What one chart says of one item."""

    state: int
    p: float
    z: float
    chart: str
    against: str


def items(newest: Profile, past: Past, params: Params) -> list[Item]:
    """Every item with its verdict, in the profile's order."""
    table = tabulate([*past.history, newest], past.reference, params)
    usual = np.flatnonzero(np.array(past.accepted, bool))
    found = [_described(table, place, usual) for place in range(len(table.newest))]
    floor = np.array([_floor(measure, item, params) for measure, item in zip(table.newest, found, strict=True)])
    armed = np.array([item.past >= params.enough for item in found], bool)
    for place in np.flatnonzero(~armed).tolist():
        _by_size(found[place], table, place, usual, params)
    for family in {measure.family for measure in table.newest}:
        own = np.flatnonzero(armed & np.array([measure.family == family for measure in table.newest]))
        if len(own):
            _by_charts(found, table, own, floor[own], past, params)
    return found + distances(newest, past.usual, params) + findings(newest, past, params)


def tabulate(profiles: list[Profile], reference: dict[str, Any], params: Params) -> Table:
    """The measures of profiles, oldest first, that the last of them has."""
    label = (params.label_share, params.positives)
    by_period = [{item.key: item for item in measures(profile, reference, *label)} for profile in profiles]
    newest = list(by_period[-1].values())
    place_of = {measure.key: place for place, measure in enumerate(newest)}
    shape = (len(profiles), len(newest))
    values, noise, rows = (np.full(shape, np.nan) for _ in range(3))
    for row, known in enumerate(by_period):
        for key, measure in known.items():
            if key in place_of:
                place = place_of[key]
                values[row, place], noise[row, place], rows[row, place] = measure.value, measure.noise, measure.rows
    many = np.isfinite(noise[:-1]).sum(axis=0)
    usual = np.nansum((noise * rows)[:-1], axis=0) / np.maximum(many, 1)
    noise[-1] = np.where(many > 0, usual / rows[-1], noise[-1])  # chance as it would be if nothing had changed
    return Table(newest, values, noise, _places(profiles, reference))


def _places(profiles: list[Profile], reference: dict[str, Any]) -> Integers:
    """The number of each period; one that nobody looked at leaves a gap."""
    if not reference.get("timed"):
        return np.arange(len(profiles))
    length = reference["period"]
    found = [round((profile["end"] - profiles[-1]["end"]) / length) for profile in profiles]
    for place in range(len(found) - 2, -1, -1):
        found[place] = min(found[place], found[place + 1] - 1)
    return np.array(found, np.int64)


def _described(table: Table, place: int, usual: Integers) -> Item:
    """An item with its past, before its verdict."""
    now = table.newest[place]
    known = table.values[usual, place]
    known = known[np.isfinite(known)]
    mean = float(known.mean()) if len(known) else None
    spread = float(known.std(ddof=1)) if len(known) > 1 else None
    item = Item(now.family, now.name, now.statistic, now.unit, now.value, mean, spread, len(known))
    if mean is not None:
        item.effect = (now.value - mean) / _unit(now, mean)
    return item


def _unit(now: Measure, mean: float) -> float:
    """What a change of 1 is: a standard deviation, a whole, or the value itself."""
    if now.unit == "structure":
        return max(abs(mean), 0.005 if now.share else 1.0)
    return now.scale


def _floor(now: Measure, item: Item, params: Params) -> float:
    """The least change that is told, in the item's own unit."""
    bounds: Bounds = getattr(params, now.unit)
    least = bounds.floor * _unit(now, item.reference or 0.0)
    return float(max(least, params.rate.floor if now.share else 0.0, GRAINS * now.grain, SMALLEST))


def _by_charts(found: list[Item], table: Table, own: Items, floor: Floats, past: Past, params: Params) -> None:
    """The verdicts of one family's items by both charts, beside the rolling null and the frozen one."""
    series = _series(table, own, floor)
    alpha = params.level(past.reference)
    usual = np.flatnonzero(np.array(past.accepted, bool))[-params.window :]
    verdicts = {"rolling": charts.judge(series, usual, alpha)}
    frozen = np.flatnonzero(np.array(past.accepted[: past.trained], bool))
    if len(frozen) >= params.enough and not np.array_equal(frozen, usual):
        verdicts["frozen"] = charts.judge(series, frozen, alpha, differences=False)
    for place, item in enumerate(found[index] for index in own):
        best = max(_opinions(verdicts, place), key=lambda opinion: (opinion.state, -opinion.p))
        item.state, item.p, item.z = STATES[best.state], best.p, best.z
        item.chart, item.against = best.chart, best.against
        beside = verdicts[best.against].level
        item.streak = [int(chart.p[place] < charts.REPEATED * alpha) for chart in reversed(beside)]


def _opinions(verdicts: dict[str, charts.Verdicts], place: int) -> list[Opinion]:
    """What each chart says of an item; one that could not judge says nothing."""
    found = []
    for against, verdict in verdicts.items():
        by_name = {
            "level": (verdict.level[0], verdict.level_state),
            "difference": (verdict.difference, verdict.difference_state),
        }
        for name, (chart, state) in by_name.items():
            if np.isfinite(chart.p[place]):
                p, z = float(chart.p[place]), float(chart.z[place])
                found.append(Opinion(int(state[place]), p, z, name, against))
    return found


def _series(table: Table, own: Items, floor: Floats) -> Series:
    """One family's items as the charts take them: each column has the same share of the family's error."""
    measured = [table.newest[place] for place in own]
    total: dict[str, float] = {}
    for measure in measured:
        total[measure.name] = total.get(measure.name, 0.0) + measure.weight
    kinds = {kind: number for number, kind in enumerate(sorted({measure.kind for measure in measured}))}
    return Series(
        values=table.values[:, own],
        noise=table.noise[:, own],
        places=table.places,
        floor=floor,
        weight=np.array([measure.weight / total[measure.name] for measure in measured]),
        kind=np.array([kinds[measure.kind] for measure in measured]),
        side=np.array([measure.side for measure in measured]),
    )


def _by_size(item: Item, table: Table, place: int, usual: Integers, params: Params) -> None:
    """The verdict of a cold start: how large a change is, beside what the few past periods did."""
    now, known = table.newest[place], np.isfinite(table.values[usual, place])
    if item.effect is None or item.reference is None:
        item.state = "cold_start"
        return
    bounds: Bounds = getattr(params, now.unit)
    least = bounds.floor * _unit(now, item.reference) / 4
    item.z = (now.value - item.reference) / _scale(
        item, table.noise[-1, place], table.noise[usual, place][known], least, params.few
    )
    warn, alarm = (bounds.large, bounds.gross) if item.past < params.few else (bounds.notable, bounds.large)
    size = abs(item.effect) if item.effect * now.side >= 0 and abs(item.z) >= params.shift else 0.0
    item.state = "alarm" if size >= alarm else "warn" if size >= warn else "ok"


def _scale(item: Item, now: float, noise: Floats, least: float, few: int) -> float:
    """How far a harmless new value lies from the past mean: their spread, or chance where that is more.

    ``least`` keeps a past without any variation from making everything strange.
    """
    chance = float(noise.mean())
    if item.spread is None or item.past < few:
        return float(np.sqrt(least**2 + now + chance / item.past))
    more = max(0.0, now - chance)
    return float(np.sqrt((max(item.spread, least) ** 2) * (1 + 1 / item.past) + more))


def families(found: list[Item], errors: dict[str, str], params: Params) -> dict[str, dict[str, Any]]:
    """Each family's state, how many past periods its items had (the median), and its least corrected p-value."""
    report: dict[str, dict[str, Any]] = {}
    for family in FAMILIES:
        own = [item for item in found if item.family == family]
        if not own and family not in errors and family not in ALWAYS_TOLD:
            continue
        past = int(np.median([item.past for item in own if item.value is not None] or [0]))
        state = max((item.state for item in own), key=SEVERITY.index, default="cold_start")
        if family == "performance" and any(unjudged(item.name, item.state) for item in own) and state != "alarm":
            state = "warn" if state == "warn" else "insufficient_labels"
        elif state in ("ok", "insufficient_labels", "cold_start"):
            state = "cold_start" if past < params.few else "ok"
        tested = [item.p for item in own if item.p is not None]
        report[family] = {
            "state": "error" if family in errors else state,
            "error": errors.get(family),
            "items": len(own),
            "past": past,
            "cold_start": past < params.enough,
            "p": rounded(min(tested)) if tested else None,
        }
    return report
