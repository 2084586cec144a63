"""What computes a score: trees, or a network in numba or ONNX Runtime, by what the model folder carries."""

from graphmill.errors import UserError
from graphmill.graph.store import Graph
from graphmill.model import NETWORKS, Model
from graphmill.serving.engines import describe, sage
from graphmill.serving.gathered import Engine


def load(model: Model, name: str, graph: Graph, split: int = 0, kind: str = "auto") -> Engine:
    """The engine of one of a model folder's models.

    Args:
        model: the model folder.
        name: which of its models.
        graph: the graph that it will be asked about, with the model's relations alone.
        split: of which split.
        kind: of a network: ``numba``, ``onnx``, or ``auto`` for the fastest there is.

    Raises:
        UserError: for a model that the engine asked for does not compute, or files that are missing.
    """
    if name not in NETWORKS:
        return describe.load(model, name, split, graph)
    if kind != "onnx" and name in sage.KINDS:
        return sage.load(model, split, graph)
    if kind == "numba":
        raise UserError(f"engine numba computes {', '.join(sage.KINDS)} and trees, not {name}; take onnx or auto")
    from graphmill.serving.engines import onnx  # loads ONNX Runtime

    return onnx.load(model, split)
