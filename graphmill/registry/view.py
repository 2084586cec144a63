"""How the command line shows the registry: tables for people, plain values for programs."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from graphmill.artifact import Artifact
from graphmill.registry import Move, Registry, Version
from graphmill.registry.compare import Row

_DIGEST = re.compile(r"[0-9a-f]{40,64}")


def names(home: Registry, version: str) -> list[str]:
    """The aliases that name a version."""
    return [alias for alias, target in home.aliases().items() if target == version]


def listing(home: Registry) -> list[dict[str, Any]]:
    """Every version with its aliases, oldest first."""
    aliases = home.aliases()
    return [
        {**asdict(version), "aliases": [alias for alias, target in aliases.items() if target == version.name]}
        for version in home.versions()
    ]


def list_table(versions: Iterable[dict[str, Any]]) -> Table:
    """One row a version."""
    table = _table("version", "aliases", "verdict", "winner", "registered", "by", "digest")
    for version in versions:
        judged = [str(version["evaluation"].get(key, "")) for key in ("verdict", "winner")]
        registered = (version["registered_at"], version["registered_by"])
        table.add_row(version["name"], ", ".join(version["aliases"]), *judged, *registered, version["digest"][:12])
    return table


def show_table(version: Version, aliases: Sequence[str], model: Artifact, moves: Iterable[Move]) -> Table:
    """One version: who and when, its origin, its judgement, its moves."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("version", version.name)
    table.add_row("aliases", ", ".join(aliases) or "none")
    table.add_row("registered", f"{version.registered_at} by {version.registered_by}")
    for row in (*_origin(model), *_judged(version), *_moves(moves)):
        table.add_row(*row)
    return table


def metrics_table(version: Version) -> Table:
    """One row a metric, one column a model, the winner first."""
    metrics = version.evaluation.get("metrics", {})
    models = sorted(metrics, key=lambda name: name != version.evaluation.get("winner"))
    table = _table("metric", *models)
    for name in dict.fromkeys(name for values in metrics.values() for name in values):
        table.add_row(name, *(_cell(metrics[model].get(name)) for model in models))
    return table


def diff_table(before: str, after: str, rows: Iterable[Row]) -> Table:
    """One row a fact; digests by their beginning, numbers with their change."""
    table = _table("", "what", before, after, "change")
    table.columns[4].justify = "right"
    for row in rows:
        change = f"{row.change:+.4g}" if row.change else ""
        table.add_row(row.section, row.name, _cell(row.before), _cell(row.after), change)
    return table


def show(value: Table) -> None:
    """Cells are data, not markup; where no terminal sets a width, lines are not folded."""
    width = None if sys.stdout.isatty() else 240
    Console(markup=False, highlight=False, width=width).print(value)


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def _origin(model: Artifact) -> Iterator[tuple[str, str]]:
    code = model.lineage.get("code", {})
    yield "folder", str(model.path)
    yield "digest", model.digest
    modified = ", with modified files" if code.get("modified") else ""
    yield "code", f"{code.get('revision') or 'no git revision'}{modified}"
    for entry in model.lineage.get("artifacts", {}).values():
        if entry.get("data"):
            yield "data", entry["data"]


def _judged(version: Version) -> Iterator[tuple[str, str]]:
    gates = version.evaluation.get("gates", [])
    rest = {key: value for key, value in version.evaluation.items() if key not in ("gates", "metrics")}
    for key, value in rest.items():
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for gate in gates:
        word = "passed" if gate["passed"] else "FAILED"
        yield "gate", f"{word}  {gate['name']}: {_cell(gate['value'])}, bound {_cell(gate['bound'])}"


def _moves(moves: Iterable[Move]) -> Iterator[tuple[str, str]]:
    for move in moves:
        way = f"{move.alias}: {move.source or 'nothing'} → {move.target}"
        yield "moved", f"{move.when}  {way}  {move.who}: {move.why}"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict) and value.keys() == {"passed", "value", "bound"}:
        return f"{'passed' if value['passed'] else 'FAILED'}, {_cell(value['value'])}, bound {_cell(value['bound'])}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value[:12] if _DIGEST.fullmatch(value) else value
    return json.dumps(value, ensure_ascii=False)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
