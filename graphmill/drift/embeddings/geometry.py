"""Measures between embeddings of the same nodes, and of two samples of nodes: arrays in, numbers out."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating[Any]]
"""``[nodes, width]``"""

FEATURES = 256
"""Random Fourier features: half cosines, half sines."""
NEIGHBOURS = 10
PAIRS = 20_000
"""Pairs whose median distance is the bandwidth."""
DEAD = 1e-6
"""Of the largest deviation of a dimension: with less, one is dead."""


class Fourier(NamedTuple):
    """Random features of a Gaussian kernel (Rahimi and Recht, 2007), frozen: float64 ``[width, FEATURES / 2]``."""

    frequencies: NDArray[np.float64]

    def mean(self, vectors: Vectors) -> NDArray[np.float64]:
        """The mean of the features over the nodes: float64 ``[FEATURES]``, of length 1 at most."""
        total = np.zeros(2 * self.frequencies.shape[1])
        for first in range(0, len(vectors), 8_192):
            angle = vectors[first : first + 8_192] @ self.frequencies
            total += np.concatenate([np.cos(angle).sum(axis=0), np.sin(angle).sum(axis=0)])
        return np.asarray(total / (len(vectors) * self.frequencies.shape[1] ** 0.5))


def fourier(vectors: Vectors, seed: int = 0) -> Fourier:
    """Features whose bandwidth is the median distance of two nodes."""
    state = np.random.default_rng(seed)
    one, other = state.integers(0, len(vectors), (2, PAIRS))
    distance = np.linalg.norm(vectors[one] - vectors[other], axis=1)[one != other]
    bandwidth = float(np.median(distance)) if np.any(distance > 0) else 1.0
    return Fourier(state.normal(0, 1 / (bandwidth or 1.0), (vectors.shape[1], FEATURES // 2)))


def discrepancy(one: NDArray[np.float64], other: NDArray[np.float64], counts: tuple[int, int]) -> float:
    """Maximum mean discrepancy of two samples from the means of their features, without what chance adds to it.

    Args:
        one: mean features of a sample.
        other: of another one.
        counts: how many nodes they have, at least 2 each.

    Returns:
        0 where they differ no more than chance does; at most 2 ** 0.5.
    """
    chance = sum((1 - mean @ mean) / (count - 1) for mean, count in zip((one, other), counts, strict=True))
    return float(np.sqrt(max(0.0, np.sum((one - other) ** 2) - chance)))


def displacement(now: Vectors, then: Vectors) -> float:
    """How far the median node has moved, in units of how far nodes lie from their centre."""
    reach = np.sqrt(np.mean(np.sum((then - then.mean(axis=0)) ** 2, axis=1)))
    return float(np.median(np.linalg.norm(now - then, axis=1)) / max(reach, 1e-12))


def neighbours(vectors: Vectors, queries: int | None = None, count: int = NEIGHBOURS) -> NDArray[np.int64]:
    """The nearest other nodes of the first ``queries`` nodes: int64 ``[queries, count]``, in no order."""
    asked = vectors[:queries].astype(np.float64)
    all_of_them = vectors.astype(np.float64)
    found = np.empty((len(asked), count), np.int64)
    square = np.sum(all_of_them**2, axis=1)
    for first in range(0, len(asked), 512):
        part = asked[first : first + 512]
        distance = square - 2 * part @ all_of_them.T
        distance[np.arange(len(part)), np.arange(first, first + len(part))] = np.inf
        found[first : first + len(part)] = np.argpartition(distance, count - 1, axis=1)[:, :count]
    return found


def overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Mean share of the neighbours that both lists of a node have."""
    common = [len(np.intersect1d(left, right)) for left, right in zip(one, other, strict=True)]
    return float(np.mean(common) / one.shape[1])


def dead_share(vectors: Vectors) -> float:
    """Share of the dimensions that say the same of every node."""
    deviation = vectors.std(axis=0)
    return float(np.mean(deviation <= DEAD * max(float(deviation.max()), 1e-30)))


def alignment(one: Vectors, other: Vectors) -> float | None:
    """Linear centred kernel alignment (Kornblith et al., 2019): 1 for a rotation or another scale; None for constants.

    Args:
        one: ``[nodes, width]``.
        other: of the same nodes, of any width.
    """
    left, right = (part - part.mean(axis=0) for part in (one.astype(np.float64), other.astype(np.float64)))
    own = np.linalg.norm(left.T @ left) * np.linalg.norm(right.T @ right)
    return float(np.linalg.norm(left.T @ right) ** 2 / own) if own > 0 else None


def rotation_residual(one: Vectors, other: Vectors) -> float | None:
    """What the best rotation and scale of one leaves of the other's variance; None for another width or constants."""
    if one.shape[1] != other.shape[1]:
        return None
    left, right = (part - part.mean(axis=0) for part in (one.astype(np.float64), other.astype(np.float64)))
    own = np.linalg.norm(left) * np.linalg.norm(right)
    if own == 0:
        return None
    kept = float(np.linalg.norm(left.T @ right, "nuc") / own)
    return max(0.0, 1 - kept**2)
