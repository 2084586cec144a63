"""Compile the pipelines, run one on this machine, or upload, submit, schedule and watch them on a cluster."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from graphmill.errors import UserError
from pipelines import NAMES
from pipelines.cluster import arguments as cluster_arguments
from pipelines.cluster import verbs as cluster_verbs


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line; 2 for what the user must mend."""
    given = _parser().parse_args(arguments)
    try:
        if given.verb == "compile":
            from pipelines.compile import compile_all

            compile_all(given.output)
        elif given.verb == "run":
            from pipelines.local import run

            result = run(given.pipeline, given.params, given.data, given.root, given.model, given.verbose)
            print(json.dumps(result))
        else:
            return cluster_verbs.run(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    compiling = verbs.add_parser("compile", help="write one YAML file a pipeline")
    compiling.add_argument("--output", type=Path, default=Path("compiled"), help="folder (compiled)")
    running = verbs.add_parser("run", help="run a whole pipeline here, without a cluster")
    running.add_argument("pipeline", choices=NAMES)
    running.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)")
    running.add_argument("--data", type=Path, default=Path("data"), help="folder of source tables (data)")
    running.add_argument("--root", type=Path, default=Path("."), help="folder for artifacts/ and registry/ (.)")
    running.add_argument("--model", help="model folder, version or alias (champion); scoring and monitoring")
    running.add_argument("--verbose", action="store_true", help="print Kubeflow's own log too")
    cluster_arguments.add(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
