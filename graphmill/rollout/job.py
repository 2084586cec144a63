"""``python -m graphmill.rollout.job``: what the rollout's Job on a cluster runs, as often as its pod is killed.

The first time it is ``start``; later ones find that rollout open, and go on with it as ``resume`` does.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from graphmill.deploy.params import Params as Deploy
from graphmill.errors import UserError
from graphmill.params import load
from graphmill.rollout.params import Params
from graphmill.rollout.state import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow the rollout of one version to its end; the exit status is the command's."""
    given = _parser().parse_args(arguments)
    shared = [f"--params={given.params}", *([f"--graph={given.graph}"] if given.graph else [])]
    try:
        goes_on = begun(given.params, given.candidate)
    except UserError as error:
        print(f"rollout: {error}", file=sys.stderr)
        return 2
    from graphmill.rollout.__main__ import main as command

    return command(["resume", *shared] if goes_on else ["start", *shared, f"--candidate={given.candidate}"])


def begun(file: Path, candidate: str) -> bool:
    """Whether the rollout of ``candidate`` stands open in the folder of states.

    Raises:
        UserError: when the parameters or the state cannot be read.
    """
    sections = load(file)
    params, deploy = Params.parse(sections["rollout"], "rollout"), Deploy.parse(sections["deploy"], "deploy")
    state = Store(Path(params.home), deploy.name).read()
    return state is not None and not state.ended and state.candidate.version == candidate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graphmill.rollout.job", description="Start a rollout, or go on.")
    parser.add_argument("--params", type=Path, required=True, help="parameters of the release")
    parser.add_argument("--graph", type=Path, help="folder above graph/ and features/ that is served")
    parser.add_argument("--candidate", required=True, help="version that is rolled out, such as v3")
    return parser


if __name__ == "__main__":
    sys.exit(main())
