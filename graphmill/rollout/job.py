"""``python -m graphmill.rollout.job``: what the rollout's Job on a cluster runs, as often as its pod is killed.

The first time it is ``start``; later ones find that rollout open, and go on with it as ``resume`` does. An exit status
of 1 or 2 ends the Job; after any other, 3 among them, its next pod tries again.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from graphmill.deploy.params import Params as Deploy
from graphmill.errors import UserError
from graphmill.params import load
from graphmill.rollout.params import Params
from graphmill.rollout.run import Rollout
from graphmill.rollout.target import Unreachable


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow the rollout of one version to its end; the exit status is the command's."""
    given = _parser().parse_args(arguments)
    shared = [f"--params={given.params}", *([f"--graph={given.graph}"] if given.graph else [])]
    try:
        goes_on = begun(given.params, given.candidate)
    except (UserError, Unreachable) as error:
        print(f"rollout: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 3
    from graphmill.rollout.__main__ import main as command

    return command(["resume", *shared] if goes_on else ["start", *shared, f"--candidate={given.candidate}"])


def begun(file: Path, candidate: str) -> bool:
    """Whether the rollout of ``candidate`` stands open: beside the service it is written first.

    Raises:
        UserError: when the parameters or the state cannot be read.
        Unreachable: when the service cannot be asked.
    """
    sections = load(file)
    params, deploy = Params.parse(sections["rollout"], "rollout"), Deploy.parse(sections["deploy"], "deploy")
    with closing(Rollout(params, deploy, None, 0)) as rollout:
        state = rollout.machine.state()
    return state is not None and not state.ended and state.candidate.version == candidate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graphmill.rollout.job", description="Start a rollout, or go on.")
    parser.add_argument("--params", type=Path, required=True, help="parameters of the release")
    parser.add_argument("--graph", type=Path, help="folder above graph/ and features/ that is served")
    parser.add_argument("--candidate", required=True, help="version that is rolled out, such as v3")
    return parser


if __name__ == "__main__":
    sys.exit(main())
