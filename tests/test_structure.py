"""Structure is read at moments that the end of the data does not choose."""

import numpy as np
import pandas as pd
import pytest

from graphmill import features, graph, ingest
from graphmill.errors import UserError
from graphmill.features import structure
from graphmill.features.state import Builder
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.schema import Schema
from graphmill.task import Task
from tests import tiny

BEGAN = {"label": {"column": "churned", "since": "churned_at", "between": ["0d", "5d"]}, "node": "customer"}
RELATIVE = {"kind": "temporal", "train_end": "as_of - 30d", "validation_end": "as_of - 15d"}
FIXED = {"kind": "temporal", "train_end": "2025-02-15", "validation_end": "2025-03-01"}
DAYS = [f"2025-{month:02d}-{day:02d}" for month in (1, 2, 3) for day in range(2, 28, 3)]
CASES = {
    "random": ({"split": {"kind": "random"}}, None),
    "random, weekly": ({"split": {"kind": "random"}}, "7d"),
    "fixed": ({"split": FIXED}, None),
    "relative": ({"split": RELATIVE}, None),
    "relative, weekly": ({"split": RELATIVE}, "7d"),
    "entities on many days": (BEGAN | {"split": RELATIVE, "moments": DAYS}, None),
    "entities on few days": (BEGAN | {"split": RELATIVE, "moments": DAYS[::3]}, None),
    "entities on days of the end": (BEGAN | {"split": RELATIVE, "moments": [*DAYS[:9], "as_of - 31d", "as_of"]}, None),
    "entities every 4 days": (BEGAN | {"split": RELATIVE, "moments": {"first": "2025-01-05", "every": "4d"}}, None),
    "entities, weekly": (BEGAN | {"split": FIXED, "moments": {"first": "2025-01-05", "every": "4d"}}, "7d"),
}
ENDS = ("2025-04-05", "2025-05-01")


def tables():
    """The tiny network, whose customers leave it day by day, some again."""
    frames = tiny.tables()
    leave = tiny.START + pd.to_timedelta(np.arange(60) * 2.0, unit="D")
    frames["customers"] = frames["customers"].assign(churned=np.arange(60) % 2 == 0, churned_at=leave)
    return frames


def build(root, frames, as_of, task, every=None, schema=None):
    """Tables to graph and features, as of a moment, without what structure does not ask for."""
    params = tiny.params()
    schema = Schema.parse(schema or params["schema"])
    parsed = Task.parse(params["task"] | {"slices": []} | task)
    tiny.write(root / "data", frames)
    settings = ingest.Params(as_of=as_of, later="leave_out")
    ingest.run(root / "data", root / "tables", schema, parsed, settings)
    graph.run(root / "tables", root / "graph", graph.Params(threads=1))
    features.run(root / "tables", root / "graph", root / "features", features.Params(fit=False, structure_every=every))
    return Graph.open(root / "graph"), Features.open(root / "features")


def read(network, found, node, times):
    """The structure of all nodes of a type, by key and time: one row each."""
    count = network.nodes[node]
    ids, when = np.tile(np.arange(count, dtype=np.int32), len(times)), np.repeat(times, count)
    state = pd.DataFrame(found.state(network, node, ids, when), columns=found.state_names(network, node))
    return state.assign(key=network.key(node)[ids], time=when).set_index(["key", "time"])[list(structure.NAMES)]


@pytest.mark.parametrize("case", CASES)
def test_the_end_of_the_data_chooses_no_moment(tmp_path, case):
    """What an example reads in one snapshot it reads in the next, whatever the split and whatever came."""
    task, every = CASES[case]
    here, there = (build(tmp_path / end, tables(), end, task, every) for end in ENDS)
    times = [set(found.examples["time"]) for _, found in (here, there)]
    end = pd.Timestamp(ENDS[0]).value // 1_000
    both = np.array(sorted(time for time in times[0] & times[1] if time < end), np.int64)
    assert len(both) >= 9
    for node in ("customer", "terminal"):
        first, second = (read(*built, node, both) for built in (here, there))
        pd.testing.assert_frame_equal(first, second.loc[first.index], check_exact=True)
        assert first["pagerank"].std() > 0


@pytest.mark.parametrize("end", [40, 41, 70])
def test_a_clock_of_steps(tmp_path, end):
    """Without a distance every step is a moment, so an example reads what there was until just before it."""
    schema, task, frames = steps()
    network, found = build(tmp_path, frames, end, task, schema=schema)
    assert found.manifest["structure"]["moments"] == [structure.BEGINNING, *range(4, end + 1)]
    both = np.arange(3, end)
    values = read(network, found, "shop", both)["core_number"].unstack("key")
    assert (values.loc[3] == 0).all() and (values.loc[4:] >= 1).any(axis=1).all()


