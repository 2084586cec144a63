"""Reading a features folder, and a node's state as of any moment: the same for training and serving."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill import artifact
from graphmill.clock import day
from graphmill.errors import UserError
from graphmill.features import raw, structure
from graphmill.features.columns import Field
from graphmill.features.state import Builder, Program
from graphmill.features.sums import Sums
from graphmill.features.transforms import Transform
from graphmill.features.windows import NO_SUMS, Window
from graphmill.graph.store import Graph

Ids = NDArray[np.int32]
Times = NDArray[np.int64]
Matrix = NDArray[np.float32]
Labels = tuple[Any, Any, Any, Any, Any]


@dataclass(frozen=True)
class Features:
    """Raw values of nodes and edges, windows, examples and the transforms fitted for each split."""

    artifact: artifact.Artifact

    @classmethod
    def open(cls, path: str | Path) -> "Features":
        """Verify and open a features folder.

        Raises:
            UserError: when the folder is missing, partial or altered.
        """
        return cls(artifact.read(path, "features"))

    @property
    def manifest(self) -> dict[str, Any]:
        """Content of features.json."""
        return self.artifact.manifest

    @property
    def split_count(self) -> int:
        """Number of splits."""
        return int(self.manifest["splits"])

    @cached_property
    def examples(self) -> pd.DataFrame:
        """The examples, as ``features.examples.build`` describes them."""
        frame = pd.read_parquet(self.artifact.path / "examples.parquet")
        return frame.assign(label=frame["label"].astype("boolean"))

    @cached_property
    def columns(self) -> dict[str, list[Field]]:
        """Raw columns of each node type."""
        return _fields(self.manifest["columns"])

    @cached_property
    def edge_columns(self) -> dict[str, list[Field]]:
        """Raw columns of each edge table."""
        return _fields(self.manifest["edge_columns"])

    @cached_property
    def nodes(self) -> dict[str, Matrix]:
        """Raw values of each node type: float32 ``[N, columns]``, memory-mapped."""
        return {node: self._matrix(f"nodes/{node}") for node in self.columns}

    @cached_property
    def edges(self) -> dict[str, Matrix]:
        """Raw values of each edge table: float32 ``[E, columns]``, memory-mapped."""
        return {edge: self._matrix(f"edges/{edge}") for edge in self.edge_columns}

    @cached_property
    def windows(self) -> list[Window]:
        """The windows, in the order of the state."""
        return [Window.parse(item, "features.windows") for item in self.manifest["windows"]]

    def transforms(self, split: int) -> dict[str, dict[str, list[Transform]]]:
        """Fitted transforms of a split: ``nodes``, ``state`` and ``edges``, by type."""
        return parse_transforms(self.manifest["transforms"][split])

    def state_fields(self, graph: Graph, node: str) -> list[Field]:
        """What ``state`` returns for a node type, column by column."""
        return [Field(name=name, kind="numeric", scale="log") for name in self.state_names(graph, node)]

    def state_names(self, graph: Graph, node: str) -> list[str]:
        """Names of the point-in-time values of a node type."""
        names = ["age"] if graph.schema.nodes[node].time else []
        names += [f"{name}.age" for name in self.manifest["times"].get(node, [])]
        names += [f"degree.{name}" for name in graph.incoming(node)]
        for window in self._windows_of(graph, node):
            names += window.names() + window.label_names()
        if node in structure.node_types(graph):
            names += self.manifest["structure"]["names"]
        return names

    def state(self, graph: Graph, node: str, ids: Ids, times: Times) -> Matrix:
        """Point-in-time values: ages, degrees, windows, structure, each from strictly before its time.

        Args:
            graph: the graph (or a shuffled one).
            node: the node type.
            ids: int32 ``[n]``.
            times: int64 ``[n]``.

        Returns:
            float32 ``[n, len(state_names)]``, raw; NaN where there is nothing to speak of.

        Raises:
            UserError: for a node that is not there.
        """
        if len(ids) and (int(np.min(ids)) < 0 or int(np.max(ids)) >= graph.nodes[node]):
            raise UserError(f"{node}: node ids must be within 0 and {graph.nodes[node] - 1:,}")
        return self.state_program(graph, node)(np.array(ids, np.int32), np.array(times, np.int64))

    def state_program(self, graph: Graph, node: str) -> Program:
        """What computes ``state`` of one node type, made once for a graph."""
        kept = self._cache.setdefault(f"state/{node}", {})
        if id(graph) not in kept:
            kept[id(graph)] = graph, self._state_program(graph, node)  # the graph is kept: its number stays its own
        found: Program = kept[id(graph)][1]
        return found

    def _state_program(self, graph: Graph, node: str) -> Program:
        builder = Builder(day(graph.clock))
        if graph.schema.nodes[node].time:
            builder.age(self._node_times(graph, node), own=True)
        stamps = self.manifest["times"].get(node, [])
        for column in range(len(stamps)):
            builder.age(self._matrix(f"times/{node}"), column, len(stamps))
        for name in graph.incoming(node):
            builder.degree(graph.relations[name])
        for window in self._windows_of(graph, node):
            lengths = window.lengths(graph.clock)
            builder.window(window, lengths, graph.relations[window.over], *self._sums(graph, window))
            if window.known_label:
                builder.label(lengths, *self._labels(graph, window.over))
        if node in structure.node_types(graph) and self.manifest["structure"]["names"]:
            moments = np.array(self.manifest["structure"]["moments"], np.int64)
            builder.structure(self._matrix(f"structure/{node}"), moments)
        return builder.program()

    def _node_times(self, graph: Graph, node: str) -> Times:
        if f"time/{node}" not in self._cache:
            self._cache[f"time/{node}"] = graph.node_time(node)
        found: Times = self._cache[f"time/{node}"]
        return found

    def _windows_of(self, graph: Graph, node: str) -> list[Window]:
        known = graph.relations
        return [window for window in self.windows if window.over in known and known[window.over].target == node]

    def _sums(self, graph: Graph, window: Window) -> Sums:
        """A window's running sums: stored for the graph itself, computed for a permuted one."""
        if not window.columns:
            return NO_SUMS
        if graph.permutation is None:
            return Sums(*(self._matrix(f"windows/{window.over}.{name}") for name in Sums._fields))
        name = f"windows/{window.over}@{graph.permutation}"
        if name not in self._cache:
            edges, width = graph.relations[window.over].edges, len(window.columns)
            room = Sums(np.empty((edges, width), np.float32), np.empty((edges, 3 * width)))
            self._cache[name] = raw.window_sums(
                graph, window, self.columns, self.edge_columns, self.nodes, self.edges, room
            )
        found: Sums = self._cache[name]
        return found

    def _labels(self, graph: Graph, relation: str) -> Labels:
        """A relation's known labels: where rows begin and end, when each became known, values and running sums."""
        if graph.permutation is None:
            indptr, *arrays = (self._matrix(f"windows/{relation}.label.{name}") for name in raw.LABEL_ARRAYS)
            return indptr[:-1], indptr[1:], *arrays
        name = f"labels/{relation}@{graph.permutation}"
        if name not in self._cache:
            adjacency = graph.relations[relation]
            self._cache[name] = raw.label_sums(adjacency, graph.nodes[adjacency.source], self.examples)
        indptr, known, sums = self._cache[name]
        return indptr[:-1], indptr[1:], known, *sums

    def _matrix(self, name: str) -> Any:
        if name not in self._cache:
            self._cache[name] = np.load(self.artifact.path / f"{name}.npy", mmap_mode="r")
        return self._cache[name]

    @cached_property
    def _cache(self) -> dict[str, Any]:
        return {}


def parse_transforms(document: dict[str, Any]) -> dict[str, dict[str, list[Transform]]]:
    """Typed transforms from the JSON of features.json."""
    return {
        part: {name: [Transform.model_validate(item) for item in items] for name, items in types.items()}
        for part, types in document.items()
    }


def read_transforms(path: Path) -> dict[str, dict[str, list[Transform]]]:
    """Typed transforms from a model's own features.json."""
    return parse_transforms(json.loads(path.read_bytes())["transforms"])


def _fields(document: dict[str, list[dict[str, Any]]]) -> dict[str, list[Field]]:
    return {name: [Field.model_validate(item) for item in items] for name, items in document.items()}
