"""Scoring any model on any examples: one road for evaluation, drift, batch scoring and parity tests."""

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sample import ALL, Fanout
from graphmill.graph.store import Graph
from graphmill.model import NETWORKS, Model
from graphmill.train import calibration, controls, layerwise, loop
from graphmill.train.network import Architecture, Network
from graphmill.train.params import Params

Scores = NDArray[np.float64]


def score(model: Model, name: str, split: int, graph: Graph, features: Features, examples: pd.DataFrame) -> Scores:
    """Calibrated probabilities of examples: float64 ``[n]``.

    Args:
        model: the model folder.
        name: one of ``model.names``.
        split: which split's model.
        graph: any graph of the same schema.
        features: the features of that graph.
        examples: columns ``node`` and ``time``.

    Raises:
        UserError: when the features lack a column that the model needs.
    """
    inputs = inputs_of(model, split, graph, features)
    raw = logits(model, name, split, inputs, examples)
    return calibration.apply(raw, model.calibration(name, split))


def inputs_of(model: Model, split: int, graph: Graph, features: Features) -> Inputs:
    """What a model sees of a graph: its own columns and relations, whatever came since it was trained.

    Raises:
        UserError: when the graph or the features lack what the model needs.
    """
    return Inputs(graph.only(model.relations), features, model.transforms(split))


def embeddings(model: Model, graph: Graph, features: Features, examples: pd.DataFrame) -> NDArray[np.float32]:
    """Embeddings of examples by the network of the first split: float32 ``[n, width]``."""
    params = Params.parse(model.parameters, "train")
    return embed(load_network(model, 0), inputs_of(model, 0, graph, features), examples, params)


def logits(model: Model, name: str, split: int, inputs: Inputs, examples: pd.DataFrame) -> Scores:
    """Uncalibrated scores of examples: float64 ``[n]``."""
    params = Params.parse(model.parameters, "train")
    if name in NETWORKS:
        return network_logits(load_network(model, split), inputs, examples, params)
    return controls.score_examples(name, model.trees(name, split), inputs, examples, params)


def load_network(model: Model, split: int) -> Network:
    """The network of one split, ready for inference."""
    shape = Architecture.parse(model.manifest["architecture"], "model.json architecture")
    network = Network(shape)
    network.load_state_dict(load_file(model.folder(split) / "weights.safetensors"))
    return network.eval()


def head(network: Network, embedded: NDArray[np.float32] | None) -> Scores:
    """Logits from embeddings: float64 ``[n]``."""
    with torch.inference_mode():
        return network.logits(torch.from_numpy(embedded)).numpy().astype(np.float64)


def network_logits(network: Network, inputs: Inputs, examples: pd.DataFrame, params: Params) -> Scores:
    """Logits of examples by a network: float64 ``[n]``."""
    return head(network, embed(network, inputs, examples, params))


def embed(network: Network, inputs: Inputs, examples: pd.DataFrame, params: Params) -> NDArray[np.float32]:
    """Embeddings of examples: float32 ``[n, width]``.

    Entities: layer by layer with all neighbours, once a moment. Events: each at its own time, sampled.
    """
    found = np.empty((len(examples), network.shape.hidden), np.float32)
    if inputs.graph.judges_events:
        first = 0
        for part in loop.embeddings(network, inputs, examples, inference_fanouts(inputs.graph, params), params):
            found[first : first + len(part)] = part.cpu().numpy()
            first += len(part)
        return found
    for moment in np.unique(examples["time"].to_numpy(np.int64)):
        rows = layerwise.embeddings(network, inputs, int(moment), params.memory)
        chosen = np.flatnonzero(examples["time"].to_numpy() == moment)
        found[chosen] = rows[torch.from_numpy(examples["node"].to_numpy(np.int64)[chosen])].numpy()
    return found


def inference_fanouts(graph: Graph, params: Params) -> list[Fanout]:
    """All neighbours for entities, whose answer then depends on no draw; for events the fan-outs of training."""
    if graph.judges_events:
        return params.hops
    return [dict.fromkeys(hop, ALL) if isinstance(hop, Mapping) else ALL for hop in params.hops]


def milliseconds(model: Model, name: str, graph: Graph, features: Features, examples: pd.DataFrame) -> float:
    """Median wall time of scoring one example alone, over the examples given."""
    inputs = inputs_of(model, 0, graph, features)
    params = Params.parse(model.parameters, "train")
    network = load_network(model, 0) if name in NETWORKS else None
    spent = []
    for place in range(len(examples)):
        one = examples.iloc[place : place + 1]
        start = time.perf_counter()
        if network is not None:
            loop.logits(network, inputs, one, inference_fanouts(graph, params), params)
        else:
            logits(model, name, 0, inputs, one)
        spent.append(time.perf_counter() - start)
    return float(np.median(spent) * 1_000)
