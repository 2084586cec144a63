"""All nodes with all their neighbours, layer by layer: against ``torch.sparse`` and against gather and scatter."""

import gc
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import graphs
from benchmarks.contest import contest, growth, result, show
from benchmarks.memory import added, peaks
from benchmarks.networks import Blocks, Geometric
from graphmill.train import layerwise

warnings.filterwarnings("ignore", message="Sparse")  # torch speaks of its sparse matrices at every first use
MEMORY = 4 << 30
CHUNK = 50_000
ROADS = ("blocks", "torch.sparse", "torch.sparse, projected late", "gather and scatter")


class Contenders:
    """One network, one graph, four roads."""

    def __init__(self, nodes: int, edges: int) -> None:
        torch.manual_seed(0)
        self.world = graphs.power_law(nodes, edges)
        self.rows = np.random.default_rng(1).standard_normal((nodes, 64), np.float32)
        self.blocks = Blocks().eval()
        self.theirs = Geometric(self.blocks, trim=False).eval()
        self.adjacency = self.world.adjacency
        self.matrix: Tensor | None = None

    def prepare(self) -> "Contenders":
        """Make the sparse matrix, whose rows sum to one; that is not timed."""
        degree = np.diff(self.adjacency.indptr)
        share = torch.from_numpy(np.repeat(1 / np.maximum(degree, 1), degree).astype(np.float32))
        indptr, indices = torch.from_numpy(self.adjacency.indptr), torch.from_numpy(self.adjacency.indices).long()
        self.matrix = torch.sparse_csr_tensor(indptr, indices, share, (len(degree), len(degree)))
        return self

    def run(self, road: str) -> Tensor:
        with torch.inference_mode():
            if road == "blocks":
                return layerwise.embeddings(self.blocks, graphs.Rows(self.world, self.rows), 0, MEMORY)
            if road == "gather and scatter":
                return self.scatter()
            return self.sparse(late=road.endswith("late"))

    def sparse(self, late: bool) -> Tensor:
        """Products with the adjacency as a sparse matrix."""
        matrix = self.matrix
        hidden = torch.from_numpy(self.rows)
        for place, layer in enumerate(self.theirs.layers):
            weight = layer.lin_l.weight.T
            mean = matrix @ (hidden @ weight) if late and place else (matrix @ hidden) @ weight
            hidden = layer.lin_r(hidden) + mean + layer.lin_l.bias
            hidden = hidden if place else torch.relu(hidden)
        return hidden

    def scatter(self) -> Tensor:
        """PyTorch Geometric's convolution, targets in chunks as one would write it: messages in memory, then added."""
        hidden = torch.from_numpy(self.rows)
        count = len(hidden)
        for place, layer in enumerate(self.theirs.layers):
            parts = []
            for first in range(0, count, CHUNK):
                last = min(first + CHUNK, count)
                indptr = self.adjacency.indptr[first : last + 1]
                source = torch.from_numpy(self.adjacency.indices[indptr[0] : indptr[-1]]).long()
                target = torch.from_numpy(np.repeat(np.arange(last - first), np.diff(indptr)))
                parts.append(layer((hidden, hidden[first:last]), torch.stack([source, target])))
            hidden = torch.cat(parts)
            hidden = hidden if place else torch.relu(hidden)
        return hidden


def run(small: bool) -> dict[str, Any]:
    """Measure and return the line of JSON."""
    nodes, edges = graphs.SMALL if small else graphs.LARGE
    contenders = Contenders(nodes, edges).prepare()
    answer = contenders.run("blocks")
    for road in ROADS[1:]:
        torch.testing.assert_close(contenders.run(road), answer, atol=1e-3, rtol=1e-4)
    found = contest({road: partial(contenders.run, road) for road in ROADS}, rounds=3, warm=0)
    what = f"64 → 128 → 2 GraphSAGE with a mean, {nodes:,} nodes, {edges:,} edges, full neighbourhoods"
    show(what, found, ROADS[0])
    ratios = {road: round(found[road][0] / found[ROADS[0]][0], 2) for road in ROADS[1:]}
    power = growth(nodes, edges, lambda *size: partial(Contenders(*size).run, ROADS[0]), rounds=3)
    print(f"cost grows with the edges to the power of {power}")
    del contenders
    gc.collect()
    memory = peaks("benchmarks.inference", ROADS, nodes, edges)
    return result("inference", what, found, ROADS[0], ROADS[1], ratios=ratios, exponent=power, peak_memory_mb=memory)


def peak(road: str, nodes: int, edges: int) -> int:
    """Megabytes that one run, and the sparse matrix where it needs one, add to what the process holds."""
    torch.set_num_threads(1)
    Contenders(1_000, 10_000).prepare().run(road)  # imports and compilation
    contenders = Contenders(nodes, edges)

    def work() -> None:
        if "sparse" in road:
            contenders.prepare()
        contenders.run(road)

    return added(work)
