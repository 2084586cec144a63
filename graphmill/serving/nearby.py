"""A network that reads one hop, and stored rows of what stands there; what is not stored is computed and kept."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.serving import metrics
from graphmill.serving.engines.sage import SageEngine
from graphmill.serving.gathered import Engine
from graphmill.serving.hidden import Hidden
from graphmill.serving.reader import Reader, Timer


class Nearby:
    """The forward of a network over stored hidden rows.

    Args:
        reader: of all hops.
        engine: the network.
        hidden: the stored rows.
        node: the seeds' type.

    Raises:
        UserError: for a model that has no hidden rows of neighbours, or an engine that does not take them.
    """

    def __init__(self, reader: Reader, engine: Engine, hidden: Hidden, node: str) -> None:
        if not isinstance(engine, SageEngine) or engine.layers < 2:
            raise UserError(
                "hidden: stored rows are read by networks of kind sage on the engine numba alone, with 2 layers or "
                "more; trees, other networks and the engine onnx are served without --hidden"
            )
        self.hidden, self._engine = hidden, engine
        self._near = reader.part([node], 0, 1)
        self._far = reader.part(self._near.sources(), 1, engine.layers)

    def forward(
        self, ids: NDArray[np.int32], times: NDArray[np.int64], now: int, timer: Timer | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embeddings and raw scores, as ``Engine.forward`` gives them for the whole neighbourhood.

        What is computed for a moment after ``now`` is not kept.
        """
        spent = _Spent()
        batch = self._near.read(ids, times, spent)
        counts = np.maximum(batch.counts[1], 0)
        ready = np.empty((self._engine.layers - 1, int(counts.sum()), self._engine.hidden), np.float32)
        first, missed = 0, []
        for kind in self._far.kinds:
            count = int(counts[kind])
            nodes, moments = self._near.nodes(1, kind), self._near.times(1, kind)
            places = self.hidden.find(batch.types[kind], nodes, moments, ready[:, first : first + count])
            missed.append((first + places, nodes[places], moments[places]))
            first += count
        lacking = sum(len(item[0]) for item in missed)
        metrics.CACHE_HITS.inc(first - lacking)
        if lacking:
            metrics.CACHE_MISSES.inc(lacking)
            self._compute(missed, ready, now, spent)
        start = time.perf_counter()
        found = self._engine.forward(batch, ready)
        spent("network", time.perf_counter() - start)
        spent.tell(timer)
        return found

    def renew(self, moment: int) -> bool:
        """Compute a few of the rows that wait for it, as of a moment; whether there were any."""
        found = self.hidden.take()
        if found is None:
            return False
        node, ids = found
        counts = [len(ids) if self._far.types[kind] == node else 0 for kind in self._far.kinds]
        times = np.full(len(ids), moment)
        self.hidden.keep(node, ids, times, self._engine.rows(self._far.read_types(counts, ids, times)), moment)
        return True

    def _compute(
        self, missed: list[tuple[Any, Any, Any]], ready: NDArray[np.float32], now: int, spent: "_Spent"
    ) -> None:
        """Rows that are not stored, as the whole neighbourhood would give them."""
        places, ids, times = (np.concatenate(part) for part in zip(*missed, strict=True))
        counts = [len(item[0]) for item in missed]
        batch = self._far.read_types(counts, ids, times, spent)
        start = time.perf_counter()
        rows = self._engine.rows(batch)
        ready[:, places] = rows
        first = 0
        for kind, count in zip(self._far.kinds, counts, strict=True):
            chosen = slice(first, first + count)
            if count:
                self.hidden.keep(batch.types[kind], ids[chosen], times[chosen], rows[:, chosen], now)
            first += count
        spent("network", time.perf_counter() - start)


class _Spent(dict[str, float]):
    """Seconds by stage, told once for both readings."""

    def __call__(self, stage: str, seconds: float) -> None:
        self[stage] = self.get(stage, 0.0) + seconds

    def tell(self, timer: Timer | None) -> None:
        for stage, seconds in self.items() if timer is not None else ():
            timer(stage, seconds)  # type: ignore[misc]
