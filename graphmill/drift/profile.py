"""Profiles: what a period looked like, in less than 100 KB. Drift compares them and never rereads old data."""

import json
from collections.abc import Iterable
from typing import Any

from graphmill.drift import embeddings, features, performance, predictions, structure
from graphmill.drift.scopes import scopes
from graphmill.drift.source import Period, Source

VERSION = 2
"""Of the profile's form; another one is refused."""
PARTS = ("feature", "structure", "embedding", "prediction", "performance")

Profile = dict[str, Any]
Reference = dict[str, Any]


def head(source: Source, period: Period) -> Profile:
    """What a profile says of itself, and of which types there are."""
    types = {"node_types": list(source.graph.nodes), "relations": [relation.name for relation in source.relations]}
    return {"version": VERSION, "start": period.start, "end": period.end, **types}


def build(
    parts: Iterable[str],
    source: Source,
    period: Period,
    reference: Reference,
    least_scored: float = 0.0,
    before: Profile | None = None,
) -> Profile:
    """Some parts of the profile of one period, as plain JSON values; ``before`` is that of an earlier one.

    Raises:
        Exception: whatever a part raises; who builds them one by one keeps the others.
    """
    found = head(source, period)
    for part in parts:
        found |= build_part(part, source, period, reference, least_scored, before)
    return found


def build_part(
    part: str,
    source: Source,
    period: Period,
    reference: Reference,
    least_scored: float = 0.0,
    before: Profile | None = None,
) -> Profile:
    """One family's share: `columns`, `unknown`; `structure`; `embeddings`; `predictions`; or `performance`."""
    if part == "feature":
        return _columns(source, period, reference)
    if part == "structure":
        return {"structure": structure.build(source, period, reference, before)}
    if part == "embedding":
        return {"embeddings": embeddings.build(source, period)}
    if part == "prediction":
        return {"predictions": predictions.build(source, period, reference, least_scored)}
    return {"performance": performance.build(source, period, reference, least_scored)}


def _columns(source: Source, period: Period, reference: Reference) -> Profile:
    """Summaries of the known columns; names of those that the reference does not know."""
    found: Profile = {"columns": {}, "untimed": [], "unknown": [], "rows": {}}
    for scope in scopes(source, period):
        frozen = reference["columns"].get(scope.name, {})
        found["columns"][scope.name] = features.summarise(scope, frozen, period.start)
        found["rows"][scope.name] = scope.count
        found["untimed"] += [] if scope.timed else [scope.name]
        strange = [field for field in scope.fields if field.name not in found["columns"][scope.name]]
        found["unknown"] += [
            f"{scope.name}: {field.name}" for field in strange if not features.left_out(field, reference["columns"])
        ]
    return found


def merge(one: Profile, other: Profile, reference: Reference) -> Profile:
    """The profile of two parts of one period's rows that were looked at apart.

    Columns and predictions are sums. A structure is none (parts share nodes), neighbours and displacement of an
    embedding are none, and an interval is of its whole cohort: like parts that failed these are absent.

    Args:
        one: profile of some rows. Of a table beyond `scopes.MOST_ROWS` it holds a sample: parts should be about
            equally large.
        other: profile of other rows.
        reference: what both were measured with.

    Raises:
        ValueError: for two periods; a row without time would count twice.
    """
    if (one["start"], one["end"]) != (other["start"], other["end"]):
        raise ValueError("profiles of two periods are no parts of one")
    found = {name: one[name] for name in ("version", "start", "end")}
    for name in ("node_types", "relations", "untimed", "unknown"):
        if name in one and name in other:
            found[name] = list(dict.fromkeys([*one[name], *other[name]]))
    if "columns" in one and "columns" in other:
        found["rows"] = {
            scope: one["rows"].get(scope, 0) + other["rows"].get(scope, 0) for scope in one["rows"] | other["rows"]
        }
        found["columns"] = {
            scope: _merged_scope(one["columns"].get(scope, {}), other["columns"].get(scope, {}), how)
            for scope, how in reference["columns"].items()
            if scope in one["columns"] or scope in other["columns"]
        }
    if "predictions" in one and "predictions" in other:
        found["predictions"] = predictions.merge(one["predictions"], other["predictions"], reference["scores"])
    return found


def _merged_scope(one: Profile, other: Profile, how: Reference) -> Profile:
    """Columns that only one part has are those of that part: the other has none of their rows."""
    both = {name: features.merge(one[name], other[name], how[name]) for name in one if name in other}
    return {**one, **other, **both}


def compact(value: Any) -> str:
    """JSON without spaces, equal for equal values."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
