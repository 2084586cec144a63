"""The sampler's inner loops: which edges of a row are drawn, who stands at their ends, who is met twice.

Each is a flat pass over arrays, so that it can ask for the memory of a later turn before it works on this one.
"""

from typing import Any

import numpy as np
from numba import njit

from graphmill.graph.adjacency import lower_bound
from graphmill.graph.prefetch import AHEAD, prefetch

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
COMPARED = 48
"""Up to so many draws from a row are compared with each other; more walk the row once."""


@njit(cache=True, nogil=True)
def mix(value: Any) -> Any:
    """One step of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def below(state: Any, bound: int) -> Any:
    """A whole number from 0 up to ``bound`` (exclusive) from 64 random bits, for bounds below 2**31."""
    return np.int64((mix(state) >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32))


@njit(cache=True, nogil=True)
def find(first: Any, last: Any, time: Any, ids: Any, times: Any, begin: Any, degree: Any) -> None:
    """Where each node's row begins, and how many of its edges lie strictly before its time.

    Row ``v`` stands at ``first[v]:last[v]``: two views of one array where rows follow each other, as in a snapshot,
    and arrays of their own where they grow and move.
    """
    count = len(ids)
    for i in range(count):
        if i + AHEAD < count:
            prefetch(first, ids[i + AHEAD])
            prefetch(last, ids[i + AHEAD])
        begin[i] = first[ids[i]]
        degree[i] = last[ids[i]] - begin[i]
    if len(time) == 0:
        return
    for i in range(count):
        if i + AHEAD < count:
            # most rows are a few lines long: the search begins in the middle and ends near the end or the beginning
            prefetch(time, begin[i + AHEAD] + degree[i + AHEAD] // 2)
            prefetch(time, begin[i + AHEAD] + degree[i + AHEAD])
            prefetch(time, begin[i + AHEAD])
        degree[i] = lower_bound(time, begin[i], begin[i] + degree[i], times[i]) - begin[i]


@njit(cache=True, nogil=True)
def size_up(degree: Any, fanout: int, replace: bool, pointer: Any) -> Any:
    """Where each node's draws will begin: fills ``pointer`` ``[n + 1]``; returns their number."""
    total = 0
    pointer[0] = 0
    for i in range(len(degree)):
        drawn = fanout if replace and degree[i] > 0 else min(degree[i], fanout)
        total += drawn
        pointer[i + 1] = total
    return total


@njit(cache=True, nogil=True)
def draw(ids: Any, known: int, times: Any, begin: Any, degree: Any, pointer: Any, key: Any, recent: bool,
         replace: bool, position: Any) -> None:  # fmt: skip
    """Positions of the drawn edges of every row; what is drawn depends on (key, node, time) alone.

    Ids from ``known`` on are nodes that the graph does not have yet: each draws as the next new node would.
    """
    for i in range(len(ids)):
        at = pointer[i]
        count = pointer[i + 1] - at
        state = mix(key * GOLDEN ^ np.uint64(min(ids[i], known)) * GOLDEN ^ mix(np.uint64(times[i])))
        if replace:
            for j in range(count):
                state += GOLDEN
                position[at + j] = begin[i] + below(state, degree[i])
        elif count == degree[i] or recent:
            for j in range(count):
                position[at + j] = begin[i] + degree[i] - count + j
        elif count <= COMPARED:
            _compared(begin[i], degree[i], count, state, position, at)
        else:
            _walked(begin[i], degree[i], count, state, position, at)


@njit(cache=True, nogil=True)
def _compared(begin: int, degree: int, count: int, state: Any, position: Any, at: int) -> None:
    """Uniform without replacement (R. W. Floyd's algorithm, CACM 30(9), 1987): as many steps as draws squared."""
    for j in range(count):
        state += GOLDEN
        highest = degree - count + j
        pick = begin + below(state, highest + 1)
        for earlier in range(at, at + j):
            if position[earlier] == pick:
                pick = begin + highest
                break
        position[at + j] = pick


@njit(cache=True, nogil=True)
def _walked(begin: int, degree: int, count: int, state: Any, position: Any, at: int) -> None:
    """Uniform without replacement (selection sampling, Knuth, TAOCP 2, 3.4.2 S): as many steps as edges."""
    taken = 0
    for step in range(degree):
        state += GOLDEN
        if below(state, degree - step) < count - taken:
            position[at + taken] = begin + step
            taken += 1
            if taken == count:
                return


@njit(cache=True, nogil=True)
def ends(indices: Any, position: Any, source: Any) -> None:
    """The source node of each drawn edge."""
    count = len(position)
    for edge in range(count):
        if edge + AHEAD < count:
            prefetch(indices, position[edge + AHEAD])
        source[edge] = indices[position[edge]]


@njit(cache=True, nogil=True)
def merge(row: Any, slots: Any, distinct: Any, known: int) -> Any:
    """Replace each id in ``row`` by its place among the distinct ids; returns how many are known now.

    ``slots`` holds 0 for every id not met yet, else its place + 1; ``forget`` makes it 0 again. So slots of many ids
    take memory only where ids were met.
    """
    count = len(row)
    for edge in range(count):
        if edge + AHEAD < count:
            prefetch(slots, row[edge + AHEAD])
        slot = slots[row[edge]] - 1
        if slot < 0:
            slot = known
            slots[row[edge]] = known + 1
            distinct[known] = row[edge]
            known += 1
        row[edge] = slot
    return known


@njit(cache=True, nogil=True)
def forget(slots: Any, distinct: Any) -> None:
    """Set the slots of the ids met back to 0; no other was touched."""
    count = len(distinct)
    for i in range(count):
        if i + AHEAD < count:
            prefetch(slots, distinct[i + AHEAD])
        slots[distinct[i]] = 0
