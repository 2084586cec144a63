"""Reading a graph folder: verified once, memory-mapped afterwards."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill import artifact
from graphmill.clock import Clock
from graphmill.errors import UserError
from graphmill.graph.adjacency import Adjacency, assemble, load
from graphmill.schema import Relation, Schema
from graphmill.task import Task


@dataclass(frozen=True)
class Graph:
    """A graph as of a moment: node counts by type and one adjacency per relation."""

    artifact: artifact.Artifact
    relations: dict[str, Adjacency]
    permutation: int | None = None
    """The seed by which neighbours were permuted, None for the graph as it is."""

    @classmethod
    def open(cls, path: str | Path) -> "Graph":
        """Verify and open a graph folder.

        Raises:
            UserError: when the folder is missing, partial or altered.
        """
        found = artifact.read(path, "graph")
        relations = {
            name: load(found.path / name, facts["source"], facts["target"])
            for name, facts in found.manifest["relations"].items()
        }
        return cls(found, relations)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.artifact.path

    @cached_property
    def schema(self) -> Schema:
        """The schema that the tables were read by."""
        return Schema.parse(self.artifact.manifest["schema"], "schema")

    @cached_property
    def task(self) -> Task:
        """The task that the tables were read for."""
        return Task.parse(self.artifact.manifest["task"], "task")

    @property
    def clock(self) -> Clock:
        """Dates and times, or integer steps."""
        return self.schema.time

    @property
    def as_of(self) -> int:
        """The moment of the snapshot: everything in it is before."""
        return int(self.artifact.manifest["as_of"])

    @property
    def judges_events(self) -> bool:
        """Whether the task's nodes are judged when they happen, not at moments chosen for them."""
        described = self.schema.nodes[self.task.node]
        happens = described.time is not None and self.task.moments is None
        return happens and (bool(described.links) or self.task.split.kind == "temporal")

    @property
    def nodes(self) -> dict[str, int]:
        """Number of nodes by type."""
        return dict(self.artifact.manifest["nodes"])

    def key(self, node: str) -> NDArray[Any]:
        """Keys of a node type by id: object ``[N]``."""
        return self._column(node, "key")

    def node_time(self, node: str) -> NDArray[np.int64]:
        """From when on each node is visible: int64 ``[N]``, ``clock.ALWAYS`` where it has no time."""
        return np.asarray(self._column(node, "time"), np.int64)

    def incoming(self, node: str) -> list[str]:
        """Names of the relations into a node type, in the schema's order."""
        return [item.name for item in self.schema.relations() if item.target == node and item.name in self.relations]

    def only(self, names: Iterable[str]) -> "Graph":
        """The graph without its other relations: what a model sees that was trained before they came.

        Raises:
            UserError: for a relation that the graph does not have.
        """
        absent = [name for name in names if name not in self.relations]
        if absent:
            raise UserError(f"the model needs relations that the graph does not have: {', '.join(sorted(absent))}")
        return dataclasses.replace(self, relations={name: self.relations[name] for name in names})

    def shuffled(self, seed: int) -> "Graph":
        """The same graph with its neighbours drawn at random: a control that must do worse.

        Every node keeps its degrees; who is joined to whom is permuted inside each edge type, the same way
        in both directions. The result still shows nobody the future.
        """
        permuted: dict[str, Adjacency] = {}
        for relation in self.schema.relations():
            if relation.name not in self.relations:
                continue
            group = [relation.node or "", relation.column or "", relation.edge or ""]
            state = np.random.default_rng([seed, *"/".join(group).encode()])
            permuted[relation.name] = self._permuted(relation, state)
        return dataclasses.replace(self, relations=permuted, permutation=seed)

    def _permuted(self, relation: Relation, state: np.random.Generator) -> Adjacency:
        adjacency = self.relations[relation.name]
        target = np.repeat(np.arange(len(adjacency.indptr) - 1, dtype=np.int32), np.diff(adjacency.indptr))
        order = np.argsort(adjacency.edge_id, kind="stable")
        source, target = np.asarray(adjacency.indices)[order], target[order]
        edge_id = np.asarray(adjacency.edge_id)[order]
        shift = state.permutation(len(order))
        if relation.reversed:
            target = target[shift]
        else:
            source = source[shift]
        seen = self.node_time(relation.source)[source]
        if relation.edge is not None and adjacency.time is not None:
            seen = np.maximum(seen, np.asarray(adjacency.time)[order])
        names = (adjacency.source, adjacency.target)
        return assemble(names, source, target, edge_id, seen, len(adjacency.indptr) - 1)

    def _column(self, node: str, name: str) -> NDArray[Any]:
        file = self.path / "nodes" / f"{node}.parquet"
        return np.asarray(pq.read_table(file, columns=[name])[name].to_numpy())
