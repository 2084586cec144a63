"""Distances between the newest distribution and the past ones: they see what mean, spread and single shares do not."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphmill.drift.items import Item
from graphmill.drift.measures import histograms
from graphmill.drift.params import Params
from graphmill.drift.source import Floats

NAME = "distribution"
TWICE = 2.0
"""A distance counts when it is so many times the largest among the past periods, and so many times chance."""
CHANCE = 1.63
"""Kolmogorov-Smirnov's critical value at 1 %, before the number of rows."""
CHANCE_OF_SHARES = 1.52
"""The same of how far total variation lies above its mean (McDiarmid 1989): ``sqrt(log(100) / 2)``."""

Key = tuple[str, str]
Distance = Callable[[Floats, Floats], Floats]


def distances(newest: dict[str, Any], history: list[dict[str, Any]], params: Params) -> list[Item]:
    """One item a histogram or column of categories: the distance to all past periods together."""
    return [
        *_items(_ordered, distance, lambda bins: CHANCE, newest, history, params),
        *_items(_unordered, variation, lambda bins: CHANCE_OF_SHARES + (bins - 1) ** 0.5 / 2, newest, history, params),
    ]


def _ordered(profile: dict[str, Any]) -> Iterator[tuple[Key, list[int]]]:
    for histogram in histograms(profile):
        yield (histogram.family, histogram.name), histogram.counts


def _unordered(profile: dict[str, Any]) -> Iterator[tuple[Key, list[int]]]:
    """Counts of the frozen categories in one order, and of all others."""
    for scope, columns in profile.get("columns", {}).items():
        for name, summary in columns.items():
            if "counts" in summary:
                counts = [summary["counts"][category] for category in sorted(summary["counts"])]
                yield ("feature", f"{scope}: {name}"), [*counts, summary["other"]]


def _items(
    of: Callable[[dict[str, Any]], Iterator[tuple[Key, list[int]]]],
    measure: Distance,
    chance: Callable[[int], float],
    newest: dict[str, Any],
    history: list[dict[str, Any]],
    params: Params,
) -> Iterator[Item]:
    before: dict[Key, list[list[int]]] = {}
    for profile in history:
        for key, counts in of(profile):
            before.setdefault(key, []).append(counts)
    for key, now in of(newest):
        known = [counts for counts in before.get(key, []) if sum(counts)]
        if known and sum(now):
            yield _item(key, np.array(now, float), np.array(known, float), measure, chance(len(now)), params)


def _item(key: Key, now: Floats, past: Floats, measure: Distance, chance: float, params: Params) -> Item:
    total = past.sum(axis=0)
    value = float(measure(now, total))
    own = measure(past, total - past).tolist() if len(past) > 1 else []
    usual = max(own, default=0.0)
    spread = float(np.std(own, ddof=1)) if len(own) > 1 else None
    item = Item(*key, NAME, "rate", value, usual, spread, len(past), effect=value)
    if value >= TWICE * max(usual, chance * float(np.sqrt(1 / now.sum() + 1 / total.sum()))):
        bounds, alone = params.rate, len(past) < params.few
        item.state = "alarm" if value >= bounds.gross and not alone else "warn" if value >= bounds.large else "ok"
    return item


def distance(counts: Floats, others: Floats) -> Floats:
    """Kolmogorov-Smirnov's D between histograms on the same edges, 0 to 1: ``[…, bins]`` to ``[…]``."""
    one, two = (np.cumsum(_shares(part), axis=-1) for part in (counts, others))
    found: Floats = np.abs(one - two).max(axis=-1)
    return found


def variation(counts: Floats, others: Floats) -> Floats:
    """Total variation between counts of the same categories, 0 to 1: ``[…, categories]`` to ``[…]``."""
    found: Floats = np.abs(_shares(counts) - _shares(others)).sum(axis=-1) / 2
    return found


def _shares(counts: Floats) -> Floats:
    found: Floats = counts / counts.sum(axis=-1, keepdims=True)
    return found
