"""Graph attention (Brody, Alon and Yahav, 2022: GATv2), one a relation: PyTorch Geometric's layer."""

from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv

from graphmill.train.batches import Edges
from graphmill.train.convolutions.base import Convolution, Relations, module_name


class Gat(Convolution):
    """Each relation attends over its own edges, their inputs included; relations are added."""

    apart = True

    def __init__(self, nodes: list[str], relations: Relations, width: int, heads: int) -> None:
        super().__init__(nodes, relations, width)
        self.attention = nn.ModuleDict({
            module_name(name): GATv2Conv(
                (width, width), width // heads, heads, edge_dim=count or None, add_self_loops=False
            )
            for name, (_, _, count) in relations.items()
        })  # fmt: skip

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The targets' next rows."""
        total = {node: self.own[node](rows) for node, rows in own.items()}
        for name in self.ordered(edges):
            _, target, count = self.relations[name]
            inputs = edges[name].own if count else None
            heard = self.attention[module_name(name)]((sent[name], own[target]), edges[name].index(), inputs)
            total[target] = total[target] + heard
        return total
