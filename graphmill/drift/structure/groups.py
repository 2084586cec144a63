"""Groups of nodes that an edge may stay within or cross: labels, a category, or else how many edges a node has."""

from typing import Any, NamedTuple

import numpy as np

from graphmill.drift.cohorts import known_by, label_age
from graphmill.drift.source import Integers, Period, Source

MOST = 8
"""Groups of one node type, the last of which holds what is left."""


class Groups(NamedTuple):
    """The group of each node."""

    by: str
    """What they are made from."""
    names: list[str]
    codes: Integers
    """int8 ``[N]``, -1 where it is not known."""


def groups(source: Source, node: str, period: Period, reference: dict[str, Any]) -> Groups | None:
    """The groups of a node type as of a period's end; None where nothing makes any.

    A judged entity has its label, the newest that was known by then. Other nodes have the first category of their
    table that the reference knows more than one value of.

    Args:
        source: the graph and its features.
        node: a node type.
        period: the period.
        reference: what was frozen at training: ``columns``, and ``label_age``, else that of the period's end.
    """
    if node == source.graph.task.node and not source.graph.judges_events:
        found = _labels(source, node, period, reference)
        if found is not None:
            return found
    return _category(source, node, reference.get("columns", {}).get(f"node {node}", {}))


def by_degree(degree: Integers) -> Groups:
    """Where there is no other: nodes with about as many edges, twice as many from group to group."""
    names = [f"{1 << place}+" for place in range(MOST)]
    codes = np.floor(np.log2(np.maximum(degree, 1))).clip(0, MOST - 1).astype(np.int8)
    return Groups("degree", names, codes)


def _labels(source: Source, node: str, period: Period, reference: dict[str, Any]) -> Groups | None:
    times = source.examples["time"].to_numpy(np.int64)
    age = reference["label_age"] if "label_age" in reference else label_age(source, period.end)
    old = times <= period.end - age  # equally old in each period, or quick labels alone are there
    known = old & known_by(source.examples, np.arange(len(times)), period.end)
    chosen = source.examples[known].sort_values("time", kind="stable")
    codes = np.full(source.graph.nodes[node], -1, np.int8)
    codes[chosen["node"].to_numpy()] = chosen["label"].astype(bool)  # of several the last one stays
    if not (np.any(codes == 0) and np.any(codes == 1)):
        return None
    return Groups("label", ["negative", "positive"], codes)


def _category(source: Source, node: str, frozen: dict[str, Any]) -> Groups | None:
    fields = source.features.columns.get(node, [])
    for place, field in enumerate(fields):
        how = frozen.get(field.name, {})
        if how.get("kind") == "category" and len(how["top"]) > 1 and field.vocabulary is not None:
            names = how["top"] if len(how["top"]) <= MOST else [*how["top"][: MOST - 1], "other"]
            code = {name: at for at, name in enumerate(how["top"][: len(names) - ("other" in names)])}
            of = np.array([*(code.get(name, len(names) - 1) for name in field.vocabulary), -1], np.int8)
            values = np.asarray(source.features.nodes[node][:, place])
            return Groups(f"{node}.{field.name}", names, of[np.where(np.isfinite(values), values, -1).astype(np.int64)])
    return None
