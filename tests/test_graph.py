"""The graph stage on tables that a person can count."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from graphmill import artifact, graph, ingest
from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.graph.sample import ALL
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.schema import Schema
from graphmill.task import Task
from tests import tiny

SCHEMA = {
    "time": "step",
    "nodes": {
        "shop": {"table": "shops", "key": "shop"},
        "person": {"table": "people", "key": "name", "time": "born", "links": {"friend": "person"}},
        "visit": {"table": "visits", "key": "visit", "time": "at", "links": {"who": "person", "where": "shop"}},
        "city": {},
    },
    "edges": {
        "lives": {"table": "homes", "source": {"city": "city"}, "target": {"person": "person"}, "time": "since"},
        "near": {"table": "roads", "source": {"shop": "a"}, "target": {"shop": "b"}, "undirected": True},
        "owns": {"table": "deeds", "source": {"person": "owner"}, "target": {"shop": "shop"}, "reverse": False},
    },
}
TASK = {
    "node": "visit",
    "label": {"column": "good"},
    "split": {"kind": "temporal", "train_end": 5, "validation_end": 7},
}
TABLES = {
    "shops": pd.DataFrame({"shop": ["x", "y", "z"]}),
    "people": pd.DataFrame({"name": ["ann", "bob"], "born": [3, 1], "friend": ["bob", None]}),
    "visits": pd.DataFrame(
        {
            "visit": ["v3", "v1", "v2", "v4"],
            "who": ["ann", "bob", "bob", "ann"],
            "where": ["x", "x", None, "x"],
            "at": [6, 2, 4, 8],
            "good": [True, False, True, False],
        }
    ),
    "homes": pd.DataFrame({"city": ["Rom", "Rom", "Ulm"], "person": ["ann", "bob", "ann"], "since": [1, 5, 9]}),
    "roads": pd.DataFrame({"a": ["x", "x", "y", "x"], "b": ["y", "y", "y", "z"]}),
    "deeds": pd.DataFrame({"owner": ["ann"], "shop": ["z"]}),
}


def build(root, tables=TABLES, schema=SCHEMA):
    """Ingest and build; the opened graph."""
    data = tiny.write(root / "data", tables)
    ingest.run(data, root / "tables", Schema.parse(schema), Task.parse(TASK), ingest.Params(maximum_refused=0))
    graph.run(root / "tables", root / "graph", graph.Params())
    return Graph.open(root / "graph")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("graph"))


def rows(built, name):
    """Each target's (source key, time) in order, by target key."""
    adjacency = built.relations[name]
    source, target = built.key(adjacency.source), built.key(adjacency.target)
    times = adjacency.time if adjacency.time is not None else [None] * adjacency.edges
    return {
        str(target[node]): [
            (str(source[adjacency.indices[edge]]), None if times[edge] is None else int(times[edge]))
            for edge in range(adjacency.indptr[node], adjacency.indptr[node + 1])
        ]
        for node in range(len(target))
    }


def test_ids_follow_time_then_key(built):
    assert built.key("visit").tolist() == ["v1", "v2", "v3", "v4"]
    assert built.key("person").tolist() == ["bob", "ann"] and built.node_time("person").tolist() == [1, 3]
    assert built.key("shop").tolist() == ["x", "y", "z"] and (built.node_time("shop") == ALWAYS).all()


def test_nodes_without_a_table_are_the_keys_mentioned(built):
    assert built.key("city").tolist() == ["Rom", "Ulm"] and built.node_time("city").tolist() == [1, 9]
    assert built.nodes == {"city": 2, "person": 2, "shop": 3, "visit": 4}


