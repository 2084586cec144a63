"""GraphSAGE with a mean (Hamilton, Ying and Leskovec, 2017) on blocks: the fast road.

A node's own projection, plus the projected mean of its neighbours in each relation and of its edges' inputs.
"""

from typing import cast

import torch
from torch import Tensor, nn

from graphmill.train.batches import Edges
from graphmill.train.convolutions.base import Convolution, EdgeMeans, Relations, module_name


class Sage(Convolution):
    """Projects before it averages where the projection is narrower.

    Args:
        nodes: the node types.
        relations: source type, target type and number of edge inputs of each.
        width: of the rows before.
        heads: not used.
        output: width of the rows after; the same without it.
    """

    compact = False

    def __init__(
        self, nodes: list[str], relations: Relations, width: int, heads: int = 1, output: int | None = None
    ) -> None:
        super().__init__(nodes, relations, width)
        output = output or width
        if output != width:
            self.own = nn.ModuleDict({node: nn.Linear(width, output) for node in nodes})
        self.neighbours = nn.ModuleDict({module_name(name): nn.Linear(width, output, bias=False) for name in relations})
        self.edges = EdgeMeans(relations, output)
        self.late = output < width

    def send(self, relation: str, rows: Tensor) -> Tensor:
        """The rows themselves, or their projection where that is narrower."""
        if not self.late:
            return rows
        projected: Tensor = self.neighbours[module_name(relation)](rows)
        return projected

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The targets' next rows."""
        total = {node: self.own[node](rows) for node, rows in own.items()}
        for name in self.ordered(edges):
            mean = edges[name].average(sent[name])
            target = self.relations[name][1]
            if self.late:
                total[target] = total[target] + mean
            else:  # multiplied and added in one pass
                linear = self.neighbours[module_name(name)]
                total[target] = torch.addmm(total[target], mean, cast(Tensor, linear.weight).t())
        found: dict[str, Tensor] = self.edges(total, edges)
        return found
