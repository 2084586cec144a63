"""Parameters: typed once at the door, frozen, and every unknown key refused."""

import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from graphmill.errors import UserError
from graphmill.explain import explain, kinds, nearest

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
    "rollout",
    "tracking",
    "cluster",
)


class Section(BaseModel):
    """A frozen group of parameters; each field's docstring is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_switches(cls, values: Any) -> Any:
        """YAML reads ``yes`` and ``on`` as true, which pydantic would count as 1."""
        for name, value in values.items() if isinstance(values, Mapping) else ():
            taken = kinds(cls.model_fields[name].annotation) if name in cls.model_fields else []
            if isinstance(value, bool) and bool not in taken and (int in taken or float in taken):
                raise ValueError(f"{name}: must be a number, not {str(value).lower()}")
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any], name: str = "") -> Self:
        """Check and type ``values``; whole floats count as integers, as Kubeflow sends them.

        Raises:
            UserError: for each wrong or unknown key its path, the reason and the nearest known name.
        """
        try:
            return cls.model_validate(_ordered(plain(values, name)))
        except ValidationError as error:
            raise UserError(explain(error, cls, name)) from None

    def canonical(self) -> dict[str, Any]:
        """The same parameters as plain JSON values, equal for equal parameters."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Read a params file and return every section, an absent one as empty.

    Raises:
        UserError: when the file is missing, is not YAML, gives a key twice, or has an unknown section.
    """
    document = _read(path)
    if not isinstance(document, dict):
        raise UserError(f"{path}: a params file is a mapping of sections: {', '.join(SECTIONS)}")
    for name, section in document.items():
        if name not in SECTIONS:
            raise UserError(f"{path}: unknown section {name!r}{nearest(str(name), SECTIONS)}")
        if section is not None and not isinstance(section, dict):
            raise UserError(f"{path}: section {name!r} must be a mapping, not {section!r}")
    return {name: plain(document.get(name) or {}, name) for name in SECTIONS}


def plain(value: Any, where: str = "") -> Any:
    """YAML's dates as text and mapping keys as text, so that the value survives JSON unchanged.

    Raises:
        UserError: with the path below ``where`` of what JSON cannot carry.
    """
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}.{place}".lstrip(".")) for place, item in enumerate(value)]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: {value} is not a number that a parameter can have")
    if isinstance(value, bytes | set):
        raise UserError(f"{where}: a parameter is text, a number, true, false, a list or a mapping, not {value!r}")
    return value


def quoted(value: Any) -> Any:
    """A value of a column as text: ``1.0``, as Kubeflow sends 1, is ``1``.

    Raises:
        ValueError: for true, false and null, which YAML also reads from yes, no, on, off and nothing.
    """
    if value is None or isinstance(value, bool):
        raise ValueError(f"a value is read as {_yaml(value)}; write it in quotes, as it stands in the table")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _yaml(value: bool | None) -> str:
    return "null" if value is None else str(value).lower()


def _key(key: Any, where: str) -> str:
    if key is None or isinstance(key, bool):
        raise UserError(f"{where}: YAML reads one of its names as {_yaml(key)}; write that name in quotes")
    return str(key)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice: YAML would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if (key.tag, key.value) in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def _read(path: Path) -> Any:
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        loader.name = path.name
        return loader.get_single_data()
    except FileNotFoundError:
        raise UserError(f"{path}: no such params file; give one with --params") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _ordered(value: Any) -> Any:
    """Mappings by key, at every depth: Kubeflow hands them over in no order, and order must not matter."""
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value, key=str)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value
