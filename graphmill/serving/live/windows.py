"""The columns of windows beside a relation's rows: values of new edges, of rows that changed, of labels."""

from typing import Any

import numpy as np
from numba import njit

from graphmill.serving.live.rows import Rows, resum
from graphmill.serving.live.store import Live


def values_of(live: Live, name: str, sources: Any, edge_ids: Any) -> Any:
    """The window columns of edges: an edge's own column goes before one of the row it comes from."""
    window, relation = live.windows.get(name), live.relations[name]
    columns = list(window.columns) if window is not None else []
    values = np.empty((len(sources), len(columns)), np.float32)
    own = {field.name: place for place, field in enumerate(live.features.edge_columns.get(relation.edge or "", []))}
    source = {field.name: place for place, field in enumerate(live.features.columns[relation.source])}
    for column, wanted in enumerate(columns):
        if wanted in own:
            values[:, column] = live.matrix(f"edges/{relation.edge}")[edge_ids, own[wanted]]
        else:
            values[:, column] = live.matrix(f"nodes/{relation.source}")[sources, source[wanted]]
    return values


def revalue(live: Live, node: str, places: set[int]) -> None:
    """Windows over columns of rows that changed: their values in every row that they stand in."""
    for name, window in live.windows.items():
        relation = live.relations[name]
        own = {field.name for field in live.features.edge_columns.get(relation.edge or "", [])}
        if relation.source != node or not set(window.columns) - own:
            continue
        rows = live.rows[name]
        for place in places:
            for target in targets_of(live, name, place):
                first, last = int(rows.first[target]), int(rows.last[target])
                for at in first + np.flatnonzero(rows.indices[first:last] == place):
                    rows.values[at] = values_of(live, name, rows.indices[at : at + 1], rows.edge_id[at : at + 1])[0]
                    resum(rows.values, rows.prefix, first, int(at), last)


def targets_of(live: Live, name: str, source: int) -> list[int]:
    """The targets that a node reaches by a relation: its row in the reverse, or a look at all rows without one."""
    reverse = live.reverse[name]
    if reverse is not None:
        rows = live.rows[reverse]
        return sorted(set(rows.indices[rows.first[source] : rows.last[source]].tolist()))
    rows = live.rows[name]
    count = live.count(live.relations[name].target)
    return targets_with(rows.first[:count], rows.last[:count], rows.indices, source).tolist()  # type: ignore[no-any-return]


@njit(cache=True)
def targets_with(first: Any, last: Any, indices: Any, source: int) -> Any:
    """Rows in which a source stands: int64."""
    found = np.zeros(len(first), np.bool_)
    for row in range(len(first)):
        for place in range(first[row], last[row]):
            if indices[place] == source:
                found[row] = True
    return np.flatnonzero(found)


def remove(rows: Rows, target: int, value: int, known: int) -> None:
    """Take a label out of a row; equal ones known at the same moment are all alike."""
    first, last = int(rows.first[target]), int(rows.last[target])
    same = (rows.time[first:last] == known) & (rows.values[first:last, 0] == value)
    if not same.any():
        return
    at = first + int(np.argmax(same))
    for array in (rows.time, rows.values, rows.indices, rows.edge_id):
        array[at : last - 1] = array[at + 1 : last].copy()
    rows.last[target] = last - 1
    resum(rows.values, rows.prefix, first, at, last - 1)
