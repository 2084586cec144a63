"""One graph of a period as a whole: what it is like, what the next period is compared with, and that comparison."""

from typing import Any, NamedTuple

import numpy as np

from graphmill.drift.source import Period, Source, rounded
from graphmill.drift.structure import cohesion, communities, mixing, sketch, ties
from graphmill.drift.structure.edges import Edges
from graphmill.drift.structure.groups import Groups, by_degree, groups

Values = dict[str, Any]


class Room(NamedTuple):
    """How large the sketches are; all of one data set's are of one size."""

    edges: int
    nodes: int


def room(graphs: int) -> Room:
    """Sketches that keep a profile small, whatever the number of graphs in it."""
    return Room(max(64, min(256, 1_024 // max(1, graphs))), max(200, min(800, 3_200 // max(1, graphs))))


def described(found: Edges) -> Values:
    """Ties and cohesion: what the edges of one period say without another. Variances stand in ``noise``."""
    values: Values = {**ties.values(found), **cohesion.values(found.pairs), "noise": {}}
    if found.homogeneous and found.count:
        share, variance = ties.clustering(found.pairs)
        values |= {"clustering": rounded(share), "assortativity": rounded(mixing.assortativity(found))}
        values["noise"] = {"clustering": rounded(variance)}
    return values


def remembered(source: Source, found: Edges, period: Period, reference: dict[str, Any], size: Room) -> Values:
    """What the next period is compared with: mixing matrix, sketch of the edges, communities of a sample of nodes.

    Args:
        source: the graph.
        found: its edges in the period.
        period: the period.
        reference: what was frozen at training, which makes the groups of the mixing matrix.
        size: of the sketches.

    Returns:
        ``mixing``, ``sketch``, ``members``, and what goes with them: ``homophily``, ``modularity`` and so on. Without
        networkit nothing about communities.
    """
    if found.count == 0:
        return {}
    ends = source.hashes(found.source), source.hashes(found.target)
    values: Values = {"sketch": sketch.packed(sketch.edge_sketch(found, *ends, size.edges))}
    matrix = mixing.mixing(found, *_groups(source, found, period, reference))
    if matrix is not None:
        values["mixing"] = matrix
        if found.homogeneous:
            within, above = mixing.homophily(np.array(matrix["shares"]))
            values |= {"homophily": rounded(within), "adjusted_homophily": rounded(above)}
    if communities.available():
        values |= _communities(found, np.concatenate([ends[0][found.present[0]], ends[1][found.present[1]]]), size)
    return values


def compared(now: Values, before: Values, size: Room) -> Values:
    """How a period differs from the one before: ``persistence``, ``mixing_shift``, ``orphan_share``, ``flow``."""
    found: Values = {"noise": {}}
    if "sketch" in now and "sketch" in before:
        parts = [sketch.unpacked(values["sketch"], np.uint64) for values in (now, before)]
        share, variance = sketch.jaccard(parts[0], parts[1], size.edges)
        found |= {"persistence": rounded(share), "noise": {"persistence": rounded(variance)}}
    if "mixing" in now and "mixing" in before:
        found["mixing_shift"] = mixing.shift(now["mixing"], before["mixing"])
    if "members" in now and "members" in before:
        share, flow = communities.lineage(_members(now), _members(before), size.nodes)
        found |= {"orphan_share": rounded(share), "flow": flow}
    return found


def _groups(source: Source, found: Edges, period: Period, reference: dict[str, Any]) -> tuple[Groups, Groups]:
    one, other = (groups(source, node, period, reference) for node in (found.source, found.target))
    degrees = (found.sent + found.received,) * 2 if found.homogeneous else (found.sent, found.received)
    return one or by_degree(degrees[0]), other or by_degree(degrees[1])


def _communities(found: Edges, hashes: sketch.Hashes, size: Room) -> Values:
    community, modularity = communities.assignment(found.pairs)
    kept = communities.sample(hashes, community, size.nodes)
    members = {"hashes": sketch.packed(kept.hashes), "community": sketch.packed(kept.community)}
    return {**communities.values(community, modularity), "members": members}


def _members(values: Values) -> communities.Members:
    packed = values["members"]
    return communities.Members(
        sketch.unpacked(packed["hashes"], np.uint32), sketch.unpacked(packed["community"], np.uint16)
    )
