"""A node type's point-in-time values, all of them in one call into compiled code.

Training, batch scoring and the online predictor evaluate the same table of parts: what each is, where its arrays
stand, and which columns it fills.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.features.lookup import DIRECT, MEAN, aggregate
from graphmill.features.windows import KINDS, Window
from graphmill.graph.adjacency import Adjacency, visible
from graphmill.graph.hops import ENDLESS
from graphmill.graph.prefetch import pointer_to

Matrix = NDArray[np.float32]
AGE, DEGREE, WINDOW, LABEL, STRUCTURE = range(5)
KIND, OUTPUT, WIDTH, NEEDED = range(4)
"""Columns of the table: the kind, its first column in the output and their number, then what the kind needs."""
COLUMNS = 16
CLOCK, COLUMN, STRIDE, OWN = range(NEEDED, NEEDED + 4)
"""Of an age: address of the moments, which column of how many, whether the very moment counts."""
FIRST, LAST, TIME, TIMES, VALUES, PREFIX, SUMMED, LENGTHS, SIZES, WANTED, AGGREGATES, COUNTED, SINCE = range(
    NEEDED, COLUMNS
)
"""Of a degree, a window, labels: addresses of rows and times, number of times, addresses and columns of the running
sums, where window lengths and aggregates stand in their lists and how many, whether edges are counted and the time
since the last is told."""
PLACES, MOMENTS, COUNT, NODES = range(NEEDED, NEEDED + 4)
"""Of structure: addresses of values and moments, number of moments and of nodes."""


class Program(NamedTuple):
    """What the kernel evaluates for one node type."""

    parts: NDArray[np.int64]
    """``[parts, COLUMNS]``"""
    lengths: NDArray[np.int64]
    """Window lengths of all parts."""
    wanted: NDArray[np.int64]
    """``[aggregates, 3]`` of all parts, as ``lookup.aggregate`` reads them."""
    day: float
    """Clock units in a day."""
    width: int
    """Number of values."""
    arrays: list[Any]
    """What the addresses point to, kept alive."""

    def __call__(self, ids: NDArray[np.int32], times: NDArray[np.int64]) -> Matrix:
        """Values of nodes that are there: float32 ``[n, width]``."""
        out = np.empty((len(ids), self.width), np.float32)
        evaluate(self.parts, self.lengths, self.wanted, self.day, ids, times, out)
        return out


class Builder:
    """Puts a program together, part by part, in the order of the values' names.

    Args:
        day: clock units in a day.
    """

    def __init__(self, day: int) -> None:
        self.day = day
        self._parts: list[list[int]] = []
        self._lengths: list[int] = []
        self._wanted: list[list[int]] = []
        self._arrays: list[Any] = []
        self._width = 0

    def age(self, clock: NDArray[np.int64], column: int = 0, columns: int = 1, own: bool = False) -> None:
        """Days since a moment of each node.

        Args:
            clock: int64 ``[N]`` or ``[N, columns]``.
            column: which of them.
            columns: how many there are.
            own: the node's own moment, which counts when it is the very time asked for.
        """
        self._add(AGE, 1, self._at(clock, np.int64), column, columns, int(own))

    def degree(self, adjacency: Adjacency) -> None:
        """Number of edges of a relation."""
        self._add(DEGREE, 1, *self._rows(adjacency.first, adjacency.last, adjacency.times()))

    def window(self, window: Window, lengths: list[int], adjacency: Adjacency, values: Any, prefix: Any) -> None:
        """A window's counts, aggregates and time since the last edge."""
        wanted = [
            [place, KINDS[name], int("deviation" in names)]
            for place, names in enumerate(window.columns.values())
            for name in names
        ]
        rows = self._rows(adjacency.first, adjacency.last, adjacency.times())
        sums = self._at(values, np.float32), self._at(prefix, np.float64), values.shape[1]
        told = self._listed(lengths, wanted)
        self._add(WINDOW, len(window.names()), *rows, *sums, *told, int(window.count), int(window.since_last))

    def label(self, lengths: list[int], first: Any, last: Any, known: Any, values: Any, prefix: Any) -> None:
        """Mean and number of the labels known in each window."""
        rows = self._rows(first, last, known)
        sums = self._at(values, np.float32), self._at(prefix, np.float64), 1
        self._add(LABEL, 2 * len(lengths), *rows, *sums, *self._listed(lengths, [[0, MEAN, 0]]), 1)

    def structure(self, values: Matrix, moments: NDArray[np.int64]) -> None:
        """Values ``[moments, N, names]`` of the newest moment not after the time.

        They are 0 before the first, and for nodes that came later.
        """
        count, nodes, names = values.shape
        self._add(STRUCTURE, names, self._at(values, np.float32), self._at(moments, np.int64), count, nodes)

    def program(self) -> Program:
        """What was put together."""
        parts = np.array(self._parts, np.int64).reshape(len(self._parts), COLUMNS)
        wanted = np.array(self._wanted, np.int64).reshape(len(self._wanted), 3)
        return Program(parts, np.array(self._lengths, np.int64), wanted, float(self.day), self._width, self._arrays)

    def _add(self, kind: int, width: int, *needed: int) -> None:
        row = [kind, self._width, width, *needed]
        self._parts.append(row + [0] * (COLUMNS - len(row)))
        self._width += width

    def _at(self, array: Any, kind: Any) -> int:
        kept = np.ascontiguousarray(array, kind)
        self._arrays.append(kept)
        return int(kept.ctypes.data) if kept.size else 0

    def _rows(self, first: Any, last: Any, time: Any) -> tuple[int, int, int, int]:
        borders = [np.asarray(border, np.int64) for border in (first, last)]
        self._arrays += borders
        return int(borders[0].ctypes.data), int(borders[1].ctypes.data), self._at(time, np.int64), len(time)

    def _listed(self, lengths: list[int], wanted: list[list[int]]) -> tuple[int, int, int, int]:
        places = len(self._lengths), len(lengths), len(self._wanted), len(wanted)
        self._lengths += lengths
        self._wanted += wanted
        return places


