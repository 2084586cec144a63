"""The windows kernel against brute force, and against the future."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmill.features.windows import Window, lookup, prefix_sums
from tests.worlds import changed_after, edge_lists

RELATION = "person.rates.person"
WINDOW = Window(over=RELATION, sizes=[3, 10, "ever"], columns={"value": ["sum", "mean", "deviation"]})


def values(edges, nodes, times):
    world, value = edges.world()
    adjacency = world.relations[RELATION]
    prefix = prefix_sums(adjacency.indptr, value[adjacency.edge_id][:, None])
    return lookup(WINDOW, adjacency, prefix, nodes, times, "step", 1)


def oracle(edges, node, time):
    found = []
    for size in (3, 10, 10**9):
        inside = (edges.target == node) & (edges.time < time) & (edges.time >= time - size)
        part = edges.value[inside]
        some = len(part) > 0
        found += [len(part), part.sum(), part.mean() if some else np.nan, part.std() if some else np.nan]
    past = edges.time[(edges.target == node) & (edges.time < time)]
    return [*found, time - past.max() if len(past) else np.nan]


@settings(max_examples=700, deadline=None)
@given(st.data(), edge_lists(), st.lists(st.integers(0, 25), min_size=4, max_size=4))
def test_windows_equal_brute_force(data, edges, moments):
    nodes = np.array(data.draw(st.lists(st.integers(0, edges.people - 1), min_size=4, max_size=4)))
    found = values(edges, nodes, np.array(moments))
    for place in range(4):
        expected = oracle(edges, nodes[place], moments[place])
        np.testing.assert_allclose(found[place], expected, atol=2e-6, err_msg=str(WINDOW.names()))


@settings(max_examples=700, deadline=None)
@given(st.data(), edge_lists(), st.integers(0, 22))
def test_windows_never_see_the_future(data, edges, moment):
    other = data.draw(changed_after(edges, moment))
    nodes = np.arange(edges.people)
    times = np.array(data.draw(st.lists(st.integers(0, moment), min_size=len(nodes), max_size=len(nodes))))
    np.testing.assert_array_equal(values(edges, nodes, times), values(other, nodes, times))
