"""The structure of a period: graphs that are counted by hand or by brute force, and what two periods have in common."""

import json
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmill.clock import ALWAYS
from graphmill.drift import measures, structure
from graphmill.drift.source import Period, Source, key_hashes
from graphmill.drift.structure import cohesion, communities, degrees, edges, graphs, groups, mixing, sketch, ties
from graphmill.drift.structure.edges import Edges
from graphmill.features.columns import Field
from graphmill.graph.adjacency import assemble
from graphmill.schema import Schema
from graphmill.task import Task

SCHEMA: dict[str, Any] = {
    "time": "step",
    "nodes": {"person": {"table": "people", "key": "id", "columns": {"kind": "category"}}},
    "edges": {
        "knows": {"table": "knows", "source": {"person": "one"}, "target": {"person": "other"}, "time": "at"},
    },
}


def graph(pairs: list[tuple[int, int]], nodes: int = 6, directed: bool = True) -> Edges:
    """Edges among nodes of one type."""
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    if not directed:
        ends = np.sort(ends, axis=1)
    found = edges.between(("a", "a"), ends[:, 0], ends[:, 1], {"a": nodes})
    return Edges("a", "a", found.indptr, found.indices, nodes, directed)


def source(pairs: list[tuple[int, int, int]], nodes: int = 6, undirected: bool = False, timed: bool = True) -> Source:
    """A source whose people know one another from a step on, without any file."""
    schema = Schema.parse(SCHEMA | {"edges": {"knows": SCHEMA["edges"]["knows"] | {"undirected": undirected}}})
    ends = np.array(pairs, np.int64).reshape(-1, 3)
    one, other, time = ends.T
    row = np.arange(len(ends))
    if undirected:
        apart = one != other
        one, other = np.concatenate([one, other[apart]]), np.concatenate([other, one[apart]])
        time, row = np.concatenate([time, time[apart]]), np.concatenate([row, row[apart]])
    relations = {}
    for relation in schema.relations():
        left, right = (other, one) if relation.reversed else (one, other)
        built = assemble(("person", "person"), left, right, row, time if timed else None, nodes)
        relations[relation.name] = built
    network = SimpleNamespace(
        nodes={"person": nodes},
        relations=relations,
        schema=schema,
        judges_events=True,
        task=SimpleNamespace(node="person"),
        node_time=lambda node: np.full(nodes, ALWAYS),
        key=lambda node: np.array([f"p{place}" for place in range(nodes)], object),
    )
    kinds = np.array([[place % 2] for place in range(nodes)], np.float32)
    rows = SimpleNamespace(
        columns={"person": [Field(name="kind", kind="category", vocabulary=["odd", "even"])]}, nodes={"person": kinds}
    )
    return Source(network, rows, None)  # type: ignore[arg-type]


FROZEN = {"columns": {"node person": {"kind": {"kind": "category", "top": ["odd", "even"]}}}}


def brute(pairs: list[tuple[int, int]], nodes: int) -> dict[str, Any]:
    """What is measured, by sets."""
    distinct = set(pairs)
    apart = {(a, b) for a, b in distinct if a != b}
    near: dict[int, set[int]] = {node: set() for node in range(nodes)}
    for a, b in apart:
        near[a].add(b)
        near[b].add(a)
    wedges = sum(len(found) * (len(found) - 1) // 2 for found in near.values())
    closed = sum(b in near[a] for found in near.values() for a, b in combinations(found, 2))
    touched, seen, sizes = {node for pair in pairs for node in pair}, set(), []
    for node in touched:
        stack, size = [node], 0
        while stack:
            here = stack.pop()
            if here not in seen:
                seen.add(here)
                size += 1
                stack += near[here]
        sizes += [size] if size else []
    left, core, level = {node: set(found) for node, found in near.items() if node in touched}, {}, 0
    while left:
        node = min(left, key=lambda place: len(left[place]))
        level = max(level, len(left[node]))
        core[node] = level
        for other in left.pop(node):
            left[other].discard(node)
    return {
        "reciprocity": sum((b, a) in apart for a, b in apart) / len(apart) if apart else None,
        "repeated_share": 1 - len(distinct) / len(pairs),
        "loop_share": sum(a == b for a, b in pairs) / len(pairs),
        "clustering": closed / wedges if wedges else None,
        "components": len(sizes),
        "giant_share": max(sizes) / len(touched),
        "largest_core": max(core.values()),
        "mean_core": sum(core.values()) / len(core),
    }


# ----- one graph


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_a_graph_is_what_sets_say_it_is(pairs: list[tuple[int, int]]) -> None:
    found, expected = graphs.described(graph(pairs, 7)), brute(pairs, 7)
    for name in (
        "reciprocity",
        "repeated_share",
        "loop_share",
        "components",
        "giant_share",
        "largest_core",
        "mean_core",
    ):
        assert found.get(name) == (None if expected[name] is None else pytest.approx(expected[name], abs=1e-5)), name
    if expected["clustering"] is None:
        assert found["clustering"] is None
    else:
        error = np.sqrt(found["noise"]["clustering"]) + 1e-6
        assert abs(found["clustering"] - expected["clustering"]) < 6 * error + 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30), st.booleans())
