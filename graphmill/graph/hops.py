"""All hops of a batch in one call into compiled code, written into memory that the caller owns and uses again.

The kernel is compiled once, whatever the schema: it reads the adjacencies from a table of their addresses.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from graphmill.graph.kernels import draw, ends, find, forget, merge, size_up
from graphmill.graph.prefetch import pointer_to

SOURCE, TARGET, FIRST, LAST, INDICES, TIME, EDGES, KNOWN = range(8)
"""Columns of the table of relations: types by number, addresses (0: none), number of edges and of targets."""
ENDLESS = np.int64(1) << 40
IDS, TIMES, COUNT = range(3)
"""Columns of a frontier: where its ids and its times begin in the workspace, and how many there are."""
POINTER, ROW, POSITION, BEGIN, DRAWN = range(5)
"""Columns of a block: where its arrays begin in the workspace, and how many edges it has."""
DONE, NO_ROOM, TOO_MANY = range(3)
"""How sampling ended: well, with too small a workspace, with a block of 2**31 edges or more."""


@dataclass
class Workspace:
    """Memory for one sample at a time: the next sample into it overwrites the last.

    A loop that keeps ``n`` batches alive owns ``n`` workspaces. They grow to what the largest batch needs.
    """

    narrow: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """Ids, pointers and rows."""
    wide: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Times and positions."""

    def reserve(self, narrow: int, wide: int) -> None:
        """Have room for so many numbers."""
        if len(self.narrow) < narrow:
            self.narrow = np.empty(narrow, np.int32)
        if len(self.wide) < wide:
            self.wide = np.empty(wide, np.int64)


@njit(cache=True, nogil=True)
def sample_hops(
    steps: Any, relations: Any, fanouts: Any, keys: Any, slots: Any, merging: bool, recent: bool, replace: bool,
    frontiers: Any, blocks: Any, narrow: Any, wide: Any, used: Any,
) -> Any:  # fmt: skip
    """Sample hop by hop from the seeds, which stand in the workspace already.

    Args:
        steps: int64 ``[steps, 2]``: depth and relation of each block, by depth.
        relations: int64 ``[relations, 8]``.
        fanouts: int64 ``[depths, relations]``.
        keys: uint64 ``[depths, relations]``.
        slots: int64 ``[types, 2]``: address and length of the slots of ``merge``.
        merging: whether nodes met twice in a hop become one.
        recent: whether the newest edges are taken.
        replace: whether an edge may be drawn twice.
        frontiers: int64 ``[depths + 1, types, 3]``, all -1 but for the seeds; filled here.
        blocks: int64 ``[steps, 5]``, filled here.
        narrow: int32 workspace.
        wide: int64 workspace.
        used: int64 ``[2]``: how much of the workspace is in use; how much would be needed when that was not enough.

    Returns:
        ``DONE``, ``NO_ROOM`` or ``TOO_MANY``.
    """
    first = 0
    while first < len(steps):
        last = first
        while last < len(steps) and steps[last, 0] == steps[first, 0]:
            last += 1
        hop, found = steps[first:last], blocks[first:last]
        ended = _size(hop, relations, fanouts, replace, frontiers, found, narrow, wide, used)
        if ended == DONE:
            ended = _make_room(hop, relations, frontiers, found, narrow, wide, used)
        if ended != DONE:
            return ended
        for place in range(len(hop)):
            _fill(hop[place], relations[hop[place, 1]], keys, slots, merging, recent, replace, frontiers,
                  found[place], narrow, wide)  # fmt: skip
        for kind in range(len(slots)):
            at, count = frontiers[hop[0, 0] + 1, kind, IDS], frontiers[hop[0, 0] + 1, kind, COUNT]
            if merging and count > 0:
                forget(carray(pointer_to(slots[kind, 0]), (slots[kind, 1],), np.int32), narrow[at : at + count])
        first = last
    return DONE


