"""The windows kernel: aggregates of any nodes at any moments, straight into the columns of a matrix."""

from typing import Any

import numpy as np
from numba import njit

from graphmill.clock import ALWAYS
from graphmill.graph.adjacency import lower_bound
from graphmill.graph.kernels import find
from graphmill.graph.prefetch import AHEAD, prefetch

RUN = 256
"""(node, time) pairs looked up together: their borders stay in the cache while memory is asked for."""
DIRECT = 32
"""Windows of up to so many edges are summed edge by edge: exact, and no slower."""
ROUNDING = 1e-15
"""A running sum is right to this share of itself, and so are the two that a window subtracts."""
RIGHT, NEAR, FLAT = 1e-7, 1e-9, 1e-12
"""Aggregates are right to this share of themselves, as float32 is; close to 0 a sum and a variance to these."""
FOREVER = np.iinfo(np.int64).max
SUM, MEAN, DEVIATION = range(3)


@njit(cache=True, nogil=True)
def aggregate(
    rows: Any, time: Any, values: Any, prefix: Any, ids: Any, times: Any, lengths: Any, wanted: Any, counted: bool,
    direct: int, day: float, out: Any,
) -> None:  # fmt: skip
    """For every size the count of edges, then the wanted aggregates of every column; then the time since the last.

    Args:
        rows: where each target's row begins and ends, int64 ``[targets]`` each.
        time: int64 ``[edges]``, empty where edges have no time.
        values: float32 ``[edges, columns]``.
        prefix: float64 ``[edges, 3 * columns]``.
        ids: int32 ``[n]``.
        times: int64 ``[n]``.
        lengths: int64 ``[sizes]``, ``FOREVER`` for all before.
        wanted: int64 ``[aggregates, 3]``: column, kind, and whether its deviation is wanted at all; by column.
        counted: whether edges are counted.
        direct: windows of up to so many edges are summed edge by edge.
        day: clock units in a day; 0 where the time since the last edge is not wanted.
        out: float32 ``[n, width]``.
    """
    most = min(RUN, len(ids))  # one node alone pays for one
    begin, degree, first = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    for start in range(0, len(ids), RUN):
        count = min(RUN, len(ids) - start)
        find(rows[0], rows[1], time, ids[start : start + count], times[start : start + count],
             begin[:count], degree[:count])  # fmt: skip
        column = 0
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
        if day > 0:
            _since_last(time, begin[:count], degree[:count], times[start : start + count], day,
                        out[start : start + count], column)  # fmt: skip


@njit(cache=True, nogil=True)
def _begins(time: Any, begin: Any, degree: Any, times: Any, length: int, first: Any) -> None:
    """Where each window begins in its row; what has no time is in no window but the endless one."""
    earliest = np.int64(ALWAYS + 1)
    for i in range(len(begin)):
        first[i] = begin[i]
        if length < FOREVER and len(time):
            bound = times[i] - length if times[i] >= earliest + length else earliest
            # windows are short beside the past: step back from its end, ever further, then search in between
            last, step = begin[i] + degree[i], 1
            near = last
            while near - step > begin[i] and time[near - step] >= bound:
                near -= step
                step *= 2
            first[i] = lower_bound(time, max(near - step, begin[i]), near, bound)


@njit(cache=True, nogil=True)
def _aggregates(
    values: Any, prefix: Any, begin: Any, first: Any, degree: Any, wanted: Any, direct: int, out: Any, at: int
) -> None:
    """Aggregates of a run of windows; a sum of nothing is 0, a mean or deviation of nothing NaN."""
    moments = np.empty((len(begin), 3))
    done = -1
    for place in range(len(wanted)):
        column, kind, spread = wanted[place]
        if column != done:
            _moments(values, prefix, begin, first, degree, column, spread, direct, moments)
            done = column
        for i in range(len(begin)):
            number = moments[i, 0]
            if kind == SUM:
                out[i, at + place] = number * moments[i, 1]
            else:
                out[i, at + place] = moments[i, kind] if number > 0 else np.nan


