"""Writing raw matrices, timestamps and the prefix sums of windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.artifact import Artifact
from graphmill.errors import UserError
from graphmill.features import columns as raw_columns
from graphmill.features.columns import NEVER, Field
from graphmill.features.sums import RUN, Sums, fill, running
from graphmill.features.windows import EVER, Window
from graphmill.graph.adjacency import Adjacency
from graphmill.graph.runs import runs
from graphmill.graph.store import Graph
from graphmill.schema import Column, Relation

Matrix = NDArray[np.float32]
LABEL_ARRAYS = ("indptr", "known", "values", "prefix")


def write(tables: Artifact, graph: Graph, folder: Path, with_calendar: bool) -> dict[str, Any]:
    """Write nodes/, times/ and edges/; return what their columns are."""
    manifest: dict[str, Any] = {"columns": {}, "edge_columns": {}, "times": {}}
    for node, described in graph.schema.nodes.items():
        file = tables.path / f"{described.table or node}.parquet"
        fields = raw_columns.fields(file, described.columns)
        calendar = bool(with_calendar and described.time and graph.clock == "timestamp")
        fields += [Field(name=name, kind="calendar") for name in raw_columns.CALENDAR if calendar]
        raw_columns.write_matrix(file, fields, graph.nodes[node], folder / "nodes" / f"{node}.npy")
        if calendar:
            raw_columns.write_calendar(graph.node_time(node), folder / "nodes" / f"{node}.npy")
        manifest["columns"][node] = [field.canonical() for field in fields]
        stamps = _timestamps(described.columns)
        if stamps:
            raw_columns.write_times(file, stamps, graph.nodes[node], folder / "times" / f"{node}.npy")
            manifest["times"][node] = stamps
    for edge, table in graph.schema.edges.items():
        file = tables.path / f"{table.table}.parquet"
        fields = raw_columns.fields(file, table.columns)
        rows = len(pd.read_parquet(file, columns=[table.source_column]))
        raw_columns.write_matrix(file, fields, rows, folder / "edges" / f"{edge}.npy")
        manifest["edge_columns"][edge] = [field.canonical() for field in fields]
    return manifest


def _timestamps(columns: dict[str, Column]) -> list[str]:
    return [name for name, column in columns.items() if column.kind == "timestamp"]


def relation_of(graph: Graph, name: str) -> Relation:
    """The relation of that name.

    Raises:
        UserError: with the known names.
    """
    known = {relation.name: relation for relation in graph.schema.relations()}
    if name not in known:
        raise UserError(f"features.windows: no relation {name!r}; known: {', '.join(known)}")
    return known[name]


def check_windows(graph: Graph, windows: list[Window]) -> None:
    """Refuse windows over relations, sizes, columns or labels that are not there.

    Raises:
        UserError: naming the window and what is known.
    """
    for window in windows:
        relation = relation_of(graph, window.over)
        if sum(other.over == window.over for other in windows) > 1:
            raise UserError(f"features.windows: {window.over} stands twice; put sizes and columns into one")
        window.lengths(graph.clock)
        timed = graph.relations[window.over].time is not None
        if not timed and any(size != EVER for size in window.sizes):
            raise UserError(f"features.windows: {window.over} has no time, so its only size is {EVER!r}")
        usable = {**_numbers(graph.schema.nodes[relation.source].columns), **_edge_numbers(graph, relation)}
        for name in window.columns:
            if name not in usable:
                known = ", ".join(usable) or "none"
                raise UserError(f"features.windows {window.over}: no numeric column {name!r}; known: {known}")
        if window.known_label and relation.source != graph.task.node:
            raise UserError(
                f"features.windows {window.over}: known_label needs edges that come from {graph.task.node!r}"
            )
        if window.known_label and (graph.task.moments is not None or graph.task.split.kind != "temporal"):
            raise UserError(
                f"features.windows {window.over}: known_label is for events with a temporal split; "
                "labels of entities change or are split at random"
            )


def _numbers(columns: dict[str, Column]) -> dict[str, Column]:
    return {name: column for name, column in columns.items() if column.kind in ("numeric", "boolean")}


def _edge_numbers(graph: Graph, relation: Relation) -> dict[str, Column]:
    return _numbers(graph.schema.edges[relation.edge].columns) if relation.edge else {}


def window_sums(
    graph: Graph,
    window: Window,
    fields: dict[str, list[Field]],
    edge_fields: dict[str, list[Field]],
    nodes: dict[str, Matrix],
    edges: dict[str, Matrix],
    sums: Sums,
) -> Sums:
    """Fill ``sums`` with the values of a window's columns, in the adjacency's order, and their running sums.

    An edge's own column goes before one of the row that the edge comes from.
    """
    relation, adjacency = relation_of(graph, window.over), graph.relations[window.over]
    own = {field.name: place for place, field in enumerate(edge_fields.get(relation.edge or "", []))}
    source = {field.name: place for place, field in enumerate(fields[relation.source])}
    for place, name in enumerate(window.columns):
        for first in range(0, adjacency.edges, RUN):
            part = slice(first, first + RUN)
            if name in own:
                sums.values[part, place] = edges[str(relation.edge)][adjacency.edge_id[part], own[name]]
            else:
                sums.values[part, place] = nodes[relation.source][adjacency.indices[part], source[name]]
    fill(sums, adjacency.indptr)
    return sums


def label_sums(
    adjacency: Adjacency, count: int, examples: pd.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64], Sums]:
    """Running sums of known labels in each row, sorted by when the label became known.

    Args:
        adjacency: edges from the labelled events.
        count: number of source nodes.
        examples: one row an event, with ``node``, ``label`` and ``known``.

    Returns:
        indptr int64, known int64 ``[labelled edges]``, values and running sums of one column.
    """
    known, value = np.full(count, NEVER, np.int64), np.zeros(count, np.float32)
    there = examples["label"].notna().to_numpy(bool)
    events = examples["node"].to_numpy()[there]
    known[events] = examples["known"].to_numpy()[there]
    value[events] = examples["label"].to_numpy(np.float32, na_value=0)[there]
    indptr = np.zeros(len(adjacency.indptr), np.int64)
    parts = [_labelled(adjacency, known, first, last, indptr) for first, last in runs(adjacency.indptr, RUN)]
    source = np.concatenate([np.empty(0, np.int32), *parts])
    return np.cumsum(indptr), known[source], running(np.cumsum(indptr), value[source][:, None])


def _labelled(
    adjacency: Adjacency, known: NDArray[np.int64], first: int, last: int, counts: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Labelled sources of the rows ``first`` to ``last``, each row by when it became known; ``counts`` are filled."""
    rows = adjacency.indptr[first : last + 1]
    source = np.asarray(adjacency.indices[rows[0] : rows[-1]], np.int32)
    target = np.repeat(np.arange(first, last, dtype=np.int32), np.diff(rows))
    kept = np.flatnonzero(known[source] != NEVER)
    source, target = source[kept], target[kept]
    counts[first + 1 : last + 1] = np.bincount(target - first, minlength=last - first)
    return source[np.lexsort((known[source], target))]


