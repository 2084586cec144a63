"""From seeds to gathered inputs: one call samples, one gathers, into memory that every batch uses again."""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.graph import hops
from graphmill.graph.hops import KNOWN, SOURCE, TARGET, Workspace, sample_hops
from graphmill.graph.plan import Plan
from graphmill.graph.plan import Tables as Adjacencies
from graphmill.graph.sample import Fanout
from graphmill.serving.gather import Tables, gather_edges, gather_nodes, place
from graphmill.serving.gathered import Gathered

Timer = Callable[[str, float], None]


class Reader:
    """Reads neighbourhoods of nodes of one type. For one thread: each batch overwrites the last.

    Args:
        inputs: what a model sees of a graph, live or not.
        node: the seeds' type.
        fanouts: edges per relation and hop, as for ``graph.sampler.Sampler``.
        recent: whether the newest edges are taken.
        seed: seed of the draws.
        room: nodes of each type that there can be.
    """

    def __init__(
        self, inputs: Inputs, node: str, fanouts: Sequence[Fanout], recent: bool, seed: int, room: dict[str, int]
    ) -> None:
        self.inputs = inputs
        self.types, self.relations = list(inputs.graph.nodes), list(inputs.graph.relations)
        self.kinds, self._recent, self._depths = [self.types.index(node)], recent, len(fanouts)
        self._adjacencies = Adjacencies.of(inputs.graph, fanouts, seed)
        self._plan = Plan.of(inputs.graph, fanouts, (node,))
        self._tables = Tables.of(inputs)
        self._ends = np.ascontiguousarray(self._adjacencies.relations[:, [SOURCE, TARGET]])
        self._slots = [np.zeros(room[name], np.int32) for name in self.types]
        self._addresses = np.array([[item.ctypes.data, len(item)] for item in self._slots], np.int64)
        self._apart = np.zeros_like(self._addresses)
        self._fanouts = fanouts
        self._allocate()

    def _allocate(self) -> None:
        self._workspace = Workspace()
        self._workspace.reserve(65_536, 65_536)
        self._dense, self._edges, self._scratch = (np.empty(65_536, np.float32) for _ in range(3))
        self._codes = np.empty(4_096, np.int64)
        self._frontiers: Any = np.empty((0, 0, 3), np.int64)

    def part(self, nodes: Sequence[str], first: int, last: int) -> "Reader":
        """A reader of hops ``first`` to ``last`` alone, from seeds of some types, that draws the same edges there.

        It knows what this one is told, and has memory of its own.
        """
        found = copy.copy(self)
        found.kinds = sorted(self.types.index(node) for node in nodes)
        found._fanouts, found._depths = self._fanouts[first:last], last - first
        tables = self._adjacencies
        found._adjacencies = tables._replace(fanouts=tables.fanouts[first:last], keys=tables.keys[first:last])
        found._plan = Plan.of(self.inputs.graph, found._fanouts, tuple(self.types[kind] for kind in found.kinds))
        found._allocate()
        return found

    def sources(self) -> list[str]:
        """The types that the first hop leads to."""
        ends = self._ends[self._plan.steps[self._plan.steps[:, 0] == 0, 1], 0]
        return [self.types[kind] for kind in np.unique(ends)]

    def know(self, counts: dict[str, int]) -> None:
        """Tell how many nodes of each type there are: ids from there on draw as the next new node would."""
        for place_, name in enumerate(self.relations):
            target = self.inputs.graph.relations[name].target
            self._adjacencies.relations[place_, KNOWN] = counts[target]

    def read(self, ids: NDArray[np.int32], times: NDArray[np.int64], timer: Timer | None = None) -> Gathered:
        """Sample and gather the neighbourhoods of ``ids`` as of ``times``; good until the next call.

        Raises:
            UserError: when the batch draws too many edges.
        """
        return self.read_types([len(ids)], ids, times, timer)

    def read_types(
        self, counts: list[int], ids: NDArray[np.int32], times: NDArray[np.int64], timer: Timer | None = None
    ) -> Gathered:
        """The same for seeds of several types, one after the other: so many of each of ``kinds``."""
        start = time.perf_counter()
        frontiers, blocks = self._sample(counts, ids, times)
        self._frontiers = frontiers
        sampled = time.perf_counter()
        found = self._gather(frontiers, blocks)
        if timer is not None:
            timer("sample", sampled - start)
            timer("gather", time.perf_counter() - sampled)
        return found

    def nodes(self, depth: int, kind: int) -> NDArray[np.int32]:
        """Ids of the nodes of a type at a depth of the last batch; their order is that of its rows."""
        first, _, count = self._frontiers[depth, kind].tolist()
        return self._workspace.narrow[first : first + count]

    def times(self, depth: int, kind: int) -> NDArray[np.int64]:
        """Beside each of ``nodes``, the time up to which it is read."""
        _, first, count = self._frontiers[depth, kind].tolist()
        return self._workspace.wide[first : first + count]

    def _sample(self, counts: list[int], ids: NDArray[np.int32], times: NDArray[np.int64]) -> tuple[Any, Any]:
        count, space = len(ids), self._workspace
        merging = count == 1 or (count > 1 and bool((times == times[0]).all()))
        slots = self._addresses if merging else self._apart
        space.reserve(2 * count + 1_024, 2 * count + 1_024)
        while True:
            frontiers = np.full((self._depths + 1, len(self.types), 3), -1)
            first = 0
            for kind, seeds in zip(self.kinds, counts, strict=True):
                frontiers[0, kind] = first, first, seeds
                first += seeds
            space.narrow[:count], space.wide[:count] = ids, times
            blocks = np.empty((len(self._plan.steps), 5), np.int64)
            used = np.array([count, count])
            adjacencies = self._adjacencies
            ended = sample_hops(
                self._plan.steps, adjacencies.relations, adjacencies.fanouts, adjacencies.keys, slots, merging,
                self._recent, False, frontiers, blocks, space.narrow, space.wide, used,
            )  # fmt: skip
            if ended == hops.DONE:
                return frontiers, blocks
            if ended == hops.TOO_MANY:
                raise UserError("the neighbourhood has 2**31 edges or more; lower the fan-outs")
            space.reserve(*(2 * used).tolist())

    def _gather(self, frontiers: Any, blocks: Any) -> Gathered:
        tables, steps, space = self._tables, self._plan.steps, self._workspace
        counts, dense_at, codes_at = np.empty((3, *frontiers.shape[:2]), np.int64)
        found, used = np.empty((len(steps), 4), np.int64), np.empty(4, np.int64)
        place(
            frontiers, blocks, steps, tables.widths, tables.states, tables.edge_widths, counts, dense_at, codes_at,
            found, used,
        )  # fmt: skip
        self._reserve(*used.tolist())
        shared = (tables.encoders, tables.parts, tables.numbers, tables.landmarks, tables.recode)
        gather_nodes(
            frontiers, space.narrow, space.wide, *shared, tables.states, tables.state_parts, tables.lengths,
            tables.wanted, tables.widths, tables.day, self._dense, dense_at, self._codes, codes_at, self._scratch,
        )  # fmt: skip
        gather_edges(
            frontiers, blocks, steps, self._ends, space.narrow, space.wide, *shared, tables.relations,
            tables.edge_widths, tables.day, self._edges, found,
        )  # fmt: skip
        return Gathered(
            types=self.types, relations=self.relations, widths=tables.widths, edge_widths=tables.edge_widths,
            counts=counts, dense_at=dense_at, codes_at=codes_at, steps=steps, blocks=found, ends=self._ends,
            narrow=space.narrow,
            dense=self._dense, codes=self._codes, edge_inputs=self._edges,
        )  # fmt: skip

    def _reserve(self, dense: int, codes: int, edges: int, scratch: int) -> None:
        if dense > len(self._dense):
            self._dense = np.empty(2 * dense, np.float32)
        if codes > len(self._codes):
            self._codes = np.empty(2 * codes, np.int64)
        if edges > len(self._edges):
            self._edges = np.empty(2 * edges, np.float32)
        if scratch > len(self._scratch):
            self._scratch = np.empty(2 * scratch, np.float32)
