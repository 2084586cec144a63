"""What a model's lineage asks for to make it again: stages in order, each with its code, and their numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphmill import lineage
from graphmill.artifact import Artifact
from graphmill.errors import UserError
from graphmill.lineage import repository

STAGES = {"tables": "ingest", "graph": "graph", "features": "features", "model": "train"}
"""The artifacts that a model needs, itself last, and the stage that writes each."""


@dataclass(frozen=True)
class Step:
    """One stage to run again."""

    stage: str
    artifact: str
    revision: str
    source: str
    digest: str
    """Of the artifact that it wrote."""


@dataclass(frozen=True)
class Recipe:
    """All that is needed; ``data`` is None where the sources are not in a folder."""

    steps: list[Step]
    parameters: dict[str, Any]
    data: str | None
    packages: dict[str, str]


def read(model: Artifact) -> Recipe:
    """The recipe of a model.

    Raises:
        UserError: when the lineage does not name one run of every stage, or names no committed code.
    """
    entries = {**model.lineage.get("artifacts", {}), "model": {**model.lineage, "digest": model.digest}}
    for name in entries:
        if "@" in name:
            raise UserError(f"{model.path}: made from two different {name.split('@')[0]}: it cannot be made in one run")
    for name, stage in STAGES.items():
        if entries.get(name, {}).get("stage") != stage:
            raise UserError(f"{model.path}: its lineage names no {name} that stage {stage} wrote")
    steps = [_step(name, entries[name]) for name in STAGES]
    parameters = {key: value for name in STAGES for key, value in entries[name]["parameters"].items()}
    return Recipe(steps, parameters, entries["tables"]["data"], entries["model"]["packages"])


def check(recipe: Recipe, checkout: Path) -> None:
    """Whether the repository of ``checkout`` has the code of every stage.

    Raises:
        UserError: naming the stage and the revision, and what to do.
    """
    for step in recipe.steps:
        if not repository.has(checkout, step.revision):
            told = f"stage {step.stage}: revision {step.revision} is not in the repository at {checkout.resolve()}"
            raise UserError(f"{told}; fetch it (git fetch --all), or name another checkout with --repository")
        if lineage.source_digest_at(checkout / lineage.PACKAGE.name, step.revision) != step.source:
            told = f"stage {step.stage}: revision {step.revision} has other source than the lineage names"
            raise UserError(f"{told}: the version was not made from what was committed")


def _step(name: str, entry: Mapping[str, Any]) -> Step:
    code, stage = entry["code"], entry["stage"]
    if code["modified"]:
        told = f"stage {stage} ran with files that were modified after revision {code['revision']}"
        raise UserError(f"{told}: its code is in no commit, so it cannot be checked out; commit, and train again")
    if code["revision"] is None:
        told = f"stage {stage} ran where no git revision was known"
        raise UserError(f"{told}; in an image, set {lineage.REVISION_VARIABLE} to name it, and train again")
    return Step(stage, name, code["revision"], code["source"], entry["digest"])
