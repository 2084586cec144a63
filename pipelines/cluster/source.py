"""A pipeline as it is compiled: its name, its version, the parameters that it takes and the tasks that it has."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import yaml

from graphmill.errors import UserError
from graphmill.explain import nearest


@dataclass(frozen=True)
class Parameter:
    """An input of a pipeline.

    Attributes:
        kind: KFP's own word: ``STRING``, ``NUMBER_INTEGER``, ``NUMBER_DOUBLE``, ``BOOLEAN``, ``LIST`` or ``STRUCT``.
        default: its value in the form; None without one.
        required: whether a run must give it.
    """

    kind: str
    default: Any
    required: bool


@dataclass(frozen=True)
class Source:
    """A compiled pipeline.

    Attributes:
        text: the YAML, to upload; empty when it was read from a server.
        spec: its first document.
        version: the pipeline's name and a digest of the source: the same source is the same version.
    """

    text: str
    spec: dict[str, Any]
    version: str

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def description(self) -> str:
        """The pipeline's description."""
        return str(self.spec["pipelineInfo"].get("description", ""))

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What a run may be given, by name."""
        inputs = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        return {
            name: Parameter(given["parameterType"], default, default is None and not given.get("isOptional"))
            for name, given in inputs.items()
            for default in [given.get("defaultValue")]
        }

    @property
    def titles(self) -> dict[str, str]:
        """The name in the UI of every task that does work, by its key; groups of tasks are left out."""
        components = self.spec["components"]
        groups = [self.spec["root"], *components.values()]
        return {
            key: task.get("taskInfo", {}).get("name", key)
            for group in groups
            for key, task in group.get("dag", {}).get("tasks", {}).items()
            if "executorLabel" in components[task["componentRef"]["name"]]
        }

    @property
    def images(self) -> set[str]:
        """The container images of its tasks."""
        executors = self.spec["deploymentSpec"]["executors"].values()
        return {executor["container"]["image"] for executor in executors if "container" in executor}


def compiled(name: str) -> Source:
    """The pipeline of this checkout.

    Raises:
        UserError: when there is none of that name.
    """
    from pipelines import PIPELINES
    from pipelines.compile import text

    if name not in PIPELINES:
        raise UserError(f"there is no pipeline {name!r}{nearest(name, PIPELINES)}")
    return parse(text(PIPELINES[name]))


def parse(text: str) -> Source:
    """A pipeline from its YAML."""
    documents = list(yaml.safe_load_all(text))
    return Source(text, documents[0], f"{documents[0]['pipelineInfo']['name']}-{digest(documents)}")


def stored(version: Any) -> Source:
    """A pipeline from the version that a server keeps, whose spec has two parts when it has platform settings.

    Raises:
        UserError: when the server keeps none.
    """
    spec = version.pipeline_spec or {}
    spec = spec.get("pipeline_spec", spec)
    if "root" not in spec:
        raise UserError(f"version {version.display_name} has no source on the server; `upload` it again")
    return Source("", spec, version.display_name)


def digest(documents: list[dict[str, Any]]) -> str:
    """Twelve hexadecimal digits of the source: the same for another release of kfp that compiles to the same."""
    content = [{key: part for key, part in document.items() if key != "sdkVersion"} for document in documents]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
