"""One edge type in one direction: the in-neighbours of every target node, sorted by time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.errors import UserError

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Adjacency:
    """Row ``v`` holds the edges into ``v`` at positions ``indptr[v]:indptr[v + 1]``, oldest first.

    The time of an edge is the moment after which its target may read it: the later of the edge's own time
    and its source row's. So "what was there before t" is one binary search, and a source from the future
    cannot be reached.
    """

    source: str
    target: str
    indptr: Integers
    """int64 ``[targets + 1]``"""
    indices: Integers
    """int32 ``[edges]``: the source node."""
    edge_id: Integers
    """int32 ``[edges]``: the row of the table that the edge comes from."""
    time: Integers | None
    """int64 ``[edges]``, or None when every edge is always visible."""

    @property
    def first(self) -> Integers:
        """Where each row begins: int64 ``[targets]``."""
        return self.indptr[:-1]

    @property
    def last(self) -> Integers:
        """One past where each row ends: int64 ``[targets]``."""
        return self.indptr[1:]

    @property
    def edges(self) -> int:
        """Number of edges."""
        return len(self.indices)

    def times(self) -> Integers:
        """``time``, or an empty array for kernels, which read it as always visible."""
        return np.empty(0, np.int64) if self.time is None else self.time

    def degree(self, nodes: Integers, times: Integers) -> NDArray[np.int64]:
        """How many edges each node has strictly before its time: int64 ``[n]``.

        Raises:
            UserError: for a node that is not there.
        """
        if len(nodes) != len(times):
            raise UserError(f"{self.target}: {len(nodes):,} nodes and {len(times):,} times")
        if len(nodes) and (nodes.min() < 0 or nodes.max() >= len(self.first)):
            raise UserError(f"{self.target}: node ids must be within 0 and {len(self.first) - 1:,}")
        return np.asarray(visible(self.first, self.last, self.times(), nodes, times))


@njit(cache=True, nogil=True)
def lower_bound(values: Any, first: int, last: int, bound: int) -> int:
    """First position in sorted ``values[first:last]`` whose value is not below ``bound``."""
    left = last - first
    while left > 1:  # arithmetic in place of a branch, which would be guessed wrong half of the time
        half = left >> 1
        first += half * (values[first + half - 1] < bound)
        left -= half
    return first + 1 if left == 1 and values[first] < bound else first


@njit(cache=True)
def visible(first: Any, last: Any, time: Any, nodes: Any, times: Any) -> Any:
    """Number of edges strictly before ``times[i]`` in the row of ``nodes[i]``."""
    count = np.empty(len(nodes), np.int64)
    for i in range(len(nodes)):
        begin, end = first[nodes[i]], last[nodes[i]]
        if len(time):
            end = lower_bound(time, begin, end, times[i])
        count[i] = end - begin
    return count


@njit(cache=True)
def _rows(target: Any, count: int) -> Any:
    """Counting sort by target that keeps the order inside each row: (indptr, order)."""
    indptr = np.zeros(count + 1, np.int64)
    for node in target:
        indptr[node + 1] += 1
    for node in range(count):
        indptr[node + 1] += indptr[node]
    free = indptr[:-1].copy()
    order = np.empty(len(target), np.int64)
    for edge in range(len(target)):
        order[free[target[edge]]] = edge
        free[target[edge]] += 1
    return indptr, order


def assemble(
    names: tuple[str, str],
    source: Integers,
    target: Integers,
    edge_id: Integers,
    time: Integers | None,
    target_count: int,
) -> Adjacency:
    """Sort an edge list into an adjacency; ties in time keep the order given.

    Args:
        names: source and target node type.
        source: int ``[edges]``.
        target: int ``[edges]``.
        edge_id: int ``[edges]``.
        time: int64 ``[edges]`` or None.
        target_count: number of target nodes.
    """
    if time is not None and len(time) and bool(np.all(time == ALWAYS)):
        time = None
    if time is not None and bool(np.any(time[1:] < time[:-1])):
        first = np.argsort(time, kind="stable")
        source, target, edge_id, time = source[first], target[first], edge_id[first], time[first]
    indptr, order = _rows(target, target_count)
    return Adjacency(
        names[0],
        names[1],
        indptr,
        source[order].astype(np.int32),
        edge_id[order].astype(np.int32),
        None if time is None else time[order].astype(np.int64),
    )


def save(adjacency: Adjacency, folder: Path) -> None:
    """Write the arrays as little-endian ``.npy`` files, 64-byte aligned."""
    folder.mkdir(parents=True)
    np.save(folder / "indptr.npy", adjacency.indptr)
    np.save(folder / "indices.npy", adjacency.indices)
    np.save(folder / "edge_id.npy", adjacency.edge_id)
    if adjacency.time is not None:
        np.save(folder / "time.npy", adjacency.time)


def load(folder: Path, source: str, target: str) -> Adjacency:
    """Memory-map the arrays that ``save`` wrote."""
    indptr, indices, edge_id = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("indptr", "indices", "edge_id")
    )
    timed = (folder / "time.npy").exists()
    time = np.load(folder / "time.npy", mmap_mode="r") if timed else None
    return Adjacency(source, target, indptr, indices, edge_id, time)
