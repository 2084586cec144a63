"""The parameters of one run: those of the form, but for what the command line says otherwise.

A box of the form is a section of params.yaml. Each that is changed is checked by the section's own model before
anything is sent, so that a typing error costs a second and not the hour after which the stage would have found it.
"""

import copy
import importlib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.params import Section, load, plain
from pipelines.cluster.source import Parameter, Source
from pipelines.defaults import given

KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "STRING": ((str,), "text"),
    "NUMBER_INTEGER": ((int,), "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": ((bool,), "true or false"),
    "LIST": ((list,), "a list"),
    "STRUCT": ((dict,), "a mapping"),
}
"""The types that each kind of parameter takes, and their name in a message."""
STORES = ("s3://", "gs://", "minio://")
"""Stores from which Kubeflow's launcher fetches what a pipeline imports."""


def parameters(
    source: Source, overrides: Sequence[str], revision: str | None = None, file: Path | None = None
) -> dict[str, Any]:
    """What a run gives the pipeline beyond its defaults.

    Args:
        source: the pipeline.
        overrides: as ``train.epochs=5``, ``train.model.kind=gat`` or ``data=s3://bucket/data``; the value is YAML,
            ``null`` takes a key away. The later one counts.
        revision: read the data as they were at this revision.
        file: with sections as in params.yaml, beneath `overrides`; those that the pipeline does not take are left out.

    Returns:
        The changed parameters whole, by name.

    Raises:
        UserError: for an unknown section or key, with the nearest one, a value that its model refuses, and a
            parameter that has no value.
    """
    taken = source.parameters
    changed: dict[str, Any] = {}
    values = [*_sections(file, taken), *map(_split, overrides)]
    if revision is not None:
        values.append((_revision(source), revision))
    for path, value in values:
        name, *keys = path.split(".")
        if name not in taken:
            raise UserError(f"{path}: pipeline {source.name} has no parameter {name!r}{nearest(name, taken)}")
        _set(changed, name, keys, value, taken[name], path)
    changed = {name: given(value) for name, value in changed.items()}
    for name, value in changed.items():
        _check(name, value, taken[name])
    missing = [name for name, parameter in taken.items() if parameter.required and name not in changed]
    if missing:
        raise UserError(f"pipeline {source.name} needs {missing[0]!r}: give it with -p {missing[0]}=VALUE")
    return changed


def check_data(source: Source, changed: Mapping[str, Any]) -> None:
    """Refuse data that no pod could fetch: Kubeflow imports an address of an object store, and nothing else.

    Args:
        source: the pipeline.
        changed: what `parameters` returned.

    Raises:
        UserError: when `data` is no address, also where a revision is read: then its last part names the folder.
    """
    if "data" not in source.parameters:
        return
    data = changed.get("data", source.parameters["data"].default)
    if not str(data).startswith(STORES):
        told = f"data: {data!r} is no address in an object store ({', '.join(STORES)}), and pods are given nothing else"
        raise UserError(f"{told}; give -p data=s3://BUCKET/data")


def _sections(file: Path | None, taken: Container[str]) -> list[tuple[str, Any]]:
    sections = load(file) if file is not None else {}
    return [(f"{name}.{key}", value) for name in sections if name in taken for key, value in sections[name].items()]


def _revision(source: Source) -> str:
    taken = source.parameters
    if "data_revision" in taken:
        return "data_revision"
    if "ingest" in taken:
        return "ingest.revision"
    raise UserError(f"pipeline {source.name} reads no data: it has no revision of them")


def _split(override: str) -> tuple[str, Any]:
    path, equals, text = override.partition("=")
    if not equals or not path.strip("."):
        raise UserError(f"{override!r}: write an override as section.key=value")
    try:
        return path, plain(yaml.safe_load(text), path)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {text!r} is not readable as YAML: {error}") from None


def _set(changed: dict[str, Any], name: str, keys: list[str], value: Any, parameter: Parameter, path: str) -> None:
    """Put a value where its path leads; the mappings on the way are made."""
    if not keys:
        text = parameter.kind == "STRING" and isinstance(value, int | float) and not isinstance(value, bool)
        changed[name] = str(value) if text else value
        return
    if parameter.kind != "STRUCT":
        raise UserError(f"{path}: parameter {name!r} is one value and has no keys; write {name}=value")
    place = changed.setdefault(name, copy.deepcopy(parameter.default) or {})
    for key in keys[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise UserError(f"{path}: {'.'.join([name, *keys[:-1]])} is no mapping; give a list or a value whole")
    place[keys[-1]] = value


def _check(name: str, value: Any, parameter: Parameter) -> None:
    types, words = KINDS[parameter.kind]
    section: Any = value  # which mypy would narrow to the kinds
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise UserError(f"{name}: must be {words} (given {value!r})")
    model = _model(name)
    if model is not None and parameter.kind == "STRUCT":
        model.parse(section, name)


def _model(name: str) -> type[Section] | None:
    """The model of a section of params.yaml; None for a parameter that is none."""
    if name == "schema":
        from graphmill.schema import Schema

        return Schema
    if name == "task":
        from graphmill.task import Task

        return Task
    try:
        return getattr(importlib.import_module(f"graphmill.{name}"), "Params", None)
    except ModuleNotFoundError as error:
        if error.name != f"graphmill.{name}":
            raise
        return None
