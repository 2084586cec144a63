"""Stage `graph`: integer ids and one time-sorted adjacency per edge type and direction."""

from pathlib import Path

from graphmill import artifact, lineage
from graphmill.clock import text
from graphmill.engine import EngineParams, connect
from graphmill.progress import say
from graphmill.schema import Schema


class Params(EngineParams):
    """Section `graph`."""


def run(tables: str | Path, graph: str | Path, params: Params) -> None:
    """Turn clean tables into a graph folder.

    Raises:
        UserError: for altered tables.
    """
    from graphmill.graph.build import build  # who only reads graphs needs no engine

    source = artifact.read(tables, "tables")
    schema = Schema.parse(source.manifest["schema"], "schema")
    scratch = Path(graph).parent / f".{Path(graph).name}.spill"
    with artifact.write(graph, "graph") as draft, connect(params, scratch, "graph") as engine:
        facts = build(engine, source, schema, draft.folder)
        draft.manifest |= {name: source.manifest[name] for name in ("schema", "task", "as_of")} | facts
        draft.lineage = lineage.record("graph", {"graph": params.canonical()}, {"tables": source})
    nodes, edges = sum(facts["nodes"].values()), sum(item["edges"] for item in facts["relations"].values())
    moment = text(source.manifest["as_of"], schema.time)
    empty = [name for name, item in facts["relations"].items() if item["edges"] == 0]
    told = f"; without any edge: {', '.join(empty)}" if empty else ""
    say(f"graph: {nodes:,} nodes, {edges:,} edges in {len(facts['relations'])} relations, as of {moment}{told}")
