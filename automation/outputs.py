"""What a run on Kubeflow made, brought from its object store to artifacts/ and recorded by DVC."""

import re
import shutil
import tempfile
from pathlib import Path

import fsspec
import yaml

from automation.process import run
from automation.store import opened
from graphmill import artifact
from graphmill.errors import UserError
from graphmill.progress import say


def stages(file: Path = Path("dvc.yaml")) -> dict[str, str]:
    """The stage that makes each artifact, by the artifact's name."""
    found = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
    return {Path(out).name: stage for stage, about in found.items() for out in about["outs"]}


def collect(root: str, identifier: str, target: Path = Path("artifacts")) -> list[str]:
    """Fetch every artifact of a run, verify it, and let `dvc.lock` name it.

    Args:
        root: address under which Kubeflow keeps artifacts, as ``s3://bucket/artifacts``.
        identifier: the run's id, a folder below it.
        target: folder for the artifacts.

    Returns:
        The stages whose artifacts were found.

    Raises:
        UserError: when there are none, one is not whole, or it is not said of which run.
    """
    if not re.fullmatch(r"[\w-]+", identifier):
        raise UserError(f"RUN must be the id of a run, not {identifier!r}")
    system, place = opened(root)
    found = {}
    for manifest in sorted(system.glob(f"{place}/**/{identifier}/**/*.json")):
        folder, file = manifest.rsplit("/", 1)
        name = folder.rsplit("/", 1)[-1]
        if file == f"{name}.json" and name in stages():
            found[name] = folder
    if not found:
        raise UserError(f"{root}: nothing of run {identifier}; is KFP_PIPELINE_ROOT where its artifacts are?")
    target.mkdir(parents=True, exist_ok=True)
    for name, folder in found.items():
        _fetch(system, folder, name, target)
    made = [stages()[name] for name in found]
    run("dvc", "commit", "--quiet", "--force", *made)
    say(f"outputs: {', '.join(sorted(found))} of run {identifier}")
    return made


def push() -> None:
    """Send what the stages made to the default remote; the data have their own way.

    Nothing happens where there is no remote, or nothing to send.
    """
    remote = default_remote()
    if not remote:
        say("push: there is no default remote; what was made stays here (`dvc remote add -d storage s3://…`)")
        return
    if not Path("dvc.lock").is_file():
        raise UserError("push: there is no dvc.lock: nothing was run here")
    made = list(yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"])
    run("dvc", "push", "--quiet", *made)
    say(f"push: {', '.join(made)}, to {remote}")


def default_remote() -> str:
    """The name of DVC's default remote; empty without one."""
    named = [
        line.partition("=")[2]
        for line in run("dvc", "config", "--list").splitlines()
        if line.startswith("core.remote=")
    ]
    return named[-1] if named else ""


def _fetch(system: fsspec.AbstractFileSystem, folder: str, name: str, target: Path) -> None:
    """One artifact, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target) as draft:
        arrived = Path(draft, name)
        system.get(f"{folder}/", f"{arrived}/", recursive=True)
        artifact.read(arrived, name)
        shutil.rmtree(target / name, ignore_errors=True)
        arrived.rename(target / name)
