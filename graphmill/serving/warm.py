"""Everything compiled before the server says that it is ready: a kernel takes seconds where no cache has it."""

import numpy as np

from graphmill.clock import ALWAYS
from graphmill.serving.instance import Instance, Options
from graphmill.serving.live.rows import Rows
from graphmill.serving.live.store import Live
from graphmill.serving.scorer import Scorer


def warm(scorer: Scorer, live: Live) -> None:
    """Judge a node alone and two of different times together, and insert edges into rows of nobody."""
    names, node = live.names[live.graph.task.node], live.graph.task.node
    born = live.time(node)[: len(names)]
    later = max(live.graph.as_of, int(born.max(initial=ALWAYS))) + 1
    some = [Instance(id=names[place]) for place in {0, len(names) - 1}] if names else []
    for asked in (some[:1], some):
        scorer.answer(asked, Options(), later)
    for columns in (0, 1):
        rows = _rows(columns)
        edges = np.array([0, 1, 0]), np.zeros(3, np.int32), np.zeros(3, np.int32), np.array([5, 5, 2])
        rows.insert(*edges, np.ones((3, columns), np.float32))
        rows.stage(1, int(rows.used[0]), [0], [0], [1], np.ones((1, columns), np.float32))


def _rows(columns: int) -> Rows:
    first, last, limit = np.zeros((3, 2), np.int64)
    return Rows(
        "warm", first, last, limit, np.zeros(1, np.int64), np.zeros(64, np.int64), np.zeros(64, np.int32),
        np.zeros(64, np.int32), np.zeros((64, columns), np.float32), np.zeros((64, 3 * columns)),
    )  # fmt: skip
