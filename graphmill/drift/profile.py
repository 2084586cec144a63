"""Profiles: what a period looked like, in less than 100 KB. Drift compares them and never rereads old data."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS, duration
from graphmill.drift import cohorts, embeddings, estimated, features, performance, predictions, structure
from graphmill.drift.periods import default_period, default_until, past_periods, train_end
from graphmill.drift.scopes import scopes
from graphmill.drift.source import Period, Source
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.task import TemporalSplit

VERSION = 2
"""Of the profile's form; another one is refused."""
LEAST_SCORED = 0.5
"""A past period counts for predictions when so many of its examples have a held-out score."""
PARTS = ("feature", "structure", "embedding", "prediction", "performance")

Profile = dict[str, Any]
Reference = dict[str, Any]


@dataclass(frozen=True)
class Past:
    """What is known of the past: frozen edges, and one profile a past period, oldest first."""

    reference: Reference
    history: list[Profile]
    trained: int = 0
    """So many of them, the oldest, are the model's own."""
    excluded: frozenset[int] = frozenset()
    """Rows of ``history`` that alarmed and that nobody acknowledged: they are no part of what is usual."""
    left_out: tuple[str, ...] = ()
    """What is wrong with the checks that could not be read."""

    @property
    def accepted(self) -> list[bool]:
        """Which of the periods count as usual."""
        return [row not in self.excluded for row in range(len(self.history))]

    @property
    def usual(self) -> list[Profile]:
        """The periods that do."""
        return [profile for row, profile in enumerate(self.history) if row not in self.excluded]


def write(
    folder: Path,
    graph: Graph,
    features: Features,
    scores_by_example: NDArray[np.float64] | None = None,
    threshold: float | None = None,
    until: int | None = None,
    period: int | None = None,
    embed: embeddings.Embed | None = None,
) -> None:
    """Write ``profile/reference.json`` and ``profile/history.json`` into a model folder.

    Args:
        folder: the model folder that is being written.
        graph: the graph that the model was trained on.
        features: its features.
        scores_by_example: calibrated probabilities of the model, float64 ``[len(features.examples)]``, NaN for
            examples that were not scored. Scores of training examples flatter and must be NaN.
        threshold: the probability from which on a decision is positive.
        until: the end of the last past period; by default the end of the validation part.
        period: length of a period in clock units; by default a twelfth of the training time.
        embed: embeddings of examples, where the model has any.
    """
    source = Source(graph, features, features.examples, scores_by_example)
    (folder / "profile").mkdir(exist_ok=True)
    if embed is not None:
        source = _with_embeddings(source, embed, until, period)
    if source.embedder is not None and source.embedder.frozen is not None:
        source.embedder.frozen.write(folder / "profile")
    found = past(source, threshold, until, period)
    reference = {**found.reference, "as_of": graph.as_of}
    (folder / "profile" / "reference.json").write_text(compact(reference), encoding="utf-8")
    document = {"version": VERSION, "periods": found.history}
    (folder / "profile" / "history.json").write_text(compact(document), encoding="utf-8")


def _with_embeddings(source: Source, embed: embeddings.Embed, until: int | None, period: int | None) -> Source:
    """The same source with embeddings that are compared with those of the newest past period."""
    end = default_until(source.graph) if until is None else until
    length = default_period(source) if period is None else period
    timed = isinstance(source.graph.task.split, TemporalSplit)
    newest = Period(end - length if timed else ALWAYS, end)
    return replace(source, embedder=embeddings.Embedder(embed, embeddings.frozen_at(source, newest, embed)))


