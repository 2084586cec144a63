"""Power-law graphs in memory, and the stand-ins that the engine asks of a graph and its inputs."""

from dataclasses import dataclass

import numpy as np

from graphmill.features.inputs import Matrix
from graphmill.graph.adjacency import Adjacency

NODE, RELATION = "node", "node.edge.node"
LARGE, SMALL = (1_000_000, 20_000_000), (40_000, 800_000)
"""Nodes and edges of a whole run, and of one with ``--small``."""
SPAN = 1_000_000_000
"""Edges' times are drawn from 0 up to this."""


@dataclass(frozen=True)
class World:
    """One node type and one relation."""

    adjacency: Adjacency

    @property
    def nodes(self) -> dict[str, int]:
        return {NODE: len(self.adjacency.indptr) - 1}

    @property
    def relations(self) -> dict[str, Adjacency]:
        return {RELATION: self.adjacency}

    def incoming(self, node: str) -> list[str]:
        return [RELATION]


@dataclass(frozen=True)
class Rows:
    """Inputs that are a matrix as it stands."""

    graph: World
    matrix: Matrix

    def names(self, node: str) -> list[str]:
        return [str(column) for column in range(self.matrix.shape[1])]

    def gather(self, node: str, ids: np.ndarray, times: np.ndarray) -> tuple[Matrix, np.ndarray]:
        if len(ids) and ids[-1] - ids[0] == len(ids) - 1:  # a run of nodes, as full-graph inference asks for
            rows = self.matrix[ids[0] : ids[-1] + 1]
        else:
            rows = np.empty((len(ids), self.matrix.shape[1]), np.float32)
            np.take(self.matrix, ids, 0, out=rows, mode="clip")
        return rows, np.empty((len(ids), 0), np.int64)

    def gather_edges(self, relation: str, block: object) -> Matrix:
        return np.empty((len(block.row), 0), np.float32)


def power_law(nodes: int, edges: int, timed: bool = False, seed: int = 0) -> World:
    """A Chung-Lu graph whose degrees follow a power law: the median is about half the mean, hubs reach thousands."""
    state = np.random.default_rng(seed)
    weight = np.minimum(state.pareto(1.5, nodes) + 1, nodes**0.58)
    border = np.cumsum(weight) / weight.sum()
    target = np.sort(np.searchsorted(border, state.random(edges)).astype(np.int32))
    source = np.searchsorted(border, state.random(edges)).astype(np.int32)
    indptr = np.searchsorted(target, np.arange(nodes + 1)).astype(np.int64)
    time = None
    if timed:
        time = state.integers(0, SPAN, edges)
        time = time[np.lexsort((time, target))]
    return World(Adjacency(NODE, NODE, indptr, source, np.arange(edges, dtype=np.int32), time))