def test_links_flow_both_ways_with_the_time_from_which_they_may_be_read(built):
    assert rows(built, "visit.where.shop") == {"x": [("v1", 2), ("v3", 6), ("v4", 8)], "y": [], "z": []}
    # seen from its own row a link is as old as the linked row: shops always, people from their birth on
    assert rows(built, "shop.rev_where.visit") == {
        "v1": [("x", None)], "v2": [], "v3": [("x", None)], "v4": [("x", None)]
    }  # fmt: skip
    assert rows(built, "person.rev_who.visit")["v3"] == [("ann", 3)]
    assert rows(built, "person.friend.person") == {"bob": [("ann", 3)], "ann": []}
    assert rows(built, "person.rev_friend.person") == {"bob": [], "ann": [("bob", 1)]}


def test_an_edge_is_seen_from_the_later_of_its_time_and_its_source(built):
    assert rows(built, "city.lives.person") == {"ann": [("Rom", 1), ("Ulm", 9)], "bob": [("Rom", 5)]}
    # ann is born at 3: before that nobody sees her, whenever she moved in
    assert rows(built, "person.rev_lives.city") == {"Rom": [("ann", 3), ("bob", 5)], "Ulm": [("ann", 9)]}


def test_undirected_edges_stand_in_both_rows_and_self_loops_once(built):
    found = rows(built, "shop.near.shop")
    assert sorted(found["x"]) == [("y", None), ("y", None), ("z", None)]
    assert sorted(found["y"]) == [("x", None), ("x", None), ("y", None)]
    assert "shop.rev_near.shop" not in built.relations


def test_no_way_back_where_none_is_wanted(built):
    assert rows(built, "person.owns.shop") == {"x": [], "y": [], "z": [("ann", 3)]}
    assert "shop.rev_owns.person" not in built.relations


def test_formats(built):
    folder = built.path / "visit.where.shop"
    kinds = {"indptr": np.int64, "indices": np.int32, "edge_id": np.int32, "time": np.int64}
    for name, kind in kinds.items():
        array = np.load(folder / f"{name}.npy", mmap_mode="r")
        assert array.dtype == kind and array.offset % 64 == 0
    assert not (built.path / "shop.near.shop" / "time.npy").exists()
    assert pq.read_table(built.path / "nodes" / "visit.parquet").column_names == ["key", "time"]
    assert built.artifact.manifest["relations"]["visit.where.shop"]["edges"] == 3
    assert built.as_of == 10


def test_the_same_tables_in_another_order_give_the_same_graph(tmp_path, built):
    shuffled = {name: frame.sample(frac=1, random_state=1) for name, frame in TABLES.items()}
    other = build(tmp_path, shuffled)
    for name in ("visit.where.shop", "person.rev_who.visit", "city.lives.person"):
        assert rows(other, name) == rows(built, name)


def test_an_edge_type_without_edges_is_named_and_kept(tmp_path, capsys):
    """A quiet day is no reason to stop; drift tells of it."""
    tables = TABLES | {"people": TABLES["people"].assign(friend=pd.array([None, None], dtype="string"))}
    built = build(tmp_path, tables)
    assert "without any edge: person.friend.person, person.rev_friend.person" in capsys.readouterr().out
    empty = built.relations["person.friend.person"]
    assert empty.edges == 0 and empty.degree(np.array([0, 1]), np.array([9, 9])).tolist() == [0, 0]
    sample = Sampler(built, [ALL, 2]).sample("person", np.array([0, 1]), np.array([9, 9]))
    assert len(sample.blocks[0]["person.friend.person"].row) == 0
    assert built.shuffled(1).relations["person.friend.person"].edges == 0


def test_altered_tables_are_refused(tmp_path, built):
    build(tmp_path)
    file = tmp_path / "tables" / "visits.parquet"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"visits\.parquet: altered"):
        graph.run(tmp_path / "tables", tmp_path / "again", graph.Params())
    with pytest.raises(UserError, match="no graph here"):
        artifact.read(tmp_path / "again", "graph")


@pytest.mark.parametrize(
    ("values", "told"), [({"threads": 10_000}, "graph.threads"), ({"memory_limit": "much"}, "graph.memory_limit")]
)
def test_limits_that_cannot_be(values, told):
    with pytest.raises(UserError, match=told):
        graph.Params.parse(values, "graph")
