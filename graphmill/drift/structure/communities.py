"""Communities by Louvain's method, and whether they have an ancestor in the period before. Needs networkit."""

from typing import Any, NamedTuple

import numpy as np

from graphmill.drift.source import Integers, rounded
from graphmill.drift.structure.sketch import Hashes
from graphmill.features.pairs import Pairs

ANCESTOR = 0.3
"""From this Jaccard index on a community of the period before is an ancestor."""
LEAST_MEMBERS = 5
"""Sampled members below which nothing is said about a community's ancestor."""
SWEEPS = 4
"""Over the nodes on each level: more take twice the time, and give the same modularity to five digits."""
SHOWN = 8
"""The largest communities, whose sizes and whose flow are kept."""

Values = dict[str, Any]


class Members(NamedTuple):
    """A sample of nodes and their communities."""

    hashes: Integers
    """uint32 ``[n]``, ascending: the smallest of the period's nodes."""
    community: Integers
    """uint16 ``[n]``: 0 is the largest."""


def available() -> bool:
    """Whether networkit is installed."""
    try:
        import networkit  # noqa: F401
    except ImportError:
        return False
    return True


def assignment(pairs: Pairs, seed: int = 1) -> tuple[Integers, float]:
    """Community of each node, the largest first, and modularity.

    One thread, so that the same graph has the same communities every time.

    Returns:
        int64 ``[present]``, 0 being the largest, and the modularity, -0.5 to 1, 0 without an edge.
    """
    import networkit

    networkit.setNumberOfThreads(1)
    networkit.setSeed(seed, False)
    graph = _graph(networkit, pairs)
    found = networkit.community.PLM(graph, refine=False, maxIter=SWEEPS)
    found.run()
    partition = found.getPartition()
    tied = graph.numberOfEdges() > 0  # edges to oneself are none here; without any, modularity is not defined
    quality = float(networkit.community.Modularity().getQuality(partition, graph)) if tied else 0.0
    label = np.unique(np.asarray(partition.getVector()), return_inverse=True)[1]
    size = np.bincount(label)
    rank = np.empty(len(size), np.int64)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return rank[label], quality


def values(community: Integers, modularity: float) -> Values:
    """Number of communities, how many of equal size would be as even, modularity, and the largest ones' shares."""
    size = np.bincount(community)
    share = size / size.sum()
    return {
        "communities": len(size),
        "effective_communities": rounded(float(np.exp(-np.sum(share * np.log(share))))),
        "modularity": rounded(modularity),
        "community_sizes": [rounded(float(part)) for part in share[:SHOWN]],
    }


def sample(hashes: Hashes, community: Integers, size: int) -> Members:
    """The nodes with the smallest hashes, of which two periods have the same."""
    short = (hashes >> np.uint64(32)).astype(np.uint32)
    some = np.argpartition(short, size - 1)[:size] if size < len(short) else np.arange(len(short))
    kept, first = np.unique(short[some], return_index=True)
    return Members(kept, np.minimum(community[some][first], 65_535).astype(np.uint16))


def lineage(now: Members, before: Members, size: int) -> tuple[float | None, list[list[float | None]]]:
    """Share of the nodes in communities without an ancestor, and the flow between the largest communities.

    Args:
        now: sampled members of today's communities.
        before: of the period before's.
        size: what both were cut to: a shorter one holds every node.

    Returns:
        The share, None where no community has enough sampled members; and ``[before, now]`` shares of the nodes that
        are in both, the last row and column holding all smaller communities.
    """
    whole = np.iinfo(np.uint32).max
    limit = min(part.hashes[-1] if len(part.hashes) >= size else whole for part in (now, before))
    today, past = (part.community[part.hashes <= limit].astype(np.int64) for part in (now, before))
    names, own, other = np.intersect1d(
        now.hashes[now.hashes <= limit], before.hashes[before.hashes <= limit], return_indices=True
    )
    flow = np.zeros((SHOWN + 1, SHOWN + 1))
    np.add.at(flow, (past[other].clip(0, SHOWN), today[own].clip(0, SHOWN)), 1)
    shares = [[rounded(float(share)) for share in row] for row in flow / max(1, len(names))]
    return _orphans(today, past, today[own], past[other]), shares


def _orphans(today: Integers, past: Integers, own: Integers, other: Integers) -> float | None:
    """Share of the sampled nodes whose community has no ancestor, among those of large enough communities."""
    size, before = np.bincount(today), np.bincount(past)
    enough = np.flatnonzero(size >= LEAST_MEMBERS)
    if len(enough) == 0 or len(past) == 0:
        return None
    both, common = np.unique(np.stack([own, other]), axis=1, return_counts=True)
    index = common / (size[both[0]] + before[both[1]] - common)
    best = np.zeros(len(size))
    np.maximum.at(best, both[0], index)
    return float(size[enough][best[enough] < ANCESTOR].sum() / size[enough].sum())


def _graph(networkit: Any, pairs: Pairs) -> Any:
    """The graph as networkit holds it, each pair once."""
    count = len(pairs.indptr) - 1
    source = np.repeat(np.arange(count, dtype=np.int32), np.diff(pairs.indptr))
    once = source < pairs.neighbours
    ends = source[once].astype(np.uint64), pairs.neighbours[once].astype(np.uint64)
    return networkit.GraphFromCoo(ends, n=count, directed=False)
