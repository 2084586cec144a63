"""Tensors of the Open Inference Protocol: their elements, checked, from JSON, raw bytes or gRPC."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.serving.failure import invalid

_STORED = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "BOOL": "|b1"}


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that came in; ``data`` is text for BYTES, whole numbers for INT64."""

    name: str
    datatype: str
    data: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor that goes out; ``data`` is flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | NDArray[np.float32]

    def raw(self) -> bytes:
        """The data as bytes: little-endian numbers, or texts that each follow their length."""
        if self.datatype == "BYTES":
            texts = [text.encode() for text in self.data]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        raw: bytes = np.asarray(self.data, _STORED[self.datatype]).tobytes()
        return raw


def texts(raw: bytes, name: str) -> list[str]:
    """The elements of raw BYTES: each follows its length in four bytes.

    Raises:
        Failure: when the lengths do not add up, or an element is not UTF-8.
    """
    found, at = [], 0
    try:
        while at < len(raw):
            (length,) = struct.unpack_from("<I", raw, at)
            if at + 4 + length > len(raw):
                raise invalid(f"inputs: {name} ends within an element")
            found.append(raw[at + 4 : at + 4 + length].decode())
            at += 4 + length
    except struct.error:
        raise invalid(f"inputs: {name} ends within an element's length") from None
    except UnicodeDecodeError:
        raise invalid(f"inputs: element {len(found)} of {name} is not UTF-8") from None
    return found


def from_raw(raw: bytes, datatype: str, name: str) -> list[Any]:
    """The elements of a raw tensor of texts or of 64-bit whole numbers.

    Raises:
        Failure: for another datatype, or bytes that are no whole elements.
    """
    if datatype == "BYTES":
        return texts(raw, name)
    if datatype != "INT64":
        raise invalid(f"inputs: {name} must be BYTES or INT64, not {datatype[:40]!r}")
    if len(raw) % 8:
        raise invalid(f"inputs: {name} has {len(raw)} bytes, which are no whole INT64 elements")
    numbers: list[Any] = np.frombuffer(raw, "<i8").tolist()
    return numbers


def checked(name: str, datatype: str, shape: Sequence[int], data: Sequence[Any]) -> Input:
    """A tensor that came in, with as many elements of the right kind as its shape says.

    Raises:
        Failure: for another shape than ``[n]``, another number of elements, or one of the wrong kind.
    """
    if list(shape) != [len(data)]:
        raise invalid(f"inputs: {name} has shape {list(shape)[:8]} and {len(data)} elements; give [n] and n elements")
    kind = {"BYTES": str, "INT64": int}.get(datatype)
    for place, value in enumerate(data):
        if type(value) is not kind:
            raise invalid(f"inputs: element {place} of {name} is no {datatype[:40]} value")
    return Input(name, datatype, data)