def steps():
    """Sales by step, from the third on; one shop sells one thing a step."""
    schema = {
        "time": "step",
        "nodes": {
            "shop": {},
            "sale": {"table": "sales", "key": "id", "time": "step", "links": {"shop": "shop"}},
        },
    }
    task = {"node": "sale", "label": {"column": "bad"}, "split": {"kind": "random"}}
    step = np.arange(3, 90)
    frames = {"sales": pd.DataFrame({"id": step.astype(str), "step": step, "shop": step % 4, "bad": step % 3 == 0})}
    return schema, task, frames


def test_what_has_no_time_is_there_before_the_first_moment(tmp_path):
    schema, task, frames = steps()
    schema["edges"] = {"near": {"table": "near", "source": {"shop": "one"}, "target": {"shop": "other"}}}
    frames["near"] = pd.DataFrame({"one": [0, 1], "other": [1, 2]})
    network, found = build(tmp_path, frames, 50, task, 10, schema)
    assert found.manifest["structure"]["moments"] == [structure.BEGINNING, 10, 20, 30, 40, 50]
    values = read(network, found, "shop", np.array([5]))["core_number"]
    assert values.loc[["0", "1", "2"]].tolist() == [1, 1, 1]


def test_data_without_time_have_one_moment(tmp_path):
    schema = {
        "nodes": {"worker": {"table": "workers", "key": "id"}},
        "edges": {"with": {"table": "pairs", "source": {"worker": "one"}, "target": {"worker": "other"}}},
    }
    workers = pd.DataFrame({"id": list("abcd"), "bad": [True, False, True, False]})
    pairs = pd.DataFrame({"one": list("aab"), "other": list("bcc")})
    task = {"node": "worker", "label": {"column": "bad"}, "split": {"kind": "random"}}
    network, found = build(tmp_path, {"workers": workers, "pairs": pairs}, None, task, schema=schema)
    assert found.manifest["structure"]["moments"] == [network.as_of]
    assert read(network, found, "worker", np.array([network.as_of]))["core_number"].tolist() == [2, 2, 2, 0]


@pytest.mark.parametrize(
    ("every", "words"),
    [
        ("0d", "features.structure_every: '0d' must be longer than nothing"),
        ("-1d", "features.structure_every: '-1d' must be longer than nothing"),
        ("10m", r"10m from the oldest edge, 2025-01-01T.* to 2025-05-01T00:00:00 gives 17,\d+ moments, more than 200"),
    ],
)
def test_distances_that_cannot_be(tiny_run, every, words):
    network = Graph.open(tiny_run / "artifacts" / "graph")
    examples = Features.open(tiny_run / "artifacts" / "features").examples
    with pytest.raises(UserError, match=words):
        structure.moments(network, examples, every)


def test_too_many_moments_of_entities_ask_for_a_distance(tmp_path):
    task = BEGAN | {"split": RELATIVE, "moments": {"first": "2025-01-05", "every": "12h"}}
    with pytest.raises(UserError, match="structure_every: task.moments are 233 moments, more than 200; set a longer"):
        build(tmp_path, tables(), "2025-05-01", task)
    _, found = build(tmp_path, tables(), "2025-05-01", task, "14d")
    days = pd.date_range("2025-01-02", "2025-05-01", freq="14D").as_unit("us").astype("int64")
    assert found.manifest["structure"]["moments"] == [structure.BEGINNING, *days]


def test_data_shorter_than_the_distance_are_told(tmp_path, capsys):
    build(tmp_path / "long", tables(), "2025-05-01", {}, "30d")
    assert "structure" not in capsys.readouterr().out
    _, found = build(tmp_path / "short", tables(), "2025-05-01", {}, "3650d")
    assert "all examples are before the first moment of structure: shorten" in capsys.readouterr().out
    assert found.manifest["structure"]["moments"] == [structure.BEGINNING]


def test_a_node_that_came_later_has_no_place_yet():
    values = np.arange(1, 13, dtype=np.float32).reshape(2, 3, 2)
    nodes, times = np.array([0, 2, 3, 99, 1], np.int32), np.array([10, 25, 25, 10, 9])
    builder = Builder(1)
    builder.structure(values, np.array([10, 20]))
    found = builder.program()(nodes, times)
    assert found.tolist() == [[1, 2], [11, 12], [0, 0], [0, 0], [0, 0]]
