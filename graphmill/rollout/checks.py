"""What is looked at before a candidate is run beside the champion."""

from pathlib import Path

from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.lineage.check import verify
from graphmill.model import Model
from graphmill.registry import Registry, Version

SHOWN = 20
"""Absent columns that are named."""


def check(home: Registry, name: str, graph: Path | None) -> Version:
    """The version that may be rolled out.

    Args:
        home: the registry.
        name: a version or alias.
        graph: folder above ``graph/`` and ``features/`` that is served; None where it is not at hand.

    Raises:
        UserError: when there is no such version, it was altered, a gate blocks it, or the graph lacks what it needs.
    """
    version = home.resolve(name)
    folder = home.path(version)
    record = next(item for item in home.versions() if item.name == version)
    differing = [item for item in verify(folder) if item.what == "artifact model" and item.state == "differs"]
    if differing:
        raise UserError(f"{version}: its lineage does not verify: {differing[0].detail}; register it again")
    if record.evaluation.get("verdict") != "pass":
        failed = [gate["name"] for gate in record.evaluation.get("gates", []) if not gate["passed"]]
        raise UserError(
            f"{version}: blocked by {', '.join(failed) or 'its evaluation'}; only what passed is rolled out"
        )
    if graph is not None:
        fits(version, Model.open(folder), graph)
    return record


def fits(version: str, model: Model, graph: Path) -> None:
    """Refuse a model that needs more than the served graph has.

    Raises:
        UserError: naming every column and relation that is not there.
    """
    network, features = Graph.open(graph / "graph"), Features.open(graph / "features")
    absent = [name for name in model.relations if name not in network.relations]
    transforms = model.transforms(0)
    there = {
        "nodes": features.columns,
        "edges": features.edge_columns,
        "state": {node: features.state_fields(network, node) for node in network.nodes},
    }
    for kind, fields in there.items():
        for owner, items in transforms[kind].items():
            known = {field.name for field in fields.get(owner, [])}
            needed = [item.column for item in items if item.kind != "skip" and item.column not in known]
            absent += [f"{owner}.{column}" for column in needed]
    if absent:
        shown = ", ".join(absent[:SHOWN]) + (f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else "")
        told = f"{version}: it was trained on what the graph at {graph} does not have: {shown}"
        raise UserError(f"{told}; serve a graph built with its parameters, or train it on this one")
