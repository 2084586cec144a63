"""Section `deploy`: what the registry and the rendered manifests are told."""

import re
from string import Formatter
from typing import Self

from pydantic import Field, field_validator, model_validator

from graphmill.params import Section

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SCHEMES = ("pvc", "s3", "gs", "hf", "hdfs", "https", "oci", "abfs")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_POWERS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Resources(Section):
    """What one replica gets, in Kubernetes' units."""

    cpu: str = "1"
    """Cores it asks for. A predictor computes on one thread: more requests need more replicas."""
    cpu_limit: str = "2"
    """Cores it may use."""
    memory: str = "2Gi"
    """Memory, asked for and limit alike: what is promised is never taken back."""

    @field_validator("cpu", "cpu_limit", "memory", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _quantities(self) -> Self:
        for name in ("cpu", "cpu_limit", "memory"):
            if not amount(getattr(self, name)) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a quantity such as 500m, 2 or 4Gi")
        if amount(self.cpu_limit) < amount(self.cpu):
            raise ValueError(f"cpu_limit {self.cpu_limit} is below cpu {self.cpu}")
        return self


class Params(Section):
    """Section `deploy`."""

    name: str = "graphmill"
    """Name of the InferenceService and of the served model."""
    namespace: str = "default"
    """The Kubernetes namespace it lives in."""
    home: str = "registry"
    """The registry: a directory, relative to where the stage runs, or `wandb://ENTITY/PROJECT/COLLECTION`."""
    image: str = "graphmill-serve:0.1.0"
    """The image of the predictor (target `serve` of the Dockerfile); in production with its digest."""
    storage_uri: str = "pvc://models/{name}/{version}"
    """Where the cluster finds a version's model folder; `{name}`, `{version}`, `{digest}` are filled in."""
    graph_claim: str = "graphmill-graph"
    """The PersistentVolumeClaim with the graph snapshot, mounted read-only."""
    service_account: str = "graphmill-predictor"
    """The ServiceAccount of the predictor; its token is not mounted."""
    minimum_replicas: int = Field(default=2, ge=1)
    """Replicas that always run."""
    maximum_replicas: int = Field(default=6, ge=1)
    """Replicas at the most."""
    cpu_target: int = Field(default=70, ge=1, le=100)
    """Percent of the asked-for CPU above which replicas are added."""
    timeout: int = Field(default=10, ge=1)
    """Seconds after which a request is given up."""
    resources: Resources = Field(default_factory=Resources)
    """What one replica gets."""

    @field_validator("name", "namespace", "graph_claim", "service_account")
    @classmethod
    def _label(cls, value: str) -> str:
        if not _LABEL.fullmatch(value) or len(value) > 63:
            raise ValueError("must be a DNS label: a-z, 0-9 and -, no - at either end, at most 63 characters")
        return value

    @field_validator("name")
    @classmethod
    def _service(cls, value: str) -> str:
        """KServe's own rules: a letter first, and room for ``-predictor`` in the Service's name."""
        if not value[0].isalpha() or len(value) > 53:
            raise ValueError("must begin with a letter and have at most 53 characters")
        return value

    @field_validator("image")
    @classmethod
    def _image(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][^\s]*", value):
            raise ValueError("must be an image reference such as registry.example/graphmill-serve@sha256:…")
        return value

    @field_validator("storage_uri")
    @classmethod
    def _template(cls, value: str) -> str:
        fields = {field for _, field, _, _ in Formatter().parse(value) if field is not None}
        if unknown := fields - {"name", "version", "digest"}:
            raise ValueError(f"unknown {{{min(unknown)}}}; known: {{name}}, {{version}}, {{digest}}")
        if not fields & {"version", "digest"}:
            raise ValueError("needs {version} or {digest}, or every version would be the same model")
        if value.partition("://")[0] not in _SCHEMES:
            raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
        return value

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.maximum_replicas < self.minimum_replicas:
            raise ValueError("maximum_replicas is below minimum_replicas")
        return self


def amount(quantity: str) -> float:
    """A Kubernetes quantity as a number; 0 when it is none."""
    match = _QUANTITY.fullmatch(quantity)
    return float(match[1]) * {"m": 1e-3, **_POWERS}.get(match[2], 1) if match else 0.0
