"""A small graph, a small network on it, and all that may happen to both: what embedding drift is measured on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

CLASSES, COLUMNS, WIDTH = 8, 32, 64


@dataclass(frozen=True)
class World:
    """Nodes of some classes whose edges mostly stay inside their class."""

    features: np.ndarray
    """float32 ``[nodes, COLUMNS]``"""
    labels: np.ndarray
    """int ``[nodes]``"""
    edges: np.ndarray
    """int ``[edges, 2]``"""
    old: np.ndarray
    """bool ``[nodes]``: there since training."""


def base(nodes: int = 4_000, seed: int = 0) -> World:
    """The world at training time."""
    state = np.random.default_rng(seed)
    labels = state.integers(0, CLASSES, nodes)
    return World(_features(labels, state), labels, _edges(labels, 6 * nodes, state), np.ones(nodes, bool))


def natural(world: World, seed: int, share: float = 0.05) -> World:
    """Another snapshot: a share of the edges and of the nodes are new."""
    state = np.random.default_rng([1, seed])
    new = state.random(len(world.labels)) < share
    edges = world.edges.copy()
    chosen = state.random(len(edges)) < share
    edges[chosen] = _edges(world.labels, int(chosen.sum()), state)
    features = np.where(new[:, None], _features(world.labels, state), world.features)
    return replace(world, features=features, edges=edges, old=~new)


def shifted(world: World, seed: int) -> World:
    """Three columns are 0.3 standard deviations higher."""
    features = world.features.copy()
    features[:, :3] += 0.3 * features[:, :3].std(axis=0)
    return replace(world, features=features)


def halved(world: World, seed: int) -> World:
    """Half of the edges are missing."""
    return replace(world, edges=world.edges[np.random.default_rng(seed).random(len(world.edges)) < 0.5])


def rewired(world: World, seed: int) -> World:
    """The targets of 30 % of the edges are anybody."""
    state = np.random.default_rng(seed)
    edges = world.edges.copy()
    chosen = np.flatnonzero(state.random(len(edges)) < 0.3)
    edges[chosen, 1] = state.integers(0, len(world.labels), len(chosen))
    return replace(world, edges=edges)


DRIFTS: dict[str, Callable[[World, int], World]] = {
    "+0.3 sd in 3 of 32 columns": shifted,
    "half of the edges missing": halved,
    "30 % rewired": rewired,
}


class Sage(nn.Module):
    """Two layers of mean aggregation and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.ModuleList([nn.Linear(COLUMNS, WIDTH), nn.Linear(WIDTH, WIDTH)])
        self.near = nn.ModuleList([nn.Linear(COLUMNS, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)])
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, rows: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        for depth, (own, near) in enumerate(zip(self.own, self.near, strict=True)):
            rows = own(rows) + near(torch.sparse.mm(mean, rows))
            rows = torch.relu(rows) if depth == 0 else rows
        return rows


def train(world: World, seed: int, labels: np.ndarray | None = None, steps: int = 60) -> Sage:
    """A network trained on all nodes of a world."""
    torch.manual_seed(seed)
    network, mean = Sage(), _mean(world)
    wanted = torch.from_numpy(world.labels if labels is None else labels)
    optimizer = torch.optim.Adam(network.parameters(), 0.01, weight_decay=5e-4)
    rows = torch.from_numpy(world.features)
    for _ in range(steps):
        optimizer.zero_grad()
        found = network.head(nn.functional.dropout(network(rows, mean), 0.3))
        nn.functional.cross_entropy(found, wanted).backward()
        optimizer.step()
    return network.eval()


@torch.inference_mode()
def embed(network: Sage, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings ``[nodes, WIDTH]`` and decisions ``[nodes]`` of all nodes."""
    rows = network(torch.from_numpy(world.features), _mean(world))
    return rows.numpy(), network.head(rows).argmax(dim=1).numpy()


def retrained(world: World, name: str, seed: int = 9) -> Sage:
    """A retraining that went wrong: ``merged classes``, ``40 % label noise`` or ``no edges``."""
    state = np.random.default_rng(seed)
    if name == "merged classes":
        return train(world, seed, world.labels // 4 * 4)
    if name == "40 % label noise":
        wrong = state.random(len(world.labels)) < 0.4
        return train(world, seed, np.where(wrong, state.integers(0, CLASSES, len(wrong)), world.labels))
    return train(replace(world, edges=world.edges[:0]), seed)


RETRAINED = ("merged classes", "40 % label noise", "no edges")


def rotation(seed: int = 0) -> np.ndarray:
    """A random rotation: float32 ``[WIDTH, WIDTH]``."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)


def _features(labels: np.ndarray, state: np.random.Generator) -> np.ndarray:
    centres = np.random.default_rng(77).normal(0, 0.5, (CLASSES, COLUMNS))
    return (centres[labels] + state.normal(size=(len(labels), COLUMNS))).astype(np.float32)


def _edges(labels: np.ndarray, count: int, state: np.random.Generator) -> np.ndarray:
    """Eight of ten stay inside the class of their source."""
    source, target = state.integers(0, len(labels), (2, count))
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[order], np.arange(CLASSES + 1))
    size = np.diff(first)[labels[source]]
    inside = order[first[labels[source]] + (state.random(count) * size).astype(np.int64)]
    return np.stack([source, np.where(state.random(count) < 0.8, inside, target)], axis=1)


def _mean(world: World) -> torch.Tensor:
    """The matrix that takes the mean over the neighbours."""
    ends = np.concatenate([world.edges, world.edges[:, ::-1]])
    count = np.bincount(ends[:, 0], minlength=len(world.labels)).astype(np.float32)
    weight = torch.from_numpy(1 / count[ends[:, 0]])
    size = (len(world.labels),) * 2
    return torch.sparse_coo_tensor(torch.from_numpy(ends.T.copy()), weight, size, check_invariants=False).coalesce()