@njit(cache=True, nogil=True)
def _moments(
    values: Any, prefix: Any, begin: Any, first: Any, degree: Any, column: int, spread: int, direct: int, moments: Any
) -> None:
    """Number, mean and standard deviation of a column's values in each window; zeros in an empty one."""
    columns, width = values.shape[1], prefix.shape[1]
    value, running = values.reshape(-1), prefix.reshape(-1)
    for i in range(len(begin)):
        if i + AHEAD < len(begin):
            near, far = first[i + AHEAD], begin[i + AHEAD] + degree[i + AHEAD]
            if far - near > direct:
                prefetch(running, (far - 1) * width)
                prefetch(running, (near - 1) * width)
                near = begin[i + AHEAD]
            prefetch(value, near * columns)
        last = begin[i] + degree[i]
        if last - first[i] <= direct:
            moments[i, 0], moments[i, 1], moments[i, 2] = _by_edge(value, columns, first[i], last, column, spread)
        else:
            moments[i, 0], moments[i, 1], moments[i, 2] = _by_sums(
                value, running, columns, begin[i], first[i], last, column, spread
            )


@njit(cache=True, nogil=True)
def _by_edge(value: Any, columns: int, first: int, last: int, column: int, spread: int) -> Any:
    """Edge by edge; the deviation, if wanted, in a second pass."""
    number = total = square = 0.0
    for place in range(first * columns + column, last * columns + column, columns):
        one = np.float64(value[place])
        if one == one:
            number += 1.0
            total += one
    if number == 0:
        return 0.0, 0.0, 0.0
    mean = total / number
    if spread:
        for place in range(first * columns + column, last * columns + column, columns):
            one = np.float64(value[place])
            if one == one:
                square += (one - mean) * (one - mean)
    return number, mean, np.sqrt(square / number)


@njit(cache=True, nogil=True)
def _by_sums(
    value: Any, running: Any, columns: int, begin: int, first: int, last: int, column: int, spread: int
) -> Any:
    """As the difference of two running sums, which begin anew in each row; edge by edge where it would round badly."""
    place = 3 * ((last - 1) * columns + column)
    number, total, square = running[place], running[place + 1], running[place + 2]
    behind, sums = square, abs(total)
    if first > begin:
        place = 3 * ((first - 1) * columns + column)
        number -= running[place]
        total -= running[place + 1]
        square -= running[place + 2]
        sums += abs(running[place + 1])
    if number == 0:
        return 0.0, 0.0, 0.0
    shift = _shift(value, columns, begin, column)
    centre = total / number
    variance = max(square / number - centre * centre, 0.0)
    noise = ROUNDING * (sums + np.sqrt(number * max(square, 0.0)))
    blurred = noise > NEAR + RIGHT * abs(number * shift + total)
    if spread:
        noise = 2 * ROUNDING * (behind + abs(centre) * sums) / number
        blurred = blurred or noise > FLAT + 2 * RIGHT * variance
    if blurred:
        return _by_edge(value, columns, first, last, column, spread)
    return number, centre + shift, np.sqrt(variance)


@njit(cache=True, nogil=True)
def _shift(value: Any, columns: int, begin: int, column: int) -> Any:
    """The first value of a row that is there, from which its running sums count; there must be one."""
    place = begin * columns + column
    while value[place] != value[place]:
        place += columns
    return np.float64(value[place])


@njit(cache=True, nogil=True)
def _since_last(time: Any, begin: Any, degree: Any, times: Any, day: float, out: Any, at: int) -> None:
    """Days since the newest edge before each time, NaN where there is none or it has no time."""
    for i in range(len(begin)):
        newest = time[begin[i] + degree[i] - 1] if degree[i] > 0 and len(time) else np.int64(ALWAYS)
        out[i, at] = (times[i] - newest) / day if newest != ALWAYS else np.nan
