"""The Open Inference Protocol over gRPC: tensors in messages, or as bytes beside them."""

from dataclasses import dataclass
from itertools import repeat
from typing import Any

from graphmill.serving import inference, tensors
from graphmill.serving.batching import Answered
from graphmill.serving.failure import invalid
from graphmill.serving.framework import messages
from graphmill.serving.limits import Limits
from graphmill.serving.model import Asked
from graphmill.serving.tensors import Input, Output

_CONTENTS = {
    "BYTES": "bytes_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BOOL": "bool_contents",
}


@dataclass(frozen=True, slots=True)
class Infer:
    """A ``ModelInfer`` request; answered raw when it came raw."""

    request: Any
    deadline: float
    identifier: str
    explain: bool = False

    def decode(self, limits: Limits) -> Asked:
        """Check and read the tensors."""
        inputs, raw = self.request.inputs, self.request.raw_input_contents
        if not 1 <= len(inputs) <= 3 or len(self.request.outputs) > 16:
            raise invalid(f"inputs: give 1 to 3 inputs and at most 16 outputs, not {len(inputs)}")
        if raw and len(raw) != len(inputs):
            raise invalid(f"inputs: {len(raw)} raw contents for {len(inputs)} inputs; give one for each")
        found = [_read(tensor, content) for tensor, content in zip(inputs, raw or repeat(None), strict=False)]
        return inference.asked(found, [output.name for output in self.request.outputs], limits)

    def encode(self, asked: Asked, answered: Answered) -> Any:
        """The tensors wanted."""
        found = inference.outputs(asked.outputs, answered)
        raw, graph = bool(self.request.raw_input_contents), answered.graph
        parameters = {
            "snapshot": messages.InferParameter(string_param=graph.snapshot),
            "offset": messages.InferParameter(int64_param=graph.offset),
            # KServe's message has no parameter for a fraction
            "staleness": messages.InferParameter(string_param=str(graph.staleness)),
        }
        return messages.ModelInferResponse(
            model_name=answered.name,
            model_version=answered.version,
            id=self.request.id or self.identifier,
            parameters=parameters,
            outputs=[_written(output, raw) for output in found],
            raw_output_contents=[output.raw() for output in found] if raw else None,
        )


def _read(tensor: Any, raw: bytes | None) -> Input:
    name, datatype = tensor.name[:40], tensor.datatype
    if raw is not None:
        if tensor.HasField("contents"):
            raise invalid(f"inputs: {name} has contents beside the raw ones")
        data = tensors.from_raw(raw, datatype, name)
    elif datatype == "BYTES":
        data = [_text(item, name) for item in tensor.contents.bytes_contents]
    elif datatype == "INT64":
        data = list(tensor.contents.int64_contents)
    else:
        raise invalid(f"inputs: {name} must be BYTES or INT64, not {datatype[:40]!r}")
    return tensors.checked(name, datatype, tensor.shape, data)


def _text(item: bytes, name: str) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise invalid(f"inputs: an element of {name} is not UTF-8") from None


def _written(output: Output, raw: bool) -> Any:
    tensor = messages.ModelInferResponse.InferOutputTensor(
        name=output.name, datatype=output.datatype, shape=output.shape
    )
    if not raw:
        data = output.data if isinstance(output.data, list) else output.data.tolist()
        if output.datatype == "BYTES":
            data = [text.encode() for text in data]
        getattr(tensor.contents, _CONTENTS[output.datatype]).extend(data)
    return tensor
