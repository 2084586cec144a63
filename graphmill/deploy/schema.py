"""Schemas of the kinds that manifests have: strict, so that a mistyped field is an error as the API server makes it.

Core kinds are Kubernetes' own, from ``kubernetes-validate``. KServe's are made from the models of its SDK, which are
generated from the same Go types as its CRDs and of the very version that serves; fields of core types among them are
Kubernetes' own again. Those of the Prometheus operator are kept in `schemas/`.
"""

import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from graphmill.errors import UserError

MISSING = "needs the test extras (`make install-test`): kserve, kubernetes-validate and jsonschema"
KSERVE = {
    ("InferenceService", "serving.kserve.io/v1beta1"): "V1beta1InferenceServiceSpec",
    ("ServingRuntime", "serving.kserve.io/v1alpha1"): "V1alpha1ServingRuntimeSpec",
}
"""KServe's kinds and the models of their ``spec``."""
OPERATOR = {"PodMonitor": "pod_monitor", "PrometheusRule": "prometheus_rule"}
"""Kinds of the Prometheus operator and the files of their schemas."""

_DEFINITIONS = "https://kubernetes.io/api/_definitions.json#/$defs/"
_PLAIN = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "datetime": "string"}
_CONTAINER = re.compile(r"(list)\[(.+)\]|(dict)\(str, (.+)\)")
_ODD = {"K8sIoApiAppsV1DeploymentStrategy": "io.k8s.api.apps.v1.DeploymentStrategy"}


def problems(document: dict[str, Any]) -> list[str]:
    """What the schema of a document's kind says against it, each with its path.

    Raises:
        UserError: when the validators are not installed.
    """
    try:
        validator = _validator(document["kind"], document["apiVersion"])
    except ImportError as error:
        raise UserError(f"validating {MISSING} ({error})") from None
    if validator is None:
        return [f"{document['apiVersion']}: no schema for this kind is known"]
    return [
        f"{'.'.join(str(part) for part in error.absolute_path) or 'the object'}: {error.message[:300]}"
        for error in sorted(validator.iter_errors(document), key=lambda error: str(list(error.absolute_path)))
    ]


@cache
def _validator(kind: str, version: str) -> Any:
    """The validator of a kind; None where there is no schema."""
    from jsonschema import Draft202012Validator

    if kind in OPERATOR:
        text = (Path(__file__).parent / "schemas" / f"{OPERATOR[kind]}.json").read_text(encoding="utf-8")
        return Draft202012Validator(json.loads(text))
    model = KSERVE.get((kind, version))
    schema = _core(kind, version) if model is None else _kserve(model)
    return None if schema is None else Draft202012Validator(schema, registry=_definitions())


def _core(kind: str, version: str) -> dict[str, Any] | None:
    group, _, name = version.rpartition("/")
    suffix = "-".join(part for part in (group.split(".")[0], name) if part)
    try:
        found: dict[str, Any] = _kubernetes(f"{kind.lower()}-{suffix}.json")
    except FileNotFoundError:
        return None
    return found


def _kubernetes(file: str) -> Any:
    from kubernetes_validate import utils

    version = utils.latest_version()
    return utils.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{file}", version)


@cache
def _definitions() -> Any:
    from referencing import Registry, Resource

    return Resource.from_contents(_kubernetes("_definitions.json")) @ Registry()


def _kserve(model: str) -> dict[str, Any]:
    """The schema of an object with its spec; status is the controller's."""
    definitions: dict[str, Any] = {}
    _model(model, definitions)
    return {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"$ref": f"{_DEFINITIONS}io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
            "spec": {"$ref": f"#/$defs/{model}"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _model(name: str, definitions: dict[str, Any]) -> None:
    """Add the schema of a model of the SDK, and of those in it."""
    import kserve.models

    if name in definitions:
        return
    definitions[name] = {}  # before its fields: some lead back here
    model = getattr(kserve.models, name, None)
    if model is None:  # the SDK lacks a few, such as the workers of several nodes
        return
    fields = {model.attribute_map[field]: kind for field, kind in model.openapi_types.items()}
    setters = {model.attribute_map[field]: getattr(model, field).fset for field in model.openapi_types}
    definitions[name] |= {
        "type": "object",
        "properties": {field: _type(kind, definitions) for field, kind in fields.items()},
        "required": [field for field, setter in setters.items() if "must not be `None`" in inspect.getsource(setter)],
        "additionalProperties": False,
    }


def _type(kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one of the SDK's types: ``list[V1Container]``, ``dict(str, str)``, ``int``, a model."""
    if found := _CONTAINER.fullmatch(kind):
        if found[1]:
            return {"type": "array", "items": _type(found[2], definitions)}
        return {"type": "object", "additionalProperties": _type(found[4], definitions)}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if re.match(r"V\d+(alpha|beta)\d+", kind):
        _model(kind, definitions)
        return {"$ref": f"#/$defs/{kind}"}
    if kind == "ResourceQuantity":
        return {"$ref": f"{_DEFINITIONS}io.k8s.apimachinery.pkg.api.resource.Quantity"}
    if kind in _ODD or re.match(r"V1[A-Z]", kind):
        return {"$ref": _DEFINITIONS + _ODD.get(kind, f"io.k8s.api.core.v1.{kind[2:]}")}
    return {}
