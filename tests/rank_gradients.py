"""One of two processes that compute gradients together: ``GRAPH FEATURES OUTPUT``, started as torchrun does."""

import os
import sys

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.train import Params
from graphmill.train.convolutions import KINDS
from graphmill.train.examples import labels, part
from graphmill.train.loader import Loader
from graphmill.train.network import Network, architecture
from graphmill.train.ranks import Ranks
from tests import tiny

SIZES = (32, 33, 1)
"""An even batch, an odd one, and one with nothing for the second process."""


def gradients(graph: str, features: str, ranks: Ranks) -> dict[str, np.ndarray]:
    """Gradients of every kind's network, without dropout, for a few batches: by kind, batch and parameter."""
    opened, found = Graph.open(graph), Features.open(features)
    inputs = Inputs(opened, found, found.transforms(0))
    examples = part(found.examples, 0, "train")
    given = tiny.params()["train"]
    result = {}
    for kind in (*KINDS, "mlp"):
        params = Params.parse(given | {"model": {"kind": kind, "hidden": 16, "dropout": 0.0}}, "train")
        torch.manual_seed(ranks.rank)  # DDP gives all the leader's weights
        network = Network(architecture(inputs, params.model, params.hops))
        learner = ranks.learner(network)
        sampler = Sampler(opened, params.hops, params.recent, 5)
        loader = Loader(inputs, sampler, network.shape.node, network.apart)
        for number, size in enumerate(SIZES):
            whole = np.random.default_rng(number).choice(len(examples), size, replace=False)
            chosen, factor = ranks.share(whole)
            rows = examples.iloc[chosen]
            (batch,) = loader.batches([(rows["node"].to_numpy(np.int32), rows["time"].to_numpy(np.int64))])
            network.zero_grad()
            (binary_cross_entropy_with_logits(learner(batch), torch.from_numpy(labels(rows))) * factor).backward()
            for name, value in network.named_parameters():
                if value.grad is not None:
                    result[f"{kind} {number} {name}"] = value.grad.numpy().copy()
    return result


if __name__ == "__main__":
    together = Ranks.join(cuda=False)
    numbers = gradients(*sys.argv[1:3], together)
    agreed = together.agreed({name: torch.from_numpy(value) for name, value in numbers.items()})
    assert all((agreed[name].numpy() == value).all() for name, value in numbers.items()), "all have the same"
    if together.leads:
        np.savez(sys.argv[3], **numbers)
    together.part()
    sys.exit(os.environ["WORLD_SIZE"] != "2")
