"""The newest period's predictions and their labels: scores as they were served, else computed again."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from graphmill.clock import ALWAYS
from graphmill.drift import cohorts, gap, labels, performance, predictions, served, streams
from graphmill.drift.baseline import with_scores
from graphmill.drift.cohorts import Enough
from graphmill.drift.params import Params
from graphmill.drift.profile import Reference
from graphmill.drift.source import Floats, Integers, Period, Source, thin
from graphmill.model import Model

Block = dict[str, Any]


class Judged:
    """What the model said in the newest period, and what became of the predictions whose labels are due.

    Nothing is read or computed before it is asked for, so that what fails fails in the part that needs it.

    Args:
        model: the model.
        source: the graph of today.
        period: the newest period.
        reference: the model's.
        params: section `drift`.
    """

    def __init__(self, model: Model, source: Source, period: Period, reference: Reference, params: Params) -> None:
        self.model, self.period, self.reference, self.params = model, period, reference, params
        self.notes: list[str] = []
        """What could not be read or used, in words."""
        self.unreadable: list[str] = []
        """Files of labels and of the log that could not be read: never ``ok``."""
        self.source = source

    def predictions(self) -> Block:
        """The block ``predictions`` of the profile."""
        return predictions.build(self.scored, self.period, self.reference)

    def performance(self) -> Block:
        """The block ``performance`` of the profile, with ``audit``, ``streams`` and ``clocks`` where there are any."""
        scored, matched = self.scored, self._matched
        enough = Enough(self.params.label_share, self.params.positives)
        with_labels = scored if matched is None else replace(scored, examples=matched.examples)
        block = performance.build(with_labels, self.period, self.reference, enough=enough)
        block["clocks"] = self._clocks
        if matched is not None and self._labels is not None:
            block["left_out"] = self._labels.left_out()
            self.notes += self._labels.notes
            self.unreadable += self._labels.unreadable
            if len(matched.audit):
                block["audit"] = self._audit(matched.audit, enough)
        if self.params.streams:
            block["streams"] = self._streams(with_labels.examples)
        return block

    @cached_property
    def scored(self) -> Source:
        """The source with scores of the period's examples and of those whose labels are due."""
        source = _with_examples(self.source, self.period)
        due = cohorts.cohort(source, self.period, self.reference["label_age"]).rows
        allowed = predictions.held_out(source, self.reference)
        most = self.params.examples
        parts = [thin(np.intersect1d(rows, allowed), most) for rows in (source.example_places(self.period), due)]
        rows = np.union1d(*parts).astype(np.int64)
        return with_scores(source, rows, score(self.model, source, rows, self._log))

    @cached_property
    def _first(self) -> int:
        """The earliest moment that is looked at: of the cohort, and of predictions that an audit may speak of."""
        if not self.reference["timed"]:
            return ALWAYS
        length = self.period.end - self.period.start
        back = max(length + int(self.reference["label_age"]), self.params.audit_periods * length)
        return self.period.end - back

    @cached_property
    def _log(self) -> served.Log | None:
        if self.params.predictions is None:
            return None
        node, version = self.source.graph.task.node, self.model.artifact.digest[:16]
        found = served.read(self.params.predictions, node, version, self._first, self.period.end)
        self.notes += [f"left out of the prediction log: {told}" for told in found.unreadable]
        self.unreadable += [told.partition(":")[0] for told in found.unreadable]
        return found

    @cached_property
    def _labels(self) -> labels.Labels | None:
        return None if self.params.labels is None else labels.read(self.params.labels, self.source.graph.clock)

    @cached_property
    def _matched(self) -> labels.Matched | None:
        """The labels of tables put to the predictions that are looked at."""
        if self._labels is None:
            return None
        examples = self.scored.examples
        time = examples["time"].to_numpy(np.int64)
        rows = np.flatnonzero((time >= self._first) & (time <= self.period.end))
        rows = np.intersect1d(rows, predictions.held_out(self.scored, self.reference))
        keys = _keys(self.source, examples["node"].iloc[rows])
        return labels.match(self._labels, examples, keys, rows, self.period.end)

    def _audit(self, audit: pd.DataFrame, enough: Enough) -> Block:
        """The gap between labels of the random sample and what the scores expect."""
        calibration = self.reference["estimate"]
        if calibration is None or calibration["threshold"] is None:
            return {"state": "insufficient_labels", "sampled": len(audit), "labels": int(audit["label"].notna().sum())}
        rows = audit["row"].to_numpy(np.int64)
        assert self.scored.scores is not None
        scores = self.scored.scores[rows]
        missing = np.isnan(scores)
        scores[missing] = score(self.model, self.scored, rows[missing], self._log)
        return gap.gap(audit.assign(score=scores), calibration, enough)

    def _streams(self, examples: pd.DataFrame) -> Block:
        """Where the errors of served predictions became more, by sequential test; needs the log's order."""
        calibration, log = self.reference["estimate"], self._log
        if log is None or calibration is None or calibration["threshold"] is None:
            return {}
        rows = np.flatnonzero((examples["time"] >= self._first) & (examples["time"] < self.period.end))
        rows = rows[cohorts.known_by(examples, rows, self.period.end)]
        known = pd.DataFrame({
            "key": _keys(self.source, examples["node"].iloc[rows]), "time": examples["time"].to_numpy(np.int64)[rows],
            "label": examples["label"].iloc[rows].to_numpy(bool),
        })  # fmt: skip
        answers = log.answers.merge(known, on=["key", "time"], how="inner").sort_values("answered_at", kind="stable")
        wrong = (answers["score"] >= calibration["threshold"]).to_numpy(bool) != answers["label"].to_numpy(bool)
        usual = 1 - float(calibration["expected"]["accuracy"]["value"])
        found: Block = {"answers": len(answers), "tests": {}}
        for test in self.params.streams:
            times = answers["time"].to_numpy(np.int64)[streams.alarms(wrong, test, usual)]
            found["tests"][test] = [int(time) for time in times]
        return found

    @property
    def _clocks(self) -> dict[str, list[int]]:
        """What two clocks tell of one thing differently: how many, of how many."""
        found = {}
        if self._log is not None:
            ahead = self._log.ahead(self.source.graph.clock)
            found["answers for a moment after they were given"] = [ahead, len(self._log.answers)]
        if self._matched is not None:
            found["labels known before their prediction"] = [self._matched.early, self._matched.labelled]
        return found


