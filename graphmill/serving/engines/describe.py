"""The columns that control models see, from a gathered neighbourhood: as ``train.neighbourhood`` makes them."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.graph.mean import means
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.serving.engines.trees import Forest
from graphmill.serving.gathered import Engine, Gathered

Matrix = NDArray[np.float32]


class TreeEngine(Engine):
    """Trees on the seed's own columns, and on the means over its neighbourhood.

    Args:
        forest: the trees.
        own: so many dense inputs of the seeds are their columns; what follows is their state.
        graph: whose types and relations the batches are numbered by.
        neighbourhood: whether the trees see more than the seed's own columns.
    """

    hidden = 0

    def __init__(self, forest: Forest, own: int, graph: Graph, neighbourhood: bool) -> None:
        types, relations = list(graph.nodes), list(graph.relations)
        self._forest, self._own, self._neighbourhood = forest, own, neighbourhood
        self._kind = types.index(graph.task.node)
        into = [[relations.index(item) for item in graph.incoming(kind)] for kind in types]
        self._incoming = np.full((len(types), max(map(len, into), default=0)), -1, np.int64)
        for kind, found in enumerate(into):
            self._incoming[kind, : len(found)] = found
        self._widths = self._step = np.empty((0, 0), np.int64)
        self._room = np.empty(0, np.float32)

    def forward(self, batch: Gathered) -> tuple[Matrix, NDArray[np.float64]]:
        """No embeddings float32 ``[seeds, 0]``, and raw scores float64 ``[seeds]``."""
        matrix = self.columns(batch)
        return np.empty((len(matrix), 0), np.float32), self._forest.score(matrix)

    def columns(self, batch: Gathered) -> Matrix:
        """What the trees see: float32 ``[seeds, columns]``, good until the next call."""
        if not self._neighbourhood:
            dense, codes = batch.rows(0, self._kind)
            return np.concatenate([dense[:, : self._own], codes.astype(np.float32)], axis=1)
        if not len(self._widths):  # the plan is the same for every batch
            self._widths, self._step = self._planned(batch)
        rows = np.maximum(batch.counts, 0) * self._widths
        starts = np.cumsum(rows).reshape(rows.shape) - rows
        if rows.sum() > len(self._room):
            self._room = np.empty(2 * int(rows.sum()), np.float32)
        describe(
            batch.counts, batch.dense_at, batch.codes_at, batch.blocks, batch.ends, batch.widths, batch.edge_widths,
            batch.narrow, batch.dense, batch.codes, batch.edge_inputs, self._incoming, self._step, self._widths,
            starts, self._room,
        )  # fmt: skip
        first, count = int(starts[0, self._kind]), int(batch.counts[0, self._kind])
        width = int(self._widths[0, self._kind])
        return self._room[first : first + count * width].reshape(count, width)

    def _planned(self, batch: Gathered) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns of each type at each depth ``[depths + 1, types]``, and the step of each depth and relation."""
        depths, types = batch.counts.shape
        step = np.full((depths, len(batch.relations)), -1, np.int64)
        for place, (depth, relation) in enumerate(batch.steps.tolist()):
            step[depth, relation] = place
        widths = np.zeros((depths, types), np.int64)
        for depth in reversed(range(depths)):
            for kind in range(types):
                widths[depth, kind] = batch.widths[kind].sum()
                for relation in self._incoming[kind].tolist() if depth + 1 < depths else []:
                    if relation >= 0:
                        source = batch.ends[relation, 0]
                        widths[depth, kind] += widths[depth + 1, source] + batch.edge_widths[relation]
        return widths, step


@njit(cache=True, nogil=True)
def describe(
    counts: Any, dense_at: Any, codes_at: Any, blocks: Any, ends: Any, widths: Any, edge_widths: Any, narrow: Any,
    dense: Any, codes: Any, edge_inputs: Any, incoming: Any, step: Any, columns: Any, starts: Any, out: Any,
) -> None:  # fmt: skip
    """Columns of every node at every depth: its own, then the means over each relation into it, deepest first.

    What comes before ``incoming`` is as in ``Gathered``. Then: int64 ``[types, most]``, the relations into each type,
    -1 behind the last; int64 ``[depths + 1, relations]``, ``[depths + 1, types]`` and ``[depths + 1, types]``: the
    step of each relation, the number of columns, and where they begin in ``out`` float32.
    """
    depths, types = counts.shape
    for depth in range(depths - 1, -1, -1):
        for kind in range(types):
            count, width = counts[depth, kind], columns[depth, kind]
            if count <= 0:
                continue
            rows = out[starts[depth, kind] : starts[depth, kind] + count * width].reshape(count, width)
            at = _own(rows, dense[dense_at[depth, kind] :], codes[codes_at[depth, kind] :], widths[kind])
            if depth + 1 == depths:
                continue
            for place in range(incoming.shape[1]):
                relation = incoming[kind, place]
                if relation < 0:
                    break
                first, begin, edges, inputs = blocks[step[depth, relation]]
                pointer, row = narrow[first : first + count + 1], narrow[begin : begin + edges]
                source, below = ends[relation, 0], columns[depth + 1, ends[relation, 0]]
                many = max(counts[depth + 1, source], 0)
                start = starts[depth + 1, source]
                means(out[start : start + many * below].reshape(many, below), row, pointer, np.nan,
                      rows[:, at : at + below])  # fmt: skip
                at += below
                own = edge_widths[relation]
                if own:
                    means(edge_inputs[inputs : inputs + edges * own].reshape(edges, own), np.arange(edges), pointer,
                          np.nan, rows[:, at : at + own])  # fmt: skip
                    at += own


@njit(cache=True, nogil=True)
def _own(rows: Any, dense: Any, codes: Any, widths: Any) -> Any:
    """Dense inputs, then codes; how many columns that are."""
    for i in range(len(rows)):
        for column in range(widths[0]):
            rows[i, column] = dense[i * widths[0] + column]
        for column in range(widths[1]):
            rows[i, widths[0] + column] = codes[i * widths[1] + column]
    return widths[0] + widths[1]


def load(model: Model, name: str, split: int, graph: Graph) -> TreeEngine:
    """A control model of a model folder, for a graph."""
    columns = model.transforms(split)["nodes"][graph.task.node]
    own = sum(len(item.names()) for item in columns if item.kind not in ("embedding", "skip"))
    forest = Forest.read(model.trees(name, split), f"{model.path}/{name}")
    return TreeEngine(forest, own, graph, name != "features_only")
