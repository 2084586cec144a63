"""What a profile is made from: a graph, its features, the examples and their scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.schema import Relation

if TYPE_CHECKING:
    from graphmill.drift.embeddings import Embedder

PART = 1_000_000
"""Edges looked at at once: bounds the memory."""
Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


class Period(NamedTuple):
    """``[start, end)``; for data without time ``start`` is ``clock.ALWAYS``."""

    start: int
    end: int

    def holds(self, times: Integers) -> NDArray[np.bool_]:
        """Which moments lie inside: bool ``[n]``."""
        inside: NDArray[np.bool_] = (times >= self.start) & (times < self.end)
        return inside


@dataclass(frozen=True)
class Source:
    """A graph and its features; ``scores`` belong to ``examples`` row by row, NaN where there is none."""

    graph: Graph
    features: Features
    examples: pd.DataFrame
    scores: Floats | None = None
    embedder: "Embedder | None" = None
    """The model's embeddings; None where its winner has none."""

    @cached_property
    def times(self) -> dict[str, Integers]:
        """From when on each node is there, by type: int64 ``[N]``."""
        return {node: self.graph.node_time(node) for node in self.graph.nodes}

    def hashes(self, node: str) -> NDArray[np.uint64]:
        """Hashes of the keys of a node type, the same for the same keys in every graph: uint64 ``[N]``."""
        if node not in self._hashes:
            self._hashes[node] = key_hashes(self.graph.key(node))
        return self._hashes[node]

    @cached_property
    def _hashes(self) -> dict[str, NDArray[np.uint64]]:
        return {}

    @cached_property
    def relations(self) -> list[Relation]:
        """Declared edge types; a reverse holds the same edges once more."""
        return [relation for relation in self.graph.schema.relations() if not relation.reversed]

    @cached_property
    def links(self) -> dict[str, dict[str, Integers]]:
        """The node that each row links to, by node type and link column: int32 ``[N]``, -1 for none."""
        found: dict[str, dict[str, Integers]] = {}
        for relation in self.relations:
            if relation.node is None or relation.column is None:
                continue
            linked = np.full(self.graph.nodes[relation.node], -1, np.int32)
            for source, target in self.edges(relation.name, None):
                linked[source] = target
            found.setdefault(relation.node, {})[relation.column] = linked
        return found

    def timed(self, node: str) -> bool:
        """Whether rows of a node type have a time."""
        return bool(np.any(self.times[node] != ALWAYS))

    def positions(self, relation: str, period: Period | None) -> Iterator[Integers]:
        """Places in an adjacency of the edges of a period, of all where they have no time, part by part: int64."""
        adjacency = self.graph.relations[relation]
        for first in range(0, adjacency.edges, PART):
            last = min(first + PART, adjacency.edges)
            if adjacency.time is None or period is None:
                yield np.arange(first, last)
            else:
                yield np.flatnonzero(period.holds(np.asarray(adjacency.time[first:last]))) + first

    def some_positions(self, relation: str, period: Period, most: int) -> tuple[Integers, int]:
        """At most ``most`` of the places, evenly spread, and how many there are in all."""
        counts = [len(part) for part in self.positions(relation, period)]
        wanted = thin(np.arange(sum(counts)), most)
        borders = np.searchsorted(wanted, np.cumsum([0, *counts]))
        before = np.cumsum([0, *counts])
        found = [
            part[wanted[borders[place] : borders[place + 1]] - before[place]]
            for place, part in enumerate(self.positions(relation, period))
        ]
        return np.concatenate([np.empty(0, np.int64), *found]), sum(counts)

    def edges(self, relation: str, period: Period | None) -> Iterator[tuple[Integers, Integers]]:
        """Source and target of the edges of a period, part by part: int ``[e]`` each."""
        adjacency = self.graph.relations[relation]
        for places in self.positions(relation, period):
            target = np.searchsorted(np.asarray(adjacency.indptr), places, side="right") - 1
            yield np.asarray(adjacency.indices[places]), target

    def example_places(self, period: Period) -> Integers:
        """Rows of ``examples`` of a period: an event inside it, an entity judged in it or at its end."""
        times = self.examples["time"].to_numpy(np.int64)
        if self.graph.judges_events:
            return np.flatnonzero(period.holds(times))
        return np.flatnonzero((times > period.start) & (times <= period.end))


def key_hashes(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """Hashes of keys, the same on every machine: uint64 ``[n]``."""
    return np.asarray(pd.util.hash_array(np.asarray(keys, object), categorize=False), np.uint64)


def thin(rows: Integers, most: int) -> Integers:
    """At most ``most`` of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def rounded(value: float | None) -> float | None:
    """Six significant digits; None for what is not a finite number."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.6g}")
