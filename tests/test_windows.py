"""The windows kernel against brute force, and against the future."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.features.sums import running
from graphmill.features.windows import Window, label_lookup, lookup
from graphmill.graph.adjacency import assemble
from graphmill.graph.runs import runs
from tests.worlds import changed_after, edge_lists

RELATION = "person.rates.person"
WINDOW = Window(over=RELATION, sizes=[3, 10, "ever"], columns={"value": ["sum", "mean", "deviation"]})


def values(edges, nodes, times, direct=32, offset=0.0):
    world, value = edges.world()
    adjacency = world.relations[RELATION]
    sums = running(adjacency.indptr, value[adjacency.edge_id][:, None] + offset)
    return lookup(WINDOW, adjacency, sums, nodes, times, "step", 1, direct)


def oracle(edges, node, time, offset=0.0):
    found = []
    for size in (3, 10, 10**9):
        inside = (edges.target == node) & (edges.time < time) & (edges.time >= time - size)
        part = edges.value[inside] + offset
        count = int(inside.sum())
        part = part[~np.isnan(part)]
        some = len(part) > 0
        found += [count, part.sum(), part.mean() if some else np.nan, part.std() if some else np.nan]
    past = edges.time[(edges.target == node) & (edges.time < time)]
    return [*found, time - past.max() if len(past) else np.nan]


@settings(max_examples=700, deadline=None)
@given(st.data(), edge_lists(), st.lists(st.integers(0, 25), min_size=4, max_size=4), st.sampled_from([0, 3, 32]))
def test_windows_equal_brute_force(data, edges, moments, direct):
    nodes = np.array(data.draw(st.lists(st.integers(0, edges.people - 1), min_size=4, max_size=4)))
    missing = data.draw(st.lists(st.booleans(), min_size=len(edges.value), max_size=len(edges.value)))
    edges = dataclasses.replace(edges, value=np.where(missing, np.nan, edges.value))
    found = values(edges, nodes, np.array(moments), direct)
    for place in range(4):
        expected = oracle(edges, nodes[place], moments[place])
        np.testing.assert_allclose(found[place], expected, atol=2e-6, err_msg=str(WINDOW.names()))


@pytest.mark.parametrize("direct", [0, 32])
@settings(max_examples=150, deadline=None)
@given(edges=edge_lists(), moment=st.integers(0, 25))
def test_a_spread_that_is_small_beside_the_values_is_kept(direct, edges, moment):
    # float32 holds whole numbers up to 2**24
    offset, nodes = float(2**23), np.arange(edges.people)
    found = values(edges, nodes, np.full(len(nodes), moment), direct, offset)
    for node in nodes:
        np.testing.assert_allclose(found[node], oracle(edges, node, moment, offset), rtol=1e-6, atol=1e-5)


def one_row(value, size, direct):
    """Sum, mean and deviation of the newest ``size`` values of one node, and what they should be."""
    rows = np.arange(len(value), dtype=np.int32)
    adjacency = assemble(("person", "person"), rows * 0, rows * 0, rows, rows.astype(np.int64), 1)
    window = Window(over=RELATION, sizes=[size], columns={"value": ["sum", "mean", "deviation"]}, since_last=False)
    found = lookup(window, adjacency, running(adjacency.indptr, value[:, None]), [0], [len(value)], "step", 1, direct)
    part = value[-size:].astype(np.float32).astype(float)
    part = part[~np.isnan(part)]
    return found[0], [size, part.sum(), *((part.mean(), part.std()) if len(part) else (np.nan, np.nan))]


COUNT = np.arange(5_000)
HARD = {
    "small after large": np.where(COUNT < 4_900, 1e9, COUNT % 3),
    "small after one that is huge": np.where(COUNT == 1, 1e12, COUNT % 3),
    "small after the largest there is": np.where(COUNT == 1, 3e38, COUNT % 3),
    "large, a narrow spread": 2.0**23 + COUNT % 3,
    "large, a narrow spread, the first missing": np.where(COUNT < 7, np.nan, 2.0**23 + COUNT % 3),
    "large of both signs, then of a narrow spread": np.where(COUNT < 4_900, 1e9 * (-1.0) ** COUNT, 5e6 + COUNT % 5),
    "tenths after thousands, half of them missing": np.where(COUNT % 2 == 0, np.nan, np.where(COUNT < 9, 9e3, 0.1)),
    "nothing but zeros after large": np.where(COUNT < 4_900, 1e9, 0.0),
    "the same number after others": np.where(COUNT < 4_900, 0.5 + COUNT, 123_456.7),
}


@pytest.mark.parametrize("size", [20, 33, 100, 4_999, 5_000])
@pytest.mark.parametrize("direct", [0, 32])
@pytest.mark.parametrize("kind", HARD)
def test_what_came_before_a_window_does_not_blur_it(kind, direct, size):
    """To a millionth of itself, or a millionth where it is close to 0."""
    found, expected = one_row(HARD[kind], size, direct)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


MIXED = st.lists(st.sampled_from([0.0, 1.0, 2.0, 1e9, 1e9 + 64, -1e9, 1e-3, np.nan]), min_size=2, max_size=120)


@settings(max_examples=500, deadline=None)
@given(st.data(), MIXED)
def test_any_mixture_of_scales_equals_brute_force(data, value):
    size = data.draw(st.integers(1, len(value)))
    found, expected = one_row(np.array(value), size, data.draw(st.sampled_from([0, 4, 32])))
    scale = max((abs(one) for one in value[-size:] if one == one), default=0)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=max(2e-6, 1e-9 * scale))


def test_running_sums_are_right_to_the_last_digit():
    value = np.random.default_rng(0).lognormal(3, 2, 200_000).astype(np.float32)
    prefix = running(np.array([0, len(value)]), value[:, None]).prefix
    shifted = value.astype(float) - float(value[0])
    for place in (1, 777, len(value) - 1):
        assert prefix[place, 1] == pytest.approx(math.fsum(shifted[: place + 1]), rel=1e-15)
        assert prefix[place, 2] == pytest.approx(math.fsum(shifted[: place + 1] ** 2), rel=1e-15)


@settings(max_examples=700, deadline=None)
@given(st.data(), edge_lists(), st.integers(0, 22), st.sampled_from([0, 32]))
def test_windows_never_see_the_future(data, edges, moment, direct):
    other = data.draw(changed_after(edges, moment))
    nodes = np.arange(edges.people)
    times = np.array(data.draw(st.lists(st.integers(0, moment), min_size=len(nodes), max_size=len(nodes))))
    np.testing.assert_array_equal(values(edges, nodes, times, direct), values(other, nodes, times, direct))


@settings(max_examples=300, deadline=None)
@given(edge_lists(), st.integers(0, 25), st.sampled_from([0, 32]))
def test_labels_equal_brute_force(edges, moment, direct):
    """Here the value is the label of an edge's source, and the time is when it became known."""
    world, value = edges.world()
    adjacency = world.relations[RELATION]
    label = (value[adjacency.edge_id] > 0).astype(float)
    known = adjacency.indptr, adjacency.time, running(adjacency.indptr, label[:, None])
    window = Window(over=RELATION, sizes=[4, "ever"], known_label=True)
    nodes = np.arange(edges.people)
    found = label_lookup(window, known, nodes, np.full(len(nodes), moment), "step", direct)
    for node in nodes:
        expected = []
        for size in (4, 10**9):
            inside = (edges.target == node) & (edges.time < moment) & (edges.time >= moment - size)
            part = edges.value[inside] > 0
            expected += [part.mean() if len(part) else np.nan, len(part)]
        np.testing.assert_allclose(found[node], expected, atol=1e-6)
    none = np.zeros(edges.people + 1, np.int64), np.empty(0, np.int64), running([0], np.empty((0, 1)))
    assert np.isnan(label_lookup(window, none, nodes, nodes, "step")[:, 0]).all()
    assert label_lookup(window, known, [], [], "step").shape == (0, 4)


