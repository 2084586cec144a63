"""Whether two model folders are the same bytes; else which file is the first that is not, and by how much."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from graphmill import artifact

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
TEXT = (".txt", ".json", ".csv")
SHOWN = 60
"""Characters of a line that are shown."""


@dataclass(frozen=True)
class Difference:
    """A file that differs and how."""

    file: str
    how: str


def differences(old: Path, new: Path, kind: str = "model") -> list[Difference]:
    """Every file that differs: weights first, then trees, then the others, the manifest last."""
    names = {*artifact.list_files(old, kind), *artifact.list_files(new, kind)}
    found = [_difference(old, new, name) for name in (*sorted(names, key=_order), f"{kind}.json")]
    return [item for item in found if item is not None]


def _order(name: str) -> tuple[int, str]:
    """What was learned before what was derived from it."""
    return (0 if name.endswith(".safetensors") else 1 if name.endswith(".txt") else 2, name)


def _difference(old: Path, new: Path, name: str) -> Difference | None:
    files = (old / name, new / name)
    there = [file.is_file() for file in files]
    if not all(there):
        return Difference(name, "only in the old one" if there[0] else "only in the new one")
    if artifact.file_digest(files[0]) == artifact.file_digest(files[1]):
        return None
    if name.endswith(".safetensors"):
        return Difference(name, _tensors(*files))
    return Difference(name, _lines(*files) if name.endswith(TEXT) else _bytes(*files))


def _tensors(old: Path, new: Path) -> str:
    with safe_open(old, "numpy") as one, safe_open(new, "numpy") as two:
        names = [set(one.keys()), set(two.keys())]
        if names[0] != names[1]:
            return f"tensors only in one of them: {', '.join(sorted(names[0] ^ names[1]))}"
        for name in one.keys():  # noqa: SIM118 - safetensors' handle is no mapping
            first, second = one.get_tensor(name), two.get_tensor(name)
            if first.shape != second.shape:
                return f"tensor {name}: shape {first.shape}, now {second.shape}"
            if first.tobytes() != second.tobytes():
                apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
                differing = int((first != second).sum())
                return f"tensor {name}: {differing:,} of {first.size:,} values differ, by {apart.max():.3g} at the most"
    return "the same tensors, written otherwise"


def _lines(old: Path, new: Path) -> str:
    first, second = (file.read_text(encoding="utf-8").splitlines() for file in (old, new))
    for place, (one, two) in enumerate(zip(first, second, strict=False), 1):
        if one != two:
            numbers = [[float(value) for value in NUMBER.findall(line)] for line in (one, two)]
            by = ""
            if len(numbers[0]) == len(numbers[1]) > 0:
                by = f", numbers by {max(abs(a - b) for a, b in zip(*numbers, strict=True)):.3g} at the most"
            return f"line {place} was {_short(one)!r}, is {_short(two)!r}{by}"
    return f"{len(first):,} lines, now {len(second):,}"


def _bytes(old: Path, new: Path) -> str:
    first, second = (np.fromfile(file, np.uint8) for file in (old, new))
    size = min(len(first), len(second))
    places = np.flatnonzero(first[:size] != second[:size])
    begin = int(places[0]) if len(places) else size
    sizes = "" if len(first) == len(second) else f"; {len(first):,} bytes, now {len(second):,}"
    return f"{len(places):,} of {size:,} bytes differ, the first at {begin:,}{sizes}"


def _short(line: str) -> str:
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
