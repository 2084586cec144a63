"""Batches made ahead: sampling and gathering overlap with the network, on the CPU and on a GPU.

Compiled kernels and copies of rows run outside Python's lock, so threads are enough. The order of batches and
everything in them are the same with any number of threads.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from graphmill.features.inputs import Inputs
from graphmill.graph.hops import Workspace
from graphmill.graph.sampler import Sampler
from graphmill.train.batches import Batch, assemble
from graphmill.train.resident import Resident

AHEAD = 2
"""Batches that wait beside the one in use, for each thread."""


class Loader:
    """Makes batches of (ids, times), in order.

    Args:
        inputs: what the network sees.
        sampler: how neighbourhoods are drawn.
        node: the seeds' type.
        apart: whether the network wants every edge's own inputs.
        device: where the network is; batches come there.
        workers: threads that work ahead; with 0 each batch is made when it is asked for.
        resident: inputs that stand on the device already.
    """

    def __init__(
        self, inputs: Inputs, sampler: Sampler, node: str, apart: bool = False,
        device: torch.device | None = None, workers: int = 0, resident: Resident | None = None,
    ) -> None:  # fmt: skip
        self.inputs, self.sampler, self.node, self.apart = inputs, sampler, node, apart
        self.device = device or torch.device("cpu")
        self.workers = workers
        self.resident = resident or Resident({})

    def batches(self, parts: Iterable[tuple[Any, Any]]) -> Iterator[Batch]:
        """A batch for each (ids, times); it is good until the next one is asked for."""
        if self.workers == 0:
            space = Workspace()
            yield from (self.resident.complete(self._make(ids, times, space)) for ids, times in parts)
            return
        waiting: deque[tuple[Future[Batch], Workspace]] = deque()
        free = [Workspace() for _ in range(self.workers * AHEAD + 1)]
        with ThreadPoolExecutor(self.workers, "loader") as pool:
            try:
                for ids, times in parts:
                    waiting.append((pool.submit(self._make, ids, times, free[-1]), free.pop()))
                    if not free:
                        yield from self._first(waiting, free)
                while waiting:
                    yield from self._first(waiting, free)
            finally:  # a consumer that stops early leaves nothing running
                for future, _ in waiting:
                    future.cancel()

    def _first(self, waiting: Any, free: list[Workspace]) -> Iterator[Batch]:
        future, space = waiting.popleft()
        yield self.resident.complete(self._arrived(future.result()))
        free.append(space)

    def _make(self, ids: Any, times: Any, space: Workspace) -> Batch:
        batch = assemble(self.inputs, self.sampler, self.node, ids, times, self.apart, space, self.resident.types)
        if self.device.type == "cpu":
            return batch
        # a stream of its own, so that copies run beside the network; pinned memory, so that they need no processor
        with torch.cuda.stream(torch.cuda.Stream(self.device)):  # type: ignore[no-untyped-call]
            moved = batch.map(lambda tensor: tensor.pin_memory().to(self.device, non_blocking=True))
            torch.cuda.current_stream(self.device).synchronize()
        return moved

    def _arrived(self, batch: Batch) -> Batch:
        """Tell the device's memory that the network's own stream uses the batch now."""
        if self.device.type == "cpu":
            return batch

        def use(tensor: Tensor) -> Tensor:
            tensor.record_stream(torch.cuda.current_stream(self.device))
            return tensor

        return batch.map(use)
