"""``python -m graphmill.tracking``: see which runs are kept on this machine, and send those that W&B does not have."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.tracking import kept, places, processes
from graphmill.tracking.kept import Kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 when a run was not sent, 2 for what the user must mend."""
    given = _parser().parse_args(arguments)
    try:
        found = list(kept.runs(_folder(given.folder)))
        return listing(found) if given.command == "list" else sync(found, given.folder, given.patience)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def listing(found: list[Kept]) -> int:
    """Every run with its stage, the pipeline's run it belongs to, and whether W&B has it."""
    table = Table(box=None, pad_edge=False)
    for heading in ("recorded", "stage", "run of the pipeline", "state", "kB", "folder"):
        table.add_column(heading)
    for run in found:
        told = (run.facts.get("stage", ""), run.facts.get("group", ""), run.state)
        table.add_row(run.begun, *told, f"{run.size() / 1000:.0f}", run.folder.name)
    if found:
        Console(width=None if sys.stdout.isatty() else 160).print(table)
    else:
        say("no runs are kept here")
    return 0


def sync(found: list[Kept], home: Path, patience: float) -> int:
    """Send what waits, oldest first, and say of each run what became of it."""
    waiting = [run for run in found if run.state == "waiting"]
    failed = 0
    for run in waiting:
        status, lines = processes.run("send", patience, home, folder=str(run.folder.absolute()))
        told = lines[-1] if lines else f"the sender ended with status {status}"
        if status == processes.LATE:
            told = f"not sent within {patience:g} s; give more with --patience"
        say(f"{run.facts['stage']} {run.folder.name}: {told}")
        failed += status != 0
        if "no API key" in told:
            raise UserError(f"{len(waiting)} runs wait; nothing can be sent without a key")
    unfinished = sum(run.state == "unfinished" for run in found)
    note = f", {unfinished} unfinished and left alone" if unfinished else ""
    say(f"sync: {len(waiting) - failed} sent, {failed} not sent{note}")
    return 1 if failed else 0


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the one with W&B's runs with --folder or WANDB_DIR")
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graphmill.tracking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("list", help="the runs that are kept here", description=listing.__doc__)
    two = commands.add_parser("sync", help="send what W&B does not have yet", description=sync.__doc__)
    for command in (one, two):
        command.add_argument("--folder", type=Path, default=places.folder(), help="where runs are kept (runs)")
    two.add_argument("--patience", type=float, default=600.0, help="seconds for one run at the most (600)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
