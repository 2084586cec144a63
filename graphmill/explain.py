"""What is wrong with parameters, in the words of whoever wrote them: one line a problem, with its path."""

import difflib
import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_MUST_BE = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 64 bits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_TAGS = ("union_tag_not_found", "union_tag_invalid")
_OF_A_FIELD = re.compile(r"(\w+)((?:\.[^\s:]+)?): (.+)", re.DOTALL)
_LOGIN = re.compile(r"//\S*@")
"""Name and password in a URL, which are shown to nobody."""

Path = tuple[int | str, ...]


def explain(error: ValidationError, model: type[BaseModel], name: str = "") -> str:
    """One line a problem: its dotted path, what is wrong, the nearest known name and what was given.

    Where a value may be one of several kinds, pydantic tells what each of them lacks; here the kinds that are
    further from what was given are left out, and the rest share a line.
    """
    found: dict[Path, list[tuple[str, str, bool]]] = {}
    for problem in error.errors(include_url=False):
        path, reason, given, alternative = _problem(problem, model)
        found.setdefault(path, []).append((reason, given, alternative))
    lines = []
    for path, same in found.items():
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in found)
        if deeper and all(alternative for _, _, alternative in same):
            continue
        where = ".".join(str(part) for part in ((name, *path) if name else path)) or model.__name__
        reasons = list(dict.fromkeys(reason for reason, _, _ in same))
        must = [reason.removeprefix("must be ") for reason in reasons if reason.startswith("must be ")]
        others = [reason for reason in reasons if not reason.startswith("must be ")]
        told = ([f"must be {' or '.join(must)}"] if must else []) + others
        lines.append(f"{where}: {'; '.join(told)}{same[0][1]}")
    return "\n".join(lines)


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean …?``, or the known names when none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def _problem(problem: Any, model: type[BaseModel]) -> tuple[Path, str, str, bool]:
    """Path without pydantic's own parts, reason, what was given, and whether it is about one of several kinds."""
    kind, given = problem["type"], problem.get("input")
    path, here, alternative = _walk(model, problem["loc"])
    reason = problem["msg"].replace("Input should be", "must be").replace(" after validation", "")
    if kind == "extra_forbidden":
        reason = f"unknown parameter{nearest(str(path[-1]), known(model, problem['loc'][:-1]))}"
    elif kind == "missing":
        about = _described(model, problem["loc"])
        return path, f"is missing{about}", "", False
    elif kind in _TAGS:
        return _which(path, problem["ctx"], _choices(here))
    elif kind == "literal_error":
        reason += _close(given, get_args(here))
    elif kind in _MUST_BE:
        reason = f"must be {_MUST_BE[kind]}"
    elif kind in ("value_error", "assertion_error"):
        path, reason = _of_a_field(path, here, str(problem["ctx"]["error"]))
    return path, reason, _shown(given), alternative


def _which(path: Path, context: Any, choices: list[str]) -> tuple[Path, str, str, bool]:
    path = (*path, context["discriminator"].strip("'"))
    if "tag" not in context:
        return path, f"is missing; it is {_either(choices)}", "", False
    return path, f"must be {_either(choices)}{_close(context['tag'], choices)}", _shown(context["tag"]), False


def _walk(model: Any, loc: Path) -> tuple[Path, Any, bool]:
    """Follow pydantic's location: (path as written, what stands there, whether as one of several kinds).

    Pydantic puts the kind that it tried into the location, such as ``temporal``, ``str`` or ``Moments``.
    """
    path: list[int | str] = []
    alternative = False
    for part in loc:
        options = kinds(model)
        alternative = len(options) > 1
        if alternative:
            model = _chosen(options, str(part))
        elif part != "[key]":
            path.append(part)
            model = _inside(options[0], part)
    options = kinds(model)
    return tuple(path), options[0] if len(options) == 1 else model, alternative


def known(model: Any, loc: Path) -> list[str]:
    """Names of the parameters at a location: inside nested sections, lists, mappings and alternatives."""
    return list(getattr(_walk(model, loc)[1], "model_fields", {}))


def kinds(annotation: Any) -> list[Any]:
    """The kinds that an annotation allows, without None."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for item in get_args(annotation) if item is not NoneType for kind in kinds(item)]
    return [annotation]


def _chosen(options: list[Any], part: str) -> Any:
    for matches in (str.__eq__, str.startswith, str.__contains__):
        for option in options:
            if any(matches(part, tag) for tag in [getattr(option, "__name__", ""), *_choices(option)] if tag):
                return option
    return None


def _choices(annotation: Any) -> list[str]:
    """The words by which the kinds of a discriminated union are told apart."""
    found: list[str] = []
    for option in kinds(annotation):
        for field in getattr(option, "model_fields", {}).values():
            if get_origin(field.annotation) is Literal and field.is_required():
                found += get_args(field.annotation)
    return found


def _inside(annotation: Any, part: int | str) -> Any:
    fields = getattr(annotation, "model_fields", None)
    if fields is not None:
        return fields[part].annotation if part in fields else None
    arguments = get_args(annotation)
    if isinstance(part, int):
        return arguments[min(part, len(arguments) - 1)] if arguments else None
    return arguments[-1] if arguments else None


def _described(model: Any, loc: Path) -> str:
    fields = getattr(_walk(model, loc[:-1])[1], "model_fields", {})
    about = fields[loc[-1]].description if loc[-1] in fields else None
    return f" ({' '.join(about.split())})" if about else ""


def _of_a_field(path: Path, here: Any, reason: str) -> tuple[Path, str]:
    """A section's own check may begin with the parameter it is about, ``fanouts: each is …``."""
    match = _OF_A_FIELD.fullmatch(reason)
    if match is None or match[1] not in getattr(here, "model_fields", {}):
        return path, reason
    return (*path, *(match[1] + match[2]).split(".")), match[3]


def _either(choices: Iterable[Any]) -> str:
    *others, last = [repr(choice) for choice in choices]
    return f"{', '.join(others)} or {last}" if others else last


def _close(given: Any, choices: Iterable[Any]) -> str:
    close = difflib.get_close_matches(str(given), [str(choice) for choice in choices], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(given: Any) -> str:
    if isinstance(given, Mapping):
        return ""
    text = "nothing" if given is None else _LOGIN.sub("//…@", repr(given))
    return f" (given {text if len(text) <= 60 else text[:59] + '…'})"