def test_odd_moments_and_sizes():
    rows = np.arange(4, dtype=np.int32)
    time = np.array([ALWAYS, 5, 7, 7])
    adjacency = assemble(("person", "person"), rows, rows * 0, rows, time, 2)
    sums = running(adjacency.indptr, np.array([[1.0], [2.0], [4.0], [np.nan]]))
    far = 2**62 - 1
    window = Window(over=RELATION, sizes=[1, far, "ever"], columns={"value": ["sum"]})
    earliest, latest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    nodes, times = [0, 0, 0, 0, 1], [earliest, 6, 8, latest, 8]
    found = lookup(window, adjacency, sums, nodes, times, "step", 1)
    assert found[0].tolist()[:6] == [0, 0, 0, 0, 0, 0], "before everything there is nothing"
    assert found[1].tolist() == [1, 2, 1, 2, 2, 3, 1], "what has no time is in the endless window alone"
    assert found[2].tolist() == [2, 4, 3, 6, 4, 7, 1]
    assert found[3].tolist()[4:6] == [4, 7]
    assert found[4].tolist()[:6] == [0, 0, 0, 0, 0, 0] and np.isnan(found[4, 6])
    only = Window(over=RELATION, sizes=["ever"])
    assert lookup(only, adjacency, None, [0, 0], [8, earliest + 1], "step", 1)[:, 0].tolist() == [4, 1]
    always = assemble(("person", "person"), rows, rows * 0, rows, None, 2)
    assert lookup(only, always, None, [0, 1], [0, 0], "step", 1)[:, 0].tolist() == [4, 0]
    assert np.isnan(lookup(only, always, None, [0], [0], "step", 1)[0, 1])
    assert lookup(window, adjacency, sums, [], [], "step", 1).shape == (0, 7)


def test_bad_requests_are_told():
    rows = np.arange(3, dtype=np.int32)
    adjacency = assemble(("person", "person"), rows, rows, rows, None, 3)
    for wrong in (-1, 3, 2**32):
        with pytest.raises(UserError, match="node ids must be within 0 and 2"):
            lookup(Window(over=RELATION), adjacency, None, [wrong], [1], "step", 1)
    for nodes, times in (([0, 1], [1]), ([np.nan], [1]), ([0], [1.5]), (["a"], [1])):
        with pytest.raises(UserError, match="nodes and times must be whole numbers, as many of each"):
            lookup(Window(over=RELATION), adjacency, None, nodes, times, "step", 1)
    with pytest.raises(UserError, match="has no time, so its only size is 'ever'"):
        lookup(Window(over=RELATION, sizes=[3]), adjacency, None, [0], [1], "step", 1)


def test_runs_hold_whole_rows(monkeypatch):
    indptr = np.array([0, 0, 3, 4, 20, 20, 21, 21])
    assert list(runs(indptr, 5)) == [(0, 3), (3, 4), (4, 7)]
    assert list(runs(indptr, 1)) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 7)]
    assert list(runs(indptr, 21)) == [(0, 7)] and list(runs(indptr[:1], 5)) == []
    state = np.random.default_rng(0)
    value = state.normal(size=(21, 2))
    whole = running(indptr, value)
    monkeypatch.setattr("graphmill.features.sums.RUN", 5)
    np.testing.assert_array_equal(running(indptr, value).prefix, whole.prefix)
