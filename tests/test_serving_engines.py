"""Every engine computes what training computed, from what the predictor gathers."""

import subprocess
import sys

import lightgbm
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from safetensors.torch import save_file

from graphmill import predict
from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.features.transforms import Transform
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.serving import engines
from graphmill.serving.engines.describe import TreeEngine
from graphmill.serving.engines.onnx import OnnxEngine
from graphmill.serving.engines.sage import SageEngine
from graphmill.serving.engines.trees import Forest
from graphmill.serving.reader import Reader
from graphmill.train import neighbourhood
from graphmill.train.batches import assemble
from graphmill.train.export import export
from graphmill.train.network import Network, architecture
from graphmill.train.params import Network as Shape
from graphmill.train.params import Params

KINDS = ("sage", "mlp", "gin", "gat", "rgcn", "hgt")
BATCHES = (1, 32, 256)


@pytest.fixture(scope="module")
def opened(tiny_run):
    root = tiny_run / "artifacts"
    return Graph.open(root / "graph"), Features.open(root / "features"), Model.open(root / "model")


def embedding(transforms, graph):
    """The same transforms with one category as a learned embedding."""
    changed = [
        Transform(column=item.column, kind="embedding", vocabulary=item.vocabulary) if item.kind == "onehot" else item
        for item in transforms["nodes"]["payment"]
    ]
    return transforms | {"nodes": transforms["nodes"] | {"payment": changed}}


def made(kind, inputs, hops, seed=0):
    torch.manual_seed(seed)
    network = Network(architecture(inputs, Shape(kind=kind, hidden=16, heads=2), hops)).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # norms and biases of a new network would hide a mistake
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def asked(features, count, seed=1):
    rows = features.examples.iloc[np.random.default_rng(seed).integers(0, len(features.examples), count)]
    return rows["node"].to_numpy(np.int32), rows["time"].to_numpy(np.int64)


def both(network, inputs, hops, engine, ids, times):
    """Embeddings and logits of the network and of an engine."""
    reader = Reader(inputs, "payment", hops, False, 0, inputs.graph.nodes)
    reader.know(inputs.graph.nodes)
    embedded, raw = engine.forward(reader.read(ids, times))
    batch = assemble(inputs, Sampler(inputs.graph, hops), "payment", ids, times, network.apart)
    with torch.inference_mode():
        wanted = network.embed(batch)
        return (embedded, raw), (wanted.numpy(), network.logits(wanted).numpy())


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_engines_equal_the_training_network(tmp_path, opened, kind, coded):
    graph, features, _ = opened
    transforms = features.transforms(0)
    inputs = Inputs(graph, features, embedding(transforms, graph) if coded else transforms)
    assert bool(inputs.embedded("payment")) == coded
    hops = [] if kind == "mlp" else [3, 4]
    network = made(kind, inputs, hops)
    export(network, graph, hops, tmp_path / "network.onnx")
    found = [OnnxEngine(tmp_path / "network.onnx", 16)]
    if kind in ("sage", "mlp"):
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        found.append(SageEngine(load_file(tmp_path / "weights.safetensors"), network.shape.canonical(), graph))
    for engine in found:
        for count in BATCHES:
            ours, theirs = both(network, inputs, hops, engine, *asked(features, count))
            assert len(ours[1]) == count and np.ptp(theirs[1]) > 0 or count == 1
            for mine, wanted in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(mine, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_without_any_neighbour_are_judged(tmp_path, opened, kind):
    graph, features, _ = opened
    inputs = Inputs(graph, features, features.transforms(0))
    hops = [] if kind == "mlp" else [3, 4]
    network = made(kind, inputs, hops)
    export(network, graph, hops, tmp_path / "network.onnx")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    found = [OnnxEngine(tmp_path / "network.onnx", 16)]
    if kind in ("sage", "mlp"):
        found.append(SageEngine(load_file(tmp_path / "weights.safetensors"), network.shape.canonical(), graph))
    first = np.array([0, 1], np.int32)
    for engine in found:  # long before anything happened: links of a payment are there, their past is not
        ours, theirs = both(network, inputs, hops, engine, first, np.array([1, 1]))
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)


def test_an_export_has_the_same_bytes_every_time(tmp_path, opened):
    graph, features, _ = opened
    inputs = Inputs(graph, features, features.transforms(0))
    for name in ("one", "other"):
        export(made("gat", inputs, [3, 4]), graph, [3, 4], tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("name", ["sage", "features_only", "neighbour_trees"])
def test_served_scores_are_those_of_batch_scoring(opened, name):
    graph, features, model = opened
    params = Params.parse(model.parameters, "train")
    inputs = predict.inputs_of(model, 0, graph, features)
    rows = features.examples.iloc[::3]
    wanted = predict.logits(model, name, 0, inputs, rows)
    hops = {"sage": params.hops, "features_only": []}.get(name, params.controls.fanouts)
    reader = Reader(inputs, "payment", hops, params.recent, params.seed, graph.nodes)
    reader.know(graph.nodes)
    ids, times = rows["node"].to_numpy(np.int32), rows["time"].to_numpy(np.int64)
    kinds = ("numba", "onnx") if name == "sage" else ("auto",)
    for kind in kinds:
        engine = engines.load(model, name, inputs.graph, 0, kind)
        for count in BATCHES:
            found = [engine.forward(reader.read(ids[at : at + count], times[at : at + count]))[1].copy()
                     for at in range(0, len(ids), count)]  # fmt: skip
            np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["sage", "neighbour_trees"])
