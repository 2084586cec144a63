"""Examples: (node, time, label), from when each label is known, and the part of each split."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill.artifact import Artifact
from graphmill.clock import Clock, duration, moment, text
from graphmill.errors import UserError
from graphmill.features.columns import NEVER
from graphmill.features.split import assign
from graphmill.graph.store import Graph
from graphmill.task import Moments, Task

Times = NDArray[np.int64]
MOST_MOMENTS = 1_000
RUN = 1_048_576
"""Examples worked on at once: bounds the memory; a row group of the file."""


def build(tables: Artifact, graph: Graph, learn: bool = True) -> pd.DataFrame:
    """All labelled and unlabelled examples, ordered by time and node.

    Args:
        tables: the clean tables.
        graph: their graph.
        learn: whether the examples must be fit to learn from: two classes in every part.

    Returns:
        Columns ``node`` (int32), ``time`` (int64), ``label`` (nullable boolean), ``known``
        (int64: when the label became known), ``degree`` (int32: edges before the time that reach the node or,
        for an event, the nodes it links to), ``split_0`` …, ``slice.<column>``.

    Raises:
        UserError: for a label with one class, an empty part, a time column that is not there.
    """
    task = graph.task
    rows = _rows(tables, graph, task)
    times = _moments(graph, task)
    examples = _events(graph, rows) if times is None else _entities(graph, rows, times)
    examples = _label(examples, task, graph.clock, graph.as_of)
    if learn:
        _check_classes(examples, task)
    examples["degree"] = history(graph, task.node, examples["node"].to_numpy(), examples["time"].to_numpy())
    if learn:
        examples = assign(examples, task, graph.clock, graph.as_of)
    extra = [name for name in examples if str(name).startswith(("slice.", "split_"))]
    examples = examples[["node", "time", "label", "known", "degree", *extra]]
    if _ordered(examples["time"].to_numpy(), examples["node"].to_numpy()):
        return examples.reset_index(drop=True)
    return examples.sort_values(["time", "node"], kind="stable", ignore_index=True)


def _ordered(time: Times, node: NDArray[np.int32]) -> bool:
    """Whether examples stand by time and node already, as events do."""
    return bool(np.all((time[1:] > time[:-1]) | ((time[1:] == time[:-1]) & (node[1:] >= node[:-1]))))


def write(examples: pd.DataFrame, graph: Graph, file: Path) -> None:
    """Write the examples with the keys of their nodes, which as text in memory would outweigh all the rest."""
    keys = pq.read_table(graph.path / "nodes" / f"{graph.task.node}.parquet", columns=["key"])["key"]
    keys = keys.cast(pa.large_string()).combine_chunks()  # beyond 2 GB a plain string cannot be one array
    writer = None
    for first in range(0, max(len(examples), 1), RUN):
        part = examples.iloc[first : first + RUN]
        table = pa.Table.from_pandas(part, preserve_index=False).replace_schema_metadata()
        for place, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
        table = table.add_column(1, "key", keys.take(pa.array(part["node"])).cast(pa.string()))
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()


def history(graph: Graph, node: str, ids: NDArray[np.int32], times: Times) -> NDArray[np.int32]:
    """How many edges before each time reach the node or, for an event, the nodes that it links to."""
    total = np.empty(len(ids), np.int32)
    for first in range(0, len(ids), RUN):
        total[first : first + RUN] = _history(graph, node, ids[first : first + RUN], times[first : first + RUN])
    return total


def _history(graph: Graph, node: str, ids: NDArray[np.int32], times: Times) -> NDArray[np.int64]:
    total = np.zeros(len(ids), np.int64)
    for name in graph.incoming(node):
        relation = next(item for item in graph.schema.relations() if item.name == name)
        adjacency = graph.relations[name]
        if not (relation.node == node and relation.reversed):
            total += adjacency.degree(ids, times)
            continue
        first = adjacency.indptr[ids]
        place = np.flatnonzero(adjacency.indptr[ids + 1] > first)
        back = graph.relations[f"{node}.{relation.label.removeprefix('rev_')}.{relation.source}"]
        total[place] += back.degree(adjacency.indices[first[place]], times[place])
    return total


def _moments(graph: Graph, task: Task) -> Times | None:
    """The moments at which entities are scored; None for events, which have their own."""
    if task.moments is None:
        if graph.judges_events:
            return None
        if task.split.kind == "temporal":
            raise UserError(
                f"task: {task.node!r} has no time of its own, so a temporal split needs task.moments: "
                "when is it to be scored?"
            )
        return np.array([graph.as_of], np.int64)
    if isinstance(task.moments, Moments):
        first = moment(task.moments.first, graph.clock, "task.moments.first", graph.as_of)
        step = duration(task.moments.every, graph.clock, "task.moments.every")
        if step <= 0 or not 0 <= (graph.as_of - first) // max(step, 1) < MOST_MOMENTS:
            raise UserError(
                f"task.moments: from {text(first, graph.clock)} to {text(graph.as_of, graph.clock)} every "
                f"{task.moments.every} is none or more than {MOST_MOMENTS} moments"
            )
        return np.arange(first, graph.as_of + 1, step, dtype=np.int64)
    return np.array([moment(item, graph.clock, "task.moments", graph.as_of) for item in task.moments], np.int64)


def _rows(tables: Artifact, graph: Graph, task: Task) -> pd.DataFrame:
    """One row a node: label columns, split columns and slices, from whichever table has them."""
    described = graph.schema.nodes[task.node]
    own = described.table or task.node
    rows = pd.DataFrame(index=pd.RangeIndex(graph.nodes[task.node]))
    wanted = task.columns() if described.table else []
    if wanted:
        rows = _numbers(pq.read_table(tables.path / f"{own}.parquet", columns=wanted))
    for source in {(task.label.table, task.label.key), _split_table(task)} - {(None, None)}:
        name, key = str(source[0]), str(source[1])
        other = _numbers(pq.read_table(tables.path / f"{name}.parquet")).rename(columns={key: "key"})
        keyed = rows.assign(key=graph.key(task.node))
        rows = keyed.merge(other, on="key", how="left", validate="one_to_one").drop(columns="key")
    return rows


def _split_table(task: Task) -> tuple[str | None, str | None]:
    return (task.split.table, task.split.key) if task.split.kind == "column" else (None, None)


def _numbers(table: Any) -> pd.DataFrame:
    """Nullable columns; timestamps as whole microseconds."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_nullable)
    for name in frame.select_dtypes("datetime"):
        missing = frame[name].isna()
        frame[name] = frame[name].astype("int64").mask(missing, NEVER)
    return frame


