"""The Open Inference Protocol (v2) over REST: tensors as JSON, or as bytes behind the JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from graphmill.serving import inference, tensors
from graphmill.serving.batching import Answered
from graphmill.serving.exchange import Reply, json_reply
from graphmill.serving.failure import invalid
from graphmill.serving.instance import Strict
from graphmill.serving.limits import Limits, parse
from graphmill.serving.model import Asked
from graphmill.serving.rest import told
from graphmill.serving.tensors import Input, Output

_SHAPE = '{"inputs": [{"name": "id", "datatype": "BYTES", "shape": [1], "data": ["…"]}]}'

Parameters = dict[str, bool | int | float | str]
"""Parameters of a request or a tensor: the protocol leaves them open, so an unknown one is no mistake."""


class _Tensor(Strict):
    name: str
    datatype: str
    shape: list[int] = Field(max_length=8)
    parameters: Parameters | None = None
    data: list[Any] | None = None


class _Wanted(Strict):
    name: str
    parameters: Parameters | None = None


class _Request(Strict):
    id: str | None = Field(default=None, max_length=128)
    parameters: Parameters | None = None
    inputs: list[_Tensor] = Field(min_length=1, max_length=3)
    outputs: list[_Wanted] | None = Field(default=None, max_length=16)


_REQUEST = TypeAdapter(_Request)


@dataclass(slots=True)
class Infer:
    """A request to ``infer``; ``head`` is the length of its JSON where bytes follow it."""

    body: bytes
    deadline: float
    identifier: str
    head: int | None = None
    explain: bool = False
    _request: _Request | None = None

    def decode(self, limits: Limits) -> Asked:
        """Check and read the tensors."""
        if self.head is not None and self.head > len(self.body):
            raise invalid(f"header inference-header-content-length: {self.head}, but the body has {len(self.body)}")
        document = parse(self.body if self.head is None else self.body[: self.head], _SHAPE)
        try:
            request = _REQUEST.validate_python(document, strict=True)
        except ValidationError as error:
            raise told(error, _Request) from None
        self._request = request
        return inference.asked(self._inputs(request), [wanted.name for wanted in request.outputs or ()], limits)

    def _inputs(self, request: _Request) -> list[Input]:
        found, at = [], self.head or 0
        for tensor in request.inputs:
            size = (tensor.parameters or {}).get("binary_data_size")
            if (size is None) == (tensor.data is None):
                raise invalid(f"inputs: give {tensor.name[:40]} either data or the parameter binary_data_size")
            data = tensor.data
            if data is None:
                if type(size) is not int or not 0 <= size <= len(self.body) - at or self.head is None:
                    raise invalid(f"inputs: binary_data_size of {tensor.name[:40]} does not fit the bytes sent")
                data = tensors.from_raw(self.body[at : at + size], tensor.datatype, tensor.name[:40])
                at += size
            found.append(tensors.checked(tensor.name[:40], tensor.datatype, tensor.shape, data))
        if self.head is not None and at != len(self.body):
            raise invalid(f"{len(self.body) - at} bytes at the end belong to no input")
        return found

    def encode(self, asked: Asked, answered: Answered) -> Reply:
        """The tensors wanted; binary where they were asked for so."""
        assert self._request is not None
        found = inference.outputs(asked.outputs, answered)
        raw = [output.raw() if binary else None for output, binary in zip(found, self._binary(found), strict=True)]
        graph = answered.graph
        document = {
            "model_name": answered.name,
            "model_version": answered.version,
            "id": self._request.id or self.identifier,
            "parameters": {"snapshot": graph.snapshot, "offset": graph.offset, "staleness": graph.staleness},
            "outputs": [_written(output, data) for output, data in zip(found, raw, strict=True)],
        }
        behind = [data for data in raw if data is not None]
        return _framed(document, behind) if behind else json_reply(document)

    def _binary(self, found: Sequence[Output]) -> list[bool]:
        """Whether each output is binary: as it says itself, else as the request says."""
        assert self._request is not None
        default = (self._request.parameters or {}).get("binary_data_output", False)
        if not self._request.outputs:
            return [bool(default)] * len(found)
        return [bool((wanted.parameters or {}).get("binary_data", default)) for wanted in self._request.outputs]


def _written(output: Output, raw: bytes | None) -> dict[str, Any]:
    head = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
    return head | ({"data": output.data} if raw is None else {"parameters": {"binary_data_size": len(raw)}})


def _framed(document: dict[str, Any], behind: list[bytes]) -> Reply:
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    length = (b"inference-header-content-length", b"%d" % len(head))
    return Reply(200, b"".join((head, *behind)), ((b"content-type", b"application/octet-stream"), length))
