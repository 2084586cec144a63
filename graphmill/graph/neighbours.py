"""All edges into a run of nodes before a moment: what full-graph inference reads, row after row, from the disk."""

from typing import Any

import numpy as np
from numba import njit

from graphmill.graph.adjacency import Adjacency, lower_bound
from graphmill.graph.sample import Block


def all_before(adjacency: Adjacency, first: int, last: int, moment: int) -> Block:
    """Every edge into the nodes ``first`` to ``last`` (exclusive) strictly before ``moment``; rows are source ids.

    Args:
        adjacency: a relation.
        first: first target node.
        last: one past the last target node.
        moment: clock units.
    """
    indptr = np.asarray(adjacency.indptr[first : last + 1], np.int64)
    begin, end = int(indptr[0]), int(indptr[-1])
    indices = np.array(adjacency.indices[begin:end], np.int32)
    times = np.full(last - first, moment, np.int64)
    if adjacency.time is None:
        return Block(adjacency, (indptr - begin).astype(np.int32), indices, np.arange(begin, end), times)
    pointer, kept = _kept(indptr, np.asarray(adjacency.time[begin:end]), moment)
    return Block(adjacency, pointer, indices if len(kept) == len(indices) else indices[kept], kept + begin, times)


@njit(cache=True, nogil=True)
def _kept(indptr: Any, time: Any, moment: int) -> Any:
    """Where each row's edges before the moment begin, and the places of all of them."""
    pointer = np.zeros(len(indptr), np.int32)
    kept = np.empty(len(time), np.int64)
    count = 0
    for row in range(len(indptr) - 1):
        begin = indptr[row] - indptr[0]
        last = lower_bound(time, begin, indptr[row + 1] - indptr[0], moment)
        for place in range(begin, last):
            kept[count] = place
            count += 1
        pointer[row + 1] = count
    return pointer, kept[:count]
