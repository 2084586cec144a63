"""The numba engine: GraphSAGE networks and perceptrons, from the weights that training wrote."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.serving.engines.kernels import MEANS, forward, judge
from graphmill.serving.engines.tile import LANES
from graphmill.serving.gathered import Engine, Gathered

KINDS = ("sage", "mlp")
NOTHING = np.empty((0, 0, 0), np.float32)


class SageEngine(Engine):
    """Computes a network on one thread; its memory is used again by the next batch.

    Args:
        weights: the tensors of weights.safetensors.
        architecture: the manifest's.
        graph: whose types and relations the batches are numbered by.
    """

    def __init__(self, weights: dict[str, NDArray[np.float32]], architecture: dict[str, Any], graph: Graph) -> None:
        self.hidden = int(architecture["hidden"])
        self._kind = list(graph.nodes).index(architecture["node"])
        self._weights, self._numbers, self._used = weights, [np.empty(0, np.float32)], 0
        types, layers = list(graph.nodes), int(architecture["layers"])
        self._width = -(-self.hidden // LANES) * LANES
        self._tables: list[int] = []
        self._encoders = np.array([self._encoder(node, architecture) for node in types], np.int64)
        self._types = np.array([[self._own(layer, node) for node in types] for layer in range(layers)], np.int64)
        self._relations = np.array(
            [[self._between(layer, name) for name in graph.relations] for layer in range(layers)], np.int64
        ).reshape(layers, len(graph.relations), 2)
        self._types = self._types.reshape(layers, len(types), 4)
        self._head, self._bias = weights["head.weight"][0].astype(np.float64), float(weights["head.bias"][0])
        self._all = np.concatenate(self._numbers)
        self._embedding = np.array(self._tables, np.int64)
        self._now, self._then = (np.empty((256, self._width), np.float32) for _ in range(2))
        widest = max([self._width, *(item[2] for item in architecture["relations"].values())])
        self._scratch = np.empty(MEANS * widest, np.float32)

    @property
    def layers(self) -> int:
        """Number of layers: of hops, without stored rows."""
        return len(self._types)

    def forward(
        self, batch: Gathered, ready: NDArray[np.float32] = NOTHING
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embeddings float32 ``[seeds, hidden]``, good until the next call, and raw scores float64 ``[seeds]``.

        Args:
            batch: all hops, or the first alone.
            ready: with the first hop alone: hidden rows of its ends after each layer but the last, float32
                ``[layers - 1, rows at depth 1, hidden]``, type by type.
        """
        found, scores = self._forward(batch, self.layers, ready), np.empty(batch.counts[0, self._kind])
        judge(found, self._head, self._bias, scores)
        return found[: len(scores), : self.hidden], scores

    def rows(self, batch: Gathered) -> NDArray[np.float32]:
        """Hidden rows of seeds of all types after each layer but the last: float32 ``[layers - 1, seeds, hidden]``."""
        seeds = int(np.maximum(batch.counts[0], 0).sum())
        found = np.empty((self.layers - 1, seeds, self.hidden), np.float32)
        for place in range(len(found)):
            found[place] = self._forward(batch, place + 1, NOTHING)[:seeds, : self.hidden]
        return found

    def _forward(self, batch: Gathered, layers: int, ready: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = int(np.maximum(batch.counts, 0).sum())
        if rows > len(self._now):
            self._now, self._then = (np.empty((2 * rows, self._width), np.float32) for _ in range(2))
        found: NDArray[np.float32] = forward(
            batch.counts, batch.dense_at, batch.codes_at, batch.steps, batch.blocks, batch.ends, batch.widths,
            batch.edge_widths, batch.narrow, batch.dense, batch.codes, batch.edge_inputs, self._all, self._encoders,
            self._embedding, self._types[:layers], self._relations[:layers], self.hidden, ready, self._now, self._then,
            self._scratch,
        )  # fmt: skip
        return found

    def _add(self, array: NDArray[np.float32]) -> int:
        """Where an array's numbers will stand, its last dimension filled up to whole panels."""
        rows = array.reshape(-1, self.hidden).astype(np.float32)
        flat = np.pad(rows, ((0, 0), (0, self._width - self.hidden))).reshape(-1)
        place = self._used
        self._numbers.append(flat)
        self._used += len(flat)
        return place

    def _encoder(self, node: str, architecture: dict[str, Any]) -> list[int]:
        if node not in architecture["inputs"]:
            return [0] * 5  # the type came after the model, and no relation of the model's leads there
        before, dense = len(self._tables), int(architecture["inputs"][node])
        weight, inputs = self._weights[f"encoders.{node}.linear.weight"].T, dense
        for place in range(len(architecture["embedded"][node])):
            table = self._weights[f"encoders.{node}.tables.{place}.weight"]
            # a code's share of the product is the same for every row that has it
            self._tables.append(self._add(table @ weight[inputs : inputs + table.shape[1]]))
            inputs += table.shape[1]
        bias = self._add(self._weights[f"encoders.{node}.linear.bias"])
        return [self._add(weight[:dense]), bias, dense, before, len(self._tables) - before]

    def _own(self, layer: int, node: str) -> list[int]:
        if f"layers.{layer}.norm.{node}.weight" not in self._weights:
            return [0] * 4
        own, norm = f"layers.{layer}.convolution.own.{node}", f"layers.{layer}.norm.{node}"
        return [
            self._add(self._weights[f"{own}.weight"].T), self._add(self._weights[f"{own}.bias"]),
            self._add(self._weights[f"{norm}.weight"]), self._add(self._weights[f"{norm}.bias"]),
        ]  # fmt: skip

    def _between(self, layer: int, relation: str) -> list[int]:
        name, found = relation.replace(".", "-"), []
        for part in ("neighbours", "edges.linear"):
            weight = self._weights.get(f"layers.{layer}.convolution.{part}.{name}.weight")
            found.append(-1 if weight is None else self._add(weight.T))
        return found


def load(model: Model, split: int, graph: Graph) -> SageEngine:
    """The network of a model folder, for a graph.

    Raises:
        UserError: when the folder has been altered.
    """
    return SageEngine(load_file(model.folder(split) / "weights.safetensors"), model.manifest["architecture"], graph)