def past(source: Source, threshold: float | None, until: int | None = None, period: int | None = None) -> Past:
    """Freeze the edges at the training time and profile its periods (and those of the validation part)."""
    until = default_until(source.graph) if until is None else until
    period = default_period(source) if period is None else period
    timed = isinstance(source.graph.task.split, TemporalSplit)
    whole = Period(ALWAYS, until)
    frozen = features.freeze(scopes(source, whole))
    reference: Reference = {
        "version": VERSION,
        "clock": source.graph.clock,
        "timed": timed,
        "train_end": train_end(source.graph),
        "until": until,
        "period": period if timed else 0,
        "columns": frozen,
        "node_types": list(source.graph.nodes),
        "relations": [relation.name for relation in source.relations],
        "scores": predictions.freeze(source.scores, threshold),
        "slices": cohorts.freeze(source.examples),
        "metric": source.graph.task.metric,
        "label_age": cohorts.label_age(source),
        "estimate": _calibration(source, threshold, until),
    }
    return Past(reference, history(source, reference))


def _calibration(source: Source, threshold: float | None, until: int) -> estimated.Calibration | None:
    """Of the held-out scores whose labels are known by then."""
    if source.scores is None:
        return None
    rows = np.flatnonzero(np.isfinite(source.scores))
    rows = rows[cohorts.known_by(source.examples, rows, until)]
    label = source.examples["label"].iloc[rows].to_numpy(bool)
    return estimated.fit(source.scores[rows], label, threshold)


def history(source: Source, reference: Reference) -> list[Profile]:
    """Profiles of the past periods up to ``reference["until"]``, oldest first.

    What has no time is the same in all of them and stands in the newest only: it is one observation.
    """
    least = LEAST_SCORED if reference["timed"] else 0.0
    found: list[Profile] = []
    for period in past_periods(source, reference):
        found.append(build(source, period, reference, least, found[-1] if found else None))
    return [_timed_only(profile) for profile in found[:-1]] + found[-1:]


def build(
    source: Source,
    period: Period,
    reference: Reference,
    least_scored: float = 0.0,
    before: Profile | None = None,
) -> Profile:
    """The profile of one period, as plain JSON values; ``before`` is that of an earlier one.

    Raises:
        Exception: whatever a part raises; ``parts`` keeps the others' results.
    """
    found = head(source, period)
    for part in PARTS:
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


def head(source: Source, period: Period) -> Profile:
    """What a profile says of itself, and of which types there are."""
    types = {"node_types": list(source.graph.nodes), "relations": [relation.name for relation in source.relations]}
    return {"version": VERSION, "start": period.start, "end": period.end, **types}


def _timed_only(profile: Profile) -> Profile:
    columns = {name: item for name, item in profile["columns"].items() if name not in profile["untimed"]}
    kept = {name: item for name, item in profile["structure"].items() if item["timed"]}
    return {**profile, "columns": columns, "structure": kept}


def with_period(source: Source, reference: Reference, length: str | int) -> Past:
    """The past in periods of another length, profiled again from a graph that holds it."""
    period = duration(length, source.graph.clock, "drift.period")
    if period <= 0:
        raise UserError(f"drift.period: {length!r} must be longer than nothing")
    changed = {**reference, "period": period}
    found = history(source, changed)
    return Past(changed, found, len(found))


def with_scores(source: Source, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> Source:
    """The same source with the scores of some examples."""
    every = np.full(len(source.examples), np.nan)
    every[rows] = scores
    return replace(source, scores=every)


def read(folder: Path) -> Past:
    """Read the profiles of a model folder.

    Raises:
        UserError: when the model has none, or they are of another version.
    """
    documents = []
    for name in ("reference", "history"):
        file = folder / "profile" / f"{name}.json"
        try:
            documents.append(json.loads(file.read_bytes()))
        except FileNotFoundError:
            raise UserError(f"{file}: missing, so drift has nothing to compare with; train the model again") from None
        except ValueError:
            raise UserError(f"{file}: not readable as JSON; train the model again") from None
        if documents[-1].get("version") != VERSION:
            found = documents[-1].get("version")
            raise UserError(f"{file}: profile version {found}, this version reads {VERSION}; train the model again")
    return Past(documents[0], documents[1]["periods"], len(documents[1]["periods"]))


def compact(value: Any) -> str:
    """JSON without spaces, equal for equal values."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
