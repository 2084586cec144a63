"""The features stage: values, examples, windows in files, and transforms that know only the training part."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_matrix
from sknetwork.ranking import PageRank
from sknetwork.topology import get_core_decomposition

from graphmill import features, graph, ingest
from graphmill.errors import UserError
from graphmill.features import examples as example_rows
from graphmill.features import raw, sums
from graphmill.features.centrality import core_numbers, pagerank
from graphmill.features.examples import history
from graphmill.features.pairs import Pairs, undirected
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.schema import Schema
from graphmill.task import Task
from tests import tiny

DAY = 86_400_000_000


def build(root, frames=None, task=None, settings=None, schema=None):
    """Ingest, graph and features of the tiny network, with changes."""
    params = tiny.params()
    params["task"] |= task or {}
    params["features"] |= settings or {}
    data = tiny.write(root / "data", frames)
    parsed = Schema.parse(schema or params["schema"]), Task.parse(params["task"])
    ingest.run(data, root / "tables", *parsed, ingest.Params.parse(params["ingest"]))
    graph.run(root / "tables", root / "graph", graph.Params())
    features.run(root / "tables", root / "graph", root / "features", features.Params.parse(params["features"]))
    return Graph.open(root / "graph"), Features.open(root / "features")


@pytest.fixture(scope="module")
def opened(tiny_run):
    return Graph.open(tiny_run / "artifacts" / "graph"), Features.open(tiny_run / "artifacts" / "features")


def test_raw_values_are_those_of_the_tables(opened):
    network, found = opened
    frames = tiny.tables()
    payments = frames["payments"].set_index("payment_id").loc[network.key("payment")]
    names = [field.name for field in found.columns["payment"]]
    amount = np.asarray(found.nodes["payment"][:, names.index("amount")])
    np.testing.assert_array_equal(amount, payments["amount"].to_numpy(np.float32))
    channel = found.columns["payment"][names.index("channel")]
    codes = found.nodes["payment"][:, names.index("channel")].astype(int)
    assert [channel.vocabulary[code] for code in codes] == payments["channel"].tolist()
    customers = frames["customers"].set_index("customer_id").loc[network.key("customer")]
    age = found.nodes["customer"][:, [field.name for field in found.columns["customer"]].index("age")]
    np.testing.assert_array_equal(age, customers["age"].to_numpy(np.float32))
    bonus = frames["referrals"].sort_values(["at", "referrer", "referred"])["bonus"].to_numpy(np.float32)
    np.testing.assert_array_equal(found.edges["refers"][:, 0], bonus)


def test_examples_labels_and_split(opened):
    network, found = opened
    examples = found.examples
    payments = tiny.tables()["payments"].set_index("payment_id").loc[examples["key"]]
    times = payments["paid_at"].astype("datetime64[us]").astype("int64").to_numpy()
    np.testing.assert_array_equal(examples["time"], times)
    np.testing.assert_array_equal(examples["known"], times + 5 * DAY)
    mature = examples["known"] <= network.as_of
    assert examples.loc[~mature, "label"].isna().all() and (examples.loc[~mature, "split_0"] == "none").all()
    assert (examples.loc[mature, "label"].astype(bool) == payments["is_fraud"].to_numpy()[mature]).all()
    ends = [pd.Timestamp(day).value // 1_000 for day in ("2025-03-15", "2025-04-05")]
    train, validation, test = (examples[examples["split_0"] == name] for name in ("train", "validation", "test"))
    assert train["known"].max() <= ends[0] <= validation["time"].min()
    assert validation["known"].max() <= ends[1] <= test["time"].min()
    assert (examples["slice.channel"].isin(["online", "store"])).all()


def test_history_counts_what_was_there_before(opened):
    network, found = opened
    payments = tiny.tables()["payments"]
    chosen = found.examples.iloc[[0, 100, 500]]
    counted = history(network, "payment", chosen["node"].to_numpy(), chosen["time"].to_numpy())
    for key, count in zip(chosen["key"], counted, strict=True):
        own = payments[payments["payment_id"] == key].iloc[0]
        earlier = payments[payments["paid_at"] < own["paid_at"]]
        assert count == sum((earlier[name] == own[name]).sum() for name in ("customer_id", "terminal_id"))


def test_state_equals_brute_force(opened):
    network, found = opened
    payments = tiny.tables()["payments"]
    names = found.state_names(network, "terminal")
    moments = [pd.Timestamp("2025-02-10"), pd.Timestamp("2025-04-01 12:00")]
    for moment in moments:
        ids = np.arange(network.nodes["terminal"], dtype=np.int32)
        state = found.state(network, "terminal", ids, np.full(len(ids), moment.value // 1_000))
        for node, key in enumerate(network.key("terminal")):
            mine = payments[(payments["terminal_id"] == key) & (payments["paid_at"] < moment)]
            month = mine[mine["paid_at"] >= moment - pd.Timedelta("30d")]
            known = payments[(payments["terminal_id"] == key)]
            became = known["paid_at"] + pd.Timedelta("5d")
            known = known[(became < moment) & (became >= moment - pd.Timedelta("30d"))]
            values = dict(zip(names, state[node], strict=True))
            over = "payment.terminal_id.terminal"
            assert values[f"degree.{over}"] == len(mine) and values[f"{over}.count.30d"] == len(month)
            assert values[f"{over}.label.count.30d"] == len(known)
            np.testing.assert_allclose(values[f"{over}.label.mean.30d"], known["is_fraud"].mean(), atol=1e-6)


def test_a_timestamp_that_lies_ahead_is_missing(tmp_path):
    frames = tiny.tables()
    frames["customers"]["opened_at"] = pd.Timestamp("2025-02-01")
    network, found = build(tmp_path, frames)
    place = found.state_names(network, "customer").index("opened_at.age")
    ids, before, after = np.array([0], np.int32), pd.Timestamp("2025-01-31"), pd.Timestamp("2025-02-03")
    assert np.isnan(found.state(network, "customer", ids, np.array([before.value // 1_000]))[0, place])
    assert found.state(network, "customer", ids, np.array([after.value // 1_000]))[0, place] == 2


def transforms(folder):
    return json.loads((folder / "features.json").read_bytes())["transforms"]


def test_transforms_know_only_the_training_part(tmp_path, tiny_run):
    """Rows after the training end may be anything."""
    frames = tiny.tables()
    late = frames["payments"]["paid_at"] >= pd.Timestamp("2025-03-15")
    frames["payments"].loc[late, "amount"] *= 1_000
    frames["payments"].loc[late, "channel"] = "telepathy"
    build(tmp_path, frames)
    assert transforms(tmp_path / "features") == transforms(tiny_run / "artifacts" / "features")


def test_transforms_of_a_random_split_leave_the_held_out_nodes_alone(tmp_path):
    schema = {"nodes": {"terminal": {"table": "terminals", "key": "terminal_id", "columns": {"risk": "numeric"}}}}
    task = {
        "node": "terminal",
        "label": {"column": "bad"},
        "split": {"kind": "random", "folds": 2, "validation": 0.3},
        "slices": [],
    }
    frames = tiny.tables()
    frames["terminals"]["bad"] = np.arange(20) % 2 == 0
    schema["edges"] = {"to": {"table": "roads", "source": {"terminal": "a"}, "target": {"terminal": "b"}}}
    names = frames["terminals"]["terminal_id"]
    frames["roads"] = pd.DataFrame({"a": names, "b": np.roll(names, 1)})
    settings = {"windows": [], "structure": []}
    _, first = build(tmp_path / "first", frames, task, settings, schema)
    examples = first.examples.set_index("key")
    fitted = [first.manifest["transforms"][split]["nodes"]["terminal"] for split in (0, 1)]
    assert fitted[0] != fitted[1], "each split has its own"
    held = frames["terminals"]["terminal_id"].map(examples["split_0"]).isin(["test", "validation"])
    frames["terminals"].loc[held, "risk"] = 1_000.0
    _, second = build(tmp_path / "second", frames, task, settings, schema)
    assert second.manifest["transforms"][0]["nodes"]["terminal"] == fitted[0]


def test_entities_at_moments_with_labels_that_begin(tmp_path):
    frames = tiny.tables()
    customers = frames["customers"]
    customers["churned"] = np.arange(60) % 2 == 0
    start = pd.Timestamp("2025-01-01")
    customers["churned_at"] = start + pd.to_timedelta(np.arange(60) * 2, unit="D")
    task = {
        "node": "customer",
        "label": {"column": "churned", "since": "churned_at", "between": ["0d", "20d"]},
        "moments": {"first": "2025-01-11", "every": "10d"},
        "split": {"kind": "temporal", "train_end": "2025-02-15", "validation_end": "2025-03-20"},
        "slices": [],
    }
    settings = {"windows": [{"over": "payment.customer_id.customer", "sizes": ["30d"]}]}
    network, found = build(tmp_path, frames, task, settings)
    examples = found.examples
    assert len(examples["time"].unique()) == 12 and not network.judges_events
    at = pd.to_datetime(examples["time"], unit="us")
    row = customers.set_index("customer_id").loc[examples["key"]]
    begins = row["churned_at"].to_numpy()
    inside = row["churned"].to_numpy() & (begins >= at) & (begins < at + pd.Timedelta("20d"))
    already = row["churned"].to_numpy() & (begins < at)
    unknown = (at + pd.Timedelta("20d")) > pd.Timestamp("2025-05-01")
    label = examples["label"]
    assert label[already | unknown].isna().all()
    judged = ~(already | unknown)
    assert (label[judged].astype(bool) == inside[judged]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"windows": [{"over": "payment.customer.customer"}]}, "no relation 'payment.customer.customer'"),
        (
            {"windows": [{"over": "payment.customer_id.customer", "columns": {"channel": ["mean"]}}]},
            "no numeric column 'channel'; known: amount",
        ),
        ({"windows": [{"over": "payment.customer_id.customer", "sizes": ["0d"]}]}, "longer than nothing"),
        (
            {"windows": [{"over": "customer.rev_customer_id.payment", "sizes": ["7d"]}]},
            "has no time, so its only size is 'ever'",
        ),
        ({"windows": [{"over": "customer.refers.customer", "known_label": True}]}, "known_label needs edges"),
        ({"windows": [{"over": "payment.customer_id.customer"}] * 2}, "stands twice"),
    ],
)
def test_windows_that_cannot_be(tiny_run, tmp_path, settings, words):
    root = tiny_run / "artifacts"
    with pytest.raises(UserError, match=words):
        features.run(root / "tables", root / "graph", tmp_path / "f", features.Params.parse(settings, "features"))
    assert list(tmp_path.iterdir()) == []


def test_later_nodes_and_edges_do_not_move_the_structure(tmp_path):
    frames = tiny.tables()
    early = {**frames, "payments": frames["payments"][frames["payments"]["paid_at"] < "2025-04-20"]}
    (network, whole), (other, part) = build(tmp_path / "a", frames), build(tmp_path / "b", early)
    when = np.full(60, pd.Timestamp("2025-04-19").value // 1_000)
    ids = np.arange(60, dtype=np.int32)
    first, second = (found.state(place, "customer", ids, when) for place, found in ((network, whole), (other, part)))
    np.testing.assert_array_equal(first, second)
    place = whole.state_names(network, "customer").index("pagerank")
    assert first[:, place].std() > 0


def test_work_in_runs_leaves_the_files_as_they_are(tiny_run, tmp_path, monkeypatch):
    root = tiny_run / "artifacts"
    monkeypatch.setattr(example_rows, "RUN", 7)
    monkeypatch.setattr(sums, "RUN", 11)
    monkeypatch.setattr(raw, "RUN", 11)
    settings = features.Params.parse(tiny.params()["features"], "features")
    features.run(root / "tables", root / "graph", tmp_path / "features", settings)
    whole, pieces = Features.open(root / "features"), Features.open(tmp_path / "features")
    pd.testing.assert_frame_equal(whole.examples, pieces.examples)
    files = sorted(file.relative_to(root / "features") for file in (root / "features").glob("**/*.npy"))
    assert any("label" in file.name for file in files)
    for file in files:
        np.testing.assert_array_equal(np.load(root / "features" / file), np.load(tmp_path / "features" / file))


def test_examples_carry_the_keys_of_their_nodes(opened):
    network, found = opened
    assert found.examples["key"].tolist() == network.key("payment")[found.examples["node"]].tolist()


def matrix_of(network, time):
    """What was there before ``time`` as one matrix of ones, by the library."""
    offsets = dict(zip(network.nodes, np.cumsum([0, *network.nodes.values()]), strict=False))
    ends = []
    for relation in network.schema.relations():
        adjacency = network.relations[relation.name]
        target = np.repeat(np.arange(len(adjacency.indptr) - 1), np.diff(adjacency.indptr))
        there = adjacency.times() < time if adjacency.time is not None else np.ones(adjacency.edges, bool)
        ends.append([adjacency.indices[there] + offsets[adjacency.source], target[there] + offsets[adjacency.target]])
    source, target = np.concatenate(ends, axis=1)
    apart, count = source != target, sum(network.nodes.values())
    matrix = coo_matrix((np.ones(apart.sum()), (source[apart], target[apart])), (count, count)).tocsr()
    matrix = (matrix + matrix.T).tocsr()
    present = np.flatnonzero(born(network) < time)
    matrix.data[:] = 1
    return matrix[present][:, present]


def born(network):
    return np.concatenate([network.node_time(node) for node in network.nodes])


@pytest.mark.parametrize("day", ["2025-01-01", "2025-01-02", "2025-02-10", "2025-05-01"])
def test_structure_is_the_librarys(opened, day):
    network, _ = opened
    time = pd.Timestamp(day).value // 1_000
    offsets = dict(zip(network.nodes, np.cumsum([0, *network.nodes.values()]).tolist(), strict=False))
    pairs, matrix = undirected(network, time, born(network), offsets), matrix_of(network, time)
    np.testing.assert_array_equal(pairs.indptr, matrix.indptr)
    np.testing.assert_array_equal(pairs.neighbours, matrix.indices)
    if matrix.nnz:
        np.testing.assert_array_equal(core_numbers(*pairs), get_core_decomposition(matrix))
        library = PageRank(solver="piteration", n_iter=20).fit_predict(matrix)
        np.testing.assert_allclose(pagerank(pairs), library, rtol=1e-12)


def test_core_numbers_of_a_graph_that_a_person_can_count():
    """A triangle, a tail of two behind it, one node apart."""
    pairs = Pairs(np.array([0, 2, 4, 7, 9, 10, 10]), np.array([1, 2, 0, 2, 0, 1, 3, 2, 4, 3], np.int32))
    assert core_numbers(*pairs).tolist() == [2, 2, 2, 1, 1, 0]
    scores = pagerank(pairs)
    assert scores.sum() == pytest.approx(1) and scores.argmax() == 2
    assert scores[5] == pytest.approx(1 / 6), "who has no neighbour keeps its share"


@pytest.mark.parametrize("seed", range(3))
def test_crowded_graphs_too(seed):
    """Long rows, and rows of one neighbour, as power laws have them."""
    state = np.random.default_rng(seed)
    ends = (state.pareto(1.0, (2, 3_000)) * 5).astype(int) % 400
    matrix = coo_matrix((np.ones(3_000), ends), (400, 400)).tolil()
    matrix.setdiag(0)
    matrix = ((matrix + matrix.T) > 0).astype(float).tocsr()
    matrix.eliminate_zeros()
    pairs = Pairs(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))
    np.testing.assert_array_equal(core_numbers(*pairs), get_core_decomposition(matrix))
    library = PageRank(solver="piteration", n_iter=20).fit_predict(matrix)
    np.testing.assert_allclose(pagerank(pairs), library, rtol=1e-12)
