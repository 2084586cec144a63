"""Lineage as tables for people."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

EMPTY = ("null", "{}", "[]")
COLUMNS = ("artifact", "digest", "made from", "data", "source", "git revision")


def records(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The artifact's own record and each upstream one, by name, nearest first."""
    return {lineage["kind"]: lineage, **lineage.get("artifacts", {})}


def chain(lineage: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """`COLUMNS` of the artifact and of each upstream one."""
    for name, entry in records(lineage).items():
        code = entry.get("code", {})
        revision = (code.get("revision") or "not known")[:12]
        yield (
            name,
            entry["digest"][:12],
            ", ".join(entry.get("inputs", {})) or "data",
            (entry.get("data") or "")[:12],
            code.get("source", "")[:12],
            f"{revision}, modified" if code.get("modified") else revision,
        )


def parameters(lineage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every parameter of the chain as dotted path and JSON value; an empty one is its default, and left out."""
    for name, entry in records(lineage).items():
        for path, value in _leaves(entry.get("parameters", {})):
            if value not in EMPTY:
                yield path if "@" not in name else f"{path} ({name})", value


def table(rows: Iterable[Sequence[str]], *headings: str) -> None:
    """Print rows. Cells are data, not markup; where no terminal sets a width, lines are not folded."""
    drawn = Table(box=None, pad_edge=False)
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    width = None if sys.stdout.isatty() else 240
    console = Console(markup=False, highlight=False, width=width)
    console.print(drawn)
    console.print()


def _leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Parameters as dotted paths; lists in one piece."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}" if path else str(key))]
    return [(path, json.dumps(value, ensure_ascii=False))] if path else []