@njit(cache=True, nogil=True)
def _size(
    steps: Any, relations: Any, fanouts: Any, replace: bool, frontiers: Any, blocks: Any, narrow: Any, wide: Any,
    used: Any,
) -> Any:  # fmt: skip
    """Count the edges of each block of a hop."""
    for place in range(len(steps)):
        depth, relation = steps[place, 0], relations[steps[place, 1]]
        ids, times, count = frontiers[depth, relation[TARGET]]
        pointer, begin = used[0], used[1]
        used[0] += count + 1
        used[1] += 2 * count
        if used[0] > len(narrow) or used[1] > len(wide):
            return NO_ROOM
        degree = wide[begin + count : begin + 2 * count]
        first = carray(pointer_to(relation[FIRST]), (ENDLESS,), np.int64)
        last = carray(pointer_to(relation[LAST]), (ENDLESS,), np.int64)
        time = carray(pointer_to(relation[TIME]), (relation[EDGES] if relation[TIME] != 0 else 0,), np.int64)
        find(first, last, time, narrow[ids : ids + count], wide[times : times + count],
             wide[begin : begin + count], degree)  # fmt: skip
        drawn = size_up(degree, fanouts[depth, steps[place, 1]], replace, narrow[pointer : pointer + count + 1])
        if drawn >= 2**31:
            return TOO_MANY
        blocks[place, POINTER], blocks[place, BEGIN], blocks[place, DRAWN] = pointer, begin, drawn
    return DONE


@njit(cache=True, nogil=True)
def _make_room(steps: Any, relations: Any, frontiers: Any, blocks: Any, narrow: Any, wide: Any, used: Any) -> int:
    """Set room aside for the drawn edges of a hop, and for the frontier behind them."""
    sources = np.full(frontiers.shape[1], -1, np.int64)
    for place in range(len(steps)):
        drawn, kind = blocks[place, DRAWN], relations[steps[place, 1], SOURCE]
        blocks[place, ROW], blocks[place, POSITION] = used[0], used[1]
        used[0] += drawn
        used[1] += drawn
        sources[kind] = max(sources[kind], 0) + drawn
    for kind in range(len(sources)):
        if sources[kind] >= 0:
            frontiers[steps[0, 0] + 1, kind] = used[0], used[1], 0
            used[0] += sources[kind]
            used[1] += sources[kind]
    return NO_ROOM if used[0] > len(narrow) or used[1] > len(wide) else DONE


@njit(cache=True, nogil=True)
def _fill(
    step: Any, relation: Any, keys: Any, slots: Any, merging: bool, recent: bool, replace: bool, frontiers: Any,
    block: Any, narrow: Any, wide: Any,
) -> None:  # fmt: skip
    """Draw a block's edges and add their sources to the next frontier."""
    depth, kind = step[0], relation[SOURCE]
    ids, times, count = frontiers[depth, relation[TARGET]]
    begin, drawn = block[BEGIN], block[DRAWN]
    moments = wide[times : times + count]
    pointer = narrow[block[POINTER] : block[POINTER] + count + 1]
    position = wide[block[POSITION] : block[POSITION] + drawn]
    row = narrow[block[ROW] : block[ROW] + drawn]
    draw(narrow[ids : ids + count], relation[KNOWN], moments, wide[begin : begin + count],
         wide[begin + count : begin + 2 * count], pointer, keys[depth, step[1]], recent, replace, position)  # fmt: skip
    ends(carray(pointer_to(relation[INDICES]), (relation[EDGES],), np.int32), position, row)
    next_ids, next_times, known = frontiers[depth + 1, kind]
    if merging:
        slot = carray(pointer_to(slots[kind, 0]), (slots[kind, 1],), np.int32)
        now = merge(row, slot, narrow[next_ids:], known)
        wide[next_times + known : next_times + now] = moments[0] if count else 0
    else:
        now = known + drawn
        for target in range(count):
            for edge in range(pointer[target], pointer[target + 1]):
                narrow[next_ids + known + edge] = row[edge]
                wide[next_times + known + edge] = moments[target]
                row[edge] = known + edge
    frontiers[depth + 1, kind, COUNT] = now
