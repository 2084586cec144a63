"""Batches made ahead are the batches made in between; the mean's backward is the mean's gradient."""

import threading

import numpy as np
import pytest
import torch
from torch.nn.functional import embedding_bag

from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.train.aggregate import mean_of
from graphmill.train.loader import Loader
from graphmill.train.resident import Resident, hold


@pytest.fixture(scope="module")
def inputs(tiny_run):
    graph, features = Graph.open(tiny_run / "artifacts" / "graph"), Features.open(tiny_run / "artifacts" / "features")
    return Inputs(graph, features, features.transforms(0))


def parts(inputs, size=50):
    examples = inputs.features.examples
    ids, times = examples["node"].to_numpy(), examples["time"].to_numpy()
    return [(ids[first : first + size], times[first : first + size]) for first in range(0, len(ids), size)]


def flat(batch):
    found = []
    batch.map(lambda tensor: found.append(tensor.clone()) or tensor)
    return found


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("apart", [False, True])
def test_threads_change_neither_batches_nor_their_order(inputs, workers, apart):
    sampler = Sampler(inputs.graph, [3, 5], seed=2)
    alone, ahead = (
        [flat(batch) for batch in Loader(inputs, sampler, "payment", apart, workers=count).batches(parts(inputs))]
        for count in (0, workers)
    )
    assert len(alone) == len(ahead) == len(parts(inputs))
    for one, other in zip(alone, ahead, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_error_reaches_the_consumer_and_leaves_no_thread(inputs):
    sampler = Sampler(inputs.graph, [3])
    broken = [*parts(inputs)[:3], (np.array([10**6]), np.array([1]))]
    with pytest.raises(UserError, match="payment: node ids must be within"):
        list(Loader(inputs, sampler, "payment", workers=2).batches(broken))
    batches = Loader(inputs, sampler, "payment", workers=2).batches(parts(inputs))
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_rows_that_stand_on_the_device_are_the_rows_that_are_gathered(inputs):
    sampler = Sampler(inputs.graph, [3, 5], seed=2)
    held = hold(inputs, torch.device("cpu"), run=64)
    assert held.types == set(inputs.graph.nodes) and Resident({}).types == frozenset()
    near, gathered = (
        [flat(batch) for batch in Loader(inputs, sampler, "payment", resident=kept).batches(parts(inputs)[:4])]
        for kept in (held, None)
    )
    for one, other in zip(near, gathered, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("edges", [0, 1, 400])
def test_the_mean_and_its_gradient(edges):
    state = np.random.default_rng(edges)
    pointer = np.sort(np.concatenate([[0, 0], state.integers(0, edges + 1, 29), [edges]])).astype(np.int32)
    row = torch.from_numpy(state.integers(0, 50, edges).astype(np.int32))
    rows, upstream = (
        torch.randn(50, 7, dtype=torch.float64, requires_grad=True),
        torch.randn(31, 7, dtype=torch.float64),
    )
    ours = mean_of(rows, row, torch.from_numpy(pointer))
    (gradient,) = torch.autograd.grad((ours * upstream).sum(), rows) if edges else (torch.zeros(50, 7),)
    plain = torch.stack([rows[row[a:b].long()].mean(0) if b > a else torch.zeros(7).double() for a, b in
                         zip(pointer[:-1], pointer[1:], strict=True)])  # fmt: skip
    torch.testing.assert_close(ours, plain)
    wanted = torch.autograd.grad((plain * upstream).sum(), rows)[0] if edges else torch.zeros(50, 7)
    torch.testing.assert_close(gradient, wanted)
    if edges:
        library = embedding_bag(row, rows, torch.from_numpy(pointer), mode="mean", include_last_offset=True)
        torch.testing.assert_close(ours, library)
