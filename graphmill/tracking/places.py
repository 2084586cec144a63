"""Where runs are kept, how they belong together, and the environment that W&B's SDK is given."""

import os
import re
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path

RUN_VARIABLE = "GRAPHMILL_RUN"
"""Names the run of a pipeline, so that W&B groups its stages."""

FOLDER = "runs"
"""Where runs are kept, below where the stage runs, unless ``WANDB_DIR`` names another folder."""

OF_ONE_RUN = ("RUN_ID", "RESUME", "NAME", "JOB_TYPE", "SERVICE", "SWEEP_ID", "RUN_DIR", "INITED")
"""W&B's variables that are about one run: each stage has a run of its own."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def folder() -> Path:
    """Where W&B's files go: never the home directory; the temporary one in a pod or where nothing can be written."""
    if given := os.environ.get("WANDB_DIR"):
        return Path(given).absolute()
    here = Path.cwd()
    in_pod = "KFP_POD_NAME" in os.environ
    return (Path(tempfile.gettempdir()) if in_pod or not os.access(here, os.W_OK) else here) / FOLDER


def environment(home: Path) -> dict[str, str]:
    """The variables for a process that imports W&B: the user's own, and a place for what has none."""
    own = {key: value for key, value in os.environ.items() if key not in {f"WANDB_{name}" for name in OF_ONE_RUN}}
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    quiet = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(home / "wandb" / "cache")}
    return quiet | own | {"WANDB_DIR": str(home), "PYTHONPATH": path}


def mode(chosen: str) -> str:
    """The mode that counts: W&B's own ``WANDB_MODE`` and ``WANDB_DISABLED`` can only record less."""
    told = os.environ.get("WANDB_MODE", "")
    if told == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        return "off"
    return "offline" if chosen == "auto" and told in ("offline", "dryrun") else chosen


def group(output: str | Path) -> str:
    """The run of a pipeline that a stage belongs to.

    In this order: W&B's own ``WANDB_RUN_GROUP``; ``GRAPHMILL_RUN``; the name of a DVC experiment; on Kubeflow the
    run's id, which stands in the path of every output; else the day and the process group, which all stages of
    one ``dvc repro`` share.
    """
    for name in ("WANDB_RUN_GROUP", RUN_VARIABLE, "DVC_EXP_NAME"):
        if given := os.environ.get(name):
            return given
    if "KFP_POD_NAME" in os.environ and (found := _UUID.search(str(output))):
        return found[0]
    return f"{datetime.now(UTC):%Y-%m-%d}-{os.getpgrp()}"


def new_group(name: str) -> str:
    """A name for a run that begins now: ``training-20251102T101500Z-3f2a``."""
    return f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
