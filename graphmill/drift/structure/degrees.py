"""How the edges are spread over the nodes of one end."""

import numpy as np

from graphmill.drift.source import Floats, Integers, rounded

BINS = 64
PER_OCTAVE = 3
"""Bins of the degree histogram a doubling of the degree; the last one holds everything above."""
LEAST_TAIL = 20
"""Nodes that a tail needs."""

Values = dict[str, float | None]


def values(degree: Integers) -> Values:
    """Mean, Gini, tail and the share of the top hundredth, over the nodes that have an edge.

    Args:
        degree: int ``[touched]``, none of them 0.
    """
    some = len(degree) > 0
    numbers = degree.astype(np.float64)
    return {
        "mean_degree": rounded(float(numbers.mean())) if some else None,
        "gini": rounded(gini(numbers)) if some else None,
        "tail": rounded(tail(numbers)),
        "top_share": rounded(top_share(numbers)) if some else None,
    }


def histogram(degree: Integers) -> list[int]:
    """Counts of the degrees on a logarithmic scale, the same for every graph and period: ``[BINS]``.

    Bin ``b`` holds degrees from ``2 ** (b / PER_OCTAVE)`` on; some of the first hold none.
    """
    bins = np.floor(PER_OCTAVE * np.log2(degree) + 1e-9).astype(np.int64).clip(0, BINS - 1)
    return [int(count) for count in np.bincount(bins, minlength=BINS)]


def gini(degree: Floats) -> float:
    """Gini coefficient of degrees: 0 when all are equal, near 1 when one node has all edges."""
    ordered = np.sort(degree)
    ranks = np.arange(1, len(ordered) + 1)
    return float(2 * np.sum(ranks * ordered) / (len(ordered) * ordered.sum()) - (len(ordered) + 1) / len(ordered))


def top_share(degree: Floats) -> float:
    """Share of the edges at the hundredth part of the nodes (at least one) that has most."""
    most = max(1, len(degree) // 100)
    return float(np.sort(degree)[-most:].sum() / degree.sum())


def tail(degree: Floats) -> float | None:
    """Hill's estimate of the exponent of the tail (1975): the larger, the thinner; None where there is no tail.

    From the twentieth part of the nodes that has most. Degrees are whole numbers, so half a step is taken off.
    """
    most = len(degree) // 20
    if most < LEAST_TAIL:
        return None
    largest = np.partition(degree, len(degree) - most)[-most:]
    spread = float(np.mean(np.log(largest / (largest.min() - 0.5))))
    return 1 / spread
