"""Means over the edges of a block, for whoever has no use for gradients: batch scoring by trees, and serving."""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def means(matrix: Any, row: Any, pointer: Any, nothing: float, out: Any) -> None:
    """Mean of each target's source rows.

    Args:
        matrix: float32 ``[sources, width]``.
        row: int32 ``[edges]``: the source row of each edge; ``[0]`` where edge ``i`` has row ``i``.
        pointer: int32 ``[targets + 1]``: where each target's edges begin.
        nothing: what a target without edges gets.
        out: float32 ``[targets, width]``, filled.
    """
    width, named = matrix.shape[1], len(row) > 0
    for target in range(len(pointer) - 1):
        first, last = pointer[target], pointer[target + 1]
        if first == last:
            out[target] = np.float32(nothing)
            continue
        source = row[first] if named else first
        for column in range(width):
            out[target, column] = matrix[source, column]
        for edge in range(first + 1, last):
            source = row[edge] if named else edge
            for column in range(width):
                out[target, column] += matrix[source, column]
        count = np.float32(last - first)
        for column in range(width):
            out[target, column] /= count
