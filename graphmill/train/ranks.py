"""The processes that train one network together (data parallel): who this one is, and what all of them agree on.

Every process goes through the same batches in the same order and takes every n-th example of each. Gradients are
averaged by the number of examples, so a step is the one that a single process takes with the whole batch. Which
neighbours are drawn depends on the example alone, so it is the same in any process; dropout is not: each process has
masks of its own, alike in distribution.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

from graphmill.errors import UserError


@dataclass(frozen=True)
class Ranks:
    """This process among those that train; by default there is no other."""

    rank: int = 0
    """Its number."""
    count: int = 1
    """How many there are."""
    local: int = 0
    """Its number on this machine, and that of its GPU."""

    @classmethod
    def join(cls, cuda: bool, patience: float) -> Self:
        """Meet the other processes that torchrun started; returns when all are there.

        Args:
            cuda: whether each has a GPU.
            patience: seconds that one waits for the others, here and whenever they agree. Who died is noticed at once.

        Raises:
            UserError: when there are more processes on this machine than GPUs.
        """
        ranks = cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
        if cuda:
            if ranks.local >= torch.cuda.device_count():
                told = f"train: process {ranks.local} of this machine has no GPU, there are {torch.cuda.device_count()}"
                raise UserError(f"{told}; start one process for each, or take train.device: cpu")
            torch.cuda.set_device(ranks.local)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(seconds=patience))
        return ranks

    @property
    def leads(self) -> bool:
        """Whether this is the one that decides, and that writes files."""
        return self.rank == 0

    def learner(self, network: nn.Module) -> nn.Module:
        """The network, with all processes' gradients averaged in its backward; it starts with the leader's weights."""
        if self.count == 1:
            return network
        # a batch may hold no edge of a relation, whose weights then have no part in it
        return nn.parallel.DistributedDataParallel(network, find_unused_parameters=True)

    def share(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
        """This process's part of a batch, and the factor of its mean loss.

        DDP divides the sum of gradients by the number of processes, whatever each had; with this factor that is the
        mean over the batch's examples. Who has none takes one along that counts nothing, since all must take part.
        """
        own = places[self.rank :: self.count]
        return (own if len(own) else places[:1]), self.count * len(own) / len(places)

    def own(self, count: int) -> NDArray[np.int64]:
        """Places of ``count`` things that this process has to do: int64 ``[k]``."""
        return np.arange(self.rank, count, self.count)

    def joined(self, own: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Everybody's numbers, in order, for everybody: float64 ``[count]`` of those that `own` shared out."""
        if self.count == 1:
            return own
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, own)
        whole = np.empty(count)
        for rank, part in enumerate(parts):
            whole[rank :: self.count] = part
        return whole

    def agreed(self, value: Any) -> Any:
        """The leader's value: plain data or tensors on the CPU; what the others give does not count."""
        if self.count == 1:
            return value
        values = [value if self.leads else None]
        distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def total(self, value: float) -> float:
        """The sum over all processes."""
        return value if self.count == 1 else float(self.joined(np.array([value]), self.count).sum())

    def part(self) -> None:
        """Nothing more is to be agreed on: everybody may go on, or end, at a pace of its own."""
        if self.count > 1:
            distributed.destroy_process_group()


ALONE = Ranks()
