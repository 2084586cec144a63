"""Random temporal graphs in memory, and the stand-ins that kernels need of a graph."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from graphmill.graph.adjacency import Adjacency, assemble


@dataclass
class World:
    """What a sampler asks of a graph."""

    nodes: dict[str, int]
    relations: dict[str, Adjacency]
    order: list[str] = field(default_factory=list)

    def incoming(self, node: str) -> list[str]:
        return [name for name, item in self.relations.items() if item.target == node]


@dataclass
class Edges:
    """An edge list: who rated whom, when, and how much."""

    source: np.ndarray
    target: np.ndarray
    time: np.ndarray
    value: np.ndarray
    people: int

    def world(self) -> tuple[World, np.ndarray]:
        """The graph in both directions, and the edges' values by edge id; ids follow the time."""
        order = np.argsort(self.time, kind="stable")
        source, target, time = self.source[order], self.target[order], self.time[order]
        rows = np.arange(len(order), dtype=np.int32)
        names = ("person", "person")
        return World(
            {"person": self.people},
            {
                "person.rates.person": assemble(names, source, target, rows, time, self.people),
                "person.rev_rates.person": assemble(names, target, source, rows, time, self.people),
            },
        ), self.value[order]


@st.composite
def edge_lists(draw, latest=20):
    """Any temporal multigraph, self-loops and ties in time included."""
    count, size = draw(st.integers(2, 8)), draw(st.integers(1, 40))
    whole = st.lists(st.integers(0, count - 1), min_size=size, max_size=size)
    source, target = np.array(draw(whole)), np.array(draw(whole))
    time = np.array(draw(st.lists(st.integers(0, latest), min_size=size, max_size=size)))
    value = np.array(draw(st.lists(st.integers(-5, 5), min_size=size, max_size=size)), float)
    return Edges(source, target, time, value, count)


@st.composite
def changed_after(draw, edges: Edges, moment: int):
    """The same edges before ``moment``; those at or after it are altered, dropped or joined by others."""
    past = edges.time < moment
    count = draw(st.integers(0, 15))
    whole = st.lists(st.integers(0, edges.people - 1), min_size=count, max_size=count)
    later = st.lists(st.integers(moment, moment + 30), min_size=count, max_size=count)
    values = st.lists(st.integers(-99, 99), min_size=count, max_size=count)
    join = np.concatenate
    return Edges(
        join([edges.source[past], np.array(draw(whole), int)]),
        join([edges.target[past], np.array(draw(whole), int)]),
        join([edges.time[past], np.array(draw(later), int)]),
        join([edges.value[past], np.array(draw(values), float)]),
        edges.people,
    )