def test_assortativity_is_a_correlation_over_both_ends(pairs: list[tuple[int, int]], directed: bool) -> None:
    built = graph(pairs, 7, directed)
    degree = built.sent + built.received if directed else built.received
    if not directed:  # a loop is one edge there
        assert built.received.sum() == 2 * len(pairs) - sum(a == b for a, b in pairs)
    ends = np.array([(degree[a], degree[b]) for a, b in pairs] + [(degree[b], degree[a]) for a, b in pairs], float)
    found = mixing.assortativity(built)
    if ends[:, 0].std() < 1e-6:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(ends.T)[0, 1], abs=1e-6)


def test_a_triangle_with_a_tail() -> None:
    found = graphs.described(graph([(0, 1), (1, 2), (2, 0), (2, 3), (3, 2)]))
    assert found["reciprocity"] == pytest.approx(2 / 5) and found["largest_core"] == 2 and found["components"] == 1
    assert found["clustering"] == pytest.approx(3 / 5, abs=0.01), "wedges: 1 at 0, 1 at 1, 3 at 2"


@pytest.mark.parametrize("nodes", [1, 6])
def test_no_edges_are_no_error(nodes: int) -> None:
    empty = graph([], nodes)
    found = graphs.described(empty)
    assert found["noise"] == {} and "reciprocity" not in found
    assert ties.clustering(empty.pairs) == (None, 0.0)
    loop = graphs.described(graph([(0, 0), (0, 0)], nodes))
    assert loop["loop_share"] == 1 and loop["repeated_share"] == 0.5 and "reciprocity" not in loop
    assert loop["components"] == 1 and loop["largest_core"] == 0 and loop["clustering"] is None


def test_two_types_have_neither_triangles_nor_answers() -> None:
    found = edges.between(("a", "b"), np.array([0, 0, 2]), np.array([1, 1, 0]), {"a": 3, "b": 2})
    values = graphs.described(found)
    assert set(values) == {"repeated_share", "components", "giant_share", "mean_core", "largest_core", "noise"}
    assert (
        values["components"] == 2 and values["giant_share"] == 0.5 and values["repeated_share"] == pytest.approx(1 / 3)
    )
    assert found.present[0].tolist() == [0, 2] and found.present[1].tolist() == [0, 1]


def test_components_and_cores_of_a_clique_beside_a_path() -> None:
    clique = [(a, b) for a, b in combinations(range(5), 2)]
    found = cohesion.values(graph([*clique, (5, 6), (6, 7)], 9).pairs)
    assert found == {
        "components": 2,
        "giant_share": 0.625,
        "mean_core": pytest.approx((5 * 4 + 3) / 8),
        "largest_core": 4,
    }


# ----- degrees


def test_degrees_have_their_known_answers() -> None:
    assert degrees.gini(np.array([3.0, 3.0, 3.0])) == pytest.approx(0)
    assert degrees.tail(np.ones(399)) is None, "too few for a tail"
    draws = np.floor((1 - np.random.default_rng(0).random(200_000)) ** (-1 / 1.8) * 20)
    assert degrees.tail(draws) == pytest.approx(1.8, abs=0.06)
    counts = degrees.histogram(np.array([1, 1, 2, 3, 4, 7, 8, 2**40]))
    assert len(counts) == 64 and sum(counts) == 8
    assert [counts[0], counts[3], counts[4], counts[6], counts[8], counts[9], counts[63]] == [2, 1, 1, 1, 1, 1, 1]
    assert degrees.values(np.empty(0, np.int64)) == dict.fromkeys(["mean_degree", "gini", "tail", "top_share"])


