"""The baseline that later periods are compared with: frozen edges, and one profile a past period.

`features` begins it with what needs no model, columns and structure; `train` completes it and carries it in the model.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS, duration
from graphmill.drift import cohorts, embeddings, estimated, features, predictions, profile
from graphmill.drift.periods import default_period, default_until, past_periods, train_end
from graphmill.drift.profile import VERSION, Profile, Reference
from graphmill.drift.scopes import scopes
from graphmill.drift.source import Period, Source
from graphmill.errors import UserError
from graphmill.task import TemporalSplit

FOLDER = "profile"
"""In the folder of features, and of a model."""
OF_FEATURES = ("feature", "structure")
OF_MODEL = ("embedding", "prediction", "performance")
LEAST_SCORED = 0.5
"""A past period counts for predictions when so many of its examples have a held-out score."""


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
        return [found for row, found in enumerate(self.history) if row not in self.excluded]


def begin(source: Source) -> Past:
    """Freeze edges at the training time, and profile columns and structure of its periods and the validation part's.

    What has no time is the same in all of them and stands in the newest only: it is one observation.
    """
    until, timed = default_until(source.graph), isinstance(source.graph.task.split, TemporalSplit)
    reference: Reference = {
        "version": VERSION,
        "clock": source.graph.clock,
        "timed": timed,
        "train_end": train_end(source.graph),
        "until": until,
        "period": default_period(source) if timed else 0,
        "columns": features.freeze(scopes(source, Period(ALWAYS, until))),
        "node_types": list(source.graph.nodes),
        "relations": [relation.name for relation in source.relations],
        "slices": cohorts.freeze(source.examples),
        "metric": source.graph.task.metric,
        "label_age": cohorts.label_age(source),
    }
    return Past(reference, _begun(source, reference))


def complete(begun: Past, source: Source, threshold: float | None) -> Past:
    """The same past with what the model says of it: its scores, their calibration, embeddings and performance.

    Args:
        begun: as `features` wrote it.
        source: with the model's held-out scores and embeddings; scores of training examples flatter and must be NaN.
        threshold: the probability from which on a decision is positive.
    """
    reference = {
        **begun.reference,
        "scores": predictions.freeze(source.scores, threshold),
        "estimate": _calibration(source, threshold, begun.reference["until"]),
    }
    return Past(reference, _completed(source, reference, begun.history))


def _begun(source: Source, reference: Reference) -> list[Profile]:
    found: list[Profile] = []
    for period in past_periods(source, reference):
        found.append(profile.build(OF_FEATURES, source, period, reference, before=found[-1] if found else None))
    return [_timed_only(one) for one in found[:-1]] + found[-1:]


def _timed_only(one: Profile) -> Profile:
    columns = {name: item for name, item in one["columns"].items() if name not in one["untimed"]}
    kept = {name: item for name, item in one["structure"].items() if item["timed"]}
    return {**one, "columns": columns, "structure": kept}


def _completed(source: Source, reference: Reference, history: list[Profile]) -> list[Profile]:
    least = LEAST_SCORED if reference["timed"] else 0.0
    return [
        one | profile.build(OF_MODEL, source, Period(one["start"], one["end"]), reference, least) for one in history
    ]


def _calibration(source: Source, threshold: float | None, until: int) -> estimated.Calibration | None:
    """Of the held-out scores whose labels are known by then."""
    if source.scores is None:
        return None
    rows = np.flatnonzero(np.isfinite(source.scores))
    rows = rows[cohorts.known_by(source.examples, rows, until)]
    label = source.examples["label"].iloc[rows].to_numpy(bool)
    return estimated.fit(source.scores[rows], label, threshold)


def with_period(source: Source, reference: Reference, length: str | int) -> Past:
    """The past in periods of another length, profiled again from a graph that holds it.

    Raises:
        UserError: for a length of nothing.
    """
    period = duration(length, source.graph.clock, "drift.period")
    if period <= 0:
        raise UserError(f"drift.period: {length!r} must be longer than nothing")
    changed = {**reference, "period": period}
    found = _completed(source, changed, _begun(source, changed))
    return Past(changed, found, len(found))


def with_embeddings(source: Source, reference: Reference, embed: embeddings.Embed) -> Source:
    """The same source with embeddings that are compared with those of the newest past period."""
    end = reference["until"]
    newest = Period(end - reference["period"] if reference["timed"] else ALWAYS, end)
    return replace(source, embedder=embeddings.Embedder(embed, embeddings.frozen_at(source, newest, embed)))


def with_scores(source: Source, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> Source:
    """The same source with the scores of some examples."""
    every = np.full(len(source.examples), np.nan)
    every[rows] = scores
    return replace(source, scores=every)


def write(folder: Path, found: Past, source: Source) -> None:
    """Write ``profile/`` into a folder that is being written: `reference.json`, `history.json`, frozen embeddings."""
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    reference = {**found.reference, "as_of": source.graph.as_of}
    (target / "reference.json").write_text(profile.compact(reference), encoding="utf-8")
    document = {"version": VERSION, "periods": found.history}
    (target / "history.json").write_text(profile.compact(document), encoding="utf-8")
    if source.embedder is not None and source.embedder.frozen is not None:
        source.embedder.frozen.write(target)


def read(folder: Path, stage: str = "train") -> Past:
    """Read the profiles of a folder.

    Args:
        folder: of a model or of features.
        stage: which writes it.

    Raises:
        UserError: when there are none, or they are of another version.
    """
    documents = []
    for name in ("reference", "history"):
        file, advice = folder / FOLDER / f"{name}.json", f"run the stage {stage} again"
        try:
            documents.append(json.loads(file.read_bytes()))
        except FileNotFoundError:
            raise UserError(f"{file}: missing, so drift has nothing to compare with; {advice}") from None
        except ValueError:
            raise UserError(f"{file}: not readable as JSON; {advice}") from None
        if documents[-1].get("version") != VERSION:
            found = documents[-1].get("version")
            raise UserError(f"{file}: profile version {found}, this version reads {VERSION}; {advice}")
    return Past(documents[0], documents[1]["periods"], len(documents[1]["periods"]))
