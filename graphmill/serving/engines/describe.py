"""The columns that control models see, from a gathered neighbourhood: as ``train.neighbourhood`` makes them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.graph.mean import means
from graphmill.model import Model
from graphmill.serving.engines.trees import Forest
from graphmill.serving.gathered import Engine, Gathered

Matrix = NDArray[np.float32]


@dataclass
class TreeEngine(Engine):
    """Trees on the seed's own columns, and on the means over its neighbourhood.

    Args:
        forest: the trees.
        own: so many dense inputs of the seeds are their columns; what follows is their state.
        kind: number of the seeds' type.
        incoming: the relations into each type, by number, in the schema's order.
        neighbourhood: whether the trees see more than the seed's own columns.
    """

    forest: Forest
    own: int
    kind: int
    incoming: list[list[int]]
    neighbourhood: bool
    hidden: int = 0
    _steps: dict[tuple[int, int], int] = field(default_factory=dict)

    def forward(self, batch: Gathered) -> tuple[Matrix, NDArray[np.float64]]:
        """No embeddings float32 ``[seeds, 0]``, and raw scores float64 ``[seeds]``."""
        matrix = self.columns(batch)
        return np.empty((len(matrix), 0), np.float32), self.forest.score(matrix)

    def columns(self, batch: Gathered) -> Matrix:
        """What the trees see: float32 ``[seeds, columns]``."""
        if not self.neighbourhood:
            dense, codes = batch.rows(0, self.kind)
            return np.concatenate([dense[:, : self.own], codes.astype(np.float32)], axis=1)
        if not self._steps:  # the plan is the same for every batch
            self._steps = {(depth, relation): step for step, (depth, relation) in enumerate(batch.steps.tolist())}
        return self._described(batch, 0, self.kind, {})

    def _described(self, batch: Gathered, depth: int, kind: int, done: dict[tuple[int, int], Matrix]) -> Matrix:
        """Columns of every node of a type at a depth: its own, then the means over each relation into it."""
        if (depth, kind) in done:
            return done[depth, kind]
        dense, codes = batch.rows(depth, kind)
        parts: list[Any] = [dense, codes.astype(np.float32)] if codes.shape[1] else [dense]
        if depth + 1 < len(batch.counts):
            for relation in self.incoming[kind]:
                below = self._described(batch, depth + 1, int(batch.ends[relation, 0]), done)
                pointer, row, inputs = batch.edges(self._steps[depth, relation])
                parts += [_mean(below, row, pointer), _mean(inputs, np.arange(len(row), dtype=np.int32), pointer)]
        done[depth, kind] = np.concatenate(parts, axis=1) if len(parts) > 1 else np.array(dense)
        return done[depth, kind]


def _mean(matrix: Matrix, row: NDArray[np.int32], pointer: NDArray[np.int32]) -> Matrix:
    out = np.empty((len(pointer) - 1, matrix.shape[1]), np.float32)
    if matrix.shape[1]:
        means(matrix, row, pointer, np.nan, out)
    return out


def load(model: Model, name: str, split: int, graph: Any) -> TreeEngine:
    """A control model of a model folder, for a graph."""
    types, relations = list(graph.nodes), list(graph.relations)
    node = graph.task.node
    names = sum((item.names() for item in model.transforms(split)["nodes"][node] if item.kind != "embedding"), [])
    return TreeEngine(
        Forest.read(model.trees(name, split), f"{model.path}/{name}"), len(names), types.index(node),
        [[relations.index(item) for item in graph.incoming(kind)] for kind in types], name != "features_only",
    )  # fmt: skip
