"""The year: its months, its daily and weekly rhythm, and how its months differ by nature."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zlib import crc32

import numpy as np

from graphmill.sample.tables import Floats, Ints

YEAR = 2025
MONTHS = 12
CHANGE_MONTH = 11
"""From this month on (1 is January) fraudsters relay and honest people share devices more."""

DAY = 86_400
HOUR = 3_600
MONTH_STARTS: Ints = np.array(
    [int(datetime(YEAR + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) for month in range(MONTHS + 1)],
    dtype=np.int64,
)
"""Seconds since 1970 at which each month starts; the last is the end of the year, `[13]`."""
CHANGE: int = int(MONTH_STARTS[CHANGE_MONTH - 1])

_WEEKDAY = np.array([0.95, 0.93, 0.96, 1.02, 1.18, 1.22, 0.82])
_MORNING = [0.16, 0.1, 0.07, 0.06, 0.08, 0.18, 0.42, 0.8, 1.05, 1.15, 1.25, 1.4]
_AFTERNOON = [1.55, 1.35, 1.2, 1.2, 1.35, 1.6, 1.7, 1.5, 1.2, 0.9, 0.6, 0.33]
_HOUR = np.array([*_MORNING, *_AFTERNOON])
_HOLIDAY = np.array([0.93, 0.95, 1.0, 1.0, 1.02, 1.01, 0.98, 0.97, 1.0, 1.02, 1.06, 1.2])


@dataclass(frozen=True)
class Seasons:
    """What each month multiplies, `[12]` each; the logarithms walk a little from month to month (AR(1))."""

    volume: Floats
    amount: Floats
    online: Floats
    """Odds of paying from afar."""


def stream(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one part; a change of one part leaves those of the others as they were."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, crc32(name.encode())])))


def seasons(random: np.random.Generator) -> Seasons:
    """Draw the natural variation of the months around holidays and December."""
    amount = _walk(random, 0.02) * np.where(np.arange(MONTHS) == MONTHS - 1, 1.04, 1.0)
    return Seasons(_HOLIDAY * _walk(random, 0.025), amount, _walk(random, 0.05))


def month_of(at: Ints) -> Ints:
    """The month, 0 to 11, of each moment."""
    return np.clip(np.searchsorted(MONTH_STARTS, at, side="right") - 1, 0, MONTHS - 1).astype(np.int64)


def moments(random: np.random.Generator, start: Ints, end: Ints) -> Ints:
    """One moment in each ``[start, end)``, likelier in busy hours; whole seconds, same shape as ``start``."""
    low, high = busyness(start), busyness(end)
    drawn = np.interp(low + random.random(len(low)) * (high - low), _BUSY, _EDGES)
    whole: Ints = np.clip(drawn.astype(np.int64), start, np.maximum(start, end - 1))
    return whole


def busyness(at: Ints) -> Floats:
    """How much of the year's rhythm has passed at each moment; differences weigh a span of time."""
    passed: Floats = np.interp(at, _EDGES, _BUSY)
    return passed


def _walk(random: np.random.Generator, size: float) -> Floats:
    steps, level = random.normal(0.0, size, MONTHS), 0.0
    levels = []
    for step in steps:
        level = 0.6 * level + float(step)
        levels.append(level)
    walked: Floats = np.exp(np.array(levels))
    return walked


def _rhythm() -> tuple[Floats, Floats]:
    """The edges of the year's hours and the weight that has passed at each."""
    edges = np.arange(MONTH_STARTS[0], MONTH_STARTS[-1] + 1, HOUR)
    hour, day = (edges[:-1] // HOUR) % 24, edges[:-1] // DAY
    weekday = (day + 3) % 7
    late = np.where(weekday >= 5, np.roll(_HOUR, 1)[hour], _HOUR[hour])
    to_christmas = (datetime(YEAR, 12, 24, tzinfo=UTC).timestamp() // DAY) - day
    weight: Floats = _WEEKDAY[weekday] * late * np.where((to_christmas >= 0) & (to_christmas < 14), 1.2, 1.0)
    return edges.astype(np.float64), np.concatenate([[0.0], np.cumsum(weight)])


_EDGES, _BUSY = _rhythm()