# ----- groups and mixing


def test_mixing_of_two_groups() -> None:
    codes = np.array([0, 0, 1, 1, -1], np.int8)
    told = groups.Groups("a.kind", ["x", "y"], codes)
    found = mixing.mixing(graph([(0, 1), (0, 2), (2, 3), (2, 3), (4, 0)], 5), told, told)
    assert found is not None and found["shares"] == [[0.25, 0.25], [0.0, 0.5]], "nobody knows the group of node 4"
    within, above = mixing.homophily(np.array(found["shares"]))
    assert within == 0.75 and above == pytest.approx((0.75 - (0.5 * 0.25 + 0.5 * 0.75)) / 0.5)
    assert mixing.homophily(np.array([[1.0, 0], [0, 0]])) == (1.0, None), "one group: nothing to be above"
    assert mixing.mixing(graph([(4, 4)], 5), told, told) is None
    other = found | {"shares": [[0.5, 0.25], [0.0, 0.25]]}
    assert mixing.shift(found, other) == pytest.approx(0.25)
    assert mixing.shift(found, found | {"groups": [["x", "z"], ["x", "z"]]}) is None


def test_groups_merge_what_is_rare_and_leave_out_what_is_missing() -> None:
    names = [f"k{place}" for place in range(12)]
    values = np.array([[0], [6], [7], [11], [np.nan]], np.float32)
    rows = SimpleNamespace(columns={"a": [Field(name="kind", kind="category", vocabulary=names)]}, nodes={"a": values})
    task = SimpleNamespace(node="b")
    given_source = Source(SimpleNamespace(task=task, judges_events=True), rows, None)  # type: ignore[arg-type]
    reference = {"columns": {"node a": {"kind": {"kind": "category", "top": names}}}}
    found = groups.groups(given_source, "a", Period(0, 1), reference)
    assert found is not None and found.by == "a.kind" and found.names == [*names[:7], "other"]
    assert found.codes.tolist() == [0, 6, 7, 7, -1]
    assert groups.groups(given_source, "a", Period(0, 1), {}) is None
    assert groups.by_degree(np.array([0, 1, 2, 3, 1_000_000])).codes.tolist() == [0, 0, 1, 1, 7]


def test_labels_are_read_as_of_the_end_of_the_period() -> None:
    import pandas as pd

    examples = pd.DataFrame(
        {
            "node": [0, 1, 2, 0, 2],
            "time": [1, 1, 1, 5, 9],
            "label": pd.array([False, True, pd.NA, True, True], "boolean"),
        }
    )
    task = Task.parse({"node": "a", "label": {"column": "x", "known_after": 2}, "split": {
        "kind": "temporal", "train_end": 5, "validation_end": 7}})  # fmt: skip
    network = SimpleNamespace(task=task, judges_events=False, nodes={"a": 4}, clock="step")

    none = SimpleNamespace(columns={})

    def codes(end: int) -> Any:
        found = groups.groups(Source(network, none, examples), "a", Period(0, end), {})  # type: ignore[arg-type]
        return None if found is None else found.codes.tolist()

    assert codes(2) is None, "labels take two steps"
    assert codes(3) == [0, 1, -1, -1] and codes(6) == [0, 1, -1, -1]
    assert codes(7) is None, "of node 0 the newest label counts, and then all are positive"


# ----- what two periods have in common


