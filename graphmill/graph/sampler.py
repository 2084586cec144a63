"""The point-in-time sampler: for every seed and its time, a few edges from strictly before that time.

Which edges are drawn depends only on (seed of the sampler, depth, relation, node, time), never on the other
seeds, the batch or the number of threads: the same example is always sampled alike, in training, batch
scoring and online.
"""

import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.graph import hops
from graphmill.graph.adjacency import Adjacency
from graphmill.graph.hops import Workspace, sample_hops
from graphmill.graph.store import Graph

Ids = NDArray[np.int32]
Times = NDArray[np.int64]
Fanout = int | Mapping[str, int]
"""Edges per relation, or by the relation's name; a relation that is not named is not followed."""
ALL = -1
"""The fan-out that takes every visible neighbour."""


def follows(fanout: Fanout, relation: str) -> bool:
    """Whether a relation is followed at a hop at all."""
    return not isinstance(fanout, Mapping) or relation in fanout


class Frontier(NamedTuple):
    """Nodes at one depth: ids and, beside each, the time up to which it may be read."""

    ids: Ids
    times: Times


class Block(NamedTuple):
    """Sampled edges of one relation between a depth and the next.

    Target ``i`` of the depth receives from rows ``row[pointer[i]:pointer[i + 1]]`` of the next depth's
    frontier of the source type.
    """

    adjacency: Adjacency
    pointer: NDArray[np.int32]
    """int32 ``[targets + 1]``"""
    row: NDArray[np.int32]
    """int32 ``[edges]``"""
    position: NDArray[np.int64]
    """int64 ``[edges]``: where each edge stands in the adjacency."""
    times: Times
    """int64 ``[targets]``"""

    @property
    def edge_id(self) -> Ids:
        """The row of the table that each edge comes from: int32 ``[edges]``."""
        return np.asarray(self.adjacency.edge_id[self.position], np.int32)

    @property
    def age(self) -> Times:
        """How long before the target's time each edge was, 0 where it has no time: int64 ``[edges]``, clock units."""
        if self.adjacency.time is None:
            return np.zeros(len(self.row), np.int64)
        when = np.asarray(self.adjacency.time[self.position])
        times = np.repeat(self.times, np.diff(self.pointer))
        return np.where(when == ALWAYS, 0, times - np.where(when == ALWAYS, 0, when))


class Sample(NamedTuple):
    """A batch of sampled neighbourhoods: frontiers by depth (0: the seeds), blocks between them."""

    frontiers: list[dict[str, Frontier]]
    blocks: list[dict[str, Block]]


