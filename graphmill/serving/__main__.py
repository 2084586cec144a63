"""Serve a model over a live graph: ``python -m graphmill.serving --model M --graph G``."""

import sys
from collections.abc import Sequence

from graphmill.errors import UserError
from graphmill.serving.settings import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until told to stop; 2 for what the user must mend."""
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments)
        # KServe takes a second to import: a wrong argument is told before
        from graphmill.serving.server import serve

        serve(settings)
    except UserError as error:
        print(f"graphmill.serving: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
