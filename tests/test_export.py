"""A network as ONNX, and in numba, is the network: whatever types, relations, rows and edges there are."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from graphmill.serving.engines.onnx import OnnxEngine
from graphmill.serving.engines.sage import SageEngine
from graphmill.train.export import export
from tests.gathering import drawn, gathered

KINDS = ("sage", "mlp", "gin", "gat", "rgcn", "hgt")
SIZES = {
    "one": lambda depth: 1,
    "thirty-two": lambda depth: 32 * (depth + 1),
    "many": lambda depth: 256,
    "nothing below the seeds": lambda depth: 7 if depth == 0 else 0,
    "nothing from the second hop on": lambda depth: 5 if depth < 2 else 0,
    "no seed": lambda depth: 0,
}


def engines_of(network, shape, fanouts, file):
    export(network, shape, fanouts, file)
    found = [OnnxEngine(file, network.shape.hidden)]
    if network.shape.kind in ("sage", "mlp"):
        weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        found.append(SageEngine(weights, network.shape.canonical(), shape))
    return found


@pytest.mark.parametrize("seed", [0, 3, 4, 6])  # ways that end early; no relation; many; a circle
@pytest.mark.parametrize("kind", KINDS)
def test_engines_equal_networks_of_any_shape(tmp_path, kind, seed):
    shape, network, fanouts = drawn(seed, kind)
    for engine in engines_of(network, shape, fanouts, tmp_path / "network.onnx"):
        for name, counts in SIZES.items():
            batch, wanted = gathered(shape, network, fanouts, counts, seed=seed)
            with torch.inference_mode():
                embedded = network.embed(wanted)
                raw = network.logits(embedded).numpy()
            ours, scores = engine.forward(batch)
            assert scores.dtype == np.float64 and ours.shape == embedded.shape, name
            np.testing.assert_allclose(ours, embedded.numpy(), atol=2e-5, rtol=1e-5, err_msg=name)
            np.testing.assert_allclose(scores, raw, atol=2e-5, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("hidden", [1, 10, 48, 72, 130])
def test_the_numba_engine_has_networks_of_any_width(hidden):
    shape, network, fanouts = drawn(4, "sage", hidden)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    engine = SageEngine(weights, network.shape.canonical(), shape)
    for rows in (1, 5, 6, 61):
        batch, wanted = gathered(shape, network, fanouts, lambda depth, n=rows: n, most=9, seed=rows)
        with torch.inference_mode():
            embedded = network.embed(wanted)
            raw = network.logits(embedded).numpy()
        ours, scores = engine.forward(batch)
        np.testing.assert_allclose(ours, embedded.numpy(), atol=5e-5, rtol=1e-4)
        np.testing.assert_allclose(scores, raw, atol=5e-5, rtol=1e-4)


def test_a_type_that_came_after_the_model_changes_nothing():
    shape, network, fanouts = drawn(4, "sage")
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    batch, _ = gathered(shape, network, fanouts, lambda depth: 9)
    wanted = SageEngine(weights, network.shape.canonical(), shape).forward(batch)
    later = replace(shape, nodes=shape.nodes | {"later": 0})
    table = np.full((len(batch.counts), 1), -1)
    batch = replace(
        batch, types=list(later.nodes), counts=np.hstack([batch.counts, table]),
        widths=np.vstack([batch.widths, [0, 0]]),
        dense_at=np.hstack([batch.dense_at, 0 * table]), codes_at=np.hstack([batch.codes_at, 0 * table]),
    )  # fmt: skip
    for one, other in zip(SageEngine(weights, network.shape.canonical(), later).forward(batch), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_batch_after_a_larger_one_is_not_touched_by_it(tmp_path):
    shape, network, fanouts = drawn(6, "sage")
    small, large = (gathered(shape, network, fanouts, lambda depth, n=n: n, seed=n)[0] for n in (3, 900))
    for engine in engines_of(network, shape, fanouts, tmp_path / "network.onnx"):
        before = [part.copy() for part in engine.forward(small)]
        engine.forward(large)
        for one, other in zip(before, engine.forward(small), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_names_its_inputs_and_leaves_their_sizes_open(tmp_path, kind):
    shape, network, fanouts = drawn(6, kind)
    export(network, shape, fanouts, tmp_path / "network.onnx")
    graph = onnx.load(tmp_path / "network.onnx").graph
    kinds = {
        "rows": onnx.TensorProto.FLOAT, "edges": onnx.TensorProto.FLOAT, "codes": onnx.TensorProto.INT64,
        "source": onnx.TensorProto.INT64, "target": onnx.TensorProto.INT64,
    }  # fmt: skip
    for item in graph.input:
        part, depth, name = item.name.split(".", 2)
        assert item.type.tensor_type.elem_type == kinds[part] and int(depth) <= len(fanouts)
        assert name in (shape.nodes if part in ("rows", "codes") else shape.relations)
        assert item.type.tensor_type.shape.dim[0].dim_param, f"{item.name} has a fixed number of rows"
    assert [item.name for item in graph.output] == ["embedding", "logit"]
    assert not {node.op_type for node in graph.node} & {"Loop", "Scan"}, "as slow as a loop"
    sums = [node for node in graph.node if "add" in str(node.attribute) and node.op_type == "ScatterElements"]
    assert not sums, "fifty times slower than whole rows"
    onnx.checker.check_model(onnx.load(tmp_path / "network.onnx"), full_check=True)


EXPORT = """
import sys
from pathlib import Path
from graphmill.train.export import export
from tests.gathering import drawn
shape, network, fanouts = drawn(6, sys.argv[1])
export(network, shape, fanouts, Path(sys.argv[2]))
"""


def test_an_export_has_the_same_bytes_in_every_process(tmp_path):
    shape, network, fanouts = drawn(6, "hgt")
    export(network, shape, fanouts, tmp_path / "one")
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", EXPORT, "hgt", str(tmp_path / "other")], check=True, env=environment)
    one, other = ((tmp_path / name).read_bytes() for name in ("one", "other"))
    assert one == other
    assert str(tmp_path).encode() not in one and b"site-packages" not in one
