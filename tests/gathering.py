"""Networks and gathered batches of any shape, without a graph: types and edges that a trained one seldom shows."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from graphmill.graph.plan import Plan
from graphmill.serving.gathered import Gathered
from graphmill.train.aggregate import mean_of
from graphmill.train.batches import Batch, Edges
from graphmill.train.network import Architecture, Network


@dataclass
class Shape:
    """Types and relations by name, as a graph tells them."""

    nodes: dict[str, int]
    relations: dict[str, SimpleNamespace]
    task: SimpleNamespace

    def incoming(self, node: str) -> list[str]:
        return [name for name, item in self.relations.items() if item.target == node]


def drawn(seed, kind, hidden=16, layers=None):
    """A graph's shape, a network for it with numbers in every weight, and its fan-outs."""
    state = np.random.default_rng(seed)
    types = [f"type{place}" for place in range(state.integers(1, 4))]
    relations = {}
    for place in range(state.integers(0, 6)):
        source, target = (types[state.integers(len(types))] for _ in range(2))
        relations[f"{source}.by{place}.{target}"] = (source, target, int(state.integers(0, 3)))
    embedded = {node: [(f"c{i}", int(state.integers(2, 40))) for i in range(state.integers(0, 3))] for node in types}
    found = int(state.integers(1, 4)) if layers is None else layers
    layers = 0 if kind == "mlp" else found
    architecture = Architecture(
        kind=kind, node=types[0], hidden=hidden, heads=2, layers=layers, dropout=0.2,
        inputs={node: int(state.integers(0 if embedded[node] else 1, 20)) for node in types},
        embedded=embedded, relations=relations,
    )  # fmt: skip
    torch.manual_seed(seed)
    network = Network(architecture).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # norms and biases of a new network would hide a mistake
            parameter.add_(0.2 * torch.randn_like(parameter))
    ends = {name: SimpleNamespace(source=a, target=b) for name, (a, b, _) in relations.items()}
    return Shape(dict.fromkeys(types, 0), ends, SimpleNamespace(node=types[0])), network, [3] * layers


def gathered(shape, network, fanouts, counts, most=4, seed=0):
    """A batch of ``counts(depth)`` rows of each type and at most ``most`` edges a target, for engines and for torch."""
    state = np.random.default_rng(seed)
    architecture, types, relations = network.shape, list(shape.nodes), list(shape.relations)
    plan = Plan.of(shape, fanouts, (architecture.node,))
    present = {(0, architecture.node)} | {(depth + 1, shape.relations[name].source) for depth, name, _ in plan.names}
    dense, codes, narrow, inputs = ([np.empty(0, kind)] for kind in (np.float32, np.int64, np.int32, np.float32))
    table = np.full((len(fanouts) + 1, len(types)), -1, np.int64)
    dense_at, codes_at = np.zeros_like(table), np.zeros_like(table)
    nodes, edges = [{} for _ in table], [{} for _ in fanouts]

    def put(parts, array):
        before = sum(map(len, parts))
        parts.append(array.reshape(-1))
        return before

    for depth in range(len(table)):
        for kind, node in enumerate(types):
            if (depth, node) not in present:
                continue
            table[depth, kind] = count = counts(depth)
            rows = state.normal(size=(count, architecture.inputs[node])).astype(np.float32)
            sizes = [size for _, size in architecture.embedded[node]]
            told = (state.random((count, len(sizes))) * sizes).astype(np.int64)
            dense_at[depth, kind], codes_at[depth, kind] = put(dense, rows), put(codes, told)
            nodes[depth][node] = torch.from_numpy(rows), torch.from_numpy(told)
    blocks = np.zeros((len(plan.names), 4), np.int64)
    for step, (depth, name, target) in enumerate(plan.names):
        source, _, width = architecture.relations[name]
        targets, sources = (int(table[at, types.index(node)]) for at, node in ((depth, target), (depth + 1, source)))
        many = state.integers(0, most + 1, targets) * (state.random() < 0.8) * (sources > 0)
        pointer = np.concatenate([[0], np.cumsum(many)]).astype(np.int32)
        row = state.integers(0, max(sources, 1), int(pointer[-1])).astype(np.int32)
        own = state.normal(size=(len(row), width)).astype(np.float32)
        blocks[step] = put(narrow, pointer), put(narrow, row), len(row), put(inputs, own)
        ours, places = torch.from_numpy(own), torch.arange(len(row), dtype=torch.int32)
        mean = mean_of(ours, places, torch.from_numpy(pointer)) if width else torch.zeros(targets, 0)
        edges[depth][name] = Edges(torch.from_numpy(pointer), torch.from_numpy(row), ours, mean)
    ends = [[types.index(item.source), types.index(item.target)] for item in shape.relations.values()]
    widths = [[architecture.inputs[node], len(architecture.embedded[node])] for node in types]
    batch = Gathered(
        types=types, relations=relations, widths=np.array(widths, np.int64),
        edge_widths=np.array([architecture.relations[name][2] for name in relations], np.int64),
        counts=table, dense_at=dense_at, codes_at=codes_at, steps=plan.steps, blocks=blocks,
        ends=np.array(ends, np.int64).reshape(len(relations), 2), narrow=np.concatenate(narrow),
        dense=np.concatenate(dense), codes=np.concatenate(codes), edge_inputs=np.concatenate(inputs),
    )  # fmt: skip
    return batch, Batch(nodes, edges)
