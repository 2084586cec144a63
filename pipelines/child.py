"""The process in which ``kfp.local`` runs: ``python -m pipelines.child PIPELINE OUTPUTS ARGUMENTS``."""

import json
import sys
import warnings
from typing import Any

from kfp import local

from pipelines import PIPELINES


def here(pipeline: Any) -> Any:
    """A pipeline without what is a cluster's: variables that name mounts, and retries, as a mistake is told at once."""
    document = pipeline.pipeline_spec
    for part in (document.root, *document.components.values()):
        for task in part.dag.tasks.values():
            task.ClearField("retry_policy")
    for executor in document.deployment_spec["executors"].values():
        if "container" in executor and "env" in executor["container"]:
            del executor["container"]["env"]
    return pipeline


def main() -> int:
    """Run one pipeline with the subprocess runner; 1 when a task fails."""
    name, outputs, arguments = sys.argv[1:]
    # The image is for clusters; here the components run in this environment.
    warnings.filterwarnings("ignore", message=".*custom or non-Python base image.*")
    warnings.filterwarnings("ignore", message=".*have no effect in the current local runner.*")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=outputs)
    try:
        here(PIPELINES[name])(**json.loads(arguments))
    except RuntimeError as error:
        print(error, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
