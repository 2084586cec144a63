"""Clean tables to node tables and adjacencies: keys are resolved by the engine, rows sorted here."""

from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill.artifact import Artifact
from graphmill.clock import ALWAYS
from graphmill.engine import Engine
from graphmill.engine.files import ROW
from graphmill.engine.writer import write
from graphmill.graph.adjacency import Adjacency, assemble, save
from graphmill.progress import track
from graphmill.schema import Relation, Schema

Ids = NDArray[np.int32]
Times = NDArray[np.int64]


def build(engine: Engine, tables: Artifact, schema: Schema, folder: Path) -> dict[str, Any]:
    """Write ``nodes/`` and one folder a relation; return the counts for the manifest."""
    resolver = Resolver(engine, tables.path, schema)
    (folder / "nodes").mkdir()
    times = {node: _nodes(resolver, node, folder) for node in schema.nodes}
    relations: dict[str, Any] = {}
    for relation in track(schema.relations(), "graph"):
        adjacency = _relation(resolver, relation, times)
        save(adjacency, folder / relation.name)
        relations[relation.name] = relation.canonical() | {
            "edges": adjacency.edges,
            "timed": adjacency.time is not None,
        }
    return {"nodes": {node: len(time) for node, time in times.items()}, "relations": relations}


class Resolver:
    """Looks keys up in the clean node tables: a node's id is its row number there."""

    def __init__(self, engine: Engine, folder: Path, schema: Schema) -> None:
        self.engine = engine
        self.folder = folder
        self.schema = schema
        self._ids: dict[tuple[str, str, str], Ids] = {}

    def table(self, name: str) -> Any:
        """A clean table as an expression, with its row numbers."""
        return self.engine.read(self.folder / f"{name}.parquet")

    def node_table(self, node: str) -> Any:
        """Columns ``key``, ``time`` (int64) and ``row`` of a node type."""
        described = self.schema.nodes[node]
        table = self.table(described.table or node)
        key = table[described.key or "key"]
        name = described.time if described.table else "time"
        return table.select(key=key, time=self.time(table, name), row=table[ROW])

    def time(self, table: Any, column: str | None) -> Any:
        """A time column as int64, ``ALWAYS`` where it is missing or not declared."""
        if column is None:
            return ibis.literal(ALWAYS, type="int64")
        value = table[column]
        if value.type().is_timestamp():
            value = self.engine.microseconds(value)
        return value.cast("int64").fill_null(ALWAYS)

    def ids(self, table: str, column: str, node: str) -> Ids:
        """The node id that each row of ``table`` links to, -1 where it links to none: int32 ``[rows]``.

        It is looked up once for a relation and its reverse, which follow each other.
        """
        if (table, column, node) not in self._ids:
            if len(self._ids) > 1:
                self._ids.clear()
            self._ids[table, column, node] = self._looked_up(table, column, node)
        return self._ids[table, column, node]

    def _looked_up(self, table: str, column: str, node: str) -> Ids:
        expression = self.table(table)
        rows = expression.select(row=expression[ROW], key=expression[column])
        nodes = self.node_table(node).select("key", id=ibis._.row)
        joined = self.engine.arrow(rows.inner_join(nodes, "key").select("row", "id"))
        found = np.full(pq.read_metadata(self.folder / f"{table}.parquet").num_rows, -1, np.int32)
        found[joined["row"].to_numpy()] = joined["id"].to_numpy()
        return found

    def times(self, table: str, column: str | None) -> Times:
        """The time of each row of ``table``: int64 ``[rows]``."""
        expression = self.table(table)
        ordered = self.engine.arrow(expression.select(row=expression[ROW], time=self.time(expression, column)))
        time = np.empty(len(ordered), np.int64)
        time[ordered["row"].to_numpy()] = ordered["time"].to_numpy()
        return time


def _nodes(resolver: Resolver, node: str, folder: Path) -> Times:
    ordered = resolver.engine.arrow(resolver.node_table(node).order_by("row").select("key", "time"))
    table = pa.table({"key": ordered["key"].cast(pa.string()), "time": ordered["time"].cast(pa.int64())})
    write(table.to_batches(), table.schema, folder / "nodes" / f"{node}.parquet")
    return np.asarray(table["time"].to_numpy(), np.int64)


def _relation(resolver: Resolver, relation: Relation, times: dict[str, Times]) -> Adjacency:
    source, target, edge_id, time = _edge_list(resolver, relation, times)
    effective = np.maximum(time, times[relation.source][source])
    return assemble((relation.source, relation.target), source, target, edge_id, effective, len(times[relation.target]))


def _edge_list(resolver: Resolver, relation: Relation, times: dict[str, Times]) -> tuple[Ids, Ids, Ids, Times]:
    """Source, target, edge id and own time of each edge, in the order of the table's rows."""
    if relation.node is not None:
        return _link_edges(resolver, relation, times)
    edge = resolver.schema.edges[str(relation.edge)]
    source = resolver.ids(edge.table, edge.source_column, edge.source_node)
    target = resolver.ids(edge.table, edge.target_column, edge.target_node)
    time = resolver.times(edge.table, edge.time)
    rows = np.arange(len(source), dtype=np.int32)
    if relation.reversed:
        source, target = target, source
    if relation.undirected:
        apart = source != target  # a self-loop is one edge, not two
        source, target = np.concatenate([source, target[apart]]), np.concatenate([target, source[apart]])
        rows, time = np.concatenate([rows, rows[apart]]), np.concatenate([time, time[apart]])
    known = (source >= 0) & (target >= 0)
    return source[known], target[known], rows[known], time[known]


def _link_edges(resolver: Resolver, relation: Relation, times: dict[str, Times]) -> tuple[Ids, Ids, Ids, Times]:
    """A link has no time of its own: it is part of its row, and visible with it."""
    node = str(relation.node)
    described = resolver.schema.nodes[node]
    linked = relation.source if relation.reversed else relation.target
    other = resolver.ids(str(described.table), str(relation.column), linked)
    rows = np.flatnonzero(other >= 0).astype(np.int32)
    other = other[rows]
    time = np.full(len(rows), ALWAYS, np.int64)
    return (other, rows, rows, time) if relation.reversed else (rows, other, rows, time)