def score(model: Model, source: Source, rows: Integers, log: served.Log | None = None) -> Floats:
    """Calibrated probabilities of some examples, as served where the log has an answer: float64 ``[n]``.

    Raises:
        ValueError: when a score is not a number.
    """
    from graphmill import predict  # brings torch, and imports `train`, which imports this package

    if len(rows) == 0:
        return np.empty(0)
    examples = source.examples.iloc[rows].reset_index(drop=True)
    scores = np.full(len(rows), np.nan)
    if log is not None:
        scores = log.scores(_keys(source, examples["node"]), examples["time"].to_numpy(np.int64))
    left = np.flatnonzero(np.isnan(scores))
    if len(left):
        some = examples.iloc[left]
        scores[left] = predict.score(model, model.winner, 0, source.graph, source.features, some)
    if not np.all(np.isfinite(scores)):
        raise ValueError(f"{np.sum(~np.isfinite(scores)):,} of {len(scores):,} scores are not numbers")
    return scores


def _keys(source: Source, nodes: pd.Series) -> Any:
    return source.graph.key(source.graph.task.node)[nodes.to_numpy()]


def _with_examples(source: Source, period: Period) -> Source:
    """The source itself, or one in which entities without a moment in the period are judged at its end as well."""
    if source.graph.judges_events or len(source.example_places(period)):
        return source
    there = np.flatnonzero(source.times[source.graph.task.node] < period.end).astype(np.int32)
    end = np.full(len(there), period.end, np.int64)
    label = pd.array([pd.NA] * len(there), dtype="boolean")
    more = pd.DataFrame({"node": there, "time": end, "label": label, "known": end})
    return replace(source, examples=pd.concat([source.examples, more], ignore_index=True))
