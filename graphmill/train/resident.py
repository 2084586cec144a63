"""Inputs that never change, held on the device: batches then carry ids instead of rows.

What depends on the moment (ages, degrees, windows) is gathered for every batch all the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphmill.features.inputs import Inputs
from graphmill.train.batches import Batch, Rows

SHARE = 0.5
"""Of the device's free memory that inputs may take; the network needs the rest."""


@dataclass(frozen=True)
class Resident:
    """Encoded rows by node type, on the device."""

    rows: dict[str, Rows]

    @property
    def types(self) -> frozenset[str]:
        """The node types that stand on the device."""
        return frozenset(self.rows)

    def complete(self, batch: Batch) -> Batch:
        """Put the rows in where the batch carries ids: state beside ids becomes dense inputs and codes."""
        if not self.rows:
            return batch
        nodes = [
            {name: self._row(name, part) if name in self.rows else part for name, part in depth.items()}
            for depth in batch.nodes
        ]
        return Batch(nodes, batch.edges)

    def _row(self, name: str, part: Rows) -> Rows:
        state, ids = part[0], part[1][:, 0]
        dense, codes = self.rows[name]
        return torch.cat([dense[ids], state], dim=1), codes[ids]


def resident(inputs: Inputs, device: torch.device) -> Resident:
    """All types' rows on a GPU, if they fit together; none on the CPU, where they are near enough."""
    if device.type == "cpu":
        return Resident({})
    graph = inputs.graph
    free = torch.cuda.mem_get_info(device)[0]
    width = {node: len(inputs.nodes[node].names) * 4 + len(inputs.embedded(node)) * 8 for node in graph.nodes}
    if sum(width[node] * count for node, count in graph.nodes.items()) > SHARE * free:
        return Resident({})
    return hold(inputs, device)


def hold(inputs: Inputs, device: torch.device, run: int = 65_536) -> Resident:
    """All types' encoded rows on a device, moved run by run."""
    rows: dict[str, Rows] = {}
    for node, count in inputs.graph.nodes.items():
        parts: list[tuple[Tensor, Tensor]] = []
        for first in range(0, max(count, 1), run):
            dense, codes = inputs.static(node, np.arange(first, min(first + run, count), dtype=np.int32))
            parts.append((torch.from_numpy(dense).to(device), torch.from_numpy(codes).to(device)))
        rows[node] = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    return Resident(rows)
