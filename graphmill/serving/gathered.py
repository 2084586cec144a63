"""A sampled neighbourhood with its inputs, in memory that the next request uses again: what every engine reads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Gathered:
    """Inputs of all nodes and edges of a batch, as tables of places in flat arrays.

    ``types`` and ``relations`` are numbered in the order of the graph's; depth 0 is the seeds.
    """

    types: list[str]
    relations: list[str]
    widths: NDArray[np.int64]
    """int64 ``[types, 2]``: dense inputs and codes of a row."""
    edge_widths: NDArray[np.int64]
    """int64 ``[relations]``: inputs of an edge."""
    counts: NDArray[np.int64]
    """int64 ``[depths + 1, types]``: rows; -1 where a type does not occur."""
    dense_at: NDArray[np.int64]
    """int64 ``[depths + 1, types]``: where its rows begin in ``dense``."""
    codes_at: NDArray[np.int64]
    """int64 ``[depths + 1, types]``: where its rows begin in ``codes``."""
    steps: NDArray[np.int64]
    """int64 ``[steps, 2]``: depth and relation of each block, by depth; target rows stand at that depth, source rows
    at the next."""
    blocks: NDArray[np.int64]
    """int64 ``[steps, 4]``: where its pointer ``[targets + 1]`` and its source rows ``[edges]`` begin in ``narrow``,
    the number of edges, and where their inputs begin in ``edge_inputs``."""
    ends: NDArray[np.int64]
    """int64 ``[relations, 2]``: source and target type."""
    narrow: NDArray[np.int32]
    dense: NDArray[np.float32]
    codes: NDArray[np.int64]
    edge_inputs: NDArray[np.float32]

    def rows(self, depth: int, kind: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Dense inputs ``[n, F]`` and codes ``[n, C]`` of a type at a depth."""
        count, (dense, codes) = int(self.counts[depth, kind]), self.widths[kind].tolist()
        first, at = int(self.dense_at[depth, kind]), int(self.codes_at[depth, kind])
        return (
            self.dense[first : first + count * dense].reshape(count, dense),
            self.codes[at : at + count * codes].reshape(count, codes),
        )

    def edges(self, step: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """Pointer ``[targets + 1]``, source rows ``[edges]`` and inputs ``[edges, width]`` of a block."""
        depth, relation = self.steps[step].tolist()
        pointer, row, count, inputs = self.blocks[step].tolist()
        targets, width = int(self.counts[depth, self.ends[relation, 1]]), int(self.edge_widths[relation])
        return (
            self.narrow[pointer : pointer + targets + 1],
            self.narrow[row : row + count],
            self.edge_inputs[inputs : inputs + count * width].reshape(count, width),
        )


class Engine:
    """Turns gathered inputs into embeddings and raw scores of the seeds."""

    hidden: int
    """Width of the embeddings; 0 where the model has none."""

    def forward(self, batch: Gathered) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embeddings float32 ``[seeds, hidden]`` and raw scores (log odds, not yet calibrated) float64 ``[seeds]``."""
        raise NotImplementedError
