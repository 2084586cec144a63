"""The process in which ``kfp.local`` runs: ``python -m pipelines.child PIPELINE OUTPUTS ARGUMENTS``."""

import json
import sys
import warnings

from kfp import local

from pipelines import PIPELINES


def main() -> int:
    """Run one pipeline with the subprocess runner; 1 when a task fails."""
    name, outputs, arguments = sys.argv[1:]
    # The image is for clusters; here the components run in this environment.
    warnings.filterwarnings("ignore", message=".*custom or non-Python base image.*")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=outputs)
    try:
        PIPELINES[name](**json.loads(arguments))
    except RuntimeError as error:
        print(error, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
