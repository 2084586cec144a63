"""One of two processes that compute gradients together, the second of which then dies: ``GRAPH FEATURES OUTPUT``.

Started by torchrun. It has no optimizer, whose import costs more than all else.
"""

import os
import signal
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.train import Params, rank
from graphmill.train.checkpoint import Checkpoints
from graphmill.train.examples import labels, part
from graphmill.train.loader import Loader
from graphmill.train.network import Network, architecture
from graphmill.train.params import Network as Shape
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
    for kind in get_args(Shape.model_fields["kind"].annotation):
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


def main(graph: str, features: str, output: str) -> None:
    together = Ranks.join(cuda=False, patience=60)
    numbers = gradients(graph, features, together)
    tensors = {name: torch.from_numpy(value) for name, value in numbers.items()}
    checkpoints = Checkpoints(Path(output), {}, together)
    checkpoints.save("gradients", tensors)
    loaded = checkpoints.load("gradients")
    assert loaded is not None and all(torch.equal(loaded[name], value) for name, value in tensors.items())
    joined = together.joined(np.array([1.0, 3.0, 5.0] if together.leads else [2.0, 4.0]), 5)
    assert joined.tolist() == [1, 2, 3, 4, 5] and together.total(together.rank + 1.0) == 3
    if together.leads:
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # torchrun ends all that are left: first this one tells what it saw
        np.savez(output, **numbers)
    together.total(0.0)
    if not together.leads:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        together.agreed(None)
        together.total(0.0)
    except Exception as error:
        Path(output).with_suffix(".lost").write_text(str(rank.lost(error)))


if __name__ == "__main__":
    main(*sys.argv[1:])
