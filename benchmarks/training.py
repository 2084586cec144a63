"""A training step on blocks, against PyTorch Geometric over the same sampler; and a full-batch pass of both."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks import graphs
from benchmarks.contest import contest, growth, result, show
from benchmarks.memory import added, peaks
from benchmarks.networks import Blocks, Geometric
from graphmill.graph.pyg import LATEST, PygSampler, to_data
from graphmill.graph.sampler import Sampler, Workspace
from graphmill.train.batches import Edges

FANOUTS, BATCH = [15, 10], 1024
ROADS = ("blocks", "PyG, trimmed", "PyG, as documented")
WHOLE = (100_000, 2_000_000)


class Contenders:
    """One graph, one set of first weights, three roads."""

    def __init__(self, nodes: int, edges: int) -> None:
        torch.manual_seed(0)
        self.world = graphs.power_law(nodes, edges)
        state = np.random.default_rng(1)
        self.rows = state.standard_normal((nodes, 64), np.float32)
        self.label = torch.from_numpy(state.integers(0, 2, nodes))
        self.seeds = state.permutation(nodes)
        self.sampler = Sampler(self.world, FANOUTS, seed=1)
        self.room: dict[int, np.ndarray] = {}

    def steps(self, road: str) -> Callable[[], Any]:
        """One step of sampling, gathering, forward, backward and Adam; endless."""
        blocks = Blocks()
        network = blocks if road == "blocks" else Geometric(blocks, trim=road == "PyG, trimmed")
        optimizer = torch.optim.Adam(network.parameters())
        batches = self.blocks(network) if road == "blocks" else self.loader(network)

        def step() -> None:
            output, label = next(batches)
            optimizer.zero_grad()
            cross_entropy(output, label).backward()
            optimizer.step()

        return step

    def blocks(self, network: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Sampled blocks and gathered rows, in memory that is used again."""
        space = Workspace()
        now = np.full(BATCH, LATEST)  # draws depend on the time too
        while True:
            for first in range(0, len(self.seeds) - BATCH, BATCH):
                ids = self.seeds[first : first + BATCH]
                sample = self.sampler.sample(graphs.NODE, ids, now, space)
                hidden = [self.gather(depth, part[graphs.NODE].ids) for depth, part in enumerate(sample.frontiers)]
                edges = [_edges(part[graphs.RELATION]) for part in sample.blocks]
                yield network(hidden, edges), self.label[torch.from_numpy(ids)]

    def gather(self, depth: int, ids: np.ndarray) -> Tensor:
        """Rows by id into memory that grows to what the largest batch needs."""
        room = self.room.get(depth)
        if room is None or len(room) < len(ids):
            room = self.room[depth] = np.empty((len(ids) * 5 // 4, 64), np.float32)
        np.take(self.rows, ids, 0, out=room[: len(ids)], mode="clip")
        return torch.from_numpy(room[: len(ids)])

    def loader(self, network: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """PyTorch Geometric's own loader, over our sampler."""
        from torch_geometric.loader import NodeLoader

        data = to_data(self.world)
        data.x = torch.from_numpy(self.rows)
        loader = NodeLoader(
            data, PygSampler(self.sampler), input_nodes=torch.from_numpy(self.seeds), batch_size=BATCH, drop_last=True
        )
        while True:
            for batch in loader:
                output = network(batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges)
                yield output[:BATCH], self.label[batch.n_id[:BATCH]]

    def whole(self, road: str) -> Callable[[], Any]:
        """Forward and backward over all nodes and edges at once."""
        adjacency, blocks = self.world.adjacency, Blocks()
        rows = torch.from_numpy(self.rows)
        if road == "blocks":
            pointer, row = torch.from_numpy(adjacency.indptr.astype(np.int32)), torch.from_numpy(adjacency.indices)
            edges = Edges(pointer, row, rows.new_empty((0, 0)), rows.new_empty((len(rows), 0)))
            return lambda: cross_entropy(_all(blocks, rows, edges), self.label).backward()
        network = Geometric(blocks, trim=False)
        index = to_data(self.world).edge_index
        return lambda: cross_entropy(network(rows, index), self.label).backward()


def _edges(block: Any) -> Edges:
    pointer, row = torch.from_numpy(block.pointer), torch.from_numpy(block.row)
    nothing = torch.empty((0, 0))
    return Edges(pointer, row, nothing, nothing)


def _all(blocks: Blocks, hidden: Tensor, edges: Edges) -> Tensor:
    for layer in blocks.layers:
        sent = {graphs.RELATION: layer.convolution.send(graphs.RELATION, hidden)}
        hidden = layer({graphs.NODE: hidden}, sent, {graphs.RELATION: edges})[graphs.NODE]
    return hidden


def run(small: bool) -> dict[str, Any]:
    """Measure and return the line of JSON."""
    nodes, edges = graphs.SMALL if small else graphs.LARGE
    contenders = Contenders(nodes, edges)
    check(contenders)
    warm = 1 if small else 3
    found = contest({road: contenders.steps(road) for road in ROADS}, rounds=3 if small else 21, warm=warm)
    what = f"a step of {BATCH} seeds, {FANOUTS}, 64 → 128 → 2 GraphSAGE with a mean; {nodes:,} nodes, {edges:,} edges"
    show(what, found, ROADS[0])
    ratios = {road: round(found[road][0] / found[ROADS[0]][0], 2) for road in ROADS[1:]}
    power = growth(nodes, edges, lambda *size: Contenders(*size).steps(ROADS[0]), rounds=3 if small else 9, warm=warm)
    print(f"cost of a step grows with the edges of the graph to the power of {power}")
    del contenders
    gc.collect()
    whole, memory = _whole(*(size // 5 if small else size for size in WHOLE))
    return result("training", what, found, ROADS[0], ROADS[1], ratios=ratios, exponent=power,
                  full_batch={"ratio": round(whole["PyG"][0] / whole["blocks"][0], 2), "peak_memory_mb": memory,
                              "cpu": {road: cpu for road, (cpu, _) in whole.items()}})  # fmt: skip


def check(contenders: Contenders) -> None:
    """All roads give the same loss for the same batch."""
    torch.manual_seed(2)
    blocks = Blocks()
    ours, label = next(contenders.blocks(blocks))
    for trim in (True, False):
        theirs, their_label = next(contenders.loader(Geometric(blocks, trim)))
        assert torch.equal(label, their_label)
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


def _whole(nodes: int, edges: int) -> tuple[dict[str, tuple[float, float]], dict[str, int]]:
    contenders = Contenders(nodes, edges)
    found = contest({road: contenders.whole(road) for road in ("blocks", "PyG")}, rounds=3)
    show(f"forward and backward over all of {nodes:,} nodes, {edges:,} edges", found, "blocks")
    del contenders
    return found, peaks("benchmarks.training", ("blocks", "PyG"), nodes, edges)


def peak(road: str, nodes: int, edges: int) -> int:
    """Megabytes that one pass over the whole graph adds to what the process holds."""
    torch.set_num_threads(1)
    Contenders(2_000, 10_000).whole(road)()  # imports and compilation
    return added(Contenders(nodes, edges).whole(road))
