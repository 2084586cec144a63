"""What W&B is told of an artifact, read from the artifact alone; W&B itself is not met here."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphmill.artifact import LINEAGE
from graphmill.errors import UserError

SHORT = 16
"""How many characters of a digest name an artifact among W&B's aliases."""

_SECRET = re.compile(r"(?<=://)[^/?#\s]*@|(?<=[^\s?])\?[^\s#]*(?=$|#)")


@dataclass(frozen=True)
class Table:
    """Rows under named columns."""

    columns: list[str]
    rows: list[list[Any]]


@dataclass(frozen=True)
class Curve:
    """A line for each model over the points of a table."""

    points: Table
    x: str
    y: str


@dataclass
class Content:
    """One run: ``config`` and ``metadata`` nest, ``summary`` is flat, names with ``/`` are groups on W&B's page."""

    kind: str
    digest: str
    inputs: dict[str, str]
    config: dict[str, Any]
    metadata: dict[str, Any]
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    reports: dict[str, Path] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    """What the artifact on W&B holds, by name: a model whole, of all else the manifest and the lineage."""


Reader = Callable[[Content, dict[str, Any], Path], None]


def read(folder: Path) -> Content:
    """What there is to tell of the artifact at ``folder``, which the stage has just written.

    The lineage tells which kind it is. Digests are not computed again: the stage did so a moment ago.

    Raises:
        UserError: when there is no artifact.
    """
    from graphmill.tracking.stages import READERS

    try:
        lineage = json.loads((folder / LINEAGE).read_bytes())
        kind = lineage["kind"]
        manifest = json.loads((folder / f"{kind}.json").read_bytes())
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: no artifact to record here ({error})") from None
    told = {key: lineage.get(key) for key in ("digest", "inputs", "data", "code", "packages")}
    told["parameters"] = without_secrets(lineage.get("parameters", {}))
    content = Content(
        kind, lineage["digest"], lineage.get("inputs", {}), dict(told), {"stage": lineage["stage"], **told}
    )
    content.files = {name: folder / name for name in (f"{kind}.json", LINEAGE)}
    reader: Reader | None = READERS.get(kind)
    if reader is not None:
        reader(content, manifest, folder)
    return content


def without_secrets(value: Any) -> Any:
    """URLs without user, password and query: signed links and tokens stand there."""
    if isinstance(value, Mapping):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return _SECRET.sub("", value) if isinstance(value, str) and "://" in value else value


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings under names with ``/``; what is not known (None) is left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}/")
        elif value is not None:
            yield f"{prefix}{key}", value


def table(records: Iterable[Mapping[str, Any]], columns: Iterable[str] | None = None) -> Table:
    """A table of records: the given columns, else all that occur, in the order they are first met."""
    rows = list(records)
    names = list(columns) if columns is not None else list(dict.fromkeys(key for row in rows for key in row))
    return Table(names, [[row.get(name) for name in names] for row in rows])


def read_csv(file: Path) -> list[dict[str, Any]]:
    """A small CSV file, numbers as numbers."""
    with file.open(encoding="utf-8", newline="") as stream:
        return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def _number(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return text or None
