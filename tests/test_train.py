"""Training: deterministic, resumable, better with the graph; full-graph inference equals sampling everything."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from graphmill import artifact, predict, train
from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sample import ALL
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.train import layerwise, loop
from graphmill.train.examples import balanced, limited
from tests import tiny

HOME = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def opened(tiny_run):
    root = tiny_run / "artifacts"
    return Graph.open(root / "graph"), Features.open(root / "features"), Model.open(root / "model")


def test_the_network_and_the_trees_find_what_only_the_graph_shows(opened):
    graph, features, model = opened
    test = features.examples[(features.examples["split_0"] == "test") & features.examples["label"].notna()]
    label = test["label"].astype(bool)
    auc = {name: roc_auc_score(label, predict.score(model, name, 0, graph, features, test)) for name in model.names}
    assert auc["neighbour_trees"] > 0.65 and auc["features_only"] < 0.65
    assert auc["sage"] > 0.6


def test_the_same_run_gives_the_same_bytes(tiny_run, tmp_path):
    root = tiny_run / "artifacts"
    params = train.Params.parse(tiny.params()["train"], "train")
    train.run(root / "graph", root / "features", tmp_path / "model", params)
    assert artifact.read(tmp_path / "model", "model").digest == artifact.read(root / "model", "model").digest
    assert [item.name for item in tmp_path.iterdir()] == ["model"], "checkpoints are cleared at the end"


@pytest.mark.slow
def test_a_killed_run_resumes_and_ends_alike(tiny_run, tmp_path):
    params = tiny.params()
    params["train"] |= {"epochs": 30, "patience": 30}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("graph", "features"):
        (tmp_path / "artifacts").mkdir(exist_ok=True)
        (tmp_path / "artifacts" / name).symlink_to(tiny_run / "artifacts" / name)
    command = [sys.executable, "-m", "components", "train", "--params", str(tmp_path / "params.yaml"), "--root", "."]
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as child:
        waiting = time.monotonic() + 120
        while not list(tmp_path.glob("artifacts/.model.checkpoints/*/split_0.pt")):
            assert time.monotonic() < waiting and child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "artifacts" / "model").exists()
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    parsed = train.Params.parse(params["train"], "train")
    root = tiny_run / "artifacts"
    train.run(root / "graph", root / "features", tmp_path / "whole", parsed)
    resumed, whole = (
        artifact.read(tmp_path / "artifacts" / "model", "model"),
        artifact.read(tmp_path / "whole", "model"),
    )
    assert resumed.digest == whole.digest
    assert len((resumed.path / "learning_curve.csv").read_text().splitlines()) == 31


def test_layer_by_layer_equals_message_passing_over_all_neighbours(opened):
    graph, features, model = opened
    inputs = Inputs(graph, features, model.transforms(0))
    network = predict.load_network(model, 0)
    moment = graph.as_of
    full = layerwise.embeddings(network, inputs, moment, memory=1_000_000)
    examples = features.examples.iloc[::37].assign(time=moment)
    params = train.Params.parse(model.parameters, "train")
    sampled = next(loop.embeddings(network, inputs, examples, [ALL, ALL], params))
    np.testing.assert_allclose(full[examples["node"].to_numpy(np.int64)].numpy(), sampled.numpy(), atol=1e-5)


def test_batches_do_not_change_the_answer(opened):
    graph, features, model = opened
    inputs = Inputs(graph, features, model.transforms(0))
    network = predict.load_network(model, 0)
    params = train.Params.parse(model.parameters, "train")
    examples = features.examples.iloc[400:440]
    together = loop.logits(network, inputs, examples, params.hops, params)
    apart = np.concatenate(
        [loop.logits(network, inputs, examples.iloc[i : i + 1], params.hops, params) for i in range(len(examples))]
    )
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_shuffled_edges_keep_degrees_and_lose_the_signal(opened):
    graph, features, model = opened
    shuffled = graph.shuffled(3)
    for name, adjacency in graph.relations.items():
        other = shuffled.relations[name]
        np.testing.assert_array_equal(np.diff(adjacency.indptr), np.diff(other.indptr))
        assert sorted(adjacency.edge_id.tolist()) == sorted(other.edge_id.tolist())
        if other.time is not None:
            source_time = graph.node_time(other.source)
            assert (other.time >= source_time[other.indices]).all(), "a permuted edge may not show a later row"
    test = features.examples[(features.examples["split_0"] == "test") & features.examples["label"].notna()]
    label = test["label"].astype(bool)
    name = "neighbour_trees"
    real = roc_auc_score(label, predict.score(model, name, 0, graph, features, test))
    broken = roc_auc_score(label, predict.score(model, name, 0, shuffled, features, test))
    assert broken < real - 0.1


def test_negatives_are_drawn_and_positives_kept():
    label = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 0], np.float32)
    chosen = balanced(label, 2, [0])
    assert {0, 8} <= set(chosen) and len(chosen) == 6 == len(set(chosen))
    assert sorted(balanced(label, "all", [0])) == list(range(10))
    assert (balanced(label, 2, [0]) == chosen).all() and (balanced(label, 2, [1]) != chosen).any()
    kept = limited(10, 4, label, [0])
    assert {0, 8} <= set(kept) and len(kept) == 4 and (np.diff(kept) > 0).all()


def test_divergence_and_a_missing_gpu_are_told(opened):
    with pytest.raises(UserError, match="diverged"):
        loop.judge("roc_auc", np.array([0, 1], np.float32), np.array([np.nan, 1.0]))
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU"):
            loop.choose_device("cuda")


def test_features_that_were_not_fitted_are_refused(tiny_run, tmp_path):
    from graphmill import features

    root = tiny_run / "artifacts"
    params = features.Params.parse(tiny.params()["features"] | {"fit": False}, "features")
    features.run(root / "tables", root / "graph", tmp_path / "features", params)
    with pytest.raises(UserError, match="features.fit"):
        train.run(root / "graph", tmp_path / "features", tmp_path / "model", train.Params())


def test_features_profiled_by_another_version_are_refused_before_anything_is_trained(tiny_run, tmp_path, monkeypatch):
    root = tiny_run / "artifacts"
    with tiny.altered(root / "features", "features", tmp_path / "features") as folder:
        (folder / "profile" / "reference.json").write_text('{"version": 1}')
    monkeypatch.setattr(loop, "fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match="profile version 1, this version reads 2; run the stage features again"):
        train.run(root / "graph", tmp_path / "features", tmp_path / "model", train.Params())
    assert not (tmp_path / "model").exists()


def test_a_perceptron_has_no_neighbourhood(tiny_run, tmp_path):
    params = train.Params.parse(tiny.params()["train"] | {"model": {"kind": "mlp", "hidden": 8}, "epochs": 2}, "train")
    root = tiny_run / "artifacts"
    train.run(root / "graph", root / "features", tmp_path / "model", params)
    model = Model.open(tmp_path / "model")
    assert model.names[0] == "mlp" and predict.load_network(model, 0).layers.__len__() == 0


def test_a_relation_that_came_later_changes_nothing(tiny_data, tmp_path):
    """A model scores a graph with a new edge type as it scores the one without it."""
    from components.__main__ import run

    runs = {}
    for name, edges in (("before", {}), ("after", tiny.params()["schema"]["edges"])):
        params = tiny.params()
        params["schema"]["edges"] = edges
        params["features"]["structure"] = []  # a place in the whole graph is moved by every edge
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.yaml").write_text(yaml.safe_dump(params))
        for stage in ("ingest", "graph", "features", *(["train"] if name == "before" else [])):
            run(stage, tmp_path / name / "params.yaml", tiny_data, tmp_path / name)
        root = tmp_path / name / "artifacts"
        runs[name] = Graph.open(root / "graph"), Features.open(root / "features")
    model = Model.open(tmp_path / "before" / "artifacts" / "model")
    assert set(runs["after"][0].relations) > set(model.relations) == set(runs["before"][0].relations)
    examples = runs["before"][1].examples.iloc[::7]
    for kind in model.names:
        one, other = (predict.score(model, kind, 0, *runs[name], examples) for name in ("before", "after"))
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="relations that the graph does not have: customer.refers.customer"):
        runs["before"][0].only(runs["after"][0].relations)


@pytest.mark.parametrize("kind", ["sage", "gat", "gin", "rgcn", "hgt"])
def test_an_edge_type_that_the_training_part_lacks(tmp_path, kind):
    """It begins after the last training example: nothing was learnt of it, and nothing breaks."""
    from components.__main__ import run

    tables = tiny.tables()
    late = pd.Timestamp("2025-04-10") + pd.to_timedelta(np.arange(50), unit="h")
    tables["referrals"] = tables["referrals"].assign(at=late)
    params = tiny.params()
    params["train"] |= {"epochs": 1, "model": {"hidden": 16, "kind": kind}, "controls": {"rounds": 5}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in ("ingest", "graph", "features", "train"):
        run(stage, tmp_path / "params.yaml", tiny.write(tmp_path / "data", tables), tmp_path)
    root = tmp_path / "artifacts"
    graph, features, model = Graph.open(root / "graph"), Features.open(root / "features"), Model.open(root / "model")
    train_part = features.examples[features.examples["split_0"] == "train"]
    assert graph.relations["customer.refers.customer"].time.min() > train_part["time"].max()
    for name in model.names:
        assert np.isfinite(predict.score(model, name, 0, graph, features, features.examples)).all()
    network, inputs = predict.load_network(model, 0), predict.inputs_of(model, 0, graph, features)
    assert np.isfinite(layerwise.embeddings(network, inputs, graph.as_of).numpy()).all()


def test_relations_that_are_not_named_are_not_followed(tiny_run, tmp_path):
    root = tiny_run / "artifacts"
    fanouts = {name: [3, 2] for name in ("terminal.rev_terminal_id.payment", "payment.terminal_id.terminal")}
    params = train.Params.parse(tiny.params()["train"] | {"fanouts": fanouts, "epochs": 1}, "train")
    train.run(root / "graph", root / "features", tmp_path / "model", params)
    model = Model.open(tmp_path / "model")
    assert set(model.manifest["architecture"]["relations"]) == set(fanouts)
    assert set(model.relations) == set(Graph.open(root / "graph").relations)
    graph, features = Graph.open(root / "graph"), Features.open(root / "features")
    assert np.isfinite(predict.score(model, "sage", 0, graph, features, features.examples.iloc[:50])).all()
    network = predict.load_network(model, 0)
    inputs = predict.inputs_of(model, 0, graph, features)
    full = layerwise.embeddings(network, inputs, graph.as_of)
    examples = features.examples.iloc[::37].assign(time=graph.as_of)
    every = [dict.fromkeys(fanouts, ALL)] * 2
    sampled = next(loop.embeddings(network, inputs, examples, every, params))
    np.testing.assert_allclose(full[examples["node"].to_numpy(np.int64)].numpy(), sampled.numpy(), atol=1e-5)
    unknown = train.Params.parse(tiny.params()["train"] | {"fanouts": {"payment.gone.x": [3]}}, "train")
    with pytest.raises(UserError, match="no relation 'payment.gone.x'"):
        train.run(root / "graph", root / "features", tmp_path / "none", unknown)
    for nothing in ({}, {"a": []}, []):
        with pytest.raises(UserError, match="needs at least one hop"):
            train.Params.parse({"fanouts": nothing}, "train")
    with pytest.raises(UserError, match="each is a number of edges from 1, or -1 for all"):
        train.Params.parse({"fanouts": [0]}, "train")
    assert train.Params.parse({"memory_limit": "1.5 GB"}, "train").memory == 1_500_000_000
    with pytest.raises(UserError, match="train.memory_limit"):
        train.Params.parse({"memory_limit": "lots"}, "train")
    with pytest.raises(UserError, match="every relation needs a number for every hop"):
        train.Params.parse({"fanouts": {"a": [1], "b": [1, 2]}}, "train")


def test_the_simplest_model_wins_unless_another_is_shown_to_be_better():
    from graphmill.train.winner import choose

    state = np.random.default_rng(0)
    label = state.random(2_000) < 0.2
    examples = pd.DataFrame({"label": label})

    def result(noise):
        scores = label + noise * state.normal(size=len(label))
        return {"validation": roc_auc_score(label, scores), "scores": (examples, scores)}

    plain, trees = result(3.0), result(0.5)
    close = {"validation": trees["validation"] + 1e-4, "scores": (examples, trees["scores"][1].copy())}
    names = ["features_only", "neighbour_trees", "sage"]
    pairs = dict(zip(names, (plain, trees, close), strict=True))
    assert choose(names, [pairs], "roc_auc", 0) == "neighbour_trees"
    assert choose(names, [pairs | {"sage": result(0.2)}], "roc_auc", 0) == "sage"
    assert choose(names, [pairs | {"features_only": close}], "roc_auc", 0) == "features_only"
