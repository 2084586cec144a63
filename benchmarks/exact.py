"""The peers of the sampler: exact samplers in plain numpy, and pyg-lib's where it is installed."""

from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


def sample(
    indptr: np.ndarray, indices: np.ndarray, seeds: np.ndarray, fanouts: list[int], state: Any, slots: np.ndarray,
    draw: Callable[..., np.ndarray],
) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
    """Uniform without replacement, merged by depth: frontiers, and for every block its pointer and rows.

    Ids are made local through a persistent map, which is faster than any sort.
    """
    frontiers, pointers, rows = [seeds], [], []
    for fanout in fanouts:
        first = indptr[frontiers[-1]]
        degree = indptr[frontiers[-1] + 1] - first
        pointers.append(np.concatenate([[0], np.cumsum(np.minimum(degree, fanout))]))
        source = indices[draw(first, degree, fanout, pointers[-1], state)]
        distinct = _distinct(source, slots)
        rows.append(slots[source])
        slots[distinct] = -1
        frontiers.append(distinct)
    return frontiers, pointers, rows


def sorting(first: np.ndarray, degree: np.ndarray, fanout: int, pointer: np.ndarray, state: Any) -> np.ndarray:
    """Every edge gets a random key; sorting by (row, key) puts a random choice first in each row."""
    row, position = np.repeat(np.arange(len(degree)), degree), _spread(first, degree)
    # the whole of the key is one number: the row above, 32 random bits below
    key = (row << 32) | state.integers(0, 1 << 32, len(row), np.int64)
    place = _spread(np.zeros_like(degree), degree)
    return position[np.argsort(key)][place < fanout]


def columns(first: np.ndarray, degree: np.ndarray, fanout: int, pointer: np.ndarray, state: Any) -> np.ndarray:
    """R. W. Floyd's algorithm for all rows at once, a draw at a time: no row is walked."""
    position = np.empty(pointer[-1], np.int64)
    short = degree <= fanout
    position[_spread(pointer[:-1][short], degree[short])] = _spread(first[short], degree[short])
    count = degree[~short]
    taken = np.empty((fanout, len(count)), np.int64)
    for turn in range(fanout):
        highest = count - fanout + turn
        pick = (state.random(len(count)) * (highest + 1)).astype(np.int64)
        met = (taken[:turn] == pick).any(axis=0)
        taken[turn] = np.where(met, highest, pick)
    position[(pointer[:-1][~short, None] + np.arange(fanout)).ravel()] = (taken.T + first[~short, None]).ravel()
    return position


def _spread(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """All whole numbers from each ``first`` on, ``count`` of them."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + count, count)


def _distinct(source: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """The distinct ids, and in ``slots`` the place of each: who writes last wins, and only winners are kept."""
    slots[source] = np.arange(len(source))
    distinct = source[slots[source] == np.arange(len(source))]
    slots[distinct] = np.arange(len(distinct))
    return distinct


def pyg_lib() -> Any:
    """pyg-lib's sampler, or None where it is not installed."""
    try:
        import pyg_lib  # noqa: F401
        import torch

        return torch.ops.pyg.neighbor_sample
    except ImportError:
        return None