def write_windows(
    graph: Graph, folder: Path, manifest: dict[str, Any], windows: list[Window], examples: pd.DataFrame
) -> None:
    """Write the prefix sums of every window under windows/."""
    fields = {node: [Field.model_validate(item) for item in items] for node, items in manifest["columns"].items()}
    edge_fields = {
        edge: [Field.model_validate(item) for item in items] for edge, items in manifest["edge_columns"].items()
    }
    nodes = {node: np.load(folder / "nodes" / f"{node}.npy", mmap_mode="r") for node in fields}
    edges = {edge: np.load(folder / "edges" / f"{edge}.npy", mmap_mode="r") for edge in edge_fields}
    target = folder / "windows"
    target.mkdir(exist_ok=True)
    for window in windows:
        adjacency = graph.relations[window.over]
        if window.columns:
            width = len(window.columns)
            sums = Sums(
                raw_columns.new_matrix(target / f"{window.over}.values.npy", np.float32, (adjacency.edges, width)),
                raw_columns.new_matrix(target / f"{window.over}.prefix.npy", np.float64, (adjacency.edges, 3 * width)),
            )
            window_sums(graph, window, fields, edge_fields, nodes, edges, sums)
        if window.known_label:
            indptr, known, labelled = label_sums(adjacency, graph.nodes[adjacency.source], examples)
            arrays: list[NDArray[Any]] = [indptr, known, *labelled]
            for name, array in zip(LABEL_ARRAYS, arrays, strict=True):
                np.save(target / f"{window.over}.label.{name}.npy", array)
