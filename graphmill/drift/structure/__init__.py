"""The structure of a period: how many edges, how they are spread over nodes, and how the nodes hang together."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from graphmill.clock import ALWAYS
from graphmill.drift.source import Integers, Period, Source, rounded
from graphmill.drift.structure import degrees, edges, graphs
from graphmill.drift.structure.edges import Edges
from graphmill.drift.structure.names import COUNTS, RISES, SHARES, TESTED
from graphmill.drift.structure.sharing import sharing
from graphmill.schema import Relation

__all__ = ["COUNTS", "RISES", "SHARES", "TESTED", "build"]

MOST_GRAPHS = 12
"""Graphs that are looked at as a whole, in the schema's order: the profile stays small."""
MOST_EDGES = 20_000_000
"""Of such a graph in a period; it takes some sixty bytes an edge. Beyond it only the ends of its edges are told."""

Values = dict[str, Any]


class Joined(NamedTuple):
    """Where a graph comes from: an edge table, or two links of one event, which join two entities."""

    name: str
    timed: bool
    relation: Relation | None = None
    node: str = ""
    links: tuple[str, str] = ("", "")

    def edges(self, source: Source, period: Period) -> Edges:
        """Its edges in a period."""
        if self.relation is not None:
            return edges.of_relation(source, self.relation, period)
        return edges.of_links(source, self.node, *self.links, period)


def build(
    source: Source, period: Period, reference: dict[str, Any] | None = None, before: dict[str, Any] | None = None
) -> dict[str, Values]:
    """Values by what they describe: node types, sides of edge types, pairs of links, graphs as a whole.

    Args:
        source: the graph and its features.
        period: only edges and rows inside it are counted; those without time always.
        reference: what was frozen at training, which makes the groups of the mixing matrices.
        before: the profile of an earlier period. Where it ends as this one starts, or a graph has no time, it is what
            this one is compared with; else the period before is looked at again in ``source``.

    Returns:
        ``{"payment.account_id.account to account": {"timed": bool, "edges": n, "nodes": n, "mean_degree": x,
        "gini": x, …}, "account.transfer.account": {"timed": bool, "reciprocity": x, "clustering": x, …}, …}``.
    """
    frozen = reference or {}
    found = {f"nodes {node}": _rows(source, node, period) for node in source.graph.nodes}
    for relation in source.relations:
        found |= _relation(source, relation, period)
    for node, links in source.links.items():
        found |= _pairs(source, node, links, period)
    chosen = list(_joined(source))[:MOST_GRAPHS]
    for graph in chosen:
        past = _adjacent(graph, period, before)
        found[graph.name] = _graph(source, graph, period, frozen, past, graphs.room(len(chosen)))
    return found


def _joined(source: Source) -> Iterator[Joined]:
    for relation in source.relations:
        if relation.node is None:
            timed = source.graph.relations[relation.name].time is not None
            yield Joined(relation.name, timed, relation)
    for node, links in source.links.items():
        for one, other in combinations(links, 2):
            name = f"{node}.{one} with {node}.{other}"
            yield Joined(name, source.timed(node), None, node, (one, other))


def _adjacent(graph: Joined, period: Period, before: dict[str, Any] | None) -> Values | None:
    """The graph's values in the period before, where the profile given is of that."""
    if before is None or (graph.timed and before["end"] != period.start):
        return None
    values: Values | None = before.get("structure", {}).get(graph.name)
    return values


def _graph(
    source: Source, graph: Joined, period: Period, frozen: dict[str, Any], past: Values | None, size: graphs.Room
) -> Values:
    """A graph as a whole, and how it differs from the period before."""
    found = graph.edges(source, period)
    if found.count > MOST_EDGES:
        return {"timed": graph.timed}
    values = {**graphs.described(found), **graphs.remembered(source, found, period, frozen, size)}
    if past is None and graph.timed and period.start != ALWAYS:
        earlier = Period(2 * period.start - period.end, period.start)
        past = graphs.remembered(source, graph.edges(source, earlier), earlier, frozen, size)
    change = graphs.compared(values, past or {}, size)
    noise = values["noise"] | change["noise"]
    return {"timed": graph.timed, **values, **change, "noise": noise}


def _rows(source: Source, node: str, period: Period) -> Values:
    times, timed = source.times[node], source.timed(node)
    return {"timed": timed, "rows": int(period.holds(times).sum()) if timed else len(times)}


def _relation(source: Source, relation: Relation, period: Period) -> dict[str, Values]:
    """Both ends of an edge table; of a link the linked end, and how many rows have one."""
    adjacency = source.graph.relations[relation.name]
    timed = adjacency.time is not None
    found = edges.of_relation(source, relation, period)
    first = None if adjacency.time is None else _first(adjacency.indptr, np.asarray(adjacency.time))
    values = {"timed": timed, "edges": found.count, **_growth(source, relation, period, found)}
    values |= _side(source, relation.target, found.received, first, period)
    name = f"{relation.name} to {relation.target}"
    if relation.node is not None:
        rows = _rows(source, relation.node, period)["rows"]
        return {name: {**values, "linked_share": rounded(found.count / rows) if rows else None}}
    if relation.undirected:
        return {name: values}
    sent = {"timed": timed, **_side(source, relation.source, found.sent, None, period)}
    return {name: values, f"{relation.name} from {relation.source}": sent}


def _growth(source: Source, relation: Relation, period: Period, found: Edges) -> Values:
    """Edges beside those that were there before, and beside all pairs of nodes that could have one."""
    earlier = edges.before(source, relation, period)
    ends = [int(np.sum(source.times[node] < period.end)) for node in (relation.source, relation.target)]
    possible = ends[0] * (ends[1] - found.homogeneous) / (1 + int(relation.undirected))
    return {
        "growth": rounded(found.count / earlier) if earlier else None,
        "density": rounded(found.count / possible) if possible > 0 else None,
    }


def _first(indptr: Integers, time: Integers) -> Integers:
    """The time of each target's first edge: int64 ``[targets]``; of one without edges the largest integer."""
    first = np.full(len(indptr) - 1, np.iinfo(np.int64).max, np.int64)
    some = np.diff(indptr) > 0
    first[some] = time[np.asarray(indptr)[:-1][some]]
    return first


def _side(source: Source, node: str, degree: Integers, first: Integers | None, period: Period) -> Values:
    """How the edges are spread over the nodes of one end."""
    touched = np.flatnonzero(degree)
    there = int(np.sum(source.times[node] < period.end))
    born = source.times[node] if source.timed(node) else first
    return {
        "nodes": len(touched),
        **degrees.values(degree[touched]),
        "isolated_share": rounded(max(0.0, 1 - len(touched) / there)) if there else None,
        "new_share": _new_share(born, touched, period),
        "histogram": degrees.histogram(degree[touched]),
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
