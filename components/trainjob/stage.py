"""The work of stage `train` where several machines do it: files on the shared volume, a TrainJob over them."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.trainjob import VARIABLE, follow
from components.trainjob.door import KIND, VERSION, Door, Unreachable
from graphmill import artifact, shared
from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.tracking.places import group
from graphmill.train import Params

FOLDER = "trainjobs"
"""Where jobs work, on the shared volume: parameters, checkpoints, the model until it is fetched."""
TORCHRUN, RANK = ["python", "-m", "torch.distributed.run"], ["-m", "graphmill.train.rank"]
"""torchrun, whom Kubeflow tells by variables how many there are and where they meet; and what it runs."""
KEPT = 7 * 86_400.0
"""Seconds for which the files of a run that did not succeed are kept, so that it can be tried again."""
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
    job = _job(template, name, [*inputs, str(folder / "model"), str(folder / "params.json")], params)
    door = Door()
    _clear(folder, door)
    with _terminable():
        follow.to_its_end(door, job, template["restarts"], template["starting"])
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


def _clear(folder: Path, door: Door) -> None:
    """Remove the files of earlier runs that nobody has written to for long, and that no job works on."""
    for other in folder.parent.iterdir():
        with suppress(OSError, Unreachable, UserError):  # it is another run's; this one does not end for it
            if other != folder and other.is_dir() and time.time() - _newest(other) > KEPT and not door.has(other.name):
                shutil.rmtree(other)


def _newest(folder: Path) -> float:
    """When something in a folder was written last."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _job(template: dict[str, Any], name: str, arguments: list[str], params: Params) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": template["labels"]}
    if all(variable in os.environ for variable in OWNER):
        pod, identity = (os.environ[variable] for variable in OWNER)
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": identity}]
    spec = template["spec"]
    command = [*TORCHRUN, f"--rdzv-conf=timeout={params.process_timeout}", *RANK]  # 600 seconds of its own otherwise
    trainer = spec["trainer"] | {"command": command, "args": arguments, "numProcPerNode": params.processes}
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
