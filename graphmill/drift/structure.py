"""The structure of a period: how many edges, how they are spread over nodes, who is new, who is shared."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.drift.source import Floats, Integers, Period, Source, rounded
from graphmill.schema import Relation

Values = dict[str, Any]

COUNTS = ("edges", "nodes", "rows")
"""Values that count things; the others are means or shares."""
SHARES = ("top_share", "new_share", "isolated_share", "linked_share", "shared_share", "gini")


def build(source: Source, period: Period) -> dict[str, Values]:
    """Values by what they describe: node types, sides of edge types, pairs of links.

    Returns:
        ``{"payment.account_id.account to account": {"timed": bool, "edges": n, "nodes": n, "mean_degree": x,
        "gini": x, "top_share": x, "new_share": x, "isolated_share": x}, …}``.
    """
    found = {f"nodes {node}": _rows(source, node, period) for node in source.graph.nodes}
    for relation in source.relations:
        found |= _relation(source, relation, period)
    for node, links in source.links.items():
        found |= _pairs(source, node, links, period)
    return found


def _rows(source: Source, node: str, period: Period) -> Values:
    times, timed = source.times[node], source.timed(node)
    return {"timed": timed, "rows": int(period.holds(times).sum()) if timed else len(times)}


def _relation(source: Source, relation: Relation, period: Period) -> dict[str, Values]:
    """Both ends of an edge table; of a link the linked end, and how many rows have one."""
    adjacency = source.graph.relations[relation.name]
    timed = adjacency.time is not None
    sources, targets = source.degrees(relation.name, period)
    edges = int(targets.sum())
    first = None if adjacency.time is None else _first(adjacency.indptr, np.asarray(adjacency.time))
    values = _side(source, relation.target, targets, first, period)
    found = {f"{relation.name} to {relation.target}": {"timed": timed, "edges": edges, **values}}
    if relation.node is not None:
        rows = _rows(source, relation.node, period)["rows"]
        found[f"{relation.name} to {relation.target}"]["linked_share"] = rounded(edges / rows) if rows else None
    elif not relation.undirected:
        values = _side(source, relation.source, sources, None, period)
        found[f"{relation.name} from {relation.source}"] = {"timed": timed, **values}
    return found


def _first(indptr: Integers, time: Integers) -> Integers:
    """The time of each target's first edge: int64 ``[targets]``; of one without edges the largest integer."""
    first = np.full(len(indptr) - 1, np.iinfo(np.int64).max, np.int64)
    some = np.diff(indptr) > 0
    first[some] = time[np.asarray(indptr)[:-1][some]]
    return first


def _side(source: Source, node: str, degrees: Integers, first: Integers | None, period: Period) -> Values:
    """How the edges are spread over the nodes of one end."""
    touched = np.flatnonzero(degrees)
    degree = degrees[touched]
    there = int(np.sum(source.times[node] < period.end))
    born = source.times[node] if source.timed(node) else first
    return {
        "nodes": len(touched),
        "mean_degree": rounded(float(degree.mean())) if len(degree) else None,
        "gini": rounded(gini(degree.astype(np.float64))) if len(degree) else None,
        "top_share": rounded(top_share(degree.astype(np.float64))) if len(degree) else None,
        "isolated_share": rounded(max(0.0, 1 - len(touched) / there)) if there else None,
        "new_share": _new_share(born, touched, period),
    }


def _new_share(born: Integers | None, touched: Integers, period: Period) -> float | None:
    """Share of the touched nodes that are new; None where no node is older than the period."""
    if born is None or len(touched) == 0 or period.start == ALWAYS:
        return None
    known = born[born != np.iinfo(np.int64).max]
    if len(known) == 0 or int(known.min()) >= period.start:
        return None
    return rounded(float(np.mean(born[touched] >= period.start)))


def _pairs(source: Source, node: str, links: dict[str, Integers], period: Period) -> dict[str, Values]:
    """Two links of one event join two entities: how many rows go to an entity that several others share."""
    timed = source.timed(node)
    rows = np.flatnonzero(period.holds(source.times[node])) if timed else np.arange(source.graph.nodes[node])
    found = {}
    for shared, hub in links.items():
        for by, other in links.items():
            if by != shared:
                values = sharing(hub[rows], other[rows])
                found[f"{node}.{shared} shared by {node}.{by}"] = {"timed": timed, **values}
    return found


def sharing(hub: Integers, other: Integers) -> Values:
    """Share of the rows whose hub has several others, and the mean number of others a hub has.

    Args:
        hub: int ``[rows]``, -1 for none.
        other: int ``[rows]``, -1 for none.
    """
    both = (hub >= 0) & (other >= 0)
    if not np.any(both):
        return {"shared_share": None, "mean_sharers": None}
    hub, other = hub[both].astype(np.int64), other[both].astype(np.int64)
    pairs = np.unique(hub * (int(other.max()) + 1) + other) // (int(other.max()) + 1)
    hubs, sharers = np.unique(pairs, return_counts=True)
    several: NDArray[np.bool_] = sharers[np.searchsorted(hubs, hub)] > 1
    return {"shared_share": rounded(float(several.mean())), "mean_sharers": rounded(float(sharers.mean()))}


def gini(degree: Floats) -> float:
    """Gini coefficient of degrees: 0 when all are equal, near 1 when one node has all edges."""
    ordered = np.sort(degree)
    ranks = np.arange(1, len(ordered) + 1)
    return float(2 * np.sum(ranks * ordered) / (len(ordered) * ordered.sum()) - (len(ordered) + 1) / len(ordered))


def top_share(degree: Floats) -> float:
    """Share of the edges at the hundredth part of the nodes (at least one) that has most."""
    most = max(1, len(degree) // 100)
    return float(np.sort(degree)[-most:].sum() / degree.sum())
