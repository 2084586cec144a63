"""The work of stage `train` where several machines do it: files on the shared volume, a TrainJob over them."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.trainjob import VARIABLE, follow
from components.trainjob.door import KIND, VERSION, Door
from graphmill import artifact, shared
from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.tracking.places import group
from graphmill.train import Params

FOLDER = "trainjobs"
"""Where jobs work, on the shared volume: parameters, checkpoints, the model until it is fetched."""
COMMAND = ["python", "-m", "torch.distributed.run", "-m", "graphmill.train.rank"]
"""torchrun, whom Kubeflow tells by variables how many there are and where they meet."""
OWNER = ("KFP_POD_NAME", "KFP_POD_UID")
"""Tell the pod that this is; a job goes with the pod that it was made by."""


def run(graph: str | Path, features: str | Path, model: str | Path, params: Params) -> None:
    """Train on several machines and write the model folder.

    Raises:
        UserError: for inputs that the machines cannot see, a cluster that refuses, a job that fails.
    """
    template = json.loads(os.environ[VARIABLE])
    inputs = [_seen(path) for path in (graph, features)]
    together = params.model_copy(update={"processes": params.processes * template["spec"]["trainer"]["numNodes"]})
    text = artifact.to_json(together.canonical())
    name = f"train-{artifact.digest_of(json.dumps([group(model), *inputs, text]).encode())[:16]}"
    folder = Path(os.environ[shared.VARIABLE], FOLDER, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        artifact.write_text(folder / "params.json", text)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {artifact.told(error)}") from error
    arguments = [*inputs, str(folder / "model"), str(folder / "params.json")]
    with _terminable():
        follow.to_its_end(Door(), _job(template, name, arguments, params.processes), template["restarts"])
    artifact.copy(artifact.read(folder / "model", "model"), model)
    shutil.rmtree(folder, ignore_errors=True)


def _seen(path: str | Path) -> str:
    """Where an input is for everybody.

    Raises:
        UserError: when it is not on the shared volume.
    """
    root, folder = Path(os.environ.get(shared.VARIABLE, "")), shared.follow(Path(path))
    if not root.is_absolute() or not folder.is_relative_to(root):
        told = f"{folder}: not on the volume that all machines of cluster.distributed mount ({shared.VARIABLE})"
        raise UserError(f"{told}; set cluster.claims.shared and run the stage that writes it again, without the cache")
    return str(folder)


def _job(template: dict[str, Any], name: str, arguments: list[str], processes: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": template["labels"]}
    if all(variable in os.environ for variable in OWNER):
        pod, identity = (os.environ[variable] for variable in OWNER)
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": identity}]
    spec = template["spec"]
    trainer = spec["trainer"] | {"command": COMMAND, "args": arguments, "numProcPerNode": processes}
    return {"apiVersion": VERSION, "kind": KIND, "metadata": metadata, "spec": spec | {"trainer": trainer}}


@contextmanager
def _terminable() -> Iterator[None]:
    """A pod that is terminated ends as by an error, so that the job is deleted; only where signals can be had."""

    def end(number: int, frame: Any) -> None:
        say("train: terminated; the job is deleted")
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
