"""Worlds whose periods differ by nature, and drift on top: profiles as the stage `drift` makes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from graphmill.drift import features

Floats = NDArray[np.float64]
Profile = dict[str, Any]

FINE = 256
"""Bins that rows are drawn into: what is made of counts does not depend on how many rows there are."""
SETTLE = 200
CATEGORIES = 12
NODES, COMMUNITIES, COLUMNS = 5_000, 100, 20
REFERENCE = {"timed": True, "clock": "timestamp", "period": 7 * 86_400_000_000}


@dataclass(frozen=True)
class Variation:
    """By how much periods without drift differ, in standard deviations of a row."""

    size: float = 0.0
    correlation: float = 0.0
    """Of a period with the next."""
    heavy: bool = False
    """Student's t with four degrees of freedom instead of normal."""

    def draw(self, state: np.random.Generator, periods: int, items: int) -> Floats:
        """Shifts ``[periods, items]``."""
        shape = (periods + SETTLE, items)
        found = state.standard_t(4, shape) / np.sqrt(2) if self.heavy else state.standard_normal(shape)
        for row in range(1, len(found)) if self.correlation else ():
            found[row] = self.correlation * found[row - 1] + np.sqrt(1 - self.correlation**2) * found[row]
        return self.size * found[SETTLE:]


@dataclass(frozen=True)
class Number:
    """A numeric column: rows fall on the middles of fine bins, which a shift moves."""

    middles: Floats
    shares: Floats

    @cached_property
    def how(self) -> dict[str, Any]:
        """The reference that features would freeze."""
        mean = float(self.middles @ self.shares)
        deviation = float(np.sqrt(self.shares @ (self.middles - mean) ** 2))
        places = np.searchsorted(np.cumsum(self.shares), np.arange(1, features.BINS) / features.BINS)
        edges = np.unique([self.middles[0], *self.middles[np.minimum(places, FINE - 1)], self.middles[-1]])
        return {"kind": "number", "edges": edges, "mean": mean, "deviation": deviation, "histogram": True}

    def summarise(self, state: np.random.Generator, rows: int, shift: float) -> dict[str, Any]:
        """What features say of so many rows, moved by ``shift`` standard deviations."""
        counts = state.multinomial(rows, self.shares)
        return self._counted(counts, self.middles + shift * self.how["deviation"])

    def _counted(self, counts: NDArray[np.int64], at: Floats) -> dict[str, Any]:
        rows = int(counts.sum())
        mean = float(at @ counts) / rows
        edges = self.how["edges"]
        bins = np.where(at > edges[-1], len(edges), np.searchsorted(edges[:-1], at, side="right"))
        histogram = np.bincount(bins, weights=counts, minlength=len(edges) + 1).astype(int).tolist()
        deviation = float(np.sqrt(counts @ (at - mean) ** 2 / rows))
        found = {"rows": rows, "missing": 0, "mean": mean, "deviation": deviation, "quantiles": []}
        return {**found, "histogram": histogram}


@dataclass(frozen=True)
class Count(Number):
    """A column of whole numbers by Poisson's law: they do not move, others of them become common."""

    def summarise(self, state: np.random.Generator, rows: int, shift: float) -> dict[str, Any]:
        """What features say of so many rows, whose mean moved by ``shift`` standard deviations."""
        mean = max(1e-3, self.how["mean"] + shift * self.how["deviation"])
        shares = stats.poisson.pmf(self.middles, mean)
        return self._counted(state.multinomial(rows, shares / shares.sum()), self.middles)


@dataclass(frozen=True)
class Boolean:
    """A column of true and false."""

    share: float

    @property
    def how(self) -> dict[str, Any]:
        """The reference that features would freeze."""
        deviation = float(np.sqrt(self.share * (1 - self.share)))
        frozen = {"kind": "number", "edges": [0.0, 1.0], "mean": self.share, "deviation": deviation}
        return {**frozen, "histogram": True, "boolean": True}

    def summarise(self, state: np.random.Generator, rows: int, shift: float) -> dict[str, Any]:
        """What features say of so many rows, whose share of true moved by ``shift`` standard deviations."""
        share = np.clip(self.share + shift * self.how["deviation"], 0, 1)
        true = int(state.binomial(rows, share))
        mean = true / rows
        found = {"rows": rows, "missing": 0, "mean": mean, "deviation": float(np.sqrt(mean * (1 - mean)))}
        return {**found, "quantiles": [], "histogram": [0, rows - true, true, 0][:4]}


