"""Parameters: typed once at the door, frozen, and every unknown key refused."""

import difflib
import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from graphmill.errors import UserError

SECTIONS = (
    "schema",
    "task",
    "ingest",
    "graph",
    "features",
    "train",
    "evaluate",
    "drift",
    "score",
    "deploy",
)


class Section(BaseModel):
    """A frozen group of parameters; each field's docstring is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], name: str = "") -> Self:
        """Check and type ``values``; whole floats count as integers, as Kubeflow sends them.

        Raises:
            UserError: for each wrong or unknown key its path, the reason and the nearest known name.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise UserError(_explain(error, cls, name)) from None

    def canonical(self) -> dict[str, Any]:
        """The same parameters as plain JSON values, equal for equal parameters."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Read a params file and return every section, an absent one as empty.

    Raises:
        UserError: when the file is missing, is not YAML, or has an unknown section.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such params file; give one with --params") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: a params file is a mapping of sections: {', '.join(SECTIONS)}")
    for name, section in document.items():
        if name not in SECTIONS:
            raise UserError(f"{path}: unknown section {name!r}{_nearest(str(name), SECTIONS)}")
        if section is not None and not isinstance(section, dict):
            raise UserError(f"{path}: section {name!r} must be a mapping, not {section!r}")
    return {name: plain(document.get(name) or {}) for name in SECTIONS}


def plain(value: Any) -> Any:
    """YAML's dates as text and mapping keys as text, so that the value survives JSON unchanged."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{value} is not a number that a parameter can have")
    return value


def _explain(error: ValidationError, model: type[BaseModel], name: str) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in ((name,) if name else ()) + problem["loc"])
        hint = ""
        if problem["type"] == "extra_forbidden":
            hint = _nearest(str(problem["loc"][-1]), _known(model, problem["loc"][:-1]))
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            reason = "unknown parameter"
        given = problem.get("input")
        shown = "" if isinstance(given, Mapping) or problem["type"] == "missing" else f" (given {given!r})"
        lines.append(f"{where or model.__name__}: {reason}{hint}{shown}")
    return "\n".join(lines)


def _known(model: Any, path: tuple[int | str, ...]) -> list[str]:
    """Field names of the model at ``path``; empty where the path leaves plain nested models."""
    for part in path:
        fields = getattr(model, "model_fields", {})
        if part in fields:
            model = fields[part].annotation
            continue
        inner = [item for item in getattr(model, "__args__", ()) if hasattr(item, "model_fields")]
        model = inner[-1] if inner else None
    inner = [item for item in getattr(model, "__args__", ()) if hasattr(item, "model_fields")]
    return list(getattr(inner[-1] if inner else model, "model_fields", {}))


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
