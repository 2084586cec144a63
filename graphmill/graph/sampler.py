"""The point-in-time sampler: for every seed and its time, a few edges from strictly before that time.

Which edges are drawn depends only on (seed of the sampler, depth, relation, node, time), never on the other
seeds, the batch or the number of threads: the same example is always sampled alike, in training, batch
scoring and online.
"""

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.graph import hops
from graphmill.graph.hops import Workspace, sample_hops
from graphmill.graph.plan import Plan, Tables
from graphmill.graph.sample import ALL, Block, Fanout, Frontier, Sample
from graphmill.graph.store import Graph


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

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: not addresses and slots, which are this one's."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def __post_init__(self) -> None:
        for fanout in self.fanouts:
            named = fanout if isinstance(fanout, Mapping) else {"": fanout}
            unknown = [name for name in named if name and name not in self.graph.relations]
            if unknown:
                raise UserError(f"fan-outs: no relation {unknown[0]!r}; known: {', '.join(self.graph.relations)}")
            for value in named.values():
                if not isinstance(value, int | np.integer) or value >= 2**31:
                    raise UserError(f"fan-out {value}: must be a whole number below 2**31")
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
        return self.sample_types({node: (ids, times)}, workspace)

    def sample_types(self, seeds: Mapping[str, tuple[Any, Any]], workspace: Workspace | None = None) -> Sample:
        """Sample the neighbourhoods of seeds of several types at once, as ``sample`` does for one: ids and times."""
        checked = {node: self._checked(node, *pair) for node, pair in seeds.items()}
        merging = self._merging([times for _, times in checked.values()])
        count = sum(len(ids) for ids, _ in checked.values())
        plan = self._plan(tuple(checked))
        space = Workspace() if workspace is None else workspace
        space.reserve(*self._room(count))
        while True:
            frontiers = np.full((len(self.fanouts) + 1, len(self.graph.nodes), 3), -1)
            first = 0
            for place, (ids, times) in zip(plan.seeds, checked.values(), strict=True):
                frontiers[0, place] = first, first, len(ids)
                space.narrow[first : first + len(ids)], space.wide[first : first + len(ids)] = ids, times
                first += len(ids)
            blocks = np.empty((len(plan.steps), 5), np.int64)
            used = np.full(2, count)
            ended = sample_hops(
                plan.steps, self._tables.relations, self._tables.fanouts, self._tables.keys,
                self._slots(merging), merging, self.recent, self.replace, frontiers, blocks, space.narrow,
                space.wide, used,
            )  # fmt: skip
            if ended == hops.TOO_MANY:
                raise UserError("a batch draws 2**31 edges or more of one relation; make it or the fan-outs smaller")
            if ended == hops.DONE:
                self._tables.known.update(batch=(count, *used.tolist()))
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

    def _merging(self, times: list[NDArray[Any]]) -> bool:
        some = [part for part in times if len(part)]
        alike = all((part == some[0][0]).all() for part in some)
        if self.disjoint is False and not alike:
            raise UserError("seeds of different times cannot share their neighbours; sample them disjoint")
        return alike and not self.disjoint

    def _room(self, count: int) -> tuple[int, int]:
        """What the last batch needed, in proportion, and something more."""
        before, narrow, wide = self._tables.known.get("batch", (1, 256, 256))
        share = 1.1 * count / max(before, 1)
        return count + int(share * narrow) + 1_024, count + int(share * wide) + 1_024

    @cached_property
    def _tables(self) -> Tables:
        return Tables.of(self.graph, self.fanouts, self.seed)

    @cached_property
    def _plans(self) -> dict[tuple[str, ...], Plan]:
        return {}

    def _plan(self, nodes: tuple[str, ...]) -> Plan:
        if nodes not in self._plans:
            self._plans[nodes] = Plan.of(self.graph, self.fanouts, nodes)
        return self._plans[nodes]

    @cached_property
    def _threads(self) -> threading.local:
        return threading.local()

    def _slots(self, merging: bool) -> NDArray[np.int64]:
        """Addresses and lengths of this thread's slots, made when it first merges."""
        if not merging:
            return np.zeros((len(self.graph.nodes), 2), np.int64)
        if not hasattr(self._threads, "table"):
            self._threads.slots = [np.zeros(count, np.int32) for count in self.graph.nodes.values()]
            self._threads.table = np.array([[item.ctypes.data, len(item)] for item in self._threads.slots], np.int64)
        found: NDArray[np.int64] = self._threads.table
        return found

    def _views(self, plan: Plan, frontiers: Any, blocks: Any, space: Workspace) -> Sample:
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
