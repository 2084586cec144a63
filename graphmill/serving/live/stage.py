"""Nodes that a request brings along: written behind the graph's end for one answer, and counted nowhere.

A staged node is seen by itself alone: its columns, its links, its edges. Nobody else's neighbourhood changes, so many
of them can be answered at once, each as if it were the only one.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphmill.clock import ALWAYS, moment
from graphmill.errors import UserError
from graphmill.schema import Relation
from graphmill.serving.instance import InlineEdge, Instance
from graphmill.serving.live.store import Live
from graphmill.serving.live.windows import values_of


@dataclass
class Tally:
    """What was missing in what a request brought along."""

    values: int = 0
    missing: int = 0
    unknown: int = 0
    """Links and edges to nodes that the graph does not have: they lead nowhere."""


@dataclass
class Stage:
    """The staged nodes of one batch.

    Args:
        live: the graph; what is written into it lies behind its end.
    """

    live: Live
    tally: Tally = field(default_factory=Tally)
    _nodes: int = 0
    _edges: dict[str, int] = field(default_factory=dict)
    _ends: dict[str, int] = field(default_factory=dict)

    def add(self, instance: Instance, at: int) -> int:
        """Stage a node that the graph does not have: its id.

        Raises:
            UserError: for what the schema does not know.
        """
        live, node = self.live, self.live.graph.task.node
        described = live.graph.schema.nodes[node]
        columns = dict(instance.columns)
        born = at if described.time is not None else ALWAYS
        if described.time is not None and described.time in columns and described.time not in described.columns:
            born = moment(columns.pop(described.time), live.graph.clock, f"{node}.{described.time}")
        place = self._place()
        live.clear(node, place)
        live.appear(node, place, born)
        self._write(node, place, columns, whole=True)
        found = self._linked(node, instance)
        for position, edge in enumerate(instance.edges):
            try:
                self._joined(node, edge, found)
            except UserError as error:
                raise UserError(f"edges[{position}]: {error}") from None
        for name, edges in found.items():
            self._row(name, place, edges)
        return place

    def copy(self, known: int, columns: dict[str, Any]) -> int:
        """Stage a node that is known, with other columns: its id. Its edges stay where they are.

        Raises:
            UserError: for what the schema does not know.
        """
        live, node = self.live, self.live.graph.task.node
        place = self._place()
        for name in (f"nodes/{node}", f"times/{node}", f"time/{node}"):
            if name in live.features.arrays:
                live.matrix(name)[place] = live.matrix(name)[known]
        for name in live.into[node]:
            for rows in (live.rows[name], live.features.labels.get(name)):
                if rows is not None:
                    rows.first[place], rows.last[place] = rows.first[known], rows.last[known]
        described = live.graph.schema.nodes[node]
        own = {name: value for name, value in columns.items() if name in described.columns or name != described.time}
        self._write(node, place, own, whole=False)
        return place

    def _place(self) -> int:
        node = self.live.graph.task.node
        place = self.live.count(node) + self._nodes
        if place >= self.live.room(node):
            raise UserError("too many nodes beside the snapshot; compact it")
        self._nodes += 1
        return place

    def _write(self, node: str, place: int, columns: dict[str, Any], whole: bool) -> None:
        live = self.live
        raw, moments = live.values[node].read(columns, whole)
        for column, value in raw:
            live.matrix(f"nodes/{node}")[place, column] = value
        for column, value in moments:
            live.matrix(f"times/{node}")[place, column] = value
        declared = live.graph.schema.nodes[node].columns
        self.tally.values += len(declared)
        self.tally.missing += len(declared) - sum(value is not None for value in columns.values())

    def _linked(self, node: str, instance: Instance) -> dict[str, list[tuple[int, int, int]]]:
        """Edges into the node from what it links to: (time, source, row), by relation."""
        live, described = self.live, self.live.graph.schema.nodes[node]
        found: dict[str, list[tuple[int, int, int]]] = {}
        for column, key in instance.links.items():
            if column not in described.links:
                raise UserError(f"{node}: no link {column!r}; known: {', '.join(described.links) or 'none'}")
            if key is None:
                continue
            linked = live.keys[described.links[column].node].get(str(key))
            if linked is None:
                self.tally.unknown += 1
                continue
            for relation in live.of[node, column]:
                if relation.reversed:
                    seen = int(live.time(relation.source)[linked])
                    found.setdefault(relation.name, []).append((seen, linked, 0))
        absent = [name for name, link in described.links.items() if link.required and instance.links.get(name) is None]
        if absent:
            raise UserError(f"{node}: link {absent[0]!r} is required")
        return found

    def _joined(self, node: str, edge: InlineEdge, found: dict[str, list[tuple[int, int, int]]]) -> None:
        """Edges into the node from the other end of an inline edge."""
        live = self.live
        if edge.edge not in live.graph.schema.edges:
            raise UserError(f"no edge table {edge.edge!r}; known: {', '.join(live.graph.schema.edges) or 'none'}")
        described = live.graph.schema.edges[edge.edge]
        if (edge.source is None) == (edge.target is None):
            raise UserError("give `source` or `target`: the other end is the instance itself")
        incoming = edge.source is not None
        own, other = described.target_node, described.source_node
        if not incoming:
            own, other = other, own
        if own != node:
            raise UserError(f"{edge.edge}: that end is a {own}, not a {node}")
        if described.time is not None and edge.time is None:
            raise UserError(f"{edge.edge}: an edge needs a time")
        time = moment(edge.time, live.graph.clock, "time") if edge.time is not None and described.time else ALWAYS
        row = self._edge_row(edge)
        place = live.keys[other].get(str(edge.source if incoming else edge.target))
        if place is None:
            self.tally.unknown += 1
            return
        for relation in live.of[edge.edge, ""]:
            if relation.undirected or relation.reversed != incoming:
                seen = max(time, int(live.time(other)[place]))
                found.setdefault(relation.name, []).append((seen, place, row))

    def _edge_row(self, edge: InlineEdge) -> int:
        live = self.live
        row = live.edges[edge.edge] + self._edges.get(edge.edge, 0)
        matrix = live.matrix(f"edges/{edge.edge}")
        if row >= len(matrix):
            raise UserError("too many edges beside the snapshot; compact it")
        self._edges[edge.edge] = self._edges.get(edge.edge, 0) + 1
        matrix[row] = np.nan
        for column, value in live.values[edge.edge].read(edge.columns, whole=True)[0]:
            matrix[row, column] = value
        return row

    def _row(self, name: str, place: int, edges: list[tuple[int, int, int]]) -> None:
        """Write a staged node's row of one relation behind the rows in use."""
        live, rows = self.live, self.live.rows[name]
        relation: Relation = live.relations[name]
        edges.sort(key=lambda edge: edge[0])
        times, sources, kept = (np.array(part) for part in zip(*edges, strict=True))
        edge_ids = kept if relation.edge else np.full(len(edges), place)
        values = values_of(live, name, sources, edge_ids)
        begin = self._ends.get(name, int(rows.used[0]))
        self._ends[name] = rows.stage(place, begin, sources, edge_ids, times, values)
