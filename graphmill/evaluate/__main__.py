"""Name the report to open, the model's version and its figures: ``python -m graphmill.evaluate``."""

import argparse
import sys
from pathlib import Path

from graphmill.errors import UserError
from graphmill.evaluate import describe


def main() -> int:
    """Print the description; 2 when there is no evaluation or release."""
    parser = argparse.ArgumentParser(prog="python -m graphmill.evaluate", description=__doc__)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="folder of artifacts (artifacts)")
    options = parser.parse_args()
    try:
        print(describe(options.artifacts / "evaluation", options.artifacts / "release"))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
