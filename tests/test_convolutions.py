"""Every kind of convolution: on both roads with one set of weights, layer by layer, and trained."""

import numpy as np
import pytest
import torch
from torch_geometric.nn import SAGEConv

from graphmill import predict, train
from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sample import ALL
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.train import layerwise, loop
from graphmill.train.batches import assemble
from graphmill.train.network import Network, architecture
from tests import tiny


@pytest.fixture(scope="module")
def opened(tiny_run):
    root = tiny_run / "artifacts"
    graph, features = Graph.open(root / "graph"), Features.open(root / "features")
    return graph, Inputs(graph, features, features.transforms(0))


def on_pyg(network, batch):
    """The same network on PyTorch Geometric's own SAGEConv, with the same weights."""
    hidden = [{node: network.encode(node, rows) for node, rows in part.items()} for part in batch.nodes]
    for layer in network.layers:
        convolution, following = layer.convolution, []
        for depth in range(len(hidden) - 1):
            total = {node: convolution.own[node](rows) for node, rows in hidden[depth].items()}
            for name, edges in batch.edges[depth].items():
                source, target, _ = network.shape.relations[name]
                theirs = SAGEConv((-1, -1), network.shape.hidden, bias=False, root_weight=False)
                theirs.lin_l = convolution.neighbours[name.replace(".", "-")]
                pair = hidden[depth + 1][source], hidden[depth][target]
                total[target] = total[target] + theirs(pair, edges.index(), size=(len(pair[0]), len(pair[1])))
            total = convolution.edges(total, batch.edges[depth])
            following.append(
                {node: hidden[depth][node] + torch.relu(layer.norm[node](rows)) for node, rows in total.items()}
            )
        hidden = following
    return network.logits(hidden[0][network.shape.node])


def fresh(opened, kind):
    graph, inputs = opened
    torch.manual_seed(1)
    params = train.Params.parse(tiny.params()["train"] | {"model": {"kind": kind, "hidden": 16}}, "train")
    network = Network(architecture(inputs, params.model, params.hops)).eval()
    with torch.no_grad():  # layers begin with biases of 0, which would hide that one is added or left out
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return network, params


@pytest.mark.parametrize("fanouts", [[3, 5], [ALL, ALL]])
def test_both_roads_are_equal_forward_and_backward(opened, fanouts):
    graph, inputs = opened
    network, _ = fresh(opened, "sage")
    part = inputs.features.examples.iloc[300:360]
    batch = assemble(inputs, Sampler(graph, fanouts), "payment", part["node"].to_numpy(), part["time"].to_numpy())
    gradients = []
    outputs = []
    for road in (network, lambda batch: on_pyg(network, batch)):
        network.zero_grad()
        outputs.append(road(batch))
        outputs[-1].square().sum().backward()
        gradients.append({name: weight.grad.clone() for name, weight in network.named_parameters()
                          if weight.grad is not None})  # fmt: skip
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=0)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(gradient / scale, gradients[1][name] / scale, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["sage", "gat", "gin", "rgcn", "hgt"])
@pytest.mark.parametrize("memory", [1_000, 2 << 30])
def test_layer_by_layer_equals_all_neighbours_for_every_kind(opened, kind, memory):
    graph, inputs = opened
    network, params = fresh(opened, kind)
    moment = graph.as_of - 20 * 86_400_000_000
    full = layerwise.embeddings(network, inputs, moment, memory)
    examples = inputs.features.examples.iloc[::41].assign(time=moment)
    sampled = torch.cat(list(loop.embeddings(network, inputs, examples, [ALL, ALL], params)))
    torch.testing.assert_close(full[examples["node"].to_numpy(np.int64)], sampled, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gat", "gin", "rgcn", "hgt"])
def test_every_kind_is_trained_and_scores(tiny_run, tmp_path, kind):
    root = tiny_run / "artifacts"
    chosen = {"model": {"kind": kind, "hidden": 16}, "epochs": 3, "controls": {"rounds": 5}}
    train.run(root / "graph", root / "features", tmp_path / "model",
              train.Params.parse(tiny.params()["train"] | chosen, "train"))  # fmt: skip
    model = Model.open(tmp_path / "model")
    assert model.names[0] == kind and model.manifest["validation"][kind][0] > 0.18, "a coin has 0.14"
    graph, features = Graph.open(root / "graph"), Features.open(root / "features")
    scores = predict.score(model, kind, 0, graph, features, features.examples.iloc[:99])
    assert np.isfinite(scores).all() and np.ptp(scores) > 0


def test_heads_share_the_width():
    with pytest.raises(UserError, match="4 heads cannot share a width of 18"):
        train.Params.parse({"model": {"kind": "hgt", "hidden": 18}}, "train")
