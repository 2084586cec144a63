"""The live graph: what events make of a snapshot is what a new snapshot would hold."""

import shutil

import numpy as np
import pandas as pd
import pytest

from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sample import ALL
from graphmill.graph.store import Graph
from graphmill.serving.live import snapshot
from graphmill.serving.live.change import Change
from graphmill.serving.live.store import Live
from graphmill.serving.reader import Reader
from tests import live, tiny


@pytest.fixture(scope="module")
def frames():
    return tiny.tables(seed=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, frames):
    """The snapshot taken after everything happened."""
    return live.build(frames, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def past(tmp_path_factory, frames):
    """The snapshot taken on the day before."""
    return live.build(live.before(frames), tmp_path_factory.mktemp("past"), live.DAY, fit=False)


def reader(graph, features, transforms, fanouts, room):
    found = Reader(Inputs(graph, features, transforms), "payment", fanouts, False, 7, room)
    found.know(room)
    return found


def opened(past):
    return Live.open(past, nodes=2_000, edges=20_000)


def reader_of(found, whole, fanouts):
    """Reads a live graph with the transforms that the whole snapshot fitted."""
    transforms = Features.open(whole / "features").transforms(0)
    made = reader(found.graph, found.features, transforms, fanouts, {node: found.room(node) for node in found.keys})
    made.know({node: found.count(node) for node in found.keys})
    return made


@pytest.mark.parametrize("fanouts", [[3, 4], [ALL, ALL]])
@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_events_make_the_graph_that_a_new_snapshot_would_hold(frames, whole, past, fanouts, batch):
    found = opened(past)
    told = live.typed(live.events(frames))
    assert len(told) > 200
    for first in range(0, len(told), batch):
        Change(found).apply(told[first : first + batch])
    graph, features = Graph.open(whole / "graph"), Features.open(whole / "features")
    assert {node: found.names[node] for node in found.keys} == {node: graph.key(node).tolist() for node in graph.nodes}
    ids = np.arange(graph.nodes["payment"], dtype=np.int32)
    times = graph.node_time("payment")
    static = reader(graph, features, features.transforms(0), fanouts, graph.nodes)
    live.same(reader_of(found, whole, fanouts).read(ids, times), static.read(ids, times))
    late = np.full(len(ids), pd.Timestamp("2025-05-01").value // 1_000)
    live.same(reader_of(found, whole, fanouts).read(ids, late), static.read(ids, late))


def test_a_compacted_snapshot_is_the_live_graph(tmp_path, frames, whole, past):
    found = opened(past)
    told = live.typed(live.events(frames))
    half = len(told) // 2
    Change(found).apply(told[:half])
    snapshot.write(found, snapshot.Origin(snapshot.version(past), half, 1), tmp_path / "half")
    again = snapshot.open(tmp_path / "half", 2_000, 20_000)
    assert snapshot.origin(tmp_path / "half") == (snapshot.version(past), half, 1)
    assert again.names == found.names and again.mentioned == found.mentioned
    for one in (found, again):
        Change(one).apply(told[half:])
    ids = np.arange(found.count("payment"), dtype=np.int32)
    times = found.time("payment")[: len(ids)]
    live.same(reader_of(again, whole, [3, 4]).read(ids, times), reader_of(found, whole, [3, 4]).read(ids, times))
    np.testing.assert_array_equal(again.label[: len(ids)], found.label[: len(ids)])
    Graph.open(tmp_path / "half" / "graph")
    Features.open(tmp_path / "half" / "features")


def test_a_damaged_snapshot_is_named(tmp_path, past):
    for name in ("graph/payment.customer_id.customer/indices.npy", "features/nodes/payment.npy"):
        copy = tmp_path / name.replace("/", "_")
        shutil.copytree(past, copy)
        content = bytearray((copy / name).read_bytes())
        content[-1] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name.rsplit('/', 1)[1]}: altered"):
            snapshot.open(copy, 10, 10)
