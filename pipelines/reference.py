"""Every parameter with its type, default and meaning, as Markdown: ``python -m pipelines.reference``."""

import importlib
import sys
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from components import STAGES
from graphmill.params import Section
from graphmill.schema import Schema
from graphmill.task import Task
from pipelines.platform import Cluster

HEAD = """# Parameters

Every parameter of `params.yaml`, section by section. Written by `make reference` from the code, where each is typed
and documented; anything not listed here is refused.
"""


def page() -> str:
    """The whole page."""
    models: dict[str, type[Section]] = {"schema": Schema, "task": Task}
    models |= {name: importlib.import_module(f"graphmill.{name}").Params for name in (*STAGES, "rollout", "tracking")}
    models["cluster"] = Cluster
    parts = [HEAD]
    for name, model in models.items():
        parts.append(f"## `{name}`\n")
        parts += _tables(model, set())
    return "\n".join(parts)


def _tables(model: type[Section], done: set[str]) -> list[str]:
    rows, nested = ["| parameter | type | default | meaning |", "|---|---|---|---|"], []
    for name, field in model.model_fields.items():
        rows.append(f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_line(field.description)} |")
        nested += [item for item in _sections(field.annotation) if item.__name__ not in done]
    parts = ["\n".join(rows) + "\n"]
    for item in dict.fromkeys(nested):
        done.add(item.__name__)
        title = f"### {item.__name__}\n\n{_line((item.__doc__ or '').splitlines()[0])}\n"
        parts += [title, *_tables(item, done)]
    return parts


def _sections(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for item in get_args(annotation) for found in _sections(item)]


def _type(annotation: Any) -> str:
    return f"`{_words(annotation)}`"


def _words(annotation: Any) -> str:
    """A type in words: ``list of whole number or text``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inner[0])
    if origin is Literal:
        return " or ".join(repr(item) for item in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(item) for item in inner if item is not type(None)))
    if origin is dict:
        return f"{_words(inner[1])} by name"
    if origin in (list, tuple):
        return "list of " + " and ".join(_words(item) for item in inner if item is not ...)
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return ""
    return "none" if value is None else "empty" if value == "" else f"`{value}`"


def _line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
