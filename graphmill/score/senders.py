"""Hidden rows of the judged nodes' neighbours, so that the predictor need not compute them for every question."""

from pathlib import Path
from typing import Any

import numpy as np

from graphmill import artifact, hidden, predict
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.train import layerwise
from graphmill.train.params import Params as TrainParams


def check(model: Model) -> None:
    """Refuse models whose hidden rows nobody reads.

    Raises:
        UserError: for another network than GraphSAGE, or one that reads no neighbour's hidden row.
    """
    shape = model.manifest["architecture"]
    if shape["kind"] != "sage" or shape["layers"] < 2:
        found = f"{shape['kind']} with {shape['layers']} layers"
        raise UserError(f"score.hidden: needs a network of kind sage with 2 layers or more; this one is {found}")


def write(model: Model, graph: Graph, features: Features, moment: int, kind: str, folder: Path) -> dict[str, Any]:
    """Write ``hidden/<type>.npy`` and, for bytes, ``hidden/<type>.scale.npy``; what the manifest says of them.

    Args:
        model: with a network that ``check`` lets pass.
        graph: the snapshot.
        features: its features.
        moment: as of which the rows are, clock units.
        kind: ``float32`` or ``int8``.
        folder: of the predictions.
    """
    inputs, network = predict.inputs_of(model, 0, graph, features), predict.load_network(model, 0)
    memory = TrainParams.parse(model.parameters, "train").memory
    shape = network.shape
    sources = [source for source, target, _ in shape.relations.values() if target == shape.node]
    nodes = [node for node in graph.nodes if node in sources and not (node == shape.node and graph.judges_events)]
    (folder / hidden.FOLDER).mkdir()
    arrays, scales = {}, {}
    for node in nodes:
        rows, scale = hidden.files(folder, node)
        size = (graph.nodes[node], shape.layers - 1, shape.hidden)
        arrays[node] = np.lib.format.open_memmap(rows, "w+", np.dtype(kind), size)
        if kind == "int8":
            scales[node] = np.lib.format.open_memmap(scale, "w+", np.dtype("float32"), size[:2])
    for layer, node, found in layerwise.senders(network, inputs, nodes, moment, memory):
        if kind == "int8":
            arrays[node][:, layer], scales[node][:, layer] = hidden.quantise(found)
        else:
            arrays[node][:, layer] = found
    for array in (*arrays.values(), *scales.values()):
        array.flush()
    snapshot = artifact.digest_of(f"{graph.artifact.digest} {features.artifact.digest}".encode())[:16]
    return {"kind": kind, "moment": moment, "nodes": nodes, "snapshot": snapshot}
