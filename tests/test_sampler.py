"""The sampler: only the past, exact counts, one answer for one example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmill.errors import UserError
from graphmill.graph.adjacency import assemble
from graphmill.graph.kernels import forget, merge
from graphmill.graph.sampler import ALL, Sampler
from tests.worlds import World, changed_after, edge_lists


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


def test_merging_leaves_its_slots_clean():
    slots, row, distinct = np.full(10, -1, np.int32), np.array([7, 3, 7, 7, 1], np.int32), np.empty(5, np.int32)
    assert merge(row, slots, distinct, 0) == 3
    assert row.tolist() == [0, 1, 0, 0, 2] and distinct[:3].tolist() == [7, 3, 1]
    forget(slots, distinct[:3])
    assert (slots == -1).all()
