"""``python -m graphmill.registry``: see what is registered, promote a version, go back."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from graphmill import artifact, registry
from graphmill.errors import UserError
from graphmill.registry import ALIASES, Registry, Version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2: the user's mistake)."""
    given = _parser().parse_args(arguments)
    try:
        given.command(registry.open(given.home), given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def listing(home: Registry, given: argparse.Namespace) -> None:
    """Every version with its aliases, verdict and winner."""
    aliases = home.aliases()
    table = Table(box=None, pad_edge=False)
    for heading in ("version", "aliases", "verdict", "winner", "registered", "by", "digest"):
        table.add_column(heading)
    for version in home.versions():
        named = ", ".join(alias for alias, target in aliases.items() if target == version.name)
        judged = [str(version.evaluation.get(key, "")) for key in ("verdict", "winner")]
        registered = (version.registered_at, version.registered_by)
        table.add_row(version.name, named, *judged, *registered, version.digest[:12])
    if table.row_count:
        _print(table)
    else:
        print(f"{given.home}: nothing is registered here yet; `deploy` registers the first model")


def show(home: Registry, given: argparse.Namespace) -> None:
    """One version: metrics, gates, where its aliases moved, and its lineage in short."""
    name = home.resolve(given.version)
    version = next(item for item in home.versions() if item.name == name)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    aliases = [alias for alias, target in home.aliases().items() if target == name]
    table.add_row("version", name)
    table.add_row("aliases", ", ".join(aliases) or "none")
    table.add_row("registered", f"{version.registered_at} by {version.registered_by}")
    for row in (*_origin(artifact.read(home.path(name), "model")), *_judged(version), *_moves(home, name)):
        table.add_row(*row)
    _print(table)


def promote(home: Registry, given: argparse.Namespace) -> None:
    """Move an alias to a version, after verifying the version."""
    home.path(given.version)
    before = home.aliases().get(given.alias)
    home.move(given.alias, given.version, given.why)
    print(f"{given.alias}: {before or 'nothing'} → {home.aliases()[given.alias]}")


def rollback(home: Registry, given: argparse.Namespace) -> None:
    """Make the previous champion the champion."""
    before, after = registry.rollback(home, given.why)
    print(f"champion: {before} → {after}")


def _origin(model: artifact.Artifact) -> Iterator[tuple[str, str]]:
    code = model.lineage.get("code", {})
    yield "folder", str(model.path)
    yield "digest", model.digest
    modified = ", with modified files" if code.get("modified") else ""
    yield "code", f"{code.get('revision') or 'no git revision'}{modified}"
    for entry in model.lineage.get("artifacts", {}).values():
        if entry.get("data"):
            yield "data", entry["data"]


def _judged(version: Version) -> Iterator[tuple[str, str]]:
    judged = dict(version.evaluation)
    gates = judged.pop("gates", [])
    for key, value in judged.items():
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for gate in gates:
        word = "passed" if gate["passed"] else "FAILED"
        yield "gate", f"{word}  {gate['name']}: {gate['value']}, bound {gate['bound']}"


def _moves(home: Registry, name: str) -> Iterator[tuple[str, str]]:
    for move in home.history():
        if name in (move.source, move.target):
            way = f"{move.alias}: {move.source or 'nothing'} → {move.target}"
            yield "moved", f"{move.when}  {way}  {move.who}: {move.why}"


def _print(table: Table) -> None:
    """Cells are data, not markup; where no terminal sets a width, lines are not folded."""
    width = None if sys.stdout.isatty() else 240
    console = Console(markup=False, highlight=False, width=width)
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.registry", description="The registered models, and which one counts."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "list", listing, "every version with its aliases and verdict")
    one = _command(commands, "show", show, "one version: metrics, gates, moves, lineage")
    one.add_argument("version", help="a version (v3) or an alias (champion)")
    up = _command(commands, "promote", promote, "move an alias to a version and record why")
    up.add_argument("version", help="a version (v3) or an alias (candidate)")
    up.add_argument("--alias", default="champion", choices=ALIASES, help="which alias to move (champion)")
    up.add_argument("--why", required=True, help="the reason; it goes into the history")
    back = _command(commands, "rollback", rollback, "make the previous champion the champion")
    back.add_argument("--why", required=True, help="the reason; it goes into the history")
    return parser


def _command(commands: Any, name: str, work: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--home", default="registry", help="the registry's directory (default: registry)")
    command.set_defaults(command=work)
    return command


if __name__ == "__main__":
    sys.exit(main())
