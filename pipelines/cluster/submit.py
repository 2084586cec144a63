"""Submitting: one run of one version, with its parameters."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from graphmill.progress import say
from pipelines.cluster.client import Cluster
from pipelines.cluster.errors import Unreachable
from pipelines.cluster.patience import once
from pipelines.cluster.source import Source

EXPERIMENT = "graphmill"


@dataclass(frozen=True)
class Place:
    """Where and as whom runs run.

    Attributes:
        experiment: group of runs in the UI; made when it is not there.
        service_account: of the pods; the server's own choice by default.
        root: address under which artifacts are kept; the server's own choice by default.
    """

    experiment: str = EXPERIMENT
    service_account: str | None = None
    root: str | None = None


def submit(
    cluster: Cluster, source: Source, version: Any, parameters: dict[str, Any], place: Place, name: str | None = None
) -> Any:
    """Start a run.

    Args:
        cluster: the server.
        source: the pipeline.
        version: of it on the server, a ``V2beta1PipelineVersion``.
        parameters: beyond the defaults of the form.
        place: where and as whom.
        name: of the run. A run that has it already is taken, so that a job that is repeated under one name starts
            one run. By default pipeline, time and four random digits.

    Returns:
        The ``V2beta1Run``.

    Raises:
        UserError: when the server refuses it.
        Unreachable: when the server does not answer.
    """
    group = experiment(cluster, place.experiment)
    name = name or f"{source.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} {secrets.token_hex(2)}"
    models = cluster.api.api_models
    body = models.V2beta1Run(
        experiment_id=group,
        display_name=name,
        pipeline_version_reference=reference(cluster, version),
        runtime_config=models.V2beta1RuntimeConfig(parameters=parameters, pipeline_root=place.root),
        service_account=place.service_account,
    )

    def find() -> Any | None:
        found = cluster.named(cluster.api.list_runs, "runs", name, experiment_id=group)
        return found[0] if found else None

    try:
        run = once(find, lambda: cluster.api.runs.run_service_create_run(body))
    except Unreachable as error:
        raise Unreachable(
            f"{error}; `status` lists the run if it was begun, and --name {name!r} finds it again"
        ) from error
    say(f"submit: {name} is run {run.run_id}: {cluster.link('runs', 'details', run.run_id)}")
    return run


def experiment(cluster: Cluster, name: str) -> str:
    """The id of an experiment, which is made when it is not there."""

    def find() -> Any | None:
        found = cluster.named(cluster.api.list_experiments, "experiments", name, namespace=cluster.namespace)
        return found[0] if found else None

    body = cluster.api.api_models.V2beta1Experiment(display_name=name, namespace=cluster.namespace)
    return str(once(find, lambda: cluster.api.experiments.experiment_service_create_experiment(body)).experiment_id)


def reference(cluster: Cluster, version: Any) -> Any:
    """How a run names its version."""
    return cluster.api.api_models.V2beta1PipelineVersionReference(
        pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
    )
