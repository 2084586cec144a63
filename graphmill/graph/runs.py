"""Work on an adjacency in runs of whole rows, which bounds its memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np


def runs(weight: Any, limit: int) -> Iterator[tuple[int, int]]:
    """Runs of rows that weigh ``limit`` at most, or of one that weighs more: (first row, one past the last).

    Args:
        weight: int ``[rows + 1]``, ascending: what the rows before each weigh, as the ``indptr`` of an adjacency.
        limit: what a run may weigh, in the same unit.
    """
    first = 0
    while first < len(weight) - 1:
        last = int(np.searchsorted(weight, weight[first] + limit, "right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last
