"""Uploading: a pipeline, and of it the version of a source, each made once."""

import tempfile
from pathlib import Path
from typing import Any

from graphmill.artifact import write_text
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.progress import say
from pipelines.cluster.client import Cluster
from pipelines.cluster.patience import once
from pipelines.cluster.source import Source


def upload(cluster: Cluster, source: Source) -> Any:
    """The version of a source on the server, uploaded unless it is there.

    A pipeline without its version, as an interrupted upload leaves it, gets it; a version without its source is
    replaced.

    Returns:
        The ``V2beta1PipelineVersion``.

    Raises:
        UserError: when the server refuses it.
        Unreachable: when the server does not answer.
    """
    pipeline = once(lambda: find(cluster, source.name), lambda: _create(cluster, source))
    made = []

    def create() -> Any:
        made.append(source.version)
        return _send(cluster, pipeline, source)

    version = once(lambda: _whole(cluster, pipeline, source.version), create)
    link = cluster.link("pipelines", "details", pipeline.pipeline_id, "version", version.pipeline_version_id)
    say(f"upload: {source.version} {'is new' if made else 'is there'}: {link}")
    return version


def find(cluster: Cluster, name: str) -> Any | None:
    """The pipeline of a name; None when there is none."""
    found = cluster.named(cluster.api.list_pipelines, "pipelines", name, namespace=cluster.namespace)
    return found[-1] if found else None  # the oldest: whoever came second uses it too


def version(cluster: Cluster, pipeline: str, name: str) -> Any:
    """A version that was uploaded before.

    Raises:
        UserError: when there is no such pipeline, or no such version of it.
    """
    owner = find(cluster, pipeline)
    if owner is None:
        raise UserError(f"{cluster.host} has no pipeline {pipeline!r}; `upload` it first")
    found = _versions(cluster, owner, name)
    if not found:
        asked = {"pipeline_id": owner.pipeline_id, "sort_by": "created_at desc"}
        known = [item.display_name for item in cluster.listed(_list(cluster), "pipeline_versions", **asked)]
        raise UserError(f"pipeline {pipeline} has no version {name!r}{nearest(name, known[:10])}")
    return found[0]


def _list(cluster: Cluster) -> Any:
    return cluster.api.list_pipeline_versions


def _versions(cluster: Cluster, pipeline: Any, name: str) -> list[Any]:
    return cluster.named(_list(cluster), "pipeline_versions", name, pipeline_id=pipeline.pipeline_id)


def _whole(cluster: Cluster, pipeline: Any, name: str) -> Any | None:
    """The version, unless it is not there or was left without its source: that one is taken away."""
    for found in _versions(cluster, pipeline, name):
        if found.pipeline_spec and not (found.error and found.error.code):
            return found
        cluster.api.delete_pipeline_version(pipeline.pipeline_id, found.pipeline_version_id)
    return None


def _create(cluster: Cluster, source: Source) -> Any:
    body = cluster.api.api_models.V2beta1Pipeline(
        name=source.name, display_name=source.name, description=source.description, namespace=cluster.namespace
    )
    return cluster.api.pipelines.pipeline_service_create_pipeline(body)


def _send(cluster: Cluster, pipeline: Any, source: Source) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{source.version}.yaml")
        write_text(file, source.text)
        uploads = cluster.api._upload_api  # kfp.Client's own method prints a link
        return uploads.upload_pipeline_version(
            str(file), name=source.version, pipelineid=pipeline.pipeline_id, description=source.description
        )
