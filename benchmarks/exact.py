"""The peers of the sampler: the best exact sampler that plain numpy allows, and pyg-lib's where it is installed."""

from typing import Any

import numpy as np

Arrays = list[np.ndarray]


def sample(
    indptr: np.ndarray, indices: np.ndarray, seeds: np.ndarray, fanouts: list[int], state: Any, slots: np.ndarray
) -> tuple[Arrays, Arrays, Arrays]:
    """Uniform without replacement, merged by depth: frontiers, and for every block its pointer and rows.

    Every edge of a frontier gets a random key; sorting by (row, key) puts a random choice first in each row. The
    rows are expanded raggedly, so nothing is padded, and ids are made local through a persistent map.
    """
    frontiers, pointers, rows = [seeds], [], []
    for fanout in fanouts:
        first = indptr[frontiers[-1]]
        degree = indptr[frontiers[-1] + 1] - first
        ends = np.cumsum(degree)
        row = np.repeat(np.arange(len(degree)), degree)
        place = np.arange(ends[-1]) - np.repeat(ends - degree, degree)
        position = place + np.repeat(first, degree)
        if (degree > fanout).any():
            # the whole of the key is one number: the row above, 32 random bits below
            key = (row << 32) | state.integers(0, 1 << 32, len(row), np.int64)
            position = position[np.argsort(key)]
            chosen = place < fanout
            position = position[chosen]
        source = indices[position]
        distinct, count = _distinct(source, slots)
        pointers.append(np.concatenate([[0], np.cumsum(np.minimum(degree, fanout))]))
        rows.append(slots[source])
        slots[distinct] = -1
        frontiers.append(distinct)
    return frontiers, pointers, rows


def _distinct(source: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, int]:
    """The distinct ids, and in ``slots`` the place of each: who writes last wins, and only winners are kept."""
    slots[source] = np.arange(len(source))
    distinct = source[slots[source] == np.arange(len(source))]
    slots[distinct] = np.arange(len(distinct))
    return distinct, len(distinct)


def pyg_lib() -> Any:
    """pyg-lib's sampler, or None where it is not installed."""
    try:
        import pyg_lib  # noqa: F401
        import torch

        return torch.ops.pyg.neighbor_sample
    except ImportError:
        return None
