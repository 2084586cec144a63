"""Neighbourhoods into blocks: against an exact sampler in plain numpy, and against pyg-lib where it is installed."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch

from benchmarks import exact, graphs
from benchmarks.contest import contest, growth, result, show
from graphmill.graph.sampler import Sampler, Workspace

SHAPES = [([15, 10], 1), ([15, 10], 32), ([15, 10], 1024), ([10, 10, 5], 1), ([10, 10, 5], 32), ([10, 10, 5], 1024)]
HEADLINE = "[15, 10] batch 1024"
BATCHES = 40


def run(small: bool) -> dict[str, Any]:
    """Measure and return the line of JSON."""
    world = graphs.power_law(*(graphs.SMALL if small else graphs.LARGE))
    timed = graphs.power_law(*(graphs.SMALL if small else graphs.LARGE), timed=True)
    nodes, edges = len(world.adjacency.indptr) - 1, world.adjacency.edges
    check(world)
    tables, ratios = {}, {}
    for fanouts, batch in SHAPES:
        name = f"{fanouts} batch {batch}"
        rounds = (51, 3)[batch >= 1024] if small else (201, 15)[batch >= 1024]
        tables[name] = contest(contenders(world, timed, fanouts, batch), rounds, warm=3)
        show(f"{name}; {nodes:,} nodes, {edges:,} edges", tables[name], "blocks")
        ratios[name] = {other: round(cpu / tables[name]["blocks"][0], 2) for other, (cpu, _) in tables[name].items()}
    power = growth(nodes, edges, _batch, rounds=3 if small else 9, warm=3)
    print(f"cost of a batch grows with the edges of the graph to the power of {power}")
    peer = "pyg-lib" if exact.pyg_lib() else "exact numpy"
    what = f"{HEADLINE}, uniform without replacement, merged; {nodes:,} nodes, {edges:,} edges; peer {peer}"
    return result("sampling", what, tables[HEADLINE], "blocks", peer, ratios=ratios, exponent=power)


def contenders(world: Any, timed: Any, fanouts: list[int], batch: int) -> dict[str, Callable[[], Any]]:
    """Everybody on the same seeds, other ones each time."""
    adjacency, state = world.adjacency, np.random.default_rng(batch)
    nodes = len(adjacency.indptr) - 1
    seeds = [state.integers(0, nodes, batch) for _ in range(BATCHES)]
    now = np.full(batch, graphs.SPAN * 9 // 10)
    sampler, space = Sampler(world, fanouts), Workspace()
    past, tree = Sampler(timed, fanouts, disjoint=True), Workspace()
    slots = np.full(nodes, -1, np.int64)

    def each(work: Callable[[np.ndarray], Any]) -> Callable[[], Any]:
        turn = cycle(seeds)
        return lambda: work(next(turn))

    found = {
        "blocks": each(lambda ids: sampler.sample(graphs.NODE, ids, now, space)),
        "blocks, temporal, a tree a seed": each(lambda ids: past.sample(graphs.NODE, ids, now, tree)),
        "exact numpy": each(
            lambda ids: exact.sample(adjacency.indptr, adjacency.indices, ids, fanouts, state, slots, exact.sorting)
        ),
        "exact numpy, by columns": each(
            lambda ids: exact.sample(adjacency.indptr, adjacency.indices, ids, fanouts, state, slots, exact.columns)
        ),
    }
    library = exact.pyg_lib()
    if library:
        rowptr, column = torch.from_numpy(adjacency.indptr), torch.from_numpy(adjacency.indices).long()
        found["pyg-lib"] = each(lambda ids: library(rowptr, column, torch.from_numpy(ids), fanouts))
        found["blocks as fresh tensors, like pyg-lib's"] = each(lambda ids: fresh(sampler, ids, now))
    return found


def fresh(sampler: Sampler, ids: np.ndarray, times: np.ndarray) -> list[torch.Tensor]:
    """What pyg-lib returns: nodes, rows, columns and edge ids as new tensors of 64 bits."""
    sample = sampler.sample(graphs.NODE, ids, times)
    blocks = [part[graphs.RELATION] for part in sample.blocks]
    targets = [np.repeat(np.arange(len(block.pointer) - 1), np.diff(block.pointer)) for block in blocks]
    parts = [
        [frontier[graphs.NODE].ids for frontier in sample.frontiers],
        [block.row for block in blocks],
        targets,
        [block.position for block in blocks],
    ]
    return [torch.from_numpy(np.concatenate(part).astype(np.int64)) for part in parts]


def check(world: Any) -> None:
    """Both samplers return as many distinct true neighbours as there are to have."""
    adjacency, state = world.adjacency, np.random.default_rng(0)
    seeds = state.integers(0, len(adjacency.indptr) - 1, 300)
    degree = np.diff(adjacency.indptr)[seeds]
    ours = Sampler(world, [7]).sample(graphs.NODE, seeds, np.zeros(300, np.int64))
    block, slots = ours.blocks[0][graphs.RELATION], np.full(len(adjacency.indptr) - 1, -1, np.int64)
    found = [(block.pointer, block.row, ours.frontiers[1][graphs.NODE].ids)]
    for draw in (exact.sorting, exact.columns):
        frontiers, pointers, rows = exact.sample(adjacency.indptr, adjacency.indices, seeds, [7], state, slots, draw)
        found.append((pointers[0], rows[0], frontiers[1]))
    for pointer, row, ids in found:
        assert (np.diff(pointer) == np.minimum(degree, 7)).all()
        assert len(set(ids.tolist())) == len(ids)
        for place, seed in enumerate(seeds):
            there = adjacency.indices[adjacency.indptr[seed] : adjacency.indptr[seed + 1]]
            drawn = ids[row[pointer[place] : pointer[place + 1]]]
            values, counts = np.unique(drawn, return_counts=True)
            assert all((there == value).sum() >= count for value, count in zip(values, counts, strict=True))
    assert (slots == -1).all()


def _batch(nodes: int, edges: int) -> Callable[[], Any]:
    """The headline's batches from a graph of another size."""
    world = graphs.power_law(nodes, edges)
    return contenders(world, world, [15, 10], 1024)["blocks"]