def _nullable(kind: Any) -> Any:
    return {"int64": pd.Int64Dtype(), "bool": pd.BooleanDtype(), "double": pd.Float64Dtype()}.get(str(kind))


def _events(graph: Graph, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(node=np.arange(len(rows), dtype=np.int32), time=graph.node_time(graph.task.node))


def _entities(graph: Graph, rows: pd.DataFrame, times: Times) -> pd.DataFrame:
    """Each entity once a moment, from when it exists."""
    born = graph.node_time(graph.task.node)
    count = len(rows)
    ids = np.tile(np.arange(count, dtype=np.int32), len(times))
    when = np.repeat(times, count)
    exists = born[ids] < when
    repeated = rows.iloc[ids[exists]].reset_index(drop=True)
    return repeated.assign(node=ids[exists], time=when[exists])


def _label(examples: pd.DataFrame, task: Task, clock: Clock, as_of: int) -> pd.DataFrame:
    """Columns ``label`` and ``known``; a label that is not known by the as-of moment is no label yet."""
    label = examples[task.label.column].astype("boolean")
    time = examples["time"].to_numpy(np.int64)
    delay = duration(task.label.known_after, clock, "task.label.known_after")
    known = time + delay
    if task.split.kind != "temporal":
        known = np.full(len(time), as_of, np.int64) if task.label.known_at is None else known
    if task.label.since is not None and task.label.between is not None:
        first, second = (duration(item, clock, "task.label.between") for item in task.label.between)
        since = examples[task.label.since].fillna(NEVER).to_numpy(np.int64)
        if clock == "step":
            since = np.where(since < 0, NEVER, since)
        positive = label.fillna(False).to_numpy(bool)
        already = positive & (since < time + first)
        inside = positive & (since >= time + first) & (since < time + second)
        label = pd.Series(inside, examples.index, dtype="boolean").mask(already | label.isna())
        known = known + max(second, 0)
    if task.label.known_at is not None:
        known = examples[task.label.known_at].fillna(NEVER).to_numpy(np.int64)
    label = label.mask(known > as_of)
    named = {name: f"slice.{name}" for name in task.slices}
    slices = examples[list(named)].astype("string").fillna("missing").rename(columns=named)
    kept = examples.drop(columns=["label", "known"], errors="ignore").assign(label=label, known=known)
    return pd.concat([kept, slices], axis=1)


def _check_classes(examples: pd.DataFrame, task: Task) -> None:
    values = examples["label"].dropna().unique()
    if len(values) == 0:
        raise UserError(f"task.label: no example of {task.node!r} has a label in column {task.label.column!r}")
    if len(values) == 1:
        raise UserError(
            f"task.label: every label in column {task.label.column!r} is {bool(values[0])}; "
            "there is nothing to learn from one class"
        )


def describe(examples: pd.DataFrame, clock: Clock) -> str:
    """One line about the examples, for people."""
    first, last = int(examples["time"].min()), int(examples["time"].max())
    return f"{len(examples):,} examples from {text(first, clock)} to {text(last, clock)}"
