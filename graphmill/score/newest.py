"""How the scores of the newest period lie beside those of the model's past: a profile, made part by part."""

import numpy as np
import pandas as pd

from graphmill.drift import baseline, predictions, profile
from graphmill.drift.baseline import Past
from graphmill.drift.periods import newest_period
from graphmill.drift.source import Floats, Source
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.progress import say


class Newest:
    """The profile of the newest period's scores, measured with what the model froze at its training.

    Args:
        past: the model's.
        graph: today's.
        features: today's.
        until: where the period ends.

    Attributes:
        profile: its block ``predictions`` is of all rows that were added, which lie in the newest period.
    """

    def __init__(self, past: Past, graph: Graph, features: Features, until: int) -> None:
        self._past, self._events = past, graph.judges_events
        self._period = newest_period(until, past.reference)
        self._head = profile.head(Source(graph, features, features.examples), self._period)
        self.profile = {**self._head, "predictions": {"examples": 0}}

    @classmethod
    def of(cls, model: Model, graph: Graph, features: Features, until: int) -> "Newest | None":
        """None, and why is told, for a model without a baseline: its scores are wanted all the same."""
        try:
            past = baseline.read(model.path)
        except UserError as error:
            say(f"score: no profile of the scores is written: {error}")
            return None
        return None if past.reference["scores"] is None else cls(past, graph, features, until)

    def add(self, rows: pd.DataFrame, scores: Floats) -> None:
        """Take up a part of the scores.

        Args:
            rows: columns ``node`` and ``time`` ``[n]``.
            scores: calibrated probabilities, float64 ``[n]``.
        """
        if self._events:  # entities are all judged at one moment
            scores = scores[self._period.holds(rows["time"].to_numpy(np.int64))]
        if len(scores):
            summary = predictions.summary(scores, self._past.reference["scores"])
            block = {"examples": len(scores), "scores": summary, "slices": {}}
            self.profile = profile.merge(self.profile, {**self._head, "predictions": block}, self._past.reference)

    def words(self) -> str:
        """The share of positive decisions, beside those of the model's past periods; empty where there is none."""
        blocks = [self.profile, *self._past.history]
        now, *before = (one["predictions"].get("scores", {}).get("above") for one in blocks)
        usual = [share for share in before if share is not None]
        if now is None or not usual:
            return ""
        return (
            f"; {now:.2%} of the newest period's are positive, {min(usual):.2%} to {max(usual):.2%} in the model's past"
        )
