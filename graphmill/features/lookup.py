"""The windows kernel: aggregates of any nodes at any moments, straight into the columns of a matrix."""

from typing import Any

import numpy as np
from numba import njit

from graphmill.clock import ALWAYS
from graphmill.features.sums import shift_of
from graphmill.graph.adjacency import lower_bound
from graphmill.graph.kernels import find
from graphmill.graph.prefetch import AHEAD, prefetch

RUN = 256
"""(node, time) pairs looked up together: their borders stay in the cache while memory is asked for."""
DIRECT = 32
"""Windows of up to so many edges are summed edge by edge: exact, and no slower."""
FOREVER = np.iinfo(np.int64).max
SUM, MEAN, DEVIATION = range(3)


@njit(cache=True, nogil=True)
def aggregate(
    indptr: Any, time: Any, values: Any, prefix: Any, ids: Any, times: Any, lengths: Any, wanted: Any, counted: bool,
    direct: int, out: Any, at: int,
) -> int:  # fmt: skip
    """For every size the count of edges, then the wanted aggregates of every column.

    Args:
        indptr: int64 ``[targets + 1]``.
        time: int64 ``[edges]``, empty where edges have no time.
        values: float32 ``[edges, columns]``.
        prefix: float64 ``[edges, 3 * columns]``.
        ids: int32 ``[n]``.
        times: int64 ``[n]``.
        lengths: int64 ``[sizes]``, ``FOREVER`` for all before.
        wanted: int64 ``[aggregates, 2]``: column and kind, by column.
        counted: whether edges are counted.
        direct: windows of up to so many edges are summed edge by edge.
        out: float32 ``[n, width]``.
        at: the first column of ``out`` that is filled.

    Returns:
        One past the last column that was filled.
    """
    begin, degree, first = np.empty(RUN, np.int64), np.empty(RUN, np.int64), np.empty(RUN, np.int64)
    column = at
    for start in range(0, len(ids), RUN):
        count = min(RUN, len(ids) - start)
        find(indptr, time, ids[start : start + count], times[start : start + count], begin[:count], degree[:count])
        column = at
        for size in range(len(lengths)):
            _begins(time, begin[:count], degree[:count], times[start : start + count], lengths[size], first[:count])
            if counted:
                for i in range(count):
                    out[start + i, column] = begin[i] + degree[i] - first[i]
                column += 1
            if len(wanted):
                _aggregates(values, prefix, begin[:count], first[:count], degree[:count], wanted, direct,
                            out[start : start + count], column)  # fmt: skip
                column += len(wanted)
    return column


@njit(cache=True, nogil=True)
def _begins(time: Any, begin: Any, degree: Any, times: Any, length: int, first: Any) -> None:
    """Where each window begins in its row; what has no time is in no window but the endless one."""
    earliest = np.int64(ALWAYS + 1)
    for i in range(len(begin)):
        first[i] = begin[i]
        if length < FOREVER and len(time):
            bound = times[i] - length if times[i] >= earliest + length else earliest
            first[i] = lower_bound(time, begin[i], begin[i] + degree[i], bound)


@njit(cache=True, nogil=True)
def _aggregates(
    values: Any, prefix: Any, begin: Any, first: Any, degree: Any, wanted: Any, direct: int, out: Any, at: int
) -> None:
    """Aggregates of a run of windows; a sum of nothing is 0, a mean or deviation of nothing NaN."""
    flat = prefix.reshape(-1)
    width = prefix.shape[1]
    for i in range(len(begin)):
        if i + AHEAD < len(begin):
            ahead = begin[i + AHEAD] + degree[i + AHEAD]
            if ahead - first[i + AHEAD] > direct:
                prefetch(flat, (ahead - 1) * width)
                prefetch(flat, (first[i + AHEAD] - 1) * width)
            prefetch(values.reshape(-1), first[i + AHEAD] * values.shape[1])
        last = begin[i] + degree[i]
        done = -1
        number, mean, deviation = 0.0, 0.0, 0.0
        for place in range(len(wanted)):
            if wanted[place, 0] != done:
                done = wanted[place, 0]
                if last - first[i] <= direct:
                    number, mean, deviation = _by_edge(values, first[i], last, done)
                else:
                    number, mean, deviation = _by_sums(values, prefix, begin[i], first[i], last, done)
            kind = wanted[place, 1]
            if kind == SUM:
                out[i, at + place] = number * mean if number > 0 else 0.0
            elif number == 0:
                out[i, at + place] = np.nan
            else:
                out[i, at + place] = mean if kind == MEAN else deviation


@njit(cache=True, nogil=True)
def _by_edge(values: Any, first: int, last: int, column: int) -> Any:
    """Number, mean and standard deviation of the values of a few edges, in two passes."""
    number = total = square = 0.0
    for edge in range(first, last):
        value = np.float64(values[edge, column])
        if value == value:
            number += 1.0
            total += value
    if number == 0:
        return 0.0, 0.0, 0.0
    mean = total / number
    for edge in range(first, last):
        value = np.float64(values[edge, column])
        if value == value:
            square += (value - mean) * (value - mean)
    return number, mean, np.sqrt(square / number)


@njit(cache=True, nogil=True)
def _by_sums(values: Any, prefix: Any, begin: int, first: int, last: int, column: int) -> Any:
    """The same as the difference of two running sums, which begin anew in each row."""
    number, total, square = (
        prefix[last - 1, 3 * column],
        prefix[last - 1, 3 * column + 1],
        prefix[last - 1, 3 * column + 2],
    )
    if first > begin:
        number -= prefix[first - 1, 3 * column]
        total -= prefix[first - 1, 3 * column + 1]
        square -= prefix[first - 1, 3 * column + 2]
    if number == 0:
        return 0.0, 0.0, 0.0
    mean = total / number
    variance = square / number - mean * mean
    return number, mean + shift_of(values, begin, column), np.sqrt(max(variance, 0.0))


@njit(cache=True, nogil=True)
def since_last(indptr: Any, time: Any, ids: Any, times: Any, day: float, out: Any, at: int) -> None:
    """Days since the newest edge before each time, NaN where there is none or it has no time."""
    begin, degree = np.empty(RUN, np.int64), np.empty(RUN, np.int64)
    for start in range(0, len(ids), RUN):
        count = min(RUN, len(ids) - start)
        find(indptr, time, ids[start : start + count], times[start : start + count], begin[:count], degree[:count])
        for i in range(count):
            newest = time[begin[i] + degree[i] - 1] if degree[i] > 0 and len(time) else np.int64(ALWAYS)
            known = newest != ALWAYS
            out[start + i, at] = (times[start + i] - newest) / day if known else np.nan
