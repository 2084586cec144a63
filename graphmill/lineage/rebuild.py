"""Making a version again from its lineage: its code, its data, its numbers, and whether the same bytes come out."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from graphmill import artifact, lineage
from graphmill.artifact import Artifact
from graphmill.errors import UserError
from graphmill.lineage import recipe, repository
from graphmill.lineage.check import load
from graphmill.lineage.compare import Difference, differences
from graphmill.lineage.data import fetch
from graphmill.lineage.recipe import Recipe, Step
from graphmill.lineage.scratch import Scratch, scratch
from graphmill.progress import say


@dataclass(frozen=True)
class Rebuilt:
    """One stage that was run again."""

    step: Step
    digest: str
    seconds: float

    @property
    def same(self) -> bool:
        """Whether it wrote the same content."""
        return self.digest == self.step.digest


@dataclass(frozen=True)
class Outcome:
    """What came of it: every stage, and every file of the model that differs."""

    stages: list[Rebuilt]
    differences: list[Difference]

    @property
    def same(self) -> bool:
        """Whether the whole model is bit-identical."""
        return self.stages[-1].same and not self.differences


def rebuild(model: Artifact, checkout: Path, data: Path | None, place: Path, keep: bool) -> Outcome:
    """Run ingest, graph, features and train again, each with the code of its own revision, and compare.

    Args:
        model: the model that was made, with its lineage.
        checkout: the root of the template in a git repository that has the revisions.
        data: the source data; None to take what DVC or git has at the revision.
        place: where the temporary folder is made.
        keep: whether it stays.

    Raises:
        UserError: when code or data are not to be had, or a stage fails.
    """
    needed = recipe.read(model)
    if not repository.is_checkout(checkout):
        raise UserError(f"{checkout.resolve()}: not in a git repository; name the checkout with --repository")
    recipe.check(needed, checkout)
    _packages(needed)
    try:
        with scratch(checkout, place, keep) as room:
            if keep:
                say(f"rebuild: {room.folder} is kept; `git worktree prune` after you remove it")
            return _run(needed, model, room, data)
    except OSError as error:
        raise UserError(f"{place}: cannot be rebuilt here: {error}; name another folder with --scratch") from error


def verdict(name: str, found: Outcome) -> str:
    """The outcome as a sentence."""
    if found.same:
        return f"{name}: bit-identical: weights, trees and the whole model, digest {found.stages[-1].digest}"
    learned = [item for item in found.differences if item.file.endswith((".safetensors", ".txt"))]
    first = next((one.step for one in found.stages if not one.same), found.stages[-1].step)
    word = "not identical" if learned else "weights and trees are bit-identical, the model folder is not"
    worst = (learned or found.differences)[0]
    told = f"{name}: {word}: {worst.file}: {worst.how}; {len(found.differences)} files differ"
    return f"{told}; the first artifact that differs is {first.artifact}, of stage {first.stage}"


def _run(needed: Recipe, model: Artifact, room: Scratch, data: Path | None) -> Outcome:
    params, root = room.folder / "params.yaml", room.folder / "run"
    root.mkdir()
    params.write_text(yaml.safe_dump(_parameters(needed, room)), encoding="utf-8")
    tree = room.tree(needed.steps[0].revision)
    found = fetch(needed, room, tree, data)
    stages = []
    for step in needed.steps:
        say(f"rebuild: {step.stage}, code of {step.revision[:12]}")
        stages.append(_stage(step, room, params, found, root))
        if step.stage == "ingest" and needed.data is not None:
            read = load(root / "artifacts" / step.artifact).get("data")
            if read != needed.data:
                raise UserError(
                    f"ingest read other data: was {needed.data}, is {read}; give the right folder as --data"
                )
    return Outcome(stages, differences(model.path, root / "artifacts" / "model"))


def _parameters(needed: Recipe, room: Scratch) -> dict[str, Any]:
    """The recorded ones; the path of a repository of data counts from where the run was started."""
    ingest = dict(needed.parameters["ingest"])
    if ingest.get("repository") and (room.checkout / ingest["repository"]).exists():
        ingest["repository"] = str((room.checkout / ingest["repository"]).resolve())
    return {**needed.parameters, "ingest": ingest}


def _stage(step: Step, room: Scratch, params: Path, data: Path, root: Path) -> Rebuilt:
    tree, start = room.tree(step.revision), time.monotonic()
    paths = ["--params", str(params), "--data", str(data), "--root", str(root)]
    command = [sys.executable, "-m", "components", step.stage, *paths]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environment, pass_fds=(room.lock,), check=False)
    if done.returncode:
        told = f"stage {step.stage} of revision {step.revision} failed with exit status {done.returncode}"
        raise UserError(f"{told}; what it said stands above")
    folder = root / "artifacts" / step.artifact
    source = load(folder)["code"]["source"]
    if source != step.source:
        raise UserError(f"stage {step.stage} ran other code than revision {step.revision} has: source {source}")
    digest = artifact.file_digest(folder / f"{step.artifact}.json")
    return Rebuilt(step, digest, time.monotonic() - start)


def _packages(needed: Recipe) -> None:
    """Tell other versions: they are the first suspect when the bytes differ. The project's own code is checked out."""
    now = lineage.packages()
    recorded = {name: version for name, version in needed.packages.items() if name != lineage.PACKAGE.name}
    odd = [f"{name} {was} (here {now.get(name)})" for name, was in recorded.items() if now.get(name) != was]
    if odd:
        print(f"rebuild: WARNING: other packages than recorded: {', '.join(odd)}", file=sys.stderr)
