"""What the kernel needs to know before it samples: where the adjacencies stand, and which blocks there will be."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphmill.graph.sample import ALL, Fanout, follows
from graphmill.graph.store import Graph


class Tables(NamedTuple):
    """What the kernel reads, and the arrays whose addresses stand in it, to keep them alive."""

    relations: NDArray[np.int64]
    fanouts: NDArray[np.int64]
    keys: NDArray[np.uint64]
    arrays: list[Any]
    known: dict[str, tuple[int, int, int]]

    @classmethod
    def of(cls, graph: Graph, wanted: Sequence[Fanout], seed: int) -> "Tables":
        names = list(graph.relations)
        types = list(graph.nodes)
        rows, arrays = [], []
        for adjacency in graph.relations.values():
            first, last = (np.asarray(border, np.int64) for border in (adjacency.first, adjacency.last))
            indices = np.ascontiguousarray(adjacency.indices, np.int32)
            time = np.ascontiguousarray(adjacency.times(), np.int64)
            arrays += [first, last, indices, time]
            ends = types.index(adjacency.source), types.index(adjacency.target)
            places = [_address(array) for array in (first, last, indices, time)]
            rows.append([*ends, *places, len(indices), len(first)])
        fanouts = np.zeros((len(wanted), len(names)), np.int64)
        keys = np.zeros(fanouts.shape, np.uint64)
        for depth, fanout in enumerate(wanted):
            for place, name in enumerate(names):
                edges = fanout.get(name, 0) if isinstance(fanout, Mapping) else fanout
                fanouts[depth, place] = np.iinfo(np.int64).max if edges == ALL else edges
                keys[depth, place] = zlib.crc32(f"{seed}/{depth}/{name}".encode())
        return cls(np.array(rows, np.int64).reshape(len(names), 8), fanouts, keys, arrays, {})


def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data) if len(array) else 0


class Plan(NamedTuple):
    """The blocks that seeds of some types have, by depth."""

    seeds: list[int]
    steps: NDArray[np.int64]
    names: list[tuple[int, str, str]]

    @classmethod
    def of(cls, graph: Graph, fanouts: Sequence[Fanout], nodes: tuple[str, ...]) -> "Plan":
        places = list(graph.relations)
        names: list[tuple[int, str, str]] = []
        reached = list(nodes)
        for depth in range(len(fanouts)):
            hop = [
                (name, target)
                for target in graph.nodes
                if target in reached
                for name in graph.incoming(target)
                if follows(fanouts[depth], name)
            ]
            names += [(depth, name, target) for name, target in hop]
            reached = [graph.relations[name].source for name, _ in hop]
        steps = [[depth, places.index(name)] for depth, name, _ in names]
        seeds = [list(graph.nodes).index(node) for node in nodes]
        return cls(seeds, np.array(steps, np.int64).reshape(len(names), 2), names)
