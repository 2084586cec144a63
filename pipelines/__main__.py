"""Compile the pipelines, or run one on this machine."""

import argparse
import json
import sys
from pathlib import Path

from graphmill.errors import UserError
from pipelines import NAMES


def main() -> int:
    """Parse the command line; 2 for what the user must mend."""
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
    options = parser.parse_args()
    try:
        if options.verb == "compile":
            from pipelines.compile import compile_all

            compile_all(options.output)
        else:
            from pipelines.local import run

            result = run(options.pipeline, options.params, options.data, options.root, options.model, options.verbose)
            print(json.dumps(result))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
