"""Two versions side by side: what was measured, which numbers, which data and which code differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphmill.artifact import Artifact
from graphmill.registry import Version

Facts = dict[tuple[str, str], Any]
"""Everything that is compared, by section (``metric``, ``parameter``, …) and name."""
RIVAL = "champion"
"""Under this name an evaluation has the metrics of the model that it compared with: another version's."""
SECTIONS = ("judged", "metric", "gate", "parameter", "data", "artifact", "code", "package")


@dataclass(frozen=True)
class Row:
    """One fact of two versions; None where a version does not have it."""

    section: str
    name: str
    before: Any
    after: Any

    @property
    def differs(self) -> bool:
        return bool(self.before != self.after)

    @property
    def change(self) -> float | None:
        """By how much a number grew; None where there are not two numbers."""
        numbers = (self.before, self.after)
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers):
            return None
        return float(self.after - self.before)


def compare(before: Facts, after: Facts) -> list[Row]:
    """Every fact that either version has, by section, in the order in which they have them."""
    keys = dict.fromkeys([*before, *after])
    rows = [Row(*key, before.get(key), after.get(key)) for key in keys]
    return sorted(rows, key=lambda row: SECTIONS.index(row.section))


def facts(version: Version, model: Artifact) -> Facts:
    """What a version is known by.

    Args:
        version: its record, with the summary of its evaluation.
        model: its model, with the lineage.
    """
    judged = version.evaluation
    found: Facts = {("judged", name): judged[name] for name in ("verdict", "winner") if name in judged}
    measured = {name: value for name, value in judged.get("metrics", {}).items() if name != RIVAL}
    found |= {("metric", name): value for name, value in _leaves(measured)}
    found |= {("gate", gate["name"]): _gate(gate) for gate in judged.get("gates", [])}
    lineage = model.lineage
    records = {"model": {**lineage, "digest": model.digest}, **lineage.get("artifacts", {})}
    found |= {("parameter", name): value for name, value in _parameters(records)}
    found |= {("data", name): record["data"] for name, record in records.items() if record.get("data")}
    found |= {("artifact", name): record["digest"] for name, record in records.items()}
    for section, key in (("code", "code"), ("package", "packages")):
        found |= {(section, name): value for name, value in _shared(records, key)}
    return found


def _gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: gate.get(key) for key in ("passed", "value", "bound")}


def _parameters(records: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each once; where two artifacts were made with different values, those farther away say whose they are."""
    seen: dict[str, Any] = {}
    for name, record in records.items():
        for path, value in _leaves(record.get("parameters", {})):
            if path not in seen:
                seen[path] = value
                yield path, value
            elif seen[path] != value:
                yield f"{path} ({name})", value


def _shared(records: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """The model's, and those of an artifact upstream that was made by others."""
    own = records["model"].get(key, {})
    yield from own.items()
    for name, record in records.items():
        for item, value in record.get(key, {}).items():
            if own.get(item) != value:
                yield f"{item} ({name})", value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted path; a list is one value."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, value
