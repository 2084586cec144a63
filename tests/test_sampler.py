"""The sampler: only the past, exact counts, one answer for one example."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmill.errors import UserError
from graphmill.graph.adjacency import assemble
from graphmill.graph.hops import Workspace
from graphmill.graph.kernels import forget, merge
from graphmill.graph.sample import ALL
from graphmill.graph.sampler import Sampler
from tests.worlds import Edges, World, changed_after, edge_lists


def flat(sample):
    """Everything that a sample would feed to a network."""
    found = []
    for frontiers in sample.frontiers:
        for name, frontier in frontiers.items():
            found += [name, frontier.ids.tolist(), frontier.times.tolist()]
    for blocks in sample.blocks:
        for name, block in blocks.items():
            found += [name, block.pointer.tolist(), block.row.tolist(), block.edge_id.tolist(), block.age.tolist()]
    return found


@settings(max_examples=1_500, deadline=None)
@given(st.data(), edge_lists(), st.integers(0, 22), st.integers(0, 3), st.booleans())
def test_nothing_at_or_after_the_time_is_read(data, edges, moment, fanout, recent):
    other = data.draw(changed_after(edges, moment))
    seeds = np.arange(edges.people, dtype=np.int32)
    times = np.array(data.draw(st.lists(st.integers(0, moment), min_size=len(seeds), max_size=len(seeds))))
    fanouts = [fanout or ALL, 2]
    here = Sampler(edges.world()[0], fanouts, recent, seed=3).sample("person", seeds, times)
    there = Sampler(other.world()[0], fanouts, recent, seed=3).sample("person", seeds, times)
    assert flat(here) == flat(there)


@settings(max_examples=300, deadline=None)
@given(edge_lists(), st.integers(0, 22), st.integers(1, 4))
def test_what_is_sampled_exists_before_the_time_and_is_not_repeated(edges, moment, fanout):
    world, _ = edges.world()
    seeds = np.arange(edges.people, dtype=np.int32)
    sample = Sampler(world, [fanout], seed=1).sample("person", seeds, np.full(len(seeds), moment))
    order = np.argsort(edges.time, kind="stable")
    for name, block in sample.blocks[0].items():
        forward = name == "person.rates.person"
        source, target = (edges.source, edges.target) if forward else (edges.target, edges.source)
        for seed in seeds:
            mine = slice(block.pointer[seed], block.pointer[seed + 1])
            rows = order[block.edge_id[mine]]
            there = np.flatnonzero((target == seed) & (edges.time < moment))
            assert len(rows) == min(fanout, len(there)) and set(rows) <= set(there)
            assert len(set(rows)) == len(rows)
            assert sample.frontiers[1]["person"].ids[block.row[mine]].tolist() == source[rows].tolist()
            assert block.age[mine].tolist() == (moment - edges.time[rows]).tolist()


@settings(max_examples=200, deadline=None)
@given(edge_lists(), st.integers(0, 22), st.randoms())
def test_an_example_is_sampled_alike_in_any_company(edges, moment, random):
    world, _ = edges.world()
    sampler = Sampler(world, [2], seed=5)
    seeds = list(range(edges.people))
    random.shuffle(seeds)
    together = sampler.sample("person", np.array(seeds), np.full(len(seeds), moment))
    for place, seed in enumerate(seeds):
        alone = sampler.sample("person", np.array([seed]), np.array([moment]))
        for name, block in alone.blocks[0].items():
            other = together.blocks[0][name]
            assert block.edge_id.tolist() == other.edge_id[other.pointer[place] : other.pointer[place + 1]].tolist()


def test_uniform_draws_are_uniform():
    count, fanout, rounds = 12, 3, 4_000
    rows = np.arange(count, dtype=np.int32)
    adjacency = assemble(("item", "hub"), rows, np.zeros(count, np.int32), rows, np.arange(count), 1)
    world = World({"hub": 1, "item": count}, {"item.in.hub": adjacency})
    hits = np.zeros(count)
    for seed in range(rounds):
        sample = Sampler(world, [fanout], seed=seed).sample("hub", np.array([0]), np.array([count]))
        hits[sample.frontiers[1]["item"].ids] += 1
    expected = rounds * fanout / count
    # the hits of one item are binomial: five standard deviations
    assert np.abs(hits - expected).max() < 5 * np.sqrt(rounds * fanout / count * (1 - fanout / count))


def test_recent_takes_the_newest():
    rows = np.arange(6, dtype=np.int32)
    adjacency = assemble(("item", "hub"), rows, np.zeros(6, np.int32), rows, np.array([5, 1, 4, 2, 3, 6]), 1)
    world = World({"hub": 1, "item": 6}, {"item.in.hub": adjacency})
    sample = Sampler(world, [2], recent=True).sample("hub", np.array([0]), np.array([5]))
    assert sorted(sample.frontiers[1]["item"].ids) == [2, 4]


def test_odd_requests():
    rows = np.arange(3, dtype=np.int32)
    adjacency = assemble(("item", "hub"), rows, np.zeros(3, np.int32), rows, np.array([1, 2, 3]), 2)
    world = World({"hub": 2, "item": 3}, {"item.in.hub": adjacency})
    isolated = Sampler(world, [5]).sample("hub", np.array([1, 1]), np.array([9, 9]))
    assert isolated.blocks[0]["item.in.hub"].pointer.tolist() == [0, 0, 0]
    assert len(Sampler(world, [5]).sample("hub", np.array([0]), np.array([-10])).frontiers[1]["item"].ids) == 0
    assert len(Sampler(world, [0]).sample("hub", np.array([0]), np.array([9])).frontiers[1]["item"].ids) == 0
    assert len(Sampler(world, [5]).sample("hub", np.array([], int), np.array([], int)).frontiers[0]["hub"].ids) == 0
    for wrong in ([2], [-1]):
        with pytest.raises(UserError, match="within 0 and 1"):
            Sampler(world, [5]).sample("hub", np.array(wrong), np.array([1]))
    with pytest.raises(UserError, match="fan-out -2"):
        Sampler(world, [-2])


def hub(count, times=None):
    """A world with one hub that ``count`` items point at."""
    rows = np.arange(count, dtype=np.int32)
    adjacency = assemble(("item", "hub"), rows, np.zeros(count, np.int32), rows, times, 1)
    return World({"hub": 1, "item": count}, {"item.in.hub": adjacency})


@pytest.mark.parametrize("fanout", [2, 48, 49, 90, 299, 300, 301])
def test_any_fanout_draws_distinct_edges_uniformly(fanout):
    world, seeds = hub(300), np.array([0])
    hits = np.zeros(300)
    rounds = 400
    for seed in range(rounds):
        ids = Sampler(world, [fanout], seed=seed).sample("hub", seeds, seeds).frontiers[1]["item"].ids
        assert len(ids) == min(fanout, 300) == len(set(ids.tolist()))
        hits[ids] += 1
    share = min(fanout / 300, 1)
    # the hits of one item are binomial: five and a half standard deviations
    assert np.abs(hits - rounds * share).max() <= 5.5 * np.sqrt(rounds * share * (1 - share))


def test_with_replacement_the_fanout_is_always_full():
    world = hub(3, np.array([1, 2, 3]))
    sampler = Sampler(world, [50], seed=2, replace=True)
    sample = sampler.sample("hub", np.array([0, 0, 0]), np.array([9, 2, 1]))
    pointer = sample.blocks[0]["item.in.hub"].pointer
    assert pointer.tolist() == [0, 50, 100, 100], "nothing is drawn where nothing is visible"
    assert set(sample.frontiers[1]["item"].ids[50:]) == {0}, "edges of the future are not drawn"
    assert set(sample.frontiers[1]["item"].ids[:50]) == {0, 1, 2}
    with pytest.raises(UserError, match="fan-out -1"):
        Sampler(world, [ALL], replace=True)


def test_fanouts_by_relation():
    world = Edges(np.arange(5), np.zeros(5, int), np.arange(5), np.zeros(5), 6).world()[0]
    seeds, times = np.array([0]), np.array([9])
    one = Sampler(world, [{"person.rates.person": 2}, {"person.rates.person": ALL}]).sample("person", seeds, times)
    assert [list(part) for part in one.blocks] == [["person.rates.person"]] * 2
    assert len(one.blocks[0]["person.rates.person"].row) == 2
    none = Sampler(world, [{"person.rates.person": 0, "person.rev_rates.person": 3}]).sample("person", seeds, times)
    assert len(none.blocks[0]["person.rates.person"].row) == 0
    with pytest.raises(UserError, match="no relation 'person.likes.person'; known: person.rates.person"):
        Sampler(world, [{"person.likes.person": 2}])


def test_merged_and_disjoint_draw_the_same_edges():
    random = np.random.default_rng(3)
    world = Edges(random.integers(0, 9, 60), random.integers(0, 9, 60), random.integers(0, 9, 60), np.zeros(60), 9)
    world, seeds = world.world()[0], np.array([0, 0, 3, 7])
    times = np.full(4, 8)
    merged, apart = (
        Sampler(world, [2, 3], disjoint=disjoint).sample("person", seeds, times) for disjoint in (None, True)
    )
    for name, block in merged.blocks[0].items():
        assert block.edge_id.tolist() == apart.blocks[0][name].edge_id.tolist()
    ids = merged.frontiers[1]["person"].ids.tolist()
    assert len(ids) == len(set(ids)) and set(ids) == set(apart.frontiers[1]["person"].ids.tolist())
    with pytest.raises(UserError, match="cannot share"):
        Sampler(world, [2], disjoint=False).sample("person", seeds, np.arange(4))


def test_a_workspace_is_used_again_and_changes_nothing():
    random = np.random.default_rng(4)
    world = Edges(
        random.integers(0, 50, 900), random.integers(0, 50, 900), random.integers(0, 99, 900), np.zeros(900), 50
    )
    sampler, space = Sampler(world.world()[0], [5, 5], seed=1), Workspace()
    for size in (1, 40, 3, 200, 7):
        seeds, times = random.integers(0, 50, size), random.integers(0, 120, size)
        assert flat(sampler.sample("person", seeds, times, space)) == flat(sampler.sample("person", seeds, times))


def test_many_threads_sample_as_one():
    random = np.random.default_rng(5)
    world = Edges(
        random.integers(0, 80, 3000), random.integers(0, 80, 3000), random.integers(0, 99, 3000), np.zeros(3000), 80
    )
    sampler = Sampler(world.world()[0], [5, 5], seed=1)
    seeds = [random.integers(0, 80, 60) for _ in range(60)]
    times = [np.full(60, 50 + place) for place in range(60)]
    alone = [flat(sampler.sample("person", *pair)) for pair in zip(seeds, times, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: flat(sampler.sample("person", *pair)), zip(seeds, times, strict=True)))
    assert together == alone


def test_a_used_sampler_travels_to_another_process():
    sampler = Sampler(hub(9, np.arange(9)), [4], seed=3)
    seeds, times = np.array([0, 0]), np.array([8, 8])
    before = flat(sampler.sample("hub", seeds, times))
    again = pickle.loads(pickle.dumps(sampler))
    assert flat(again.sample("hub", seeds, times)) == before
    addresses = [array.ctypes.data for array in again._tables.arrays]
    assert again._tables.relations[0, 2:6].tolist() == addresses


@pytest.mark.parametrize(
    ("ids", "times", "told"),
    [
        ([2**32 + 1], [1], "within 0 and 0"),
        ([0.5], [1], "whole numbers"),
        ([0, 0], [1], "one length"),
        ([[0]], [[1]], "one length"),
        (["a"], [1], "whole numbers"),
    ],
)
def test_seeds_that_mean_nothing_are_refused(ids, times, told):
    with pytest.raises(UserError, match=told):
        Sampler(hub(3), [2]).sample("hub", np.array(ids), np.array(times))
    with pytest.raises(UserError, match="no node type 'hubs'; known: hub, item"):
        Sampler(hub(3), [2]).sample("hubs", np.array([0]), np.array([1]))


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("fanout", [2**31, 2**62 + 7, 2**64, 2.5, "2", None])
def test_fanouts_that_mean_nothing_are_refused(fanout, replace):
    with pytest.raises(UserError, match="must be a whole number below"):
        Sampler(hub(3), [fanout], replace=replace)
    with pytest.raises(UserError, match="must be a whole number below"):
        Sampler(hub(3), [{"item.in.hub": fanout}], replace=replace)


def test_a_large_batch_after_an_empty_one():
    sampler, space = Sampler(hub(5), [2]), Workspace()
    for size in (0, 5_000, 0, 1, 20_000):
        sample = sampler.sample("hub", np.zeros(size, int), np.ones(size, int), space)
        assert len(sample.blocks[0]["item.in.hub"].row) == 2 * size


def test_an_empty_relation_and_a_time_before_everything():
    empty = np.empty(0, np.int32)
    world = World({"hub": 2, "item": 3}, {"item.in.hub": assemble(("item", "hub"), empty, empty, empty, None, 2)})
    sample = Sampler(world, [3, 3]).sample("hub", np.array([0, 1]), np.array([5, 5]))
    assert sample.blocks[0]["item.in.hub"].pointer.tolist() == [0, 0, 0]
    early = Sampler(hub(3, np.array([1, 2, 3])), [3]).sample("hub", np.array([0]), np.array([np.iinfo(np.int64).min]))
    assert len(early.frontiers[1]["item"].ids) == 0


def test_merging_leaves_its_slots_clean():
    slots, row, distinct = np.zeros(10, np.int32), np.array([7, 3, 7, 7, 1], np.int32), np.empty(5, np.int32)
    assert merge(row, slots, distinct, 0) == 3
    assert row.tolist() == [0, 1, 0, 0, 2] and distinct[:3].tolist() == [7, 3, 1]
    forget(slots, distinct[:3])
    assert (slots == 0).all()
