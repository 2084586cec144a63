"""Stage `graph`: integer ids and one time-sorted adjacency per edge type and direction."""

from pathlib import Path

from pydantic import Field

from graphmill import artifact, lineage
from graphmill.clock import text
from graphmill.graph.build import build
from graphmill.params import Section
from graphmill.progress import say
from graphmill.schema import Schema


class Params(Section):
    """Section `graph`."""

    memory_limit: str = Field(default="2GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")
    """How much memory the database may use while it resolves keys; beyond it spills to disk."""
    threads: int = Field(default=2, ge=1, le=256)
    """Threads of the database."""


def run(tables: str | Path, graph: str | Path, params: Params) -> None:
    """Turn clean tables into a graph folder.

    Raises:
        UserError: for altered tables, or an edge type without an edge.
    """
    source = artifact.read(tables, "tables")
    schema = Schema.parse(source.manifest["schema"], "schema")
    with artifact.write(graph, "graph") as draft:
        facts = build(source, schema, draft.folder, params.memory_limit, params.threads)
        draft.manifest |= {name: source.manifest[name] for name in ("schema", "task", "as_of")} | facts
        draft.lineage = lineage.record("graph", {"graph": params.canonical()}, {"tables": source})
    nodes, edges = sum(facts["nodes"].values()), sum(item["edges"] for item in facts["relations"].values())
    moment = text(source.manifest["as_of"], schema.time)
    say(f"graph: {nodes:,} nodes, {edges:,} edges in {len(facts['relations'])} relations, as of {moment}")