def test_a_sketch_estimates_how_many_edges_stay() -> None:
    state = np.random.default_rng(0)
    pool = state.integers(0, 3_000, (60_000, 2))
    hashes = key_hashes(np.array([f"n{place}" for place in range(3_000)], object))
    size = 256
    one, other = (graph(pool[part].tolist(), 3_000) for part in (slice(0, 40_000), slice(20_000, 60_000)))
    sketches = [sketch.edge_sketch(found, hashes, hashes, size) for found in (one, other)]
    assert [len(found) for found in sketches] == [size, size] and np.all(np.diff(sketches[0].astype(float)) > 0)
    share, variance = sketch.jaccard(sketches[0], sketches[1], size)
    left, right = ({tuple(row) for row in pool[part].tolist()} for part in (slice(0, 40_000), slice(20_000, 60_000)))
    exact = len(left & right) / len(left | right)
    assert share is not None and abs(share - exact) < 4 * np.sqrt(variance)
    assert sketch.jaccard(sketches[0], sketches[0], size)[0] == 1
    assert sketch.jaccard(sketches[0], sketches[0][:0], size) == (None, 0.0)
    np.testing.assert_array_equal(sketch.unpacked(sketch.packed(sketches[0]), np.uint64), sketches[0])


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30),
    st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30),
)
def test_sketches_of_few_edges_are_exact(left: set[tuple[int, int]], right: set[tuple[int, int]]) -> None:
    hashes = key_hashes(np.array([f"n{place}" for place in range(10)], object))
    found = [sketch.edge_sketch(graph(sorted(part) * 2, 10), hashes, hashes, 64) for part in (left, right)]
    assert sketch.jaccard(found[0], found[1], 64) == (pytest.approx(len(left & right) / len(left | right)), 0.0)
    turned = sketch.edge_sketch(graph([(b, a) for a, b in left], 10, directed=False), hashes, hashes, 64)
    same = sketch.edge_sketch(graph(sorted(left), 10, directed=False), hashes, hashes, 64)
    np.testing.assert_array_equal(turned, same)


def test_communities_without_an_ancestor_are_counted() -> None:
    hashes = np.arange(60, dtype=np.uint64) << np.uint64(32)
    before = communities.sample(hashes, np.repeat([0, 1, 2], 20), 800)
    split = communities.sample(hashes, np.concatenate([np.repeat([0, 1], 20), np.repeat([2, 3, 4, 5], 5)]), 800)
    share, flow = communities.lineage(split, before, 800)
    assert share == pytest.approx(20 / 60), "a quarter of a community is another one"
    assert flow[0][0] == pytest.approx(1 / 3, abs=1e-5) and flow[2][5] == pytest.approx(1 / 12, abs=1e-5)
    merged = communities.sample(hashes, np.repeat([0, 0, 1], 20), 800)
    assert communities.lineage(merged, before, 800)[0] == 0
    new = communities.sample(hashes + (np.uint64(60) << np.uint64(32)), np.repeat([0, 1, 2], 20), 800)
    assert communities.lineage(new, before, 800)[0] == 1
    few = communities.sample(hashes[:3], np.zeros(3, np.int64), 800)
    assert communities.lineage(few, before, 800)[0] is None, "three nodes say nothing"


def test_a_sample_of_nodes_is_that_of_the_smallest_hashes() -> None:
    state = np.random.default_rng(1)
    hashes = state.integers(0, 2**63, 5_000).astype(np.uint64)
    found = communities.sample(hashes, np.arange(5_000) % 7, 200)
    expected = np.sort((hashes >> np.uint64(32)).astype(np.uint32))[:200]
    np.testing.assert_array_equal(found.hashes, expected)
    # the same nodes in another order, of whom half are in other communities
    order = state.permutation(5_000)
    moved = np.where(np.arange(5_000) % 2, 9, np.arange(5_000) % 7)
    again = communities.sample(hashes[order], moved[order], 200)
    assert np.mean(again.community != found.community) == pytest.approx(0.5, abs=0.15)


def test_planted_communities_are_found_the_same_every_time() -> None:
    pytest.importorskip("networkit", reason="the extra `structure` is not installed")
    state = np.random.default_rng(0)
    planted = np.repeat(np.arange(4), 50)
    pairs = [
        (a, b) for a, b in combinations(range(200), 2) if state.random() < (0.3 if planted[a] == planted[b] else 0.01)
    ]
    built = graph(pairs, 200)
    label, modularity = communities.assignment(built.pairs)
    assert len(np.unique(label)) == 4 and all(len(np.unique(label[planted == place])) == 1 for place in range(4))
    again, _ = communities.assignment(built.pairs)
    np.testing.assert_array_equal(label, again)
    found = communities.values(label, modularity)
    assert found["communities"] == 4 and found["effective_communities"] == pytest.approx(4) and modularity > 0.5


# ----- a whole source


def knows(found: dict[str, Any]) -> dict[str, Any]:
    return dict(found["person.knows.person"])


