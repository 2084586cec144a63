"""Distances between the newest distribution and the past ones: they see what mean and spread do not."""

from typing import Any

import numpy as np

from graphmill.drift.items import Item
from graphmill.drift.measures import Histogram, histograms
from graphmill.drift.params import Params
from graphmill.drift.source import Floats

NAME = "distribution"
TWICE = 2.0
"""A distance counts when it is so many times the largest among the past periods."""
CHANCE = 1.63
"""Kolmogorov-Smirnov's critical value at 1 %, before the number of rows."""


def distances(newest: dict[str, Any], history: list[dict[str, Any]], params: Params) -> list[Item]:
    """One item a histogram: Kolmogorov-Smirnov's D to all past periods together."""
    before: dict[str, list[Histogram]] = {}
    for profile in history:
        for histogram in histograms(profile):
            before.setdefault(histogram.name, []).append(histogram)
    found = []
    for now in histograms(newest):
        known = [item for item in before.get(now.name, []) if sum(item.counts)]
        if known and sum(now.counts):
            found.append(_distance(now, known, params))
    return found


def _distance(now: Histogram, before: list[Histogram], params: Params) -> Item:
    past = np.array([item.counts for item in before], float)
    counts = np.array(now.counts, float)
    total = past.sum(axis=0)
    value = float(distance(counts, total))
    own = distance(past, total - past).tolist() if len(past) > 1 else []
    usual = max(own, default=0.0)
    spread = float(np.std(own, ddof=1)) if len(own) > 1 else None
    item = Item(now.family, now.name, NAME, "rate", value, usual, spread, len(past), effect=value)
    chance = CHANCE * float(np.sqrt(1 / counts.sum() + 1 / total.sum()))
    if value >= TWICE * max(usual, chance):
        bounds = params.rate
        alone = len(past) < params.few
        item.state = "alarm" if value >= bounds.gross and not alone else "warn" if value >= bounds.large else "ok"
    return item


def distance(counts: Floats, others: Floats) -> Floats:
    """Kolmogorov-Smirnov's D between histograms on the same edges, 0 to 1: ``[…, bins]`` to ``[…]``."""
    one, two = (np.cumsum(part, axis=-1) / part.sum(axis=-1, keepdims=True) for part in (counts, others))
    found: Floats = np.abs(one - two).max(axis=-1)
    return found
