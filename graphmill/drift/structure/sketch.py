"""What a period remembers of its edges and nodes: those whose keys have the smallest hashes.

The same keys have the same hashes in every graph, so two sketches hold the same edges where both periods have them,
and the share that they have in common estimates that of the whole (Cohen and Kaplan, 2007, "bottom-k sketches").
"""

import base64
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.drift.structure.edges import Edges

Hashes = NDArray[np.uint64]


def edge_sketch(edges: Edges, source: Hashes, target: Hashes, size: int) -> Hashes:
    """The smallest hashes of different edges, ascending: uint64 ``[at most size]``.

    Args:
        edges: the edges.
        source: hashes of the nodes of the sources' type ``[N]``.
        target: of the targets' type.
        size: how many are kept.
    """
    return np.asarray(smallest(edges.indptr, edges.indices, source, target, edges.directed, size))


def jaccard(now: Hashes, before: Hashes, size: int) -> tuple[float | None, float]:
    """Estimated share of the edges of either period that both have, and the variance of this estimate.

    Args:
        now: a sketch.
        before: another one.
        size: what both were cut to: a shorter one holds everything there is.
    """
    union = np.union1d(now, before)[:size]
    if len(now) == 0 or len(before) == 0:
        return None, 0.0
    share = float(np.mean(np.isin(union, now) & np.isin(union, before)))
    return share, 0.0 if len(union) < size else share * (1 - share) / size


def packed(values: NDArray[Any]) -> str:
    """Bytes of an array as text."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def unpacked(text: str, dtype: type) -> NDArray[Any]:
    """The array that ``packed`` took."""
    return np.frombuffer(base64.b64decode(text), np.dtype(dtype).newbyteorder("<")).astype(dtype)


@njit(cache=True, nogil=True)
def smallest(indptr: Any, indices: Any, source: Any, target: Any, directed: bool, size: int) -> Any:
    """The smallest hashes of edges, each once; room for a few times as many bounds the memory."""
    room = np.empty(8 * size, np.uint64)
    count, limit = 0, np.uint64(0xFFFFFFFFFFFFFFFF)
    for node in range(len(indptr) - 1):
        for edge in range(indptr[node], indptr[node + 1]):
            one, other = source[indices[edge]], target[node]
            if not directed and one > other:
                one, other = other, one
            value = mixed(mixed(one) ^ other)
            if value > limit:
                continue
            room[count] = value
            count += 1
            if count == len(room):
                kept = np.unique(room)[:size]
                count = len(kept)
                room[:count] = kept
                if count == size:
                    limit = kept[-1]
    return np.unique(room[:count])[:size]


@njit(cache=True, nogil=True)
def mixed(value: Any) -> Any:
    """Splitmix64's finaliser (Steele et al., 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
