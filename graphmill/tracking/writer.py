"""Writing a run with W&B's SDK: always offline, so that no server has a say in it."""

import json
import os
from pathlib import Path
from typing import Any

from graphmill.artifact import to_json, write_text
from graphmill.tracking import sdk
from graphmill.tracking.content import SHORT, Content, Table

SIDECAR = "graphmill.json"
"""Written into a run's folder when the run is whole: what W&B's own files do not say outside W&B."""

STAGED = "staged"
"""In a run's folder: copies of the files that its artifact holds, until they are sent."""


def write(content: Content, stage: str, group: str, seconds: float, project: str, entity: str | None) -> Path:
    """Write one finished run and return its folder.

    Args:
        content: what there is to tell.
        stage: the run's job type.
        group: the run of the pipeline.
        seconds: how long the stage took.
        project: W&B's project.
        entity: W&B's user or team; None is the key's own.
    """
    wandb = sdk.load()
    run = wandb.init(
        mode="offline", project=project, entity=entity, group=group, job_type=stage,
        name=f"{stage}-{content.digest[:8]}", config={"stage": stage, **content.config}, settings=_settings(wandb),
    )  # fmt: skip
    folder = Path(run.dir).parent
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / STAGED))
    _history(run, content)
    if media := _media(wandb, content):
        run.log(media)
    run.summary.update({"seconds": seconds, **content.summary})
    run.log_artifact(_artifact(wandb, content), aliases=["latest", content.digest[:SHORT]])
    run.finish()
    facts = {"stage": stage, "kind": content.kind, "digest": content.digest, "inputs": content.inputs}
    place = {"group": group, "project": project, "entity": entity, "run": run.id}
    write_text(folder / SIDECAR, to_json(facts | place))
    return folder


def _settings(wandb: Any) -> Any:
    """The run holds what we tell and nothing that the SDK would gather by itself."""
    return wandb.Settings(
        console="off", silent=True, disable_git=True, disable_code=True, save_code=False, disable_job_creation=True,
        x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
    )  # fmt: skip


def _history(run: Any, content: Content) -> None:
    if content.history:
        run.define_metric("epoch")
        run.define_metric("learning_curve/*", step_metric="epoch")
    for row in content.history:
        run.log(row)


def _media(wandb: Any, content: Content) -> dict[str, Any]:
    shown: dict[str, Any] = {name: _table(wandb, found) for name, found in content.tables.items()}
    for name, curve in content.curves.items():
        points = _table(wandb, curve.points)
        shown[name] = wandb.plot.line(points, curve.x, curve.y, stroke="model", title=name.replace("_", " "))
    for name, file in content.reports.items():
        shown[name] = wandb.Html(file.read_text(encoding="utf-8"), inject=False)
    return shown


def _table(wandb: Any, found: Table) -> Any:
    return wandb.Table(columns=found.columns, data=found.rows, allow_mixed_types=True)


def _artifact(wandb: Any, content: Content) -> Any:
    """The artifact under its one name, which is its type too; the digest is its alias and in its metadata."""
    metadata = json.loads(json.dumps(content.metadata))
    artifact = wandb.Artifact(content.kind, type=content.kind, metadata=metadata)
    for name, file in sorted(content.files.items()):
        artifact.add_file(str(file), name=name, skip_cache=True)
    return artifact
