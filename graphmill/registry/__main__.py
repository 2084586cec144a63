"""``python -m graphmill.registry``: see what is registered, compare versions, promote one, go back."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from graphmill import artifact, params, registry
from graphmill.errors import UserError
from graphmill.registry import ALIASES, Registry, Version, compare, view
from graphmill.registry.moves import KIND

PARAMS = Path("params.yaml")
HOME = """A registry's home is a directory or wandb://ENTITY/PROJECT/COLLECTION: --home, else deploy.home of
./params.yaml, else `registry`. Exit status: 0, or 2 for a mistake in the command or a home that cannot be used."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2: the user's mistake)."""
    given = _parser().parse_args(arguments)
    try:
        given.home = given.home or _usual_home()
        given.command(registry.open(given.home), given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def listing(home: Registry, given: argparse.Namespace) -> None:
    """Every version with its aliases, verdict and winner."""
    versions = view.listing(home)
    if given.json:
        view.show_json(versions)
    elif versions:
        view.show(view.list_table(versions))
    else:
        print(f"{given.home}: nothing is registered here yet; `deploy` registers the first model")


def show(home: Registry, given: argparse.Namespace) -> None:
    """One version: metrics, gates, where its aliases moved, and its lineage in short."""
    version, model = _one(home, given.version)
    aliases = view.names(home, version.name)
    moves = [move for move in home.history() if version.name in (move.source, move.target)]
    if given.json:
        about = {**asdict(version), "aliases": aliases, "folder": str(model.path)}
        view.show_json({**about, "moves": [move.line() for move in moves], "lineage": model.lineage})
    else:
        view.show(view.show_table(version, aliases, model, moves))
        view.show(view.metrics_table(version))


def diff(home: Registry, given: argparse.Namespace) -> None:
    """What differs between two versions: metrics, gates, parameters, data, code and packages."""
    pair = [_one(home, name) for name in (given.before, given.after)]
    rows = compare.compare(*(compare.facts(version, model) for version, model in pair))
    before, after = (version.name for version, _ in pair)
    if not given.all:
        rows = [row for row in rows if row.differs]
    if given.json:
        view.show_json({"before": before, "after": after, "rows": [asdict(row) for row in rows]})
    elif rows:
        view.show(view.diff_table(before, after, rows))
    else:
        print(f"{before} and {after}: nothing differs")


def promote(home: Registry, given: argparse.Namespace) -> None:
    """Move an alias to a version, after verifying the version."""
    target = home.resolve(given.version)  # once: an alias may move meanwhile, to a version that was not verified
    home.path(target)
    before = home.aliases().get(given.alias)
    home.move(given.alias, target, given.why)
    print(f"{given.alias}: {before or 'nothing'} → {target}")


def rollback(home: Registry, given: argparse.Namespace) -> None:
    """Make the previous champion the champion; a second time undoes it."""
    before, after = registry.rollback(home, given.why)
    print(f"champion: {before} → {after}")


def _one(home: Registry, name: str) -> tuple[Version, artifact.Artifact]:
    name = home.resolve(name)
    version = next(item for item in home.versions() if item.name == name)
    return version, artifact.read(home.path(name), KIND)


def _usual_home() -> str:
    """What `deploy` uses here; another section's mistakes are not this command's business."""
    section = params.load(PARAMS)["deploy"] if PARAMS.is_file() else {}
    return str(section.get("home") or "registry")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.registry", description="The registered models, and which one counts.", epilog=HOME
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    every = _command(commands, "list", listing, "every version with its aliases and verdict")
    one = _command(commands, "show", show, "one version: metrics, gates, moves, lineage")
    one.add_argument("version", help="a version (v3) or an alias (champion)")
    two = _command(commands, "diff", diff, "what differs between two versions")
    two.add_argument("before", metavar="A", help="a version (v3) or an alias (champion)")
    two.add_argument("after", metavar="B", help="the version or alias to compare it with")
    two.add_argument("--all", action="store_true", help="what is equal too")
    for command in (every, one, two):
        command.add_argument("--json", action="store_true", help="print JSON, in full, for programs")
    up = _command(commands, "promote", promote, "move an alias to a version and record why")
    up.add_argument("version", help="a version (v3) or an alias (candidate)")
    up.add_argument("--alias", default="champion", choices=ALIASES, help="which alias to move (champion)")
    back = _command(commands, "rollback", rollback, "make the previous champion the champion; twice undoes it")
    for command in (up, back):
        command.add_argument("--why", required=True, help="the reason; it goes into the history")
    return parser


def _command(commands: Any, name: str, work: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=work.__doc__, epilog=HOME)
    command.add_argument("--home", help="the registry: a directory or wandb://ENTITY/PROJECT/COLLECTION")
    command.set_defaults(command=work)
    return command


if __name__ == "__main__":
    sys.exit(main())
