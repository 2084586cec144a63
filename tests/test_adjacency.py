"""Adjacencies against numpy's own sort, and degrees against counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.graph.adjacency import assemble, load, lower_bound, save
from tests.worlds import edge_lists

NAMES = ("person", "person")


def adjacency_of(edges, time):
    rows = np.arange(len(edges.source), dtype=np.int32)
    return assemble(NAMES, edges.source, edges.target, rows, time, edges.people)


@settings(max_examples=300, deadline=None)
@given(edge_lists())
def test_rows_equal_a_stable_sort(edges):
    # multi-edges, self-loops, isolated nodes and ties are all drawn
    found = adjacency_of(edges, edges.time)
    order = np.lexsort((np.arange(len(edges.time)), edges.time, edges.target))
    assert found.edge_id.tolist() == order.tolist()
    assert found.indices.tolist() == edges.source[order].tolist()
    assert found.time.tolist() == edges.time[order].tolist()
    assert np.diff(found.indptr).tolist() == np.bincount(edges.target, minlength=edges.people).tolist()
    assert (found.indices.dtype, found.edge_id.dtype, found.indptr.dtype) == (np.int32, np.int32, np.int64)


@settings(max_examples=300, deadline=None)
@given(edge_lists(), st.lists(st.integers(-3, 25), min_size=8, max_size=8))
def test_degree_as_of_equals_counting(edges, moments):
    nodes = np.arange(8) % edges.people
    times = np.array(moments)
    expected = [((edges.target == node) & (edges.time < time)).sum() for node, time in zip(nodes, times, strict=True)]
    assert adjacency_of(edges, edges.time).degree(nodes, times).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(edge_lists())
def test_without_a_time_everything_is_always_visible(edges):
    found = adjacency_of(edges, None)
    assert found.time is None and len(found.times()) == 0
    assert found.edge_id.tolist() == np.argsort(edges.target, kind="stable").tolist()
    nodes = np.arange(edges.people)
    assert found.degree(nodes, np.full(edges.people, ALWAYS)).tolist() == np.diff(found.indptr).tolist()


def test_a_time_that_is_always_is_no_time():
    ends = np.array([0, 1])
    assert assemble(NAMES, ends, ends, ends, np.full(2, ALWAYS), 2).time is None
    some = assemble(NAMES, ends, ends, ends, np.array([5, ALWAYS]), 2)
    assert some.time.tolist() == [5, ALWAYS]
    assert some.degree(np.array([0, 1]), np.array([5, ALWAYS + 1])).tolist() == [0, 1]


def test_the_edge_list_is_left_as_it_was():
    source, target, rows, time = (np.array(values) for values in ([0, 1, 2], [2, 0, 2], [5, 6, 7], [3, 2, 1]))
    for array in (source, target, rows, time):
        array.flags.writeable = False
    found = assemble(NAMES, source, target, rows, time, 3)
    assert (found.indptr.tolist(), found.indices.tolist()) == ([0, 1, 1, 3], [1, 2, 0])
    assert (found.edge_id.tolist(), found.time.tolist()) == ([6, 7, 5], [2, 1, 3])


def test_no_edge_and_no_node():
    nothing = np.empty(0, np.int32)
    found = assemble(NAMES, nothing, nothing, nothing, np.empty(0, np.int64), 3)
    assert found.indptr.tolist() == [0, 0, 0, 0] and found.edges == 0
    assert found.degree(np.array([0, 2]), np.array([9, 9])).tolist() == [0, 0]
    assert assemble(NAMES, nothing, nothing, nothing, None, 0).indptr.tolist() == [0]


@pytest.mark.parametrize("timed", [True, False])
def test_save_and_load(tmp_path, timed):
    ends = np.array([1, 0, 1])
    found = assemble(("a", "b"), ends, ends, np.arange(3), np.array([3, 2, 1]) if timed else None, 2)
    save(found, tmp_path / "a.r.b")
    again = load(tmp_path / "a.r.b", "a", "b")
    assert (again.source, again.target) == ("a", "b")
    for name in ("indptr", "indices", "edge_id"):
        assert getattr(again, name).tolist() == getattr(found, name).tolist()
        assert isinstance(getattr(again, name), np.memmap) and getattr(again, name).offset % 64 == 0
    assert again.times().tolist() == found.times().tolist() and (again.time is None) == (not timed)
    assert again.degree(np.array([1]), np.array([3])).tolist() == [1 if timed else 2]


def test_save_and_load_of_nothing(tmp_path):
    nothing = np.empty(0, np.int32)
    save(assemble(NAMES, nothing, nothing, nothing, np.empty(0, np.int64), 2), tmp_path / "r")
    again = load(tmp_path / "r", *NAMES)
    assert again.edges == 0 and again.degree(np.array([1]), np.array([5])).tolist() == [0]


def test_lower_bound():
    values = np.array([9, 1, 3, 3, 3, 7, 0])
    assert [lower_bound(values, 1, 6, bound) for bound in (0, 1, 2, 3, 4, 7, 8)] == [1, 1, 2, 2, 5, 5, 6]
    assert lower_bound(values, 4, 4, 3) == 4


def test_degrees_of_nodes_that_are_not_there_are_refused():
    rows = np.arange(3, dtype=np.int32)
    adjacency = assemble(("a", "b"), rows, rows, rows, None, 3)
    assert adjacency.degree(np.array([0, 2]), np.array([1, 1])).tolist() == [1, 1]
    assert adjacency.degree(np.array([], int), np.array([], int)).tolist() == []
    with pytest.raises(UserError, match="b: 2 nodes and 1 times"):
        adjacency.degree(np.array([0, 1]), np.array([1]))
    for wrong in (-1, 3):
        with pytest.raises(UserError, match="b: node ids must be within 0 and 2"):
            adjacency.degree(np.array([wrong]), np.array([1]))
