"""Point-in-time windows: aggregates over a node's edges in ``[t - size, t)``, for any node and moment.

Prefix sums along each time-sorted adjacency row make every aggregate the difference of two look-ups, so
training, batch scoring and the online predictor compute them with the same kernel.
"""

from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field as Default
from pydantic import field_validator

from graphmill.clock import Clock, duration
from graphmill.errors import UserError
from graphmill.graph.adjacency import Adjacency, lower_bound
from graphmill.params import Section
from graphmill.task import whole

Aggregate = Literal["sum", "mean", "deviation"]
EVER = "ever"


class Window(Section):
    """Aggregates over the edges of one relation into a node."""

    over: str
    """The relation, ``payment.account_id.account``: payments, for each account."""
    sizes: list[str | int] = Default(default=[EVER], min_length=1)
    """Lengths of the windows, ``7d``; ``ever`` reaches back to the beginning."""
    count: bool = True
    """Whether the edges are counted."""
    since_last: bool = True
    """Whether the time since the newest edge is given (relations with a time)."""
    columns: dict[str, list[Aggregate]] = Default(default_factory=dict)
    """Numeric or boolean columns of the edges, or of the rows they come from, and their aggregates."""
    known_label: bool = False
    """Whether the share and number of labels known by then are given."""

    _whole = field_validator("sizes", mode="before")(whole)

    @field_validator("sizes")
    @classmethod
    def _once(cls, value: list[str | int]) -> list[str | int]:
        if len(set(value)) < len(value):
            raise ValueError("each size once")
        return value

    def lengths(self, clock: Clock) -> list[int]:
        """Window lengths in clock units, the largest integer for ``ever``.

        Raises:
            UserError: for a length that is no time.
        """
        name = f"features.windows {self.over} sizes"
        ever = np.iinfo(np.int64).max
        found = [ever if size == EVER else duration(size, clock, name) for size in self.sizes]
        if min(found) <= 0:
            raise UserError(f"{name}: a window must be longer than nothing")
        return found

    def names(self) -> list[str]:
        """Names of the values that ``lookup`` returns, in order."""
        found = []
        for size in self.sizes:
            found += [f"{self.over}.count.{size}"] if self.count else []
            for column, aggregates in self.columns.items():
                found += [f"{self.over}.{column}.{aggregate}.{size}" for aggregate in aggregates]
        return found + ([f"{self.over}.since_last"] if self.since_last else [])

    def label_names(self) -> list[str]:
        """Names of the values over known labels, in order."""
        if not self.known_label:
            return []
        return [f"{self.over}.label.{kind}.{size}" for size in self.sizes for kind in ("mean", "count")]


def prefix_sums(indptr: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running sums inside each row of (count, value, square) for every column: float64 ``[edges, 3 * columns]``.

    Args:
        indptr: int64 ``[targets + 1]``.
        values: ``[edges, columns]``, NaN where missing, in the order of the adjacency.
    """
    there = ~np.isnan(values)
    clean = np.where(there, values, 0.0)
    parts = np.stack([there.astype(np.float64), clean, clean * clean], axis=2)
    parts = parts.reshape(len(values), 3 * values.shape[1])
    return np.asarray(running_sums(np.asarray(indptr), parts))


def lookup(
    window: Window, adjacency: Adjacency, prefix: Any, nodes: Any, times: Any, clock: Clock, day: int
) -> NDArray[np.float32]:
    """The window's values for each (node, time): float32 ``[n, len(window.names())]``.

    Sums and counts of nothing are 0; means, deviations and times since of nothing are NaN. Times are in days
    (or steps).
    """
    lengths = window.lengths(clock)
    time = adjacency.times()
    if adjacency.time is None and any(length != np.iinfo(np.int64).max for length in lengths):
        raise UserError(f"features.windows: {window.over} has no time, so its only size is {EVER!r}")
    columns = []
    newest = np.full(len(nodes), np.nan)
    for length in lengths:
        first, last = borders(adjacency.indptr, time, nodes, times, length)
        count = (last - first).astype(np.float64)
        columns += [count] if window.count else []
        columns += _aggregates(window, prefix, adjacency.indptr, nodes, first, last)
    if window.since_last and len(time):
        first, last = borders(adjacency.indptr, time, nodes, times, np.iinfo(np.int64).max)
        some = last > first
        newest[some] = (times[some] - time[last[some] - 1]) / day
    columns += [newest] if window.since_last else []
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(nodes), 0), np.float32)


def label_lookup(
    window: Window, labels: tuple[Any, Any, Any], nodes: Any, times: Any, clock: Clock
) -> NDArray[np.float32]:
    """Mean and count of the labels known in each window: float32 ``[n, 2 * sizes]``.

    Args:
        window: the window.
        labels: (indptr, time a label became known, running sums of (count, value)), sorted by that time.
        nodes: int32 ``[n]``.
        times: int64 ``[n]``.
        clock: the schema's clock.
    """
    indptr, known, prefix = labels
    columns = []
    for length in window.lengths(clock):
        first, last = borders(indptr, known, nodes, times, length)
        sums = _between(prefix, indptr, nodes, first, last)
        with np.errstate(invalid="ignore"):
            columns += [sums[:, 1] / sums[:, 0], sums[:, 0]]
    return np.stack(columns, axis=1).astype(np.float32)


def _aggregates(
    window: Window, prefix: Any, indptr: Any, nodes: Any, first: Any, last: Any
) -> list[NDArray[np.float64]]:
    found = []
    sums = _between(prefix, indptr, nodes, first, last) if window.columns else np.empty((0, 0))
    for place, aggregates in enumerate(window.columns.values()):
        count, total, square = sums[:, 3 * place], sums[:, 3 * place + 1], sums[:, 3 * place + 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / count
            deviation = np.sqrt(np.maximum(square / count - mean * mean, 0.0))
        values = {"sum": total, "mean": mean, "deviation": deviation}
        found += [values[aggregate] for aggregate in aggregates]
    return found


@njit(cache=True)
def borders(indptr: Any, time: Any, nodes: Any, times: Any, length: int) -> tuple[Any, Any]:
    """First and one past the last position of the edges in ``[t - length, t)`` of each node."""
    first = np.empty(len(nodes), np.int64)
    last = np.empty(len(nodes), np.int64)
    ever = np.iinfo(np.int64).max
    for i in range(len(nodes)):
        first[i], last[i] = indptr[nodes[i]], indptr[nodes[i] + 1]
        if len(time) == 0:
            continue
        last[i] = lower_bound(time, first[i], last[i], times[i])
        if length < ever:
            first[i] = lower_bound(time, first[i], last[i], times[i] - length)
    return first, last


@njit(cache=True)
def running_sums(indptr: Any, values: Any) -> Any:
    """Running sums of each column inside each row, in place: ``values`` ``[edges, columns]``."""
    for node in range(len(indptr) - 1):
        for edge in range(indptr[node] + 1, indptr[node + 1]):
            for column in range(values.shape[1]):
                values[edge, column] += values[edge - 1, column]
    return values


@njit(cache=True)
def _between(prefix: Any, indptr: Any, nodes: Any, first: Any, last: Any) -> Any:
    """Sums over positions ``first[i]:last[i]`` from running sums that begin anew in each row."""
    sums = np.zeros((len(nodes), prefix.shape[1]))
    for i in range(len(nodes)):
        if last[i] == first[i]:
            continue
        for column in range(prefix.shape[1]):
            sums[i, column] = prefix[last[i] - 1, column]
            if first[i] > indptr[nodes[i]]:
                sums[i, column] -= prefix[first[i] - 1, column]
    return sums
