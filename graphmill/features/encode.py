"""Encoding rows as they are gathered: one pass from raw values on the disk to a network's inputs."""

from typing import Any

import numpy as np
from numba import carray, njit

from graphmill.graph.prefetch import pointer_to, prefetch

NUMERIC, ONE_HOT, EMBEDDING = range(3)
PLAIN, LOG, QUANTILE = range(3)
KIND, PLACE, INPUT, SCALE, INDICATOR, BEGIN, COUNT = range(7)
"""Columns of the table of parts: what it is, its raw column, its first input, how it is scaled, whether a missing
value is indicated, and where its landmarks or codes stand in their lists."""
RUN = 256
"""Rows encoded together, column by column: their values stay in the cache."""
MEAN, DEVIATION, FILL = range(3)
"""Columns of the table of numbers."""


@njit(cache=True, nogil=True)
def encode(
    address: int, shape: Any, ids: Any, parts: Any, numbers: Any, landmarks: Any, recode: Any, limit: float,
    dense: Any, first: int, codes: Any,
) -> Any:  # fmt: skip
    """Encode rows of a raw matrix; False when an id is not a row of it.

    Args:
        address: where the raw float32 matrix begins; the caller keeps it alive.
        shape: its rows and columns.
        ids: int32 ``[n]``.
        parts: int64 ``[parts, 7]``.
        numbers: float64 ``[parts, 3]``.
        landmarks: float64, the landmarks of all quantile parts.
        recode: int64, by place in today's vocabulary + 1 the fitted code, of all categories.
        limit: scaled values are cut to this.
        dense: float32 ``[n, width]``, all zero from ``first`` on; filled from there.
        first: the first column of ``dense`` that is ours.
        codes: int64 ``[n, embedded]``, filled.
    """
    rows, columns = shape
    raw = carray(pointer_to(address), (rows * columns,), np.float32)
    place = np.empty(min(RUN, len(ids)), np.int64)
    for begin in range(0, len(ids), RUN):
        count = min(RUN, len(ids) - begin)
        for i in range(count):
            if ids[begin + i] < 0 or ids[begin + i] >= rows:
                return False
            place[i] = np.int64(ids[begin + i]) * columns
            prefetch(raw, place[i])
        coded = 0
        for part in range(len(parts)):
            own = place[:count], raw, parts[part, PLACE], begin
            target, table = first + parts[part, INPUT], parts[part, BEGIN]
            if parts[part, KIND] == NUMERIC:
                limits = landmarks[table : table + parts[part, COUNT]]
                _numeric(own, parts[part, SCALE], parts[part, INDICATOR], numbers[part, MEAN],
                         numbers[part, DEVIATION], numbers[part, FILL], limits, limit, dense, target)  # fmt: skip
            elif parts[part, KIND] == EMBEDDING:
                _coded(own, recode[table : table + parts[part, COUNT]], codes, coded)
                coded += 1
            else:
                _one_hot(own, recode[table : table + parts[part, COUNT]], dense, target)
    return True


@njit(cache=True, nogil=True)
def _numeric(
    own: Any, scale: int, indicator: int, mean: float, deviation: float, fill: float, landmarks: Any, limit: float,
    dense: Any, target: int,
) -> None:  # fmt: skip
    """One column of a run of rows; missing values become ``fill``."""
    place, raw, column, begin = own
    for i in range(len(place)):
        value = np.float64(raw[place[i] + column])
        missing = value != value
        if scale == LOG:
            value = np.sign(value) * np.log1p(abs(value))
        elif scale == QUANTILE:
            value = _share(value, landmarks)
        scaled = fill if missing else (value - mean) / deviation
        dense[begin + i, target] = min(max(scaled, -limit), limit)
        if indicator:
            dense[begin + i, target + 1] = missing


@njit(cache=True, nogil=True)
def _code(value: Any, recode: Any) -> Any:
    return recode[0] if value != value else recode[np.int64(value) + 1]


@njit(cache=True, nogil=True)
def _coded(own: Any, recode: Any, codes: Any, target: int) -> None:
    place, raw, column, begin = own
    for i in range(len(place)):
        codes[begin + i, target] = _code(raw[place[i] + column], recode)


@njit(cache=True, nogil=True)
def _one_hot(own: Any, recode: Any, dense: Any, target: int) -> None:
    place, raw, column, begin = own
    for i in range(len(place)):
        code = _code(raw[place[i] + column], recode)
        if code:
            dense[begin + i, target + code - 1] = 1


@njit(cache=True, nogil=True)
def _share(value: Any, landmarks: Any) -> Any:
    """Where a value lies between the landmarks, from -1 to 1, linear in between, as ``numpy.interp`` does it."""
    last = len(landmarks) - 1
    if value >= landmarks[last]:
        return 1.0
    if value < landmarks[0]:
        return -1.0
    below = np.searchsorted(landmarks, value, side="right") - 1
    step = 2.0 / last
    share = (value - landmarks[below]) / (landmarks[below + 1] - landmarks[below])
    return -1.0 + step * (below + share)