@dataclass(frozen=True)
class Sampler:
    """Samples neighbourhoods of any graph, homogeneous or not. It may be used by many threads at once.

    Args:
        graph: the graph.
        fanouts: edges per relation at each depth; ``ALL`` takes all.
        recent: take the newest edges instead of a uniform draw.
        seed: seed of the draws.
        replace: draw with replacement, so that every node with a neighbour gets the full fan-out.
        disjoint: keep a tree for each seed. Without it, the nodes of one depth are merged, which needs one time
            for all seeds; None merges where the times agree.

    Raises:
        UserError: for fan-outs that mean nothing.
    """

    graph: Graph
    fanouts: Sequence[Fanout]
    recent: bool = False
    seed: int = 0
    replace: bool = False
    disjoint: bool | None = None

    def __post_init__(self) -> None:
        for fanout in self.fanouts:
            named = fanout if isinstance(fanout, Mapping) else {"": fanout}
            unknown = [name for name in named if name and name not in self.graph.relations]
            if unknown:
                raise UserError(f"fan-outs: no relation {unknown[0]!r}; known: {', '.join(self.graph.relations)}")
            for value in named.values():
                if value < ALL or (self.replace and value == ALL):
                    told = "" if self.replace else f", or {ALL} for all neighbours"
                    raise UserError(f"fan-out {value}: must be 0 or more{told}")

    def sample(self, node: str, ids: Any, times: Any, workspace: Workspace | None = None) -> Sample:
        """Sample the neighbourhoods of ``ids`` as of ``times``.

        Args:
            node: the seeds' type.
            ids: whole numbers ``[n]``; may repeat.
            times: whole numbers ``[n]``.
            workspace: where the sample is written; it is overwritten by the next sample there. None takes memory
                of its own.

        Raises:
            UserError: for a type or an id that the graph does not have, or a batch that is too large.
        """
        ids, times = self._checked(node, ids, times)
        merging = self._merging(times)
        place = list(self.graph.nodes).index(node)
        plan = self._plan(node)
        space = Workspace() if workspace is None else workspace
        space.reserve(*self._room(len(ids)))
        while True:
            frontiers = np.full((len(self.fanouts) + 1, len(self.graph.nodes), 3), -1)
            frontiers[0, place] = 0, 0, len(ids)
            space.narrow[: len(ids)], space.wide[: len(ids)] = ids, times
            blocks = np.empty((len(plan.steps), 5), np.int64)
            used = np.full(2, len(ids))
            ended = sample_hops(
                plan.steps, self._tables.relations, self._tables.fanouts, self._tables.keys,
                self._slots(merging), merging, self.recent, self.replace, frontiers, blocks, space.narrow,
                space.wide, used,
            )  # fmt: skip
            if ended == hops.TOO_MANY:
                raise UserError("a batch draws 2**31 edges or more of one relation; make it or the fan-outs smaller")
            if ended == hops.DONE:
                self._tables.known.update(batch=(len(ids), *used.tolist()))
                return self._views(plan, frontiers, blocks, space)
            space.reserve(*(2 * used).tolist())

    def _checked(self, node: str, ids: Any, times: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        ids, times = np.asarray(ids), np.asarray(times)
        if node not in self.graph.nodes:
            raise UserError(f"no node type {node!r}; known: {', '.join(self.graph.nodes)}")
        if ids.ndim != 1 or ids.shape != times.shape:
            raise UserError(f"{node}: ids and times must be lists of one length; they are {ids.shape}, {times.shape}")
        if len(ids) and (ids.dtype.kind not in "iu" or times.dtype.kind not in "iu"):
            raise UserError(f"{node}: ids and times must be whole numbers; they are {ids.dtype} and {times.dtype}")
        if len(ids) and (ids.min() < 0 or ids.max() >= self.graph.nodes[node]):
            raise UserError(f"{node}: node ids must be within 0 and {self.graph.nodes[node] - 1:,}")
        return ids, times

    def _merging(self, times: NDArray[Any]) -> bool:
        alike = len(times) == 0 or bool((times == times[0]).all())
        if self.disjoint is False and not alike:
            raise UserError("seeds of different times cannot share their neighbours; sample them disjoint")
        return alike and not self.disjoint

    def _room(self, count: int) -> tuple[int, int]:
        """What the last batch needed, in proportion, and something more."""
        before, narrow, wide = self._tables.known.get("batch", (1, 256, 256))
        share = 1.1 * count / max(before, 1)
        return int(share * narrow) + 1_024, int(share * wide) + 1_024

    @cached_property
    def _tables(self) -> "_Tables":
        return _Tables.of(self)

    @cached_property
    def _plans(self) -> dict[str, "_Plan"]:
        return {}

    def _plan(self, node: str) -> "_Plan":
        if node not in self._plans:
            self._plans[node] = _Plan.of(self, node)
        return self._plans[node]

    @cached_property
    def _threads(self) -> threading.local:
        return threading.local()

    def _slots(self, merging: bool) -> NDArray[np.int64]:
        """Addresses and lengths of this thread's slots, made when it first merges."""
        if not merging:
            return np.zeros((len(self.graph.nodes), 2), np.int64)
        if not hasattr(self._threads, "table"):
            self._threads.slots = [np.full(count, -1, np.int32) for count in self.graph.nodes.values()]
            self._threads.table = np.array([[item.ctypes.data, len(item)] for item in self._threads.slots], np.int64)
        found: NDArray[np.int64] = self._threads.table
        return found

    def _views(self, plan: "_Plan", frontiers: Any, blocks: Any, space: Workspace) -> Sample:
        narrow, wide = space.narrow, space.wide
        parts: list[dict[str, Frontier]] = []
        for table in frontiers.tolist():
            parts.append({
                name: Frontier(narrow[ids : ids + count], wide[times : times + count])
                for name, (ids, times, count) in zip(self.graph.nodes, table, strict=True)
                if count >= 0
            })  # fmt: skip
        found: list[dict[str, Block]] = [{} for _ in self.fanouts]
        for (depth, name, target), (pointer, row, position, _, drawn) in zip(plan.names, blocks.tolist(), strict=True):
            frontier = parts[depth][target]
            found[depth][name] = Block(
                self.graph.relations[name],
                narrow[pointer : pointer + len(frontier.ids) + 1],
                narrow[row : row + drawn],
                wide[position : position + drawn],
                frontier.times,
            )
        return Sample(parts, found)


class _Tables(NamedTuple):
    """What the kernel reads, and the arrays whose addresses stand in it, to keep them alive."""

    relations: NDArray[np.int64]
    fanouts: NDArray[np.int64]
    keys: NDArray[np.uint64]
    arrays: list[Any]
    known: dict[str, tuple[int, int, int]]

    @classmethod
    def of(cls, sampler: Sampler) -> "_Tables":
        graph, names = sampler.graph, list(sampler.graph.relations)
        types = list(graph.nodes)
        rows, arrays = [], []
        for adjacency in graph.relations.values():
            indptr = np.ascontiguousarray(adjacency.indptr, np.int64)
            indices = np.ascontiguousarray(adjacency.indices, np.int32)
            time = np.ascontiguousarray(adjacency.times(), np.int64)
            arrays += [indptr, indices, time]
            ends = types.index(adjacency.source), types.index(adjacency.target)
            rows.append([*ends, _address(indptr), _address(indices), _address(time), len(indices)])
        fanouts = np.zeros((len(sampler.fanouts), len(names)), np.int64)
        keys = np.zeros(fanouts.shape, np.uint64)
        for depth, fanout in enumerate(sampler.fanouts):
            for place, name in enumerate(names):
                wanted = fanout.get(name, 0) if isinstance(fanout, Mapping) else fanout
                fanouts[depth, place] = np.iinfo(np.int64).max if wanted == ALL else wanted
                keys[depth, place] = zlib.crc32(f"{sampler.seed}/{depth}/{name}".encode())
        return cls(np.array(rows, np.int64).reshape(len(names), 6), fanouts, keys, arrays, {})


def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data) if len(array) else 0


class _Plan(NamedTuple):
    """The blocks that seeds of one type have, by depth."""

    steps: NDArray[np.int64]
    names: list[tuple[int, str, str]]

    @classmethod
    def of(cls, sampler: Sampler, node: str) -> "_Plan":
        graph, places = sampler.graph, list(sampler.graph.relations)
        names: list[tuple[int, str, str]] = []
        reached = [node]
        for depth in range(len(sampler.fanouts)):
            hop = [
                (name, target)
                for target in graph.nodes
                if target in reached
                for name in graph.incoming(target)
                if follows(sampler.fanouts[depth], name)
            ]
            names += [(depth, name, target) for name, target in hop]
            reached = [graph.relations[name].source for name, _ in hop]
        steps = [[depth, places.index(name)] for depth, name, _ in names]
        return cls(np.array(steps, np.int64).reshape(len(names), 2), names)