@njit(cache=True, nogil=True)
def evaluate(parts: Any, lengths: Any, wanted: Any, day: float, ids: Any, times: Any, out: Any) -> None:
    """Fill ``out`` float32 ``[n, width]`` with the values of nodes ``ids`` int32 as of ``times`` int64."""
    for place in range(len(parts)):
        part = parts[place]
        first = part[OUTPUT]
        own = out[:, first : first + part[WIDTH]]
        if part[KIND] == AGE:
            _ages(part, day, ids, times, own)
        elif part[KIND] == STRUCTURE:
            _structure(part, ids, times, own)
        elif part[KIND] == DEGREE:
            rows, time = _opened(part)
            own[:, 0] = visible(rows[0], rows[1], time, ids, times)
        else:
            _window(part, lengths, wanted, day, ids, times, own)


@njit(cache=True, nogil=True)
def _opened(part: Any) -> Any:
    """A relation's rows, and its times."""
    first = carray(pointer_to(part[FIRST]), (ENDLESS,), np.int64)
    last = carray(pointer_to(part[LAST]), (ENDLESS,), np.int64)
    return (first, last), carray(pointer_to(part[TIME]), (part[TIMES],), np.int64)


@njit(cache=True, nogil=True)
def _window(part: Any, lengths: Any, wanted: Any, day: float, ids: Any, times: Any, out: Any) -> None:
    rows, time = _opened(part)
    edges = ENDLESS if part[VALUES] != 0 else 0
    values = carray(pointer_to(part[VALUES]), (edges, part[SUMMED]), np.float32)
    prefix = carray(pointer_to(part[PREFIX]), (edges, 3 * part[SUMMED]), np.float64)
    sizes = lengths[part[LENGTHS] : part[LENGTHS] + part[SIZES]]
    chosen = wanted[part[WANTED] : part[WANTED] + part[AGGREGATES]]
    since = day if part[SINCE] else 0.0
    aggregate(rows, time, values, prefix, ids, times, sizes, chosen, part[COUNTED] == 1, DIRECT, since, out)
    if part[KIND] == LABEL:  # the mean stands before the number
        for i in range(len(ids)):
            for column in range(0, 2 * part[SIZES], 2):
                out[i, column], out[i, column + 1] = out[i, column + 1], out[i, column]


@njit(cache=True, nogil=True)
def _ages(part: Any, day: float, ids: Any, times: Any, out: Any) -> None:
    """Days since each moment; NaN where it lies ahead or there is none."""
    clock = carray(pointer_to(part[CLOCK]), (ENDLESS,), np.int64)
    for i in range(len(ids)):
        moment = clock[np.int64(ids[i]) * part[STRIDE] + part[COLUMN]]
        seen = moment < times[i] or (part[OWN] == 1 and moment == times[i])
        out[i, 0] = np.float64(times[i] - moment) / day if seen and moment != ALWAYS else np.nan


@njit(cache=True, nogil=True)
def _structure(part: Any, ids: Any, times: Any, out: Any) -> None:
    names = out.shape[1]
    values = carray(pointer_to(part[PLACES]), (part[COUNT] * part[NODES] * names,), np.float32)
    moments = carray(pointer_to(part[MOMENTS]), (part[COUNT],), np.int64)
    for i in range(len(ids)):
        place = np.searchsorted(moments, times[i], side="right") - 1
        there = place >= 0 and ids[i] < part[NODES]
        for name in range(names):
            out[i, name] = values[(place * part[NODES] + ids[i]) * names + name] if there else 0.0
