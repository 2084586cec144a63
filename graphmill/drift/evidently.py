"""Evidently's HTML for one pair of snapshots, for those who want it. Needs ``pip install 'graphmill[evidently]'``.

It compares two tables row by row and knows neither the past nor the graph: a look at what changed, no verdict. The
verdict is the drift report's.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from graphmill.clock import moment
from graphmill.drift.source import Period, thin
from graphmill.errors import UserError
from graphmill.features.columns import Field
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.progress import say

MOST_ROWS = 50_000
"""Rows of each snapshot, evenly spread: its pages hold what they draw."""
ADVICE = "pip install 'graphmill[evidently]'"


class Snapshot(NamedTuple):
    """A features folder, or a stretch of time of it; the graph then stands beside it."""

    folder: Path
    period: tuple[str, str] | None = None
    """Start and end, as in params.yaml."""


def write(reference: Snapshot, current: Snapshot, node: str | None, output: Path, rows: int = MOST_ROWS) -> int:
    """Write Evidently's data-drift page on the columns that both snapshots of a node type have.

    Args:
        reference: what is compared with.
        current: what is compared.
        node: the node type; by default the first that has columns.
        output: the HTML file.
        rows: at most so many of each snapshot.

    Returns:
        How many columns were compared.

    Raises:
        UserError: when Evidently is not installed, there is nothing to compare, or the file cannot be written.
    """
    if rows < 1:
        raise UserError(f"evidently: --rows: {rows} rows cannot be compared; give at least 1")
    evidently, presets = _imported()
    before, now = (table(snapshot, node, rows) for snapshot in (reference, current))
    names = _common(before, now)
    kinds = {name: "category" if before[name].dtype == object else "number" for name in names}
    definition = evidently.DataDefinition(
        numerical_columns=[name for name in names if kinds[name] == "number"],
        categorical_columns=[name for name in names if kinds[name] == "category"],
    )
    data = [evidently.Dataset.from_pandas(frame[names], data_definition=definition) for frame in (now, before)]
    found = evidently.Report([presets.DataDriftPreset()]).run(*data)
    _save(found, output)
    return len(names)


def _save(page: Any, output: Path) -> None:
    """Whole or not at all."""
    partial = output.with_name(f".{output.name}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        page.save_html(str(partial))
        os.replace(partial, output)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from error


def _imported() -> tuple[Any, Any]:
    os.environ.setdefault("DO_NOT_TRACK", "1")  # it reports who uses it, unless told not to
    try:
        import evidently
        from evidently import presets
    except ModuleNotFoundError as error:
        raise UserError(f"evidently is not installed ({error}); {ADVICE}") from None
    except ImportError as error:  # a release of something that it cannot do with
        raise UserError(f"evidently is installed and does not load: {error}; {ADVICE}") from None
    return evidently, presets


def table(snapshot: Snapshot, node: str | None, rows: int = MOST_ROWS) -> pd.DataFrame:
    """The raw columns of a node type: numbers, and names of categories; missing ones are NaN and None.

    Raises:
        UserError: for an unknown node type, or a stretch of time without rows.
    """
    features = Features.open(snapshot.folder)
    known = [name for name, fields in features.columns.items() if fields]
    chosen = node or next(iter(known), "")
    if chosen not in known:
        some_are = ", ".join(known) or "none"
        raise UserError(f"{snapshot.folder}: no columns of a node type {chosen!r}; there are {some_are}")
    values = features.nodes[chosen]
    there = np.arange(len(values)) if snapshot.period is None else _inside(snapshot, chosen)
    if len(there) == 0:
        raise UserError(f"{snapshot.folder}: no rows of {chosen}" + (" in that time" if snapshot.period else ""))
    some = np.asarray(values[thin(there, rows)])
    fields = features.columns[chosen]
    return pd.DataFrame({field.name: _column(some[:, place], field) for place, field in enumerate(fields)})


def _inside(snapshot: Snapshot, node: str) -> Any:
    assert snapshot.period is not None
    graph = Graph.open(snapshot.folder.parent / "graph")
    start, end = (moment(text, graph.clock, "period", graph.as_of) for text in snapshot.period)
    return np.flatnonzero(Period(start, end).holds(graph.node_time(node)))


def _column(values: Any, field: Field) -> Any:
    if field.vocabulary is None and field.kind != "boolean":
        return values.astype(np.float64)
    names = np.array([*(field.vocabulary or ["false", "true"]), None], object)
    return names[np.where(np.isfinite(values), values, -1).astype(np.int64)]


def _common(before: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """Columns of both that have values in both; the others are told."""
    names = [str(name) for name in before]
    found = [name for name in names if name in now and before[name].notna().any() and now[name].notna().any()]
    left = sorted({*names, *(str(name) for name in now)} - set(found))
    if left:
        say(f"evidently: left out, for they have no values in both snapshots: {', '.join(left)}")
    if not found:
        raise UserError("evidently: the two snapshots have no column in common")
    return found