@pytest.mark.parametrize("undirected", [False, True])
def test_only_edges_of_the_period_count(undirected: bool) -> None:
    rows = [(0, 1, 1), (1, 2, 2), (2, 0, 12), (0, 1, 13), (3, 3, 14), (4, 5, 25)]
    period = Period(10, 20)
    found = structure.build(source(rows, undirected=undirected), period, FROZEN)
    side = found["person.knows.person to person"]
    assert side["edges"] == 3 and side["growth"] == 1.5
    assert side["nodes"] == (4 if undirected else 3) and sum(side["histogram"]) == side["nodes"]
    assert ("person.knows.person from person" in found) is not undirected
    assert side["density"] == pytest.approx(3 / (15 if undirected else 30))
    values = knows(found)
    assert values["loop_share"] == pytest.approx(1 / 3, abs=1e-5) and values["components"] == 2
    # of the period before (0, 1), (1, 2) and of this one (2, 0), (0, 1), (3, 3): one of four in both
    assert values["persistence"] == 0.25
    assert values["mixing"]["by"] == ["person.kind", "person.kind"]
    assert values["mixing_shift"] is not None and values["homophily"] == pytest.approx(2 / 3, abs=1e-3)
    # what comes later changes nothing
    assert structure.build(source(rows[:-1], undirected=undirected), period, FROZEN) == found
    assert len(json.dumps(found, allow_nan=False)) < 10_000


def test_a_profile_of_the_period_before_says_the_same_as_its_edges() -> None:
    state = np.random.default_rng(2)
    rows = [
        (int(a), int(b), int(t))
        for a, b, t in zip(*state.integers(0, 40, (2, 400)), state.integers(0, 20, 400), strict=True)
    ]
    built = source(rows, 40)
    before = {"start": 0, "end": 10, "structure": structure.build(built, Period(0, 10), FROZEN)}
    fresh = structure.build(built, Period(10, 20), FROZEN)
    assert structure.build(built, Period(10, 20), FROZEN, before) == fresh
    gap = before | {"end": 8, "structure": {}}
    assert structure.build(built, Period(10, 20), FROZEN, gap) == fresh, "another period is not the one before"


def test_edges_without_time_are_compared_with_the_profile_before() -> None:
    one, other = (source([(0, 1, 0), (1, 2, 0), second], timed=False) for second in ((2, 3, 0), (3, 4, 0)))
    whole = Period(ALWAYS, 100)
    first = structure.build(one, whole, FROZEN)
    assert "persistence" not in knows(first), "nothing came before"
    then = structure.build(other, whole, FROZEN, {"end": 50, "structure": first})
    assert knows(then)["persistence"] == 0.5


@pytest.mark.parametrize("rows", [[], [(0, 0, 11)], [(0, 1, 1)]])
@pytest.mark.parametrize("undirected", [False, True])
def test_a_relation_with_next_to_nothing_is_measured_all_the_same(rows: Any, undirected: bool) -> None:
    found = structure.build(source(rows, 2, undirected), Period(10, 20), FROZEN)
    assert found["person.knows.person to person"]["edges"] == sum(10 <= row[2] < 20 for row in rows)
    json.dumps(found, allow_nan=False)
    told = measures.measures({"structure": found}, {"scores": None}, 0.7, 30)
    assert all(np.isfinite(one.value) and one.noise >= 0 for one in told)


def test_what_is_told_but_not_tested_is_no_measure() -> None:
    found = structure.build(source([(0, 1, 11), (1, 0, 12), (1, 2, 3)]), Period(10, 20), FROZEN)
    told = {one.key[1:]: one for one in measures.measures({"structure": found}, {"scores": None}, 0.7, 30)}
    assert ("person.knows.person", "reciprocity") in told and told["person.knows.person", "reciprocity"].share
    assert not {"density", "growth", "homophily", "communities"} & {statistic for _, statistic in told}
    names = {one.name for one in measures.histograms({"structure": found})}
    assert names == {"person.knows.person to person: degree", "person.knows.person from person: degree"}


def test_sketches_shrink_as_graphs_grow_in_number() -> None:
    assert graphs.room(1) == graphs.Room(256, 800) and graphs.room(12) == graphs.Room(85, 266)
