"""Time-sorted rows that grow: a new edge is written behind its row, a row without room moves to where there is some.

A snapshot's rows follow each other without gaps. The first edge that a row receives copies it to the free end of
the arrays, with as much room again as it has edges, so that a row of ``n`` edges is moved ``log n`` times.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.features.sums import lost

LEAST = 4
"""Room of the smallest row."""


class Full(UserError):
    """No room is left for new edges: a compaction makes some."""


@dataclass(frozen=True)
class Rows:
    """Rows by target node; the arrays beside them are read at positions ``first[v]:last[v]``, oldest first."""

    name: str
    first: NDArray[np.int64]
    """``[targets + room]``"""
    last: NDArray[np.int64]
    """``[targets + room]``"""
    limit: NDArray[np.int64]
    """``[targets + room]``: one past the last position that belongs to the row."""
    used: NDArray[np.int64]
    """``[1]``: positions in use; what lies behind is free."""
    time: NDArray[np.int64]
    """``[positions]``, or empty where rows have no time."""
    indices: NDArray[np.int32]
    """``[positions]``: the source node."""
    edge_id: NDArray[np.int32]
    """``[positions]``: the row of the table that the edge comes from."""
    values: NDArray[np.float32]
    """``[positions, columns]``: a window's columns."""
    prefix: NDArray[np.float64]
    """``[positions, 3 * columns]``: their running sums, as ``features.sums`` defines them."""

    def insert(
        self,
        targets: NDArray[np.int64],
        sources: NDArray[np.int32],
        edge_ids: NDArray[np.int32],
        times: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> None:
        """Add edges, each at its place in time; those of one moment in the order they come.

        Args:
            targets: ``[n]``.
            sources: ``[n]``.
            edge_ids: ``[n]``.
            times: ``[n]``, not read where rows have no time.
            values: ``[n, columns]``.

        Raises:
            Full: when there is no room; the edges before the one that found none are there.
        """
        done = insert(
            self.first, self.last, self.limit, self.used, self.time, self.indices, self.edge_id, self.values,
            self.prefix, targets, sources, edge_ids, times, values,
        )  # fmt: skip
        if done < len(targets):
            raise Full(f"{self.name}: no room for more edges beside the snapshot; compact it")

    def stage(self, target: int, begin: int, sources: Any, edge_ids: Any, times: Any, values: Any) -> int:
        """Write a row of a node that is not there yet into the free positions from ``begin`` on.

        It counts for nothing: the next edge that comes may overwrite it. Times must ascend.

        Returns:
            One past the last position written.

        Raises:
            Full: when there is no room.
        """
        end = begin + len(sources)
        if end > len(self.indices):
            raise Full(f"{self.name}: no room for more edges beside the snapshot; compact it")
        self.indices[begin:end], self.edge_id[begin:end] = sources, edge_ids
        if len(self.time):
            self.time[begin:end] = times
        if self.values.shape[1]:
            self.values[begin:end] = values
            resum(self.values, self.prefix, begin, begin, end)
        self.first[target], self.last[target] = begin, end
        return end


@njit(cache=True)
def insert(
    first: Any, last: Any, limit: Any, used: Any, time: Any, indices: Any, edge_id: Any, values: Any, prefix: Any,
    targets: Any, sources: Any, edge_ids: Any, times: Any, new_values: Any,
) -> int:  # fmt: skip
    """Insert edges one by one; the number inserted, fewer than given when the room ends."""
    for edge in range(len(targets)):
        row = targets[edge]
        if last[row] == limit[row]:
            count = last[row] - first[row]
            room = max(LEAST, 2 * count)
            if used[0] + room > len(indices):
                return edge
            _move(first[row], last[row], used[0], time, indices, edge_id, values, prefix)
            first[row], last[row], limit[row] = used[0], used[0] + count, used[0] + room
            used[0] += room
        place = last[row]
        if len(time):
            while place > first[row] and time[place - 1] > times[edge]:
                place -= 1
        for after in range(last[row], place, -1):
            indices[after], edge_id[after] = indices[after - 1], edge_id[after - 1]
            if len(time):
                time[after] = time[after - 1]
            for column in range(values.shape[1]):
                values[after, column] = values[after - 1, column]
        indices[place], edge_id[place] = sources[edge], edge_ids[edge]
        if len(time):
            time[place] = times[edge]
        for column in range(values.shape[1]):
            values[place, column] = new_values[edge, column]
        last[row] += 1
        if values.shape[1]:
            resum(values, prefix, first[row], place, last[row])
    return len(targets)


@njit(cache=True)
def _move(first: int, last: int, to: int, time: Any, indices: Any, edge_id: Any, values: Any, prefix: Any) -> None:
    count = last - first
    indices[to : to + count] = indices[first:last]
    edge_id[to : to + count] = edge_id[first:last]
    if len(time):
        time[to : to + count] = time[first:last]
    if values.shape[1]:
        values[to : to + count] = values[first:last]
        prefix[to : to + count] = prefix[first:last]


@njit(cache=True)
def resum(values: Any, prefix: Any, first: int, place: int, last: int) -> None:
    """Running sums of a row from ``place`` on, continued from those before it.

    The shift of a row is its first value that is there (``features.sums``): a value that came before it, or in its
    place, moves all of them.
    """
    for column in range(values.shape[1]):
        begin = place
        if begin > first and prefix[begin - 1, 3 * column] == 0:
            begin = first
        count = total = square = total_lost = square_lost = shift = 0.0
        if begin > first:
            count, total, square = prefix[begin - 1, 3 * column : 3 * column + 3]
            for edge in range(first, begin):
                if values[edge, column] == values[edge, column]:
                    shift = np.float64(values[edge, column])
                    break
        for edge in range(begin, last):
            value = np.float64(values[edge, column])
            if value == value:
                shift = value if count == 0 else shift
                value -= shift
                count += 1.0
                total_lost += lost(total, value)
                total += value
                square_lost += lost(square, value * value)
                square += value * value
            prefix[edge, 3 * column] = count
            prefix[edge, 3 * column + 1] = total + total_lost
            prefix[edge, 3 * column + 2] = square + square_lost
