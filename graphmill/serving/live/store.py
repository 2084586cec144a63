"""A snapshot opened for change: every array has room behind it, and the usual readers see old and new alike."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.features.columns import CALENDAR, NEVER, calendar
from graphmill.features.store import Features, Labels
from graphmill.features.windows import Window
from graphmill.graph.adjacency import Adjacency, Integers
from graphmill.graph.store import Graph
from graphmill.schema import Relation
from graphmill.serving.live.room import copied, empty, extended
from graphmill.serving.live.rows import Rows
from graphmill.serving.live.values import Values

UNLABELLED = -1


@dataclass(frozen=True)
class LiveAdjacency(Adjacency):
    """An adjacency whose rows grow; ``indptr`` is the snapshot's."""

    rows: Rows | None = None

    @property
    def first(self) -> Integers:
        """Where each row begins: int64 ``[targets + room]``."""
        assert self.rows is not None
        return self.rows.first

    @property
    def last(self) -> Integers:
        """One past where each row ends: int64 ``[targets + room]``."""
        assert self.rows is not None
        return self.rows.last


@dataclass(frozen=True)
class LiveFeatures(Features):
    """Features whose arrays grow."""

    arrays: dict[str, Any] = dataclasses.field(default_factory=dict)
    labels: dict[str, Rows] = dataclasses.field(default_factory=dict)

    def _matrix(self, name: str) -> Any:
        return self.arrays[name] if name in self.arrays else super()._matrix(name)

    def _node_times(self, graph: Graph, node: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.arrays[f"time/{node}"]
        return found

    def _labels(self, graph: Graph, relation: str) -> Labels:
        rows = self.labels[relation]
        return rows.first, rows.last, rows.time, rows.values, rows.prefix


@dataclass(frozen=True)
class Live:
    """The live graph's arrays. Only the thread that changes them may read them."""

    graph: Graph
    features: LiveFeatures
    rows: dict[str, Rows]
    """By relation."""
    relations: dict[str, Relation]
    """By name, as the schema declares them."""
    of: dict[tuple[str, str], list[Relation]]
    """The relations that a link (node type, column) or an edge table (its name, "") becomes."""
    into: dict[str, list[str]]
    """Names of the relations into each node type."""
    reverse: dict[str, str | None]
    """The relation that holds the same edges the other way round, where there is one."""
    windows: dict[str, Window]
    """By relation."""
    keys: dict[str, dict[str, int]]
    """Node ids by key, by type."""
    names: dict[str, list[str]]
    """Keys by node id, by type."""
    edges: dict[str, int]
    """Rows of each edge table."""
    label: NDArray[np.int8]
    """``[N + room]`` of the task's node: 0, 1 or ``UNLABELLED``."""
    label_known: NDArray[np.int64]
    """``[N + room]``: when each became known."""
    values: dict[str, Values]
    """How columns are read, by node type and edge table."""
    mentioned: dict[str, set[int]]
    """Nodes of which nothing but a mention is known, by type."""

    @classmethod
    def open(cls, folder: str | Path, nodes: int, edges: int) -> "Live":
        """Verify and open ``graph/`` and ``features/`` in a folder.

        Args:
            folder: the snapshot.
            nodes: room for so many new nodes of each type.
            edges: room for so many new edges of each relation, and to move rows that grow.

        Raises:
            UserError: when one is missing, partial or altered, or they do not belong together.
        """
        graph, features = Graph.open(Path(folder) / "graph"), Features.open(Path(folder) / "features")
        made_from = features.artifact.lineage.get("inputs", {}).get("graph")
        if made_from is not None and made_from != graph.artifact.digest:
            raise UserError(f"{folder}: its features were made from another graph; run stage features again")
        return _open(graph, features, nodes, edges)

    def count(self, node: str) -> int:
        """Number of nodes of a type now."""
        return len(self.keys[node])

    def time(self, node: str) -> NDArray[np.int64]:
        """From when on each node is visible: int64 ``[N + room]``."""
        found: NDArray[np.int64] = self.features.arrays[f"time/{node}"]
        return found

    def matrix(self, name: str) -> NDArray[Any]:
        """A growing matrix: ``nodes/<type>``, ``times/<type>`` or ``edges/<edge>``."""
        found: NDArray[Any] = self.features.arrays[name]
        return found

    def room(self, node: str) -> int:
        """How many nodes of a type there can be."""
        return len(self.time(node))

    def is_new(self, node: str, key: str) -> bool:
        """Whether nothing but a mention is known of a node."""
        place = self.keys[node].get(key)
        return place is None or place in self.mentioned[node]

    def clear(self, node: str, place: int) -> None:
        """Make a place a node without columns and edges."""
        self.matrix(f"nodes/{node}")[place] = np.nan
        if f"times/{node}" in self.features.arrays:
            self.matrix(f"times/{node}")[place] = NEVER
        if node == self.graph.task.node:
            self.label[place], self.label_known[place] = UNLABELLED, ALWAYS
        for name in self.into[node]:
            for rows in (self.rows[name], self.features.labels.get(name)):
                if rows is not None:
                    rows.first[place] = rows.last[place] = rows.limit[place] = 0

    def appear(self, node: str, place: int, time: int) -> None:
        """Let a node be there from ``time`` on."""
        self.time(node)[place] = time
        fields = self.features.columns[node]
        if fields and fields[-1].kind == "calendar":
            self.matrix(f"nodes/{node}")[place, -len(CALENDAR) :] = calendar(np.array([time]))[0]


def _open(graph: Graph, features: Features, nodes: int, edges: int) -> Live:
    path = features.artifact.path
    arrays: dict[str, Any] = {}
    for node in graph.nodes:
        arrays[f"time/{node}"] = copied(graph.node_time(node), nodes)
        arrays[f"nodes/{node}"] = extended(path / "nodes" / f"{node}.npy", nodes)
        if node in features.manifest["times"]:
            arrays[f"times/{node}"] = extended(path / "times" / f"{node}.npy", nodes)
    for edge in graph.schema.edges:
        arrays[f"edges/{edge}"] = extended(path / "edges" / f"{edge}.npy", edges)
    windows = {window.over: window for window in features.windows}
    rows = {name: _rows(graph, features, name, windows.get(name), nodes, edges) for name in graph.relations}
    for name, window in windows.items():
        if window.columns:
            arrays[f"windows/{name}.values"], arrays[f"windows/{name}.prefix"] = rows[name].values, rows[name].prefix
    labels = {name: _label_rows(features, name, nodes, edges) for name, window in windows.items() if window.known_label}
    live = LiveFeatures(features.artifact, arrays, labels)
    adjacencies: dict[str, Adjacency] = {
        name: LiveAdjacency(
            base.source, base.target, base.indptr, rows[name].indices, rows[name].edge_id,
            rows[name].time if len(rows[name].time) else None, rows[name],
        )
        for name, base in graph.relations.items()
    }  # fmt: skip
    label, known = _labels(graph, features, nodes)
    names: dict[str, list[str]] = {node: graph.key(node).tolist() for node in graph.nodes}
    return Live(
        graph=dataclasses.replace(graph, relations=adjacencies),
        features=live,
        rows=rows,
        relations={relation.name: relation for relation in graph.schema.relations()},
        of=_declared(graph),
        into={node: graph.incoming(node) for node in graph.nodes},
        reverse={relation.name: _reverse(graph, relation) for relation in graph.schema.relations()},
        windows=windows,
        keys={node: {key: place for place, key in enumerate(found)} for node, found in names.items()},
        names=names,
        edges={edge: len(features.edges[edge]) for edge in graph.schema.edges},
        label=label,
        label_known=known,
        values=_values(graph, features),
        mentioned={node: set() for node in graph.nodes},
    )


def _declared(graph: Graph) -> dict[tuple[str, str], list[Relation]]:
    found: dict[tuple[str, str], list[Relation]] = {}
    for relation in graph.schema.relations():
        name = (relation.node or relation.edge or "", relation.column or "")
        found.setdefault(name, []).append(relation)
    return found


def _reverse(graph: Graph, relation: Relation) -> str | None:
    if relation.undirected:
        return relation.name
    for other in graph.schema.relations():
        same = (other.node, other.column, other.edge) == (relation.node, relation.column, relation.edge)
        if same and other.reversed != relation.reversed:
            return other.name
    return None


def _rows(graph: Graph, features: Features, name: str, window: Window | None, nodes: int, edges: int) -> Rows:
    base, folder = graph.relations[name], graph.path / name
    windows = features.artifact.path / "windows"
    summed = window is not None and bool(window.columns)
    return Rows(
        name=name,
        first=copied(np.asarray(base.first), nodes),
        last=copied(np.asarray(base.last), nodes),
        limit=copied(np.asarray(base.last), nodes),
        used=np.array([base.edges]),
        time=extended(folder / "time.npy", edges) if base.time is not None else np.empty(0, np.int64),
        indices=extended(folder / "indices.npy", edges),
        edge_id=extended(folder / "edge_id.npy", edges),
        values=extended(windows / f"{name}.values.npy", edges) if summed else np.empty((0, 0), np.float32),
        prefix=extended(windows / f"{name}.prefix.npy", edges) if summed else np.empty((0, 0)),
    )


def _label_rows(features: Features, name: str, nodes: int, edges: int) -> Rows:
    """Known labels as rows; who was labelled is not stored, and not needed."""
    folder = features.artifact.path / "windows"
    indptr = np.load(folder / f"{name}.label.indptr.npy")
    count = int(indptr[-1])
    return Rows(
        name=f"{name} labels",
        first=copied(indptr[:-1], nodes),
        last=copied(indptr[1:], nodes),
        limit=copied(indptr[1:], nodes),
        used=np.array([count]),
        time=extended(folder / f"{name}.label.known.npy", edges),
        indices=empty(count + edges, (), np.int32),
        edge_id=empty(count + edges, (), np.int32),
        values=extended(folder / f"{name}.label.values.npy", edges),
        prefix=extended(folder / f"{name}.label.prefix.npy", edges),
    )


def _labels(graph: Graph, features: Features, nodes: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Labels of the task's nodes and when each became known, where labels are read at all."""
    count = graph.nodes[graph.task.node]
    label, known = empty(count + nodes, (), np.int8), empty(count + nodes, (), np.int64)
    label[:count], known[:count] = UNLABELLED, ALWAYS
    if any(window.known_label for window in features.windows):
        examples = features.examples
        there = examples["label"].notna().to_numpy(bool)
        ids = examples["node"].to_numpy()[there]
        label[ids] = examples["label"].to_numpy(np.int8, na_value=0)[there]
        known[ids] = examples["known"].to_numpy(np.int64)[there]
    return label, known


def _values(graph: Graph, features: Features) -> dict[str, Values]:
    schema, stamps = graph.schema, features.manifest["times"]
    nodes = {
        node: Values(described.columns, features.columns[node], stamps.get(node, []), schema.time, node)
        for node, described in schema.nodes.items()
    }
    edges = {
        edge: Values(described.columns, features.edge_columns[edge], [], schema.time, edge)
        for edge, described in schema.edges.items()
    }
    return nodes | edges