def test_a_node_is_judged_in_a_batch_as_alone_to_the_last_bit(opened, name):
    """Answers are computed together and told to be computed again one by one."""
    graph, features, model = opened
    params = Params.parse(model.parameters, "train")
    inputs = predict.inputs_of(model, 0, graph, features)
    hops = params.hops if name == "sage" else params.controls.fanouts
    reader = Reader(inputs, "payment", hops, params.recent, params.seed, graph.nodes)
    reader.know(graph.nodes)
    engine, (ids, times) = engines.load(model, name, inputs.graph), asked(features, 100)
    together = [part.copy() for part in engine.forward(reader.read(ids, times))]
    for place in range(len(ids)):
        one = slice(place, place + 1)
        for alone, among in zip(engine.forward(reader.read(ids[one], times[one])), together, strict=True):
            np.testing.assert_array_equal(alone, among[one])


def test_the_columns_of_trees_are_those_of_training_to_the_last_bit(opened):
    graph, features, model = opened
    params = Params.parse(model.parameters, "train")
    transforms = embedding(features.transforms(0), graph)
    rows = features.examples.iloc[::5]
    ids, times = rows["node"].to_numpy(np.int32), rows["time"].to_numpy(np.int64)
    for name, hops in (("features_only", []), ("neighbour_trees", params.controls.fanouts)):
        inputs = Inputs(graph, features, transforms)
        wanted = neighbourhood.describe(name, inputs, rows, hops, params.recent, params.seed)
        own = len(inputs.nodes["payment"].names)
        engine = TreeEngine(Forest.read([], name), own, graph, name == "neighbour_trees")
        reader = Reader(inputs, "payment", hops, params.recent, params.seed, graph.nodes)
        reader.know(graph.nodes)
        for count in BATCHES:
            parts = [slice(first, first + count) for first in range(0, len(ids), count)]
            found = [engine.columns(reader.read(ids[part], times[part])).copy() for part in parts]
            np.testing.assert_array_equal(np.concatenate(found), wanted)
    assert np.isnan(wanted).any()


HEAVY = """
import sys
import graphmill.serving.engines, graphmill.serving.engines.onnx, graphmill.train.calibration
import graphmill.train.neighbourhood, graphmill.train.params
heavy = "torch torch_geometric lightgbm sklearn onnx onnxscript duckdb ibis kfp dvc".split()
sys.exit(", ".join(name for name in heavy if name in sys.modules) or 0)
"""


def test_engines_and_what_they_share_with_training_load_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_engine_that_does_not_compute_a_kind_says_so(opened):
    graph, _, model = opened
    with pytest.raises(UserError, match="engine numba computes sage, mlp and trees, not gat; take onnx or auto"):
        engines.load(model, "gat", graph, 0, "numba")


def grown(seed, missing):
    """A small boosted model on columns with holes, zeros and infinities."""
    state = np.random.default_rng(seed)
    matrix = state.normal(size=(400, 5)).astype(np.float32)
    matrix[state.random(matrix.shape) < 0.2] = np.nan
    matrix[state.random(matrix.shape) < 0.2] = 0
    label = (np.nan_to_num(matrix[:, 0]) + np.isnan(matrix[:, 1]) + state.normal(size=400) > 0.5).astype(float)
    options = {"objective": "binary", "verbosity": -1, "num_leaves": 8, "min_data_in_leaf": 5, "num_threads": 1}
    data = lightgbm.Dataset(matrix, label)
    return lightgbm.train(options | missing, data, 12).model_to_string(), matrix


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000), st.sampled_from([{}, {"use_missing": False}, {"zero_as_missing": True}]))
def test_trees_are_walked_as_lightgbm_walks_them(seed, missing):
    texts, matrix = zip(*(grown(seed + bag, missing) for bag in range(2)), strict=True)
    rows = np.concatenate(matrix)
    rows[np.random.default_rng(seed).random(rows.shape) < 0.05] = np.inf
    rows[np.random.default_rng(seed + 1).random(rows.shape) < 0.05] = -np.inf
    rows[np.random.default_rng(seed + 2).random(rows.shape) < 0.05] = np.float32(1e-35)  # still counts as nothing
    rows[np.random.default_rng(seed + 3).random(rows.shape) < 0.05] = np.nextafter(np.float32(1e-35), np.float32(1))
    wanted = np.mean([lightgbm.Booster(model_str=text).predict(rows, raw_score=True) for text in texts], axis=0)
    np.testing.assert_allclose(Forest.read(list(texts), "trees").score(rows), wanted, rtol=1e-12, atol=1e-12)


def test_trees_without_a_split_and_no_trees_at_all():
    text, matrix = grown(1, {"min_data_in_leaf": 400})
    wanted = lightgbm.Booster(model_str=text).predict(matrix, raw_score=True)
    np.testing.assert_allclose(Forest.read([text], "trees").score(matrix), wanted)
    assert (Forest.read([], "trees").score(matrix) == 0).all()


def test_trees_that_are_not_walked_are_refused():
    text = grown(1, {})[0]
    with pytest.raises(UserError, match="categorical splits or linear leaves"):
        Forest.read([text.replace("num_cat=0", "num_cat=1", 1)], "trees")
    for word in ("num_tree_per_iteration=3", "num_tree_per_iteration=1\naverage_output"):
        with pytest.raises(UserError, match="trees: is no model of boosted trees with one score"):
            Forest.read([text.replace("num_tree_per_iteration=1", word, 1)], "trees")


def test_rows_of_another_width_are_refused_not_read_beyond():
    text, matrix = grown(1, {})
    with pytest.raises(UserError, match="was trained on 5 columns, and the graph makes 3"):
        Forest.read([text], "trees").score(matrix[:, :3])
    with pytest.raises(UserError, match="different widths"):
        Forest.read([text, text.replace("max_feature_idx=4", "max_feature_idx=5")], "trees")
