"""The point-in-time sampler: for every seed and its time, a few edges from strictly before that time.

Which edges are drawn depends only on (seed of the sampler, depth, edge type, node, time), never on the other
seeds, the batch or the number of threads: the same example is always sampled alike, in training, batch
scoring and online. Drawing is uniform without replacement (R. W. Floyd's algorithm, CACM 30(9), 1987) or
the most recent.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.graph.adjacency import Integers, lower_bound
from graphmill.graph.store import Graph

Ids = NDArray[np.int32]
Times = NDArray[np.int64]
ALL = -1
"""The fan-out that takes every visible neighbour."""


@dataclass(frozen=True)
class Frontier:
    """Nodes at one depth: ids and, beside each, the time up to which it may be read."""

    ids: Ids
    times: Times


@dataclass(frozen=True)
class Block:
    """Sampled edges of one relation between a depth and the next.

    Target ``i`` of the depth receives from rows ``row[pointer[i]:pointer[i + 1]]`` of the next depth's
    frontier of the source type.
    """

    pointer: NDArray[np.int64]
    row: NDArray[np.int64]
    edge_id: Ids
    age: Times
    """How long before the target's time each edge was, in clock units; 0 where it has no time."""


@dataclass(frozen=True)
class Sample:
    """A batch of sampled neighbourhoods: frontiers by depth (0: the seeds), blocks between them."""

    frontiers: list[dict[str, Frontier]]
    blocks: list[dict[str, Block]]


class Sampler:
    """Samples neighbourhoods of any graph, homogeneous or not.

    Args:
        graph: the graph.
        fanouts: edges per relation at each depth; ``ALL`` takes all.
        recent: take the newest edges instead of a uniform draw.
        seed: seed of the draws.
    """

    def __init__(self, graph: Graph, fanouts: Sequence[int], recent: bool = False, seed: int = 0) -> None:
        for fanout in fanouts:
            if fanout < ALL:
                raise UserError(f"fan-out {fanout}: must be 0 or more, or {ALL} for all neighbours")
        self.graph = graph
        self.fanouts = list(fanouts)
        self.recent = recent
        self.seed = seed
        self._incoming = {node: graph.incoming(node) for node in graph.nodes}
        self._slots: dict[str, Ids] = {}

    def sample(self, node: str, ids: Ids, times: Times) -> Sample:
        """Sample the neighbourhoods of ``ids`` as of ``times``.

        Nodes of one depth are merged where all times agree, else each seed keeps a tree of its own.

        Raises:
            UserError: for an id that the graph does not have.
        """
        ids, times = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(times, np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= self.graph.nodes[node]):
            raise UserError(f"{node}: node ids must be within 0 and {self.graph.nodes[node] - 1:,}")
        merge = len(times) > 0 and bool(np.all(times == times[0]))
        frontiers, blocks = [{node: Frontier(ids, times)}], []
        for depth, fanout in enumerate(self.fanouts):
            frontier, found = self._hop(frontiers[-1], depth, fanout, merge)
            frontiers.append(frontier)
            blocks.append(found)
        return Sample(frontiers, blocks)

    def _hop(
        self, targets: dict[str, Frontier], depth: int, fanout: int, merge: bool
    ) -> tuple[dict[str, Frontier], dict[str, Block]]:
        drawn: dict[str, list[tuple[str, Integers, Times]]] = {}
        blocks: dict[str, Block] = {}
        for node, frontier in targets.items():
            for name in self._incoming[node]:
                adjacency = self.graph.relations[name]
                block = blocks[name] = self.edges_of(name, frontier, depth, fanout)
                times = np.repeat(frontier.times, np.diff(block.pointer))
                drawn.setdefault(adjacency.source, []).append((name, adjacency.indices[block.row], times))
        frontiers = {}
        for node, parts in drawn.items():
            frontiers[node], rows = self._collect(node, parts, merge)
            for (name, _, _), row in zip(parts, rows, strict=True):
                old = blocks[name]
                blocks[name] = Block(old.pointer, row, old.edge_id, old.age)
        return frontiers, blocks

    def edges_of(self, name: str, frontier: Frontier, depth: int, fanout: int) -> Block:
        """Edges of one relation into a frontier; ``row`` holds their positions in the adjacency."""
        adjacency = self.graph.relations[name]
        key = np.uint64(zlib.crc32(f"{self.seed}/{depth}/{name}".encode()))
        clock = adjacency.times()
        limit = fanout if fanout != ALL else np.iinfo(np.int64).max
        pointer, position = draw(adjacency.indptr, clock, frontier.ids, frontier.times, limit, key, self.recent)
        age = np.zeros(len(position), np.int64)
        if len(clock):
            when, times = clock[position], np.repeat(frontier.times, np.diff(pointer))
            age = np.where(when == ALWAYS, 0, times - np.where(when == ALWAYS, 0, when))
        return Block(pointer, position, adjacency.edge_id[position], age)

    def _collect(
        self, node: str, parts: list[tuple[str, Integers, Times]], merge: bool
    ) -> tuple[Frontier, list[NDArray[np.int64]]]:
        ids = np.concatenate([part[1] for part in parts])
        times = np.concatenate([part[2] for part in parts])
        row = np.arange(len(ids))
        if merge and len(ids):
            if node not in self._slots:
                self._slots[node] = np.full(self.graph.nodes[node], -1, np.int32)
            row, ids = relabel(ids, self._slots[node])
            times = np.full(len(ids), times[0])
        borders = np.cumsum([len(part[1]) for part in parts])[:-1]
        return Frontier(ids, times), np.split(row, borders)


