"""The newest period against the past periods: one verdict an item.

The null is how the past periods differed among themselves, not how rows of one period differ: with many rows
every harmless change is significant. Each statistic is signed and its z-score is

    z = (value - mean of the past) / (spread of the past * sqrt(1 + 1/K)),

under Student's t with K - 1 degrees of freedom (the predictive t of a new observation), corrected by Holm within
its family. From few past periods the tail is not known well enough for p-values: there sizes alone decide.
"""

from typing import Any

import numpy as np
from scipy import stats

from graphmill.drift import verdicts
from graphmill.drift.distances import distances
from graphmill.drift.items import SEVERITY, Item
from graphmill.drift.measures import Measure, measures
from graphmill.drift.params import Bounds, Params
from graphmill.drift.source import rounded


def items(
    newest: dict[str, Any], history: list[dict[str, Any]], reference: dict[str, Any], params: Params
) -> list[Item]:
    """Every item with its verdict, in the profile's order."""
    label = (params.label_share, params.positives)
    now = measures(newest, reference, *label)
    before: dict[tuple[str, str, str], list[Measure]] = {}
    for profile in history:
        for measure in measures(profile, reference, *label):
            before.setdefault(measure.key, []).append(measure)
    found = [_judge(measure, before.get(measure.key, []), params) for measure in now]
    _holm(found, params)
    found += distances(newest, history, params)
    return found + _new(newest) + verdicts.items(newest, reference, params)


def _judge(now: Measure, before: list[Measure], params: Params) -> Item:
    """Effect, z and, where sizes decide, the verdict."""
    values = np.array([measure.value for measure in before])
    count = len(values)
    spread = float(values.std(ddof=1)) if count > 1 else None
    item = Item(now.family, now.name, now.statistic, now.unit, now.value, None, spread, count)
    if count == 0:
        item.state = "cold_start"
        return item
    mean = float(values.mean())
    item.reference = mean
    unit = _unit(now, mean)
    bounds: Bounds = getattr(params, now.unit)
    change = now.value - mean
    item.effect = change / unit
    item.z = change / _scale(now, before, spread, bounds.floor * unit / 4, params.few)
    if change * now.side < 0:
        return item  # better than before
    matters = abs(item.effect) >= bounds.floor and (not now.share or abs(change) >= params.rate.floor)
    if count >= params.enough:
        sides = 1 if now.side else 2
        item.p = float(sides * stats.t.sf(abs(item.z), count - 1)) if matters else 1.0
    else:
        item.state = _by_size(abs(item.effect), count, bounds, params) if abs(item.z) >= params.shift else "ok"
    return item


def _unit(now: Measure, mean: float) -> float:
    """What a change of 1 is: a standard deviation, a whole, or the value itself."""
    if now.unit == "structure":
        return max(abs(mean), 0.005 if now.share else 1.0)
    return now.scale


def _scale(now: Measure, before: list[Measure], spread: float | None, least: float, few: int) -> float:
    """How far a harmless new value lies from the past mean: their spread, or chance where that is more.

    ``least`` keeps a past without any variation from making everything strange.
    """
    count = len(before)
    chance = float(np.mean([measure.noise for measure in before]))
    if spread is None or count < few:
        return float(np.sqrt(least**2 + now.noise + chance / count))
    more = max(0.0, now.noise - chance)
    return float(np.sqrt((max(spread, least) ** 2) * (1 + 1 / count) + more))


def _by_size(effect: float, count: int, bounds: Bounds, params: Params) -> str:
    """The verdict of a cold start, by size."""
    warn, alarm = (bounds.large, bounds.gross) if count < params.few else (bounds.notable, bounds.large)
    return "alarm" if effect >= alarm else "warn" if effect >= warn else "ok"


def _holm(found: list[Item], params: Params) -> None:
    """Correct the p-values within each family (Holm 1979) and judge by them."""
    for family in {item.family for item in found}:
        tested = sorted(
            (item for item in found if item.family == family and item.p is not None), key=lambda item: item.p or 0.0
        )
        worst = 0.0
        for place, item in enumerate(tested):
            worst = max(worst, min(1.0, (item.p or 0.0) * (len(tested) - place)))
            item.p = worst
            item.state = "alarm" if worst < params.alarm else "warn" if worst < params.warn else "ok"


def _new(newest: dict[str, Any]) -> list[Item]:
    """Columns that the model does not know: harmless to it, but somebody should know."""
    return [
        Item("feature", name, "new column", "rate", None, None, None, 0, state="warn")
        for name in newest.get("unknown", [])
    ]


def families(found: list[Item], errors: dict[str, str], params: Params) -> dict[str, dict[str, Any]]:
    """Each family's state, how many past periods its items had (the median), and its least corrected p-value."""
    report = {}
    for family in ("feature", "structure", "prediction", "performance"):
        own = [item for item in found if item.family == family]
        past = int(np.median([item.past for item in own if item.state != "insufficient_labels"] or [0]))
        state = max((item.state for item in own), key=SEVERITY.index, default="cold_start")
        if family == "performance" and any(item.state == "insufficient_labels" for item in own) and state != "alarm":
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
