"""``python -m graphmill.serving.live.compact``: a snapshot and a log become a new snapshot, beside a running server."""

import argparse
import os
import sys
from pathlib import Path

from graphmill.errors import UserError
from graphmill.serving.live.apply import replay
from graphmill.serving.live.snapshot import Origin, open, origin, version, write
from graphmill.serving.log import read_log


def compact(snapshot: Path, log: Path, offset: int, output: Path, nodes: int, edges: int) -> None:
    """Write the state of a snapshot and the events of a log before ``offset`` to ``output``.

    Raises:
        UserError: when something cannot be read or written.
    """
    live, came = open(snapshot, nodes, edges), origin(snapshot)
    first = came.offset if came is not None else 0
    newest = replay(live, read_log(log, first, offset), came is not None)[1]
    base = came.base if came is not None else version(snapshot)
    write(live, Origin(base, offset, max(newest, came.newest if came is not None else newest)), output)


def main() -> int:
    """The command line of the process that a server starts."""
    parser = argparse.ArgumentParser(prog="python -m graphmill.serving.live.compact", description=__doc__)
    parser.add_argument("--snapshot", type=Path, required=True, help="folder of the snapshot")
    parser.add_argument("--log", type=Path, required=True, help="folder of the log")
    parser.add_argument("--offset", type=int, required=True, help="events before this offset are taken in")
    parser.add_argument("--output", type=Path, required=True, help="folder of the new snapshot")
    parser.add_argument("--nodes", type=int, required=True, help="room for new nodes of each type")
    parser.add_argument("--edges", type=int, required=True, help="room for new edges of each relation")
    given = parser.parse_args()
    os.nice(10)  # requests go first
    try:
        compact(given.snapshot, given.log, given.offset, given.output, given.nodes, given.edges)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
