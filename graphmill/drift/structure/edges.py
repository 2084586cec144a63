"""The edges of a period as arrays, and as neighbour lists: what every other part of the structure is counted on."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from graphmill.clock import ALWAYS
from graphmill.drift.source import PART, Integers, Period, Source
from graphmill.features.pairs import Pairs, count_pairs, fill_pairs, once
from graphmill.graph.adjacency import lower_bound
from graphmill.schema import Relation


@dataclass(frozen=True)
class Edges:
    """Row ``v`` holds the sources of the edges into node ``v``; an undirected edge stands once."""

    source: str
    """Node type of the sources."""
    target: str
    """Node type of the targets."""
    indptr: Integers
    """int64 ``[targets + 1]``"""
    indices: Integers
    """int32 ``[edges]``"""
    sources: int
    """Number of nodes that may be a source."""
    directed: bool = True

    @property
    def count(self) -> int:
        """Number of edges."""
        return len(self.indices)

    @property
    def homogeneous(self) -> bool:
        """Whether both ends are of one type."""
        return self.source == self.target

    @cached_property
    def targets(self) -> Integers:
        """Target of each edge: int32 ``[edges]``."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int32), np.diff(self.indptr))

    @cached_property
    def received(self) -> Integers:
        """Edges at each target, at both ends where they have no direction: int64 ``[targets]``."""
        degree: Integers = np.diff(self.indptr)
        if self.directed:
            return degree
        loops = self.targets[self.indices == self.targets]
        return degree + self._left - np.bincount(loops, minlength=len(degree))

    @property
    def sent(self) -> Integers:
        """Edges at each source: int64 ``[sources]``."""
        return self._left if self.directed else self.received

    @cached_property
    def present(self) -> tuple[Integers, Integers]:
        """Sources and other targets that have an edge, in the order of ``pairs``: ids."""
        left, right = self._left > 0, np.diff(self.indptr) > 0
        if self.homogeneous:
            return np.flatnonzero(left | right), np.empty(0, np.int64)
        return np.flatnonzero(left), np.flatnonzero(right)

    @cached_property
    def pairs(self) -> Pairs:
        """Neighbours of each node that has an edge, both ways, without loops; sources stand before other targets."""
        first, second = self.present
        one = other = _ranks(first, self.sources, 0)
        if not self.homogeneous:
            other = _ranks(second, len(self.indptr) - 1, len(first))
        indptr = np.zeros(len(first) + len(second) + 1, np.int64)
        part = (self.indptr, self.indices, np.empty(0, np.int64), 0, one, other)
        count_pairs(*part, indptr)
        np.cumsum(indptr, out=indptr)
        neighbours, free = np.empty(indptr[-1], np.int32), indptr[:-1].copy()
        fill_pairs(*part, free, neighbours)
        return Pairs(indptr, neighbours[: once(indptr, neighbours)])

    @cached_property
    def _left(self) -> Integers:
        found = np.zeros(self.sources, np.int64)
        for first in range(0, len(self.indices), PART):  # counting makes eight bytes of each index
            found += np.bincount(self.indices[first : first + PART], minlength=self.sources)
        return found


def of_relation(source: Source, relation: Relation, period: Period) -> Edges:
    """The edges of a relation in a period, all of them where they have no time."""
    adjacency = source.graph.relations[relation.name]
    names = adjacency.source, adjacency.target
    rows = np.asarray(adjacency.indptr), np.asarray(adjacency.indices)
    indptr = np.zeros(len(adjacency.indptr), np.int64)
    given = (*rows, np.asarray(adjacency.times()), period.start, period.end, relation.undirected)
    count_chosen(*given, indptr)
    np.cumsum(indptr, out=indptr)
    indices = np.empty(indptr[-1], np.int32)
    copy_chosen(*given, indptr, indices)
    return Edges(*names, indptr, indices, source.graph.nodes[adjacency.source], not relation.undirected)


def of_links(source: Source, node: str, one: str, other: str, period: Period) -> Edges:
    """Two links of an event join two entities: an edge from the first to the second for each row of the period."""
    schema = source.graph.schema.nodes[node].links
    links = source.links[node]
    rows = np.flatnonzero(period.holds(source.times[node])) if source.timed(node) else slice(None)
    ends = links[one][rows], links[other][rows]
    both = (ends[0] >= 0) & (ends[1] >= 0)
    return between((schema[one].node, schema[other].node), ends[0][both], ends[1][both], source.graph.nodes)


def between(names: tuple[str, str], source: Integers, target: Integers, nodes: dict[str, int]) -> Edges:
    """Edges from lists of their ends.

    Args:
        names: source and target node type.
        source: int ``[edges]``.
        target: int ``[edges]``.
        nodes: number of nodes by type.
    """
    indptr = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=nodes[names[1]]))]).astype(np.int64)
    indices = source[np.argsort(target, kind="stable")].astype(np.int32)
    return Edges(*names, indptr, indices, nodes[names[0]])


def before(source: Source, relation: Relation, period: Period) -> int | None:
    """How many edges there were before a period; None where edges have no time."""
    time = source.graph.relations[relation.name].time
    if time is None or period.start == ALWAYS:
        return None
    return int(np.sum(np.asarray(time) < period.start)) // (1 + int(relation.undirected))


def _ranks(chosen: Integers, nodes: int, first: int) -> Integers:
    """Numbers of the chosen nodes from ``first`` on, -1 for the others: int32 ``[nodes]``."""
    ranks = np.full(nodes, -1, np.int32)
    ranks[chosen] = np.arange(first, first + len(chosen), dtype=np.int32)
    return ranks


@njit(cache=True, nogil=True)
def _within(indptr: Any, clock: Any, node: int, start: int, end: int) -> Any:
    """Where a row's edges of a period begin and end."""
    first, last = indptr[node], indptr[node + 1]
    if len(clock) == 0:
        return first, last
    return lower_bound(clock, first, last, start), lower_bound(clock, first, last, end)


@njit(cache=True, nogil=True)
def count_chosen(indptr: Any, indices: Any, clock: Any, start: int, end: int, half: bool, count: Any) -> None:
    """Write to ``count[node + 1]`` how many edges of ``[start, end)`` a row has, of two that are one only the first."""
    for node in range(len(indptr) - 1):
        first, last = _within(indptr, clock, node, start, end)
        if half:
            for edge in range(first, last):
                count[node + 1] += indices[edge] <= node
        else:
            count[node + 1] = last - first


@njit(cache=True, nogil=True)
def copy_chosen(
    indptr: Any, indices: Any, clock: Any, start: int, end: int, half: bool, begin: Any, found: Any
) -> None:
    """Copy the sources of those edges, row by row from ``begin`` on."""
    for node in range(len(indptr) - 1):
        first, last = _within(indptr, clock, node, start, end)
        place = begin[node]
        for edge in range(first, last):
            if not half or indices[edge] <= node:
                found[place] = indices[edge]
                place += 1
