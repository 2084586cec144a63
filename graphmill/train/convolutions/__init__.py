"""One module a kind of graph network: how a node's neighbours, relation by relation, become its next row."""

from importlib import import_module

from graphmill.train.convolutions.base import Convolution as Convolution
from graphmill.train.convolutions.base import Relations

KINDS = {"sage": "Sage", "gat": "Gat", "gin": "Gin", "rgcn": "Rgcn", "hgt": "Hgt"}
"""Kind and class; all but ``sage`` are PyTorch Geometric's own layers, which is imported only for them."""


def make(kind: str, nodes: list[str], relations: Relations, width: int, heads: int) -> Convolution:
    """A convolution of that kind.

    Args:
        kind: one of ``KINDS``.
        nodes: the node types.
        relations: source type, target type and number of edge inputs of each relation.
        width: of the rows before and after.
        heads: attention heads, where the kind has them.
    """
    found = getattr(import_module(f"graphmill.train.convolutions.{kind}"), KINDS[kind])
    made: Convolution = found(nodes, relations, width, heads)
    return made
