"""PyTorch Geometric's loaders, convolutions and explainers over our sampler."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.sampler import EdgeSamplerInput, NegativeSampling, NodeSamplerInput
from torch_geometric.utils import trim_to_layer

from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.adjacency import assemble
from graphmill.graph.pyg import PygSampler, edge_type, to_data
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from tests.worlds import World, edge_lists

HOME = Path(__file__).parent.parent
PAID = ("payment", "customer_id", "customer")


@pytest.fixture(scope="module")
def opened(tiny_run):
    root = tiny_run / "artifacts"
    graph, features = Graph.open(root / "graph"), Features.open(root / "features")
    return graph, Inputs(graph, features, features.transforms(0))


def plain(people=60, edges=400, seed=0):
    """One node type, one relation, no time."""
    state = np.random.default_rng(seed)
    source, target = (state.integers(0, people, edges, dtype=np.int32) for _ in range(2))
    rows = np.arange(edges, dtype=np.int32)
    return World(
        {"person": people}, {"person.knows.person": assemble(("person",) * 2, source, target, rows, None, people)}
    )


def test_a_homogeneous_batch_is_made_of_true_edges():
    world = plain()
    data = to_data(world)
    data.x = torch.arange(60.0)[:, None]
    known = set(map(tuple, data.edge_index.T.tolist()))
    loader = NodeLoader(data, PygSampler(Sampler(world, [3, 2])), batch_size=7)
    for batch in loader:
        assert batch.x[:, 0].tolist() == batch.n_id.tolist(), "rows belong to their nodes"
        assert batch.n_id[: batch.batch_size].tolist() == batch.input_id.tolist()
        pairs = batch.n_id[batch.edge_index].T.tolist()
        assert set(map(tuple, pairs)) <= known
        assert batch.e_id.tolist() and data.edge_index[:, batch.e_id].T.tolist() == pairs
        assert sum(batch.num_sampled_nodes) == batch.num_nodes and sum(batch.num_sampled_edges) == len(pairs)
    assert len(list(NodeLoader(data, PygSampler(Sampler(world, [3])), batch_size=16, num_workers=2))) == 4


def test_trimming_changes_nothing_for_the_seeds():
    torch.manual_seed(0)
    world = plain()
    data = to_data(world)
    data.x = torch.randn(60, 5)
    layers = [SAGEConv(5, 8), SAGEConv(8, 4), SAGEConv(4, 2)]
    for batch in NodeLoader(data, PygSampler(Sampler(world, [3, 2, 4])), batch_size=9):
        whole, short, edges = batch.x, batch.x, batch.edge_index
        for depth, layer in enumerate(layers):
            whole = layer(whole, batch.edge_index)
            short, edges, _ = trim_to_layer(depth, batch.num_sampled_nodes, batch.num_sampled_edges, short, edges)
            short = layer(short, edges)
        torch.testing.assert_close(short[: batch.batch_size], whole[: batch.batch_size])


@settings(max_examples=200, deadline=None)
@given(edge_lists(), st.integers(1, 22), st.integers(1, 4))
def test_no_edge_of_a_batch_is_at_or_after_its_seed(edges, moment, fanout):
    world = edges.world()[0]
    sampler = PygSampler(Sampler(world, [fanout, 2]))
    seeds = torch.arange(edges.people)
    times = torch.arange(edges.people) % 3 + moment
    out = sampler.sample_from_nodes(NodeSamplerInput(None, seeds, times, "person"))
    for name, adjacency in world.relations.items():
        kind = edge_type(world, name)
        owner = out.batch["person"][out.col[kind]]
        assert (torch.from_numpy(adjacency.time)[out.edge[kind]] < times[owner]).all()
        assert torch.equal(out.batch["person"][out.row[kind]], owner), "a tree keeps to itself"
        places = out.edge[kind].numpy()
        assert (adjacency.indices[places] == out.node["person"][out.row[kind]].numpy()).all()
        target = np.searchsorted(adjacency.indptr, places, side="right") - 1
        assert (target == out.node["person"][out.col[kind]].numpy()).all()


def test_a_hetero_model_takes_a_step_on_batches_of_the_past(opened):
    graph, inputs = opened
    data = to_data(graph, inputs)
    examples = inputs.features.examples
    loader = NodeLoader(
        data, PygSampler(Sampler(graph, [3, 3])), batch_size=64,
        input_nodes=("payment", torch.from_numpy(examples["node"].to_numpy(np.int64))),
        input_time=torch.from_numpy(examples["time"].to_numpy(np.int64)),
    )  # fmt: skip
    convolution = HeteroConv({kind: SAGEConv((-1, -1), 4) for kind in data.edge_types})
    batch = next(iter(loader))
    for name in graph.relations:
        store = batch[edge_type(graph, name)]
        if "time" in store:
            seed = batch["payment"].seed_time[batch[name.split(".")[2]].batch[store.edge_index[1]]]
            assert (store.time < seed).all()
    out = convolution(batch.x_dict, batch.edge_index_dict)["payment"][:64]
    out.square().mean().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in convolution.parameters() if weight.grad is not None)


@pytest.mark.parametrize("negative", [None, NegativeSampling("binary", 2.0), NegativeSampling("triplet", 2)])
def test_links_are_sampled_with_links_that_are_none(opened, negative):
    graph, inputs = opened
    data = to_data(graph, inputs)
    links = data[PAID].edge_index[:, 100:180]
    time = torch.from_numpy(np.array(graph.node_time("payment")))[links[0]]
    loader = LinkLoader(
        data, PygSampler(Sampler(graph, [4, 2])), edge_label_index=(PAID, links), edge_label_time=time,
        neg_sampling=negative, batch_size=20,
    )  # fmt: skip
    born = torch.from_numpy(np.array(graph.node_time("customer")))
    for place, batch in enumerate(loader):
        own = time[20 * place : 20 * (place + 1)]
        if negative is not None and negative.is_triplet():
            assert batch["customer"].dst_neg_index.shape == (20, 2)
            chosen = batch["customer"].n_id[batch["customer"].dst_neg_index]
            assert (born[chosen] < own[:, None]).all()
        else:
            pairs = batch[PAID].edge_label_index
            found = torch.stack([batch["payment"].n_id[pairs[0]], batch["customer"].n_id[pairs[1]]])
            assert torch.equal(found[:, :20], links[:, 20 * place : 20 * (place + 1)])
            if negative is not None:
                assert batch[PAID].edge_label.tolist() == [1] * 20 + [0] * 40
        for name in graph.relations:
            store = batch[edge_type(graph, name)]
            if "time" in store and store.edge_index.shape[1]:
                assert (store.time < own[batch[name.split(".")[2]].batch[store.edge_index[1]]]).all()


@pytest.mark.parametrize("kind", [PAID, ("customer", "refers", "customer")])
@pytest.mark.parametrize("amount", [0.3, 1, 1.5, 2.25])
def test_both_ends_of_a_link_that_is_none_belong_to_one_link(opened, kind, amount):
    """Whose time a tree was drawn at is told by ``batch``, with any number of links that are none to a link."""
    graph, inputs = opened
    links, count = to_data(graph, inputs)[kind].edge_index[:, 20:47], 27
    time = torch.from_numpy(graph.as_of - 1_000 * np.arange(count))
    out = PygSampler(Sampler(graph, [4, 2])).sample_from_edges(
        EdgeSamplerInput(None, links[0], links[1], None, time, kind), NegativeSampling("binary", amount)
    )
    total = count + math.ceil(count * amount)
    ends = out.metadata[1]
    for end, node in zip(ends, (kind[0], kind[2]), strict=True):
        assert torch.equal(out.batch[node][end], torch.arange(total) % count)
    for name in graph.relations:
        edge = edge_type(graph, name)
        assert torch.equal(out.batch[edge[0]][out.row[edge]], out.batch[edge[2]][out.col[edge]])


def test_links_that_are_none_of_a_homogeneous_graph_with_times():
    world = plain()
    adjacency = world.relations["person.knows.person"]
    world.relations["person.knows.person"] = dataclasses.replace(adjacency, time=np.zeros(adjacency.edges, np.int64))
    world.node_time = lambda _: np.zeros(60, np.int64)
    seeds = EdgeSamplerInput(None, torch.arange(10), torch.arange(10, 20), None, torch.arange(5, 15))
    out = PygSampler(Sampler(world, [2])).sample_from_edges(seeds, NegativeSampling("binary", 0.5))
    for end in out.metadata[1]:
        assert torch.equal(out.batch[end], torch.arange(15) % 10)


def test_a_link_before_every_node_has_no_counterpart(opened):
    graph, inputs = opened
    loader = LinkLoader(
        to_data(graph, inputs), PygSampler(Sampler(graph, [2])), edge_label_index=(PAID, torch.tensor([[0], [0]])),
        edge_label_time=torch.tensor([1]), neg_sampling=NegativeSampling("binary"), batch_size=1,
    )  # fmt: skip
    with pytest.raises(UserError, match="no payment exists before the time 1"):
        next(iter(loader))


def test_links_of_a_homogeneous_graph_without_time():
    world = plain()
    data = to_data(world)
    loader = LinkLoader(
        data, PygSampler(Sampler(world, [4, 2])), neg_sampling=NegativeSampling("binary"), batch_size=50
    )  # fmt: skip
    batch = next(iter(loader))
    assert batch.edge_label_index.shape == (2, 100)
    assert torch.equal(batch.n_id[batch.edge_label_index[:, :50]], data.edge_index[:, :50])


def test_an_explainer_explains_a_sampled_batch():
    torch.manual_seed(0)
    world = plain()
    data = to_data(world)
    data.x = torch.randn(60, 5)
    batch = next(iter(NodeLoader(data, PygSampler(Sampler(world, [5])), batch_size=1)))
    explainer = Explainer(
        SAGEConv(5, 2),
        GNNExplainer(epochs=5),
        explanation_type="model",
        edge_mask_type="object",
        node_mask_type="attributes",
        model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
    )
    found = explainer(batch.x, batch.edge_index, index=0)
    assert found.edge_mask.shape == (batch.edge_index.shape[1],) and torch.isfinite(found.edge_mask).all()


def test_what_the_loader_cannot_mean_is_told(opened):
    graph, _ = opened
    sampler = PygSampler(Sampler(graph, [2]))
    with pytest.raises(UserError, match="seeds need them: give the loader input_time"):
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor([0]), None, "payment"))
    with pytest.raises(UserError, match="name the seeds' type: customer, payment, terminal"):
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor([0]), torch.tensor([1])))
    with pytest.raises(UserError, match="payment: node ids must be within 0 and"):
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor([10**7]), torch.tensor([1]), "payment"))


def test_the_page_runs_as_it_stands(tiny_run, monkeypatch):
    monkeypatch.chdir(tiny_run)
    for block in re.findall(r"```python\n(.*?)```", (HOME / "docs" / "pyg.md").read_text(), re.S):
        exec(compile(block, "docs/pyg.md", "exec"), {})