@njit(cache=True)
def _mix(value: Any) -> Any:
    """One step of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True)
def draw(indptr: Any, time: Any, nodes: Any, times: Any, fanout: int, key: Any, recent: bool) -> tuple[Any, Any]:
    """Positions of up to ``fanout`` edges strictly before ``times[i]`` in each row: (pointer, positions)."""
    pointer = np.zeros(len(nodes) + 1, np.int64)
    for i in range(len(nodes)):
        first, last = indptr[nodes[i]], indptr[nodes[i] + 1]
        if len(time):
            last = lower_bound(time, first, last, times[i])
        pointer[i + 1] = pointer[i] + min(last - first, fanout)
    position = np.empty(pointer[-1], np.int64)
    golden = np.uint64(0x9E3779B97F4A7C15)
    for i in range(len(nodes)):
        first, last = indptr[nodes[i]], indptr[nodes[i] + 1]
        if len(time):
            last = lower_bound(time, first, last, times[i])
        begin, count = pointer[i], pointer[i + 1] - pointer[i]
        if count == last - first or recent:
            for j in range(count):
                position[begin + j] = last - count + j
            continue
        state = _mix(key * golden ^ np.uint64(nodes[i]) * golden ^ _mix(np.uint64(times[i])))
        for j in range(count):
            state += golden
            highest = last - first - count + j
            pick = first + np.int64(_mix(state) % np.uint64(highest + 1))
            for earlier in range(begin, begin + j):
                if position[earlier] == pick:
                    pick = first + highest
                    break
            position[begin + j] = pick
    return pointer, position


@njit(cache=True)
def relabel(ids: Any, slots: Any) -> tuple[Any, Any]:
    """Rows of a list without repetition: (row of each id, distinct ids); ``slots`` is all -1 and stays so."""
    row = np.empty(len(ids), np.int64)
    distinct = np.empty(len(ids), np.int32)
    count = 0
    for i in range(len(ids)):
        if slots[ids[i]] < 0:
            slots[ids[i]] = count
            distinct[count] = ids[i]
            count += 1
        row[i] = slots[ids[i]]
    for i in range(count):
        slots[distinct[i]] = -1
    return row, distinct[:count].copy()