@dataclass(frozen=True)
class Category:
    """A column of categories, some common and some rare; a shift tilts them."""

    tilt: Floats

    @cached_property
    def shares(self) -> Floats:
        """Zipf's."""
        found = 1 / np.arange(1, CATEGORIES + 1)
        return found / found.sum()

    @property
    def how(self) -> dict[str, Any]:
        """The reference that features would freeze."""
        return {"kind": "category", "histogram": True, "boolean": False}

    def summarise(self, state: np.random.Generator, rows: int, shift: float) -> dict[str, Any]:
        """What features say of so many rows."""
        shares = self.shares * np.exp(shift * self.tilt)
        counts = state.multinomial(rows, shares / shares.sum())
        named = {f"c{place}": int(count) for place, count in enumerate(counts)}
        return {"rows": rows, "missing": 0, "counts": named, "other": 0, "unseen": 0}


Column = Number | Boolean | Category


def mixed() -> list[Column]:
    """Fifty columns: normal, lognormal, Student's t3, Poisson, boolean, categories."""
    state = np.random.default_rng(0)
    fine = (np.arange(FINE) + 0.5) / FINE
    even = np.full(FINE, 1 / FINE)
    found: list[Column] = [Number(stats.norm.ppf(fine), even)] * 20
    found += [Number(stats.lognorm.ppf(fine, scale), even) for scale in np.linspace(0.3, 1, 10)]
    found += [Number(stats.t.ppf(fine, 3), even)] * 5
    for mean in np.linspace(1, 20, 5):
        shares = stats.poisson.pmf(np.arange(FINE), mean)
        found.append(Count(np.arange(FINE, dtype=float), shares / shares.sum()))
    found += [Boolean(share) for share in (0.02, 0.1, 0.3, 0.5, 0.8)]
    return found + [Category(stats.zscore(state.normal(size=CATEGORIES))) for _ in range(5)]


@dataclass(frozen=True)
class Table:
    """Independent rows of mixed columns."""

    rows: int
    variation: Variation
    shift: float = 0.0
    """Drift, in standard deviations."""
    shifted: int = 0
    """In so many columns."""

    def draw(
        self, state: np.random.Generator, past: int, checks: int
    ) -> tuple[dict[str, Any], list[Profile], set[str]]:
        """The reference, profiles of the past and of the checks, and the columns that drift from the first check on."""
        columns = mixed()
        shifts = self.variation.draw(state, past + checks, len(columns))
        chosen = state.choice(len(columns), self.shifted, replace=False)
        shifts[past:, chosen] += self.shift
        found = [
            profile(
                place, {f"x{name}": one.summarise(state, self.rows, shift) for name, (one, shift) in each(columns, row)}
            )
            for place, row in enumerate(shifts)
        ]
        frozen = {f"x{name}": one.how for name, one in enumerate(columns)}
        return {**REFERENCE, "columns": {"node a": frozen}}, found, {f"node a: x{name}" for name in chosen}


@dataclass(frozen=True)
class Nodes:
    """Rows of a graph: nodes persist from period to period, those of a community are alike and act together."""

    renewed: float = 1.0
    """Part of the nodes that are new in each period."""
    active: float = 1.0
    """Part of the communities that are there in a period."""
    alike: float = 0.0
    """Part of the variance that is the community's."""

    def draw(
        self, state: np.random.Generator, past: int, checks: int
    ) -> tuple[dict[str, Any], list[Profile], set[str]]:
        """As of ``Table``; nothing drifts."""
        home = np.arange(NODES) % COMMUNITIES
        middle = np.sqrt(self.alike) * state.normal(size=(COMMUNITIES, COLUMNS))

        def born(nodes: NDArray[np.intp]) -> Floats:
            return middle[home[nodes]] + np.sqrt(1 - self.alike) * state.normal(size=(len(nodes), COLUMNS))

        values = born(np.arange(NODES))
        reference = {
            f"x{name}": {**features.freeze_number(values[:, name]), "histogram": True} for name in range(COLUMNS)
        }
        found = []
        for place in range(past + checks):
            new = np.flatnonzero(state.random(NODES) < self.renewed)
            values[new] = born(new)
            there = state.permutation(COMMUNITIES)[: round(self.active * COMMUNITIES)]
            rows = values[np.isin(home, there)]
            found.append(
                profile(place, {name: features.number(rows[:, int(name[1:])], how) for name, how in reference.items()})
            )
        return {**REFERENCE, "columns": {"node a": reference}}, found, set()


def each(columns: list[Column], row: Floats) -> Iterator[tuple[int, tuple[Column, float]]]:
    """Columns with the shifts of a period."""
    return enumerate(zip(columns, row.tolist(), strict=True))


def profile(place: int, columns: dict[str, Any]) -> Profile:
    """The profile of the period number ``place``."""
    end = (place + 1) * int(REFERENCE["period"])
    return {"start": end - int(REFERENCE["period"]), "end": end, "columns": {"node a": columns}}
