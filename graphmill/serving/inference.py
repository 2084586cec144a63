"""What the Open Inference Protocol's tensors say: the instances asked about, and the answers."""

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from graphmill.serving.batching import Answered
from graphmill.serving.failure import invalid
from graphmill.serving.instance import Instance, Options
from graphmill.serving.limits import Limits, parse
from graphmill.serving.model import Asked
from graphmill.serving.rest import told
from graphmill.serving.tensors import Input, Output

INPUTS = [
    {"name": "id", "datatype": "BYTES", "shape": [-1]},
    {"name": "at", "datatype": "INT64", "shape": [-1]},
    {"name": "instance", "datatype": "BYTES", "shape": [-1]},
]
"""Inputs: ``id`` with an optional ``at`` (also as BYTES), or ``instance``, the JSON of an `Instance` each."""


_ALWAYS = ("score", "decision", "known", "at")
_DATATYPES = {
    "score": "FP64",
    "decision": "BOOL",
    "known": "BOOL",
    "at": "INT64",
    "embedding": "FP32",
    "explanation": "BYTES",
}
_INSTANCE = TypeAdapter(Instance)


def output_types(hidden: int = -1) -> list[dict[str, Any]]:
    """Name, datatype and shape of every output."""
    shapes = {"embedding": [-1, hidden]}
    return [{"name": name, "datatype": kind, "shape": shapes.get(name, [-1])} for name, kind in _DATATYPES.items()]


def asked(inputs: Sequence[Input], outputs: Sequence[str], limits: Limits) -> Asked:
    """The request that tensors say.

    Raises:
        Failure: for inputs that are not ``id`` or ``instance``, elements that are wrong, or unknown outputs.
    """
    given = {tensor.name: tensor for tensor in inputs}
    if len(given) < len(inputs):
        raise invalid("inputs: a name is given twice")
    for name in given:
        if name not in ("id", "at", "instance"):
            raise invalid(f"inputs: no input {name[:40]!r}; known: id, at, instance")
    if ("id" in given) == ("instance" in given) or ("at" in given and "id" not in given):
        raise invalid("inputs: give either id (and at), or instance")
    for name in outputs:
        if name not in _DATATYPES:
            raise invalid(f"outputs: no output {name[:40]!r}; known: {', '.join(_DATATYPES)}")
    options = Options("embedding" in outputs, "explanation" in outputs)
    limits.number(len(given["id" if "id" in given else "instance"].data), options.explanation)
    read = _keys(given["id"], given.get("at")) if "id" in given else _instances(given["instance"], limits)
    limits.each([[instance.id, instance.at] for instance in read], "instances")
    limits.parts(read)
    return Asked(read, options, tuple(outputs) or _ALWAYS)


def _keys(keys: Input, moments: Input | None) -> list[Instance]:
    _kind(keys, "BYTES")
    if moments is None:
        return [Instance(id=key) for key in keys.data]
    _kind(moments, "INT64", "BYTES")
    if len(moments.data) != len(keys.data):
        raise invalid(f"inputs: {len(moments.data)} moments for {len(keys.data)} ids; give one for each")
    # a tensor has no gaps: an empty text is a moment left out
    return [Instance(id=key, at=None if at == "" else at) for key, at in zip(keys.data, moments.data, strict=True)]


def _instances(texts: Input, limits: Limits) -> list[Instance]:
    _kind(texts, "BYTES")
    found = []
    for place, text in enumerate(texts.data):
        document = parse(text.encode(), f"an instance in each element; element {place} is none")
        limits.plain(document, f"instances[{place}]")
        try:
            found.append(_INSTANCE.validate_python(document, strict=True))
        except ValidationError as error:
            raise told(error, Instance, f"instances.{place}") from None
    return found


def _kind(tensor: Input, *kinds: str) -> None:
    if tensor.datatype not in kinds:
        raise invalid(f"inputs: {tensor.name} must be {' or '.join(kinds)}, not {tensor.datatype[:40]!r}")


def outputs(wanted: Sequence[str], answered: Answered) -> list[Output]:
    """The tensors wanted, in that order.

    Raises:
        Failure: when embeddings are wanted of a model that has none.
    """
    return [_output(name, answered) for name in wanted]


def _output(name: str, answered: Answered) -> Output:
    answers = answered.answers
    if name == "embedding":
        rows = [answer.embedding for answer in answers if answer.embedding is not None]
        if len(rows) < len(answers):
            raise invalid("outputs: the served model has no embedding")
        stacked = np.stack(rows).astype(np.float32, copy=False)
        return Output(name, "FP32", list(stacked.shape), stacked.ravel())
    if name == "explanation":
        values: list[Any] = [orjson.dumps(answer.explanation or []).decode() for answer in answers]
    else:
        values = list(map(getattr, answers, repeat(name)))
    return Output(name, _DATATYPES[name], [len(answers)], values)
