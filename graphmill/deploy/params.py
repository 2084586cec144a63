"""Section `deploy`: what the registry and the release are told. Replicas, resources and claims are in `manifests/`."""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from graphmill.params import Section

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LONGEST = 63
"""Characters of a DNS label, which names of Services are."""
RESERVED = "-v00000-predictor"
"""What KServe and a rollout put behind the name in Standard mode, with room for a hundred thousand versions."""
UNPINNED = "dev"
"""The one overlay that takes an image without a digest."""
_SCHEMES = ("pvc", "s3", "gs", "hf", "hdfs", "https", "oci", "abfs")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


class Params(Section):
    """Section `deploy`."""

    name: str = "graphmill"
    """Name of the InferenceService and of the served model."""
    namespace: str = f"graphmill-{UNPINNED}"
    """The Kubernetes namespace it lives in; `graphmill-` and the overlay's name unless given."""
    home: str = "registry"
    """The registry: a directory, relative to where the stage runs, or `wandb://ENTITY/PROJECT/COLLECTION`."""
    promote: Literal["rollout", "at_once"] = "rollout"
    """What a version that passed its gates is: a `candidate` that waits for a rollout (the first one is the champion at
    once), or the champion at once, for places without live traffic."""
    overlay: str = UNPINNED
    """Folder of `manifests/overlays` that the release is made of: `dev`, `staging`, `production`, or your own."""
    image: str = "graphmill-serve:0.1.0"
    """The image of the predictor (target `serve` of the Dockerfile); with its digest in every overlay but `dev`."""
    rollout_image: str = "graphmill-stage:0.1.0"
    """The image of the rollout's job (target `stage`); with its digest in every overlay but `dev`."""
    storage_uri: str = "pvc://{name}-models/registry/versions/{version}/model"
    """Where the cluster finds a version's model folder; `{name}`, `{version}`, `{digest}` are filled in."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_overlay(cls, values: Any) -> Any:
        """The namespace that the overlay itself names."""
        if isinstance(values, Mapping) and values.get("overlay"):
            return {"namespace": f"graphmill-{values['overlay']}", **values}
        return values

    @field_validator("name", "namespace", "overlay")
    @classmethod
    def _label(cls, value: str) -> str:
        if not LABEL.fullmatch(value) or len(value) > LONGEST:
            raise ValueError("must be a DNS label: a-z, 0-9 and -, no - at either end, at most 63 characters")
        return value

    @field_validator("name")
    @classmethod
    def _service(cls, value: str) -> str:
        """KServe's own rules: a letter first, and room for what comes behind it in a Service's name."""
        if not value[0].isalpha() or len(value) + len(RESERVED) > LONGEST:
            most = LONGEST - len(RESERVED)
            raise ValueError(f"must begin with a letter and have at most {most} characters: `-v12-predictor` follows")
        return value

    @field_validator("image", "rollout_image")
    @classmethod
    def _image(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][^\s@]*(@sha256:[0-9a-f]{64})?", value):
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
    def _pinned(self) -> Self:
        for name in ("image", "rollout_image") if self.overlay != UNPINNED else ():
            if not _DIGEST.search(getattr(self, name)):
                told = f"{name}: {getattr(self, name)!r} has no digest"
                raise ValueError(f"{told}; overlay {self.overlay} runs what was tested: give name@sha256:…")
        return self

    def uri(self, version: str, digest: str) -> str:
        """Where the cluster finds the model folder of ``version``."""
        return self.storage_uri.format(name=self.name, version=version, digest=digest)
