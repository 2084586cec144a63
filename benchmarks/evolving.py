"""A directed graph that lives: nodes come and go, and tie edges by a law that changes in one way when it drifts."""

from dataclasses import dataclass, replace

import numpy as np

NODES, EDGES, COMMUNITIES = 3_000, 19_000, 10
DEATHS = 0.05
"""Share of the nodes that are others in the next snapshot."""
NATURAL = 0.03
"""Standard deviation of the number of edges between snapshots."""


@dataclass(frozen=True)
class Law:
    """How edges come about."""

    edges: float = EDGES
    inside: float = 0.60
    """Share of the edges that stay inside a community, but for those that happen to."""
    answered: float = 0.10
    """Reciprocity."""
    tail: float = 1.0
    """Power that weights are taken to."""
    merged: bool = False
    """Whether the first two communities are one."""
    noise: float = 0.0
    """Share of the labels that are anything."""


DRIFTS = {
    "homophily .60 to .55": Law(inside=0.55),
    "two communities merge": Law(merged=True),
    "15 % label noise": Law(noise=0.15),
    "degree tail w^0.9": Law(tail=0.9),
    "reciprocity .10 to .12": Law(answered=0.12),
    "edges +20 %": Law(edges=1.2 * EDGES),
}


@dataclass(frozen=True)
class Snapshot:
    """The graph at one time."""

    weight: np.ndarray
    community: np.ndarray
    names: np.ndarray
    """int ``[nodes]``: who each node is; one that came in another's place has a new one."""
    labels: np.ndarray
    edges: np.ndarray
    """int ``[edges, 2]``"""


def first(state: np.random.Generator) -> Snapshot:
    """A snapshot by the law as it is."""
    weight, community = _weights(NODES, state), state.integers(0, COMMUNITIES, NODES)
    empty = Snapshot(weight, community, np.arange(NODES), community, np.empty((0, 2), np.int64))
    return replace(empty, edges=_drawn(empty, Law(), EDGES, state))


def following(before: Snapshot, law: Law, state: np.random.Generator) -> Snapshot:
    """The next snapshot: some nodes are others, and every node ties its edges anew, by its weight and community."""
    dead = np.flatnonzero(state.random(NODES) < DEATHS)
    weight, community, names = before.weight.copy(), before.community.copy(), before.names.copy()
    weight[dead], community[dead] = _weights(len(dead), state), state.integers(0, COMMUNITIES, len(dead))
    names[dead] = names.max() + 1 + np.arange(len(dead))
    labels = community.copy()
    wrong = np.flatnonzero(state.random(NODES) < law.noise)
    labels[wrong] = state.integers(0, COMMUNITIES, len(wrong))
    now = Snapshot(weight, community, names, labels, before.edges)
    return replace(now, edges=_drawn(now, law, int(law.edges * np.exp(state.normal(0, NATURAL))), state))


def _weights(count: int, state: np.random.Generator) -> np.ndarray:
    return np.minimum(state.pareto(1.8, count) + 1, 60)


def _drawn(now: Snapshot, law: Law, count: int, state: np.random.Generator) -> np.ndarray:
    """Edges between different nodes, each once; answers are a part of the count."""
    single = max(0, int(count * (1 - law.answered / 2)))
    weight = now.weight**law.tail
    border = np.cumsum(weight) / weight.sum()
    source = np.searchsorted(border, state.random(single))
    group = np.where((now.community == 1) & law.merged, 0, now.community)
    order = np.argsort(group, kind="stable")
    inner, start = np.cumsum(weight[order]), np.searchsorted(group[order], np.arange(COMMUNITIES + 1))
    low = np.concatenate([[0], inner])[start]
    place = low[group[source]] + state.random(single) * (low[group[source] + 1] - low[group[source]])
    inside = order[np.searchsorted(inner, place).clip(0, NODES - 1)]
    target = np.where(state.random(single) < law.inside, inside, np.searchsorted(border, state.random(single)))
    edges = np.stack([source, target], axis=1)
    answers = edges[state.choice(single, count - single, replace=False)][:, ::-1]
    edges = np.unique(np.concatenate([edges, answers]), axis=0)
    return edges[edges[:, 0] != edges[:, 1]]
