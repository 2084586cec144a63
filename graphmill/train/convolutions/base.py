"""What every convolution is: rows of the targets, rows sent along each relation, and the edges between them."""

from torch import Tensor, nn

from graphmill.train.batches import Edges

Relations = dict[str, tuple[str, str, int]]
"""Source type, target type and number of edge inputs of each relation."""


def module_name(relation: str) -> str:
    """Names of torch modules have no dots."""
    return relation.replace(".", "-")


class Convolution(nn.Module):
    """One hop over all relations, without activation."""

    apart = False
    """Whether it wants every edge's own inputs, not their mean alone."""
    compact = True
    """Whether it works on every row it is given, so that inference gathers just those which edges name."""
    late = False
    """Whether what it sends is a projection, narrower than the rows."""

    def __init__(self, nodes: list[str], relations: Relations, width: int) -> None:
        super().__init__()
        self.nodes, self.relations = nodes, relations
        self.own = nn.ModuleDict({node: nn.Linear(width, width) for node in nodes})

    def send(self, relation: str, rows: Tensor) -> Tensor:
        """What travels along a relation, from rows of its source type."""
        return rows

    def forward(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The targets' next rows.

        Args:
            own: rows of the targets by type, ``[targets, width]``.
            sent: rows sent along each relation, ``[sources, width]``.
            edges: the edges of each relation, from sent rows to targets.
        """
        raise NotImplementedError

    def listed(self, own: dict[str, Tensor], sent: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """The same as ``forward``, by operators that ONNX has; kinds whose layers have others say it anew."""
        found: dict[str, Tensor] = self.forward(own, sent, edges)
        return found

    def ordered(self, edges: dict[str, Edges]) -> list[str]:
        """The relations here in the order of the architecture; one without an edge counts too: layers have biases."""
        return [name for name in self.relations if name in edges]


class EdgeMeans(nn.Module):
    """Adds the projected mean of the edges' own inputs: a linear map under a mean loses nothing by it."""

    def __init__(self, relations: Relations, width: int) -> None:
        super().__init__()
        self.target = {name: target for name, (_, target, _) in relations.items()}
        self.linear = nn.ModuleDict(
            {
                module_name(name): nn.Linear(count, width, bias=False)
                for name, (_, _, count) in relations.items()
                if count
            }
        )

    def forward(self, total: dict[str, Tensor], edges: dict[str, Edges]) -> dict[str, Tensor]:
        """``total`` and the edges' share of it, by target type."""
        total = dict(total)
        for name, item in edges.items():
            if module_name(name) in self.linear:
                target = self.target[name]
                total[target] = total[target] + self.linear[module_name(name)](item.mean)
        return total
