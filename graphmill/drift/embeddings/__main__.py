"""``python -m graphmill.drift.embeddings``: the release note for consumers of stored embeddings."""

import argparse
import json
import sys
from collections.abc import Sequence

from graphmill.drift.embeddings import contract
from graphmill.errors import UserError

EPILOG = """Exit status: 0 when the geometry is the same, 1 when it changed, 2 for a mistake in the command. All folders
must have been written by stage `score` for the same graph and moment."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two folders of predictions; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        champion, candidate, *seeds = contract.of_predictions([given.champion, given.candidate, *given.seed])
        note = contract.compare(champion, candidate, seeds)
    except UserError as error:
        print(f"embeddings: {error}", file=sys.stderr)
        return 2
    print(json.dumps(note.canonical()) if given.json else _told(note))
    return 1 if note.breaches else 0


def _told(note: contract.Note) -> str:
    Row = tuple[str, float | None, float | None, float | None]
    rows: list[Row] = [("models", note.alignment, note.overlap, note.churn)]
    rows += [(f"seeds {at}", one["alignment"], one["overlap"], one["churn"]) for at, one in enumerate(note.seeds, 1)]
    lines = [note.words, f"{note.nodes:,} nodes in common", f"{'':<8}{'alignment':>12}{'neighbours':>12}{'churn':>12}"]
    for name, *values in rows:
        lines.append(f"{name:<8}" + "".join("           –" if value is None else f"{value:>12.3f}" for value in values))
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.drift.embeddings", description=contract.__doc__, epilog=EPILOG
    )
    parser.add_argument("champion", help="predictions of the model in use")
    parser.add_argument("candidate", help="predictions of the model that replaces it")
    parser.add_argument(
        "--seed", action="append", default=[], metavar="FOLDER",
        help="predictions of another training of the candidate with another seed; give two or three",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
