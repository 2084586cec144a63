"""Running sums along the time-sorted rows of an adjacency: what turns any window into two look-ups.

Each row is summed from a shift of its own, its first value that is there, so that large values that differ little
keep their spread. The first value is the oldest: what comes later moves nothing. What each addition rounds away is
carried along (A. Neumaier, ZAMM 54, 1974), so that a sum is right to its last digit however long the row.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.graph.runs import runs

RUN = 1_000_000
"""Edges summed at once: bounds the memory."""


class Sums(NamedTuple):
    """Values of a window's columns in the order of the adjacency, and their running sums inside each row."""

    values: NDArray[np.float32]
    """``[edges, columns]``, NaN where missing."""
    prefix: NDArray[np.float64]
    """``[edges, 3 * columns]``: count, sum and sum of squares of (value - shift), for every column."""


def fill(sums: Sums, indptr: Any) -> None:
    """Compute ``sums.prefix`` from ``sums.values``, run by run; both may be memory-mapped files."""
    for first, last in runs(indptr, RUN):
        begin, end = int(indptr[first]), int(indptr[last])
        rows = np.asarray(indptr[first : last + 1], np.int64) - begin
        prefix = np.empty((end - begin, sums.prefix.shape[1]))
        accumulate(rows, np.array(sums.values[begin:end]), prefix)
        sums.prefix[begin:end] = prefix


def running(indptr: Any, values: NDArray[Any]) -> Sums:
    """Values and their running sums, in memory.

    Args:
        indptr: int64 ``[targets + 1]``.
        values: ``[edges, columns]``, NaN where missing, in the order of the adjacency.
    """
    kept = np.asarray(values, np.float32)
    found = Sums(kept, np.empty((len(kept), 3 * kept.shape[1])))
    fill(found, indptr)
    return found


@njit(cache=True, nogil=True)
def lost(total: float, value: float) -> float:
    """What ``total + value`` rounds away."""
    together = total + value
    return (total - together) + value if abs(total) >= abs(value) else (value - together) + total


@njit(cache=True, nogil=True)
def accumulate(indptr: Any, values: Any, prefix: Any) -> None:
    """Fill ``prefix`` ``[edges, 3 * columns]`` from ``values`` ``[edges, columns]``, row by row."""
    for row in range(len(indptr) - 1):
        for column in range(values.shape[1]):
            count = total = square = total_lost = square_lost = shift = 0.0
            for edge in range(indptr[row], indptr[row + 1]):
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
