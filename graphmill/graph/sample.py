"""What a sampler returns: frontiers of nodes by depth, and blocks of edges between them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.graph.adjacency import Adjacency

Ids = NDArray[np.int32]
Times = NDArray[np.int64]
Fanout = int | Mapping[str, int]
"""Edges per relation, or by the relation's name; a relation that is not named is not followed."""
ALL = -1
"""The fan-out that takes every visible neighbour."""


def follows(fanout: Fanout, relation: str) -> bool:
    """Whether a relation is followed at a hop at all."""
    return not isinstance(fanout, Mapping) or relation in fanout


class Frontier(NamedTuple):
    """Nodes at one depth: ids and, beside each, the time up to which it may be read."""

    ids: Ids
    times: Times


class Block(NamedTuple):
    """Sampled edges of one relation between a depth and the next.

    Target ``i`` of the depth receives from rows ``row[pointer[i]:pointer[i + 1]]`` of the next depth's
    frontier of the source type.
    """

    adjacency: Adjacency
    pointer: NDArray[np.int32]
    """int32 ``[targets + 1]``"""
    row: NDArray[np.int32]
    """int32 ``[edges]``"""
    position: NDArray[np.int64]
    """int64 ``[edges]``: where each edge stands in the adjacency."""
    times: Times
    """int64 ``[targets]``"""

    @property
    def edge_id(self) -> Ids:
        """The row of the table that each edge comes from: int32 ``[edges]``."""
        return np.asarray(self.adjacency.edge_id[self.position], np.int32)

    @property
    def age(self) -> Times:
        """How long before the target's time each edge was, 0 where it has no time: int64 ``[edges]``, clock units.

        What 64 bits do not hold is the largest that they do.
        """
        if self.adjacency.time is None:
            return np.zeros(len(self.row), np.int64)
        when = np.asarray(self.adjacency.time[self.position])
        times = np.repeat(self.times, np.diff(self.pointer))
        age = times - np.where(when == ALWAYS, times, when)
        return np.where((age < 0) & (when < times), np.iinfo(np.int64).max, age)


class Sample(NamedTuple):
    """A batch of sampled neighbourhoods: frontiers by depth (0: the seeds), blocks between them."""

    frontiers: list[dict[str, Frontier]]
    blocks: list[dict[str, Block]]
