"""Graph isomorphism networks (Xu, Hu, Leskovec and Jegelka, 2019), one a relation: PyTorch Geometric's layers.

With a mean in place of the sum: the sum over a sample of neighbours is not the sum over all of them, and how
many there are is an input of every node anyway.
"""

from torch import Tensor, nn
from torch_geometric.nn import GINConv, GINEConv

from graphmill.train.batches import Edges
from graphmill.train.convolutions.base import Convolution, Relations, module_name


class Gin(Convolution):
    """Relations with edge inputs add them to their messages (Hu et al., 2020: GINE)."""

    apart = True

    def __init__(self, nodes: list[str], relations: Relations, width: int, heads: int) -> None:
        super().__init__(nodes, relations, width)
        self.neighbours = nn.ModuleDict(
            {module_name(name): _layer(width, count) for name, (_, _, count) in relations.items()}
        )

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The targets' next rows."""
        total = {node: self.own[node](rows) for node, rows in own.items()}
        for name in self.ordered(edges):
            _, target, count = self.relations[name]
            inputs = (edges[name].own,) if count else ()
            heard = self.neighbours[module_name(name)]((sent[name], own[target]), edges[name].index(), *inputs)
            total[target] = total[target] + heard
        return total


def _layer(width: int, count: int) -> nn.Module:
    perceptron = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
    if count:
        return GINEConv(perceptron, train_eps=True, edge_dim=count, aggr="mean")  # type: ignore[no-any-return]
    return GINConv(perceptron, train_eps=True, aggr="mean")  # type: ignore[no-any-return]
