"""Which rows of which columns a period has: tables, edge tables, and point-in-time states of what is judged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.drift.source import Integers, Period, Source, thin
from graphmill.features.columns import Field

MOST_ROWS = 200_000
MOST_EXAMPLES = 20_000


@dataclass(frozen=True)
class Scope:
    """The rows of one table, or of the states of one node type, in a period."""

    name: str
    fields: list[Field]
    values: NDArray[np.float32]
    """``[rows, fields]``, NaN where missing."""
    times: Integers
    """``[rows]``"""
    count: int
    """How many rows there are, of which ``values`` may hold a part."""
    timed: bool
    """Whether the period chose them; else they are all rows."""


def scopes(source: Source, period: Period) -> Iterator[Scope]:
    """Every table and state with columns, in the schema's order."""
    yield from _nodes(source, period)
    yield from _edges(source, period)
    yield from _states(source, period)


def _nodes(source: Source, period: Period) -> Iterator[Scope]:
    for node, fields in source.features.columns.items():
        times, timed = source.times[node], source.timed(node)
        rows = np.flatnonzero(period.holds(times)) if timed else np.arange(len(times))
        kept = thin(rows, MOST_ROWS)
        if fields:
            values = np.asarray(source.features.nodes[node][kept])
            yield Scope(f"node {node}", fields, values, times[kept], len(rows), timed)


def _edges(source: Source, period: Period) -> Iterator[Scope]:
    for edge, fields in source.features.edge_columns.items():
        if not fields:
            continue
        relation = next(relation for relation in source.relations if relation.edge == edge)
        adjacency = source.graph.relations[relation.name]
        places, count = source.some_positions(relation.name, period, 2 * MOST_ROWS)
        # an undirected edge stands in the adjacency twice, a row of its table is one
        rows, first = np.unique(np.asarray(adjacency.edge_id[places]), return_index=True)
        every = np.full(len(rows), ALWAYS, np.int64)
        times = every if adjacency.time is None else np.asarray(adjacency.time[places[first]])
        kept = thin(np.arange(len(rows)), MOST_ROWS)
        values = np.asarray(source.features.edges[edge][rows[kept]])
        whole = len(rows) if count <= len(places) else count // (1 + int(relation.undirected))
        yield Scope(f"edge {edge}", fields, values, times[kept], whole, adjacency.time is not None)


def _states(source: Source, period: Period) -> Iterator[Scope]:
    """Point-in-time values of the task's nodes and, for events, of the nodes that they link to."""
    task = source.graph.task.node
    ids, times = _judged(source, period)
    yield from _state(source, f"state {task}", task, ids, times)
    if source.graph.judges_events:
        for column, link in source.graph.schema.nodes[task].links.items():
            linked = source.links.get(task, {}).get(column)
            if linked is not None:
                there = linked[ids] >= 0
                name = f"state {task}.{column}"
                yield from _state(source, name, link.node, linked[ids[there]], times[there])


def _judged(source: Source, period: Period) -> tuple[Integers, Integers]:
    """Events at their own times; entities that are there as of the period's end."""
    if source.graph.judges_events:
        rows = thin(source.example_places(period), MOST_EXAMPLES)
        chosen = source.examples.iloc[rows]
        return chosen["node"].to_numpy(np.int32), chosen["time"].to_numpy(np.int64)
    there = thin(np.flatnonzero(source.times[source.graph.task.node] < period.end), MOST_EXAMPLES)
    return there.astype(np.int32), np.full(len(there), period.end, np.int64)


def _state(source: Source, name: str, node: str, ids: Integers, times: Integers) -> Iterator[Scope]:
    fields = source.features.state_fields(source.graph, node)
    if fields:
        values = source.features.state(source.graph, node, ids.astype(np.int32), times.astype(np.int64))
        timed = source.graph.task.split.kind == "temporal"
        yield Scope(name, fields, values, times, len(ids), timed)
