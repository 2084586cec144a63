"""``python -m graphmill.lineage``: what an artifact was made from, and whether that is still so."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from graphmill.errors import UserError
from graphmill.lineage import check

VERIFY = """Recompute the digests of the artifact, of everything upstream that is found, of the source code
and of the data; compare package versions; name what differs. Exit status: 0 when nothing differs, 1 when
something does, 2 for a mistake in the command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return status


def show(given: argparse.Namespace) -> int:
    """One row for the artifact and each upstream one, then its parameters."""
    found = check.load(given.folder)
    table = _table("artifact", "digest", "made from", "data", "source", "git revision")
    for name, entry in {found["kind"]: found, **found.get("artifacts", {})}.items():
        table.add_row(*_row(name, entry))
    _print(table)
    numbers = _table("parameter", "value")
    for name, entry in {found["kind"]: found, **found.get("artifacts", {})}.items():
        for path, value in _leaves(entry.get("parameters", {})):
            numbers.add_row(path if "@" not in name else f"{path} ({name})", value)
    _print(numbers)
    packages = found.get("packages", {})
    print("packages:", ", ".join(f"{name} {version}" for name, version in packages.items()))
    return 0


def verify(given: argparse.Namespace) -> int:
    """A row for each thing looked at, and one line that says it all."""
    checks = check.verify(given.folder, given.artifacts, given.data)
    table = _table("", "what", "found")
    for item in checks:
        table.add_row(item.state, item.what, item.detail)
    _print(table)
    differing = [item.what for item in checks if item.state == "differs"]
    unchecked = sum(item.state == "not checked" for item in checks)
    rest = f"; {unchecked} not there to check" if unchecked else ""
    print(f"differs: {', '.join(differing)}{rest}" if differing else f"nothing differs{rest}")
    return 1 if differing else 0


def _row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    code = entry.get("code", {})
    revision = (code.get("revision") or "not known")[:12]
    return (
        name,
        entry["digest"][:12],
        ", ".join(entry.get("inputs", {})) or "data",
        (entry.get("data") or "")[:12],
        code.get("source", "")[:12],
        f"{revision}, modified" if code.get("modified") else revision,
    )


def _leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Parameters as dotted paths; lists in one piece."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}" if path else str(key))]
    return [(path, json.dumps(value, ensure_ascii=False))] if path else []


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _print(table: Table) -> None:
    """Cells are data, not markup; where no terminal sets a width, lines are not folded."""
    width = None if sys.stdout.isatty() else 240
    console = Console(markup=False, highlight=False, width=width)
    console.print(table)
    console.print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.lineage",
        description="Which data, which code, which numbers: what an artifact was made from.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("show", help="what an artifact was made from", description=show.__doc__)
    two = commands.add_parser("verify", help="whether that is still so", description=VERIFY)
    for command, work in ((one, show), (two, verify)):
        command.add_argument("folder", type=Path, help="an artifact's folder, such as artifacts/model")
        command.set_defaults(command=work)
    two.add_argument("--artifacts", type=Path, help="where the upstream artifacts are (default: beside it)")
    two.add_argument("--data", type=Path, help="the folder with the source data (default: not checked)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
