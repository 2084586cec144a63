"""``python -m graphmill.sample``: make the sample data and write it to a folder."""

import argparse
import sys
from collections.abc import Sequence

from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.sample.make import make
from graphmill.sample.write import check_output, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 when written, 2 when the input was refused."""
    parser = argparse.ArgumentParser(prog="python -m graphmill.sample", description=__doc__)
    parser.add_argument("--output", default="data", help="folder to write (default: data)")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same bytes (default: 7)")
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is about 210,000 payments (default: 1.0)")
    given = parser.parse_args(arguments)
    try:
        check_output(given.output)
        size = write(make(given.seed, given.scale), given.output)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    say(f"sample: {size.describe()} in {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
