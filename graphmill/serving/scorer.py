"""The judgement of a batch of instances: read their neighbourhoods as they are now, one forward, calibrate."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphmill.clock import ALWAYS, moment, text
from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.graph.sample import Fanout
from graphmill.model import Model
from graphmill.serving.explanation import Explainer
from graphmill.serving.gathered import Engine
from graphmill.serving.hidden import Hidden
from graphmill.serving.instance import Answer, Instance, Options, Refusal
from graphmill.serving.live.stage import Stage, Tally
from graphmill.serving.live.store import Live
from graphmill.serving.nearby import Nearby
from graphmill.serving.reader import Reader, Timer

MICROSECOND = 1_000
"""Nanoseconds."""


class Scorer:
    """One model on one live graph. Not for two threads at once.

    Args:
        model: the model folder.
        engine: its winner, ready to compute.
        live: the graph.
        fanouts: edges per relation and hop.
        recent: whether the newest edges are taken.
        seed: seed of the draws.
        hidden: stored rows, so that one hop less is read; explanations read all.

    Raises:
        UserError: when the graph lacks what the model needs, or the model takes no stored rows.
    """

    def __init__(
        self,
        model: Model,
        engine: Engine,
        live: Live,
        fanouts: Sequence[Fanout],
        recent: bool,
        seed: int,
        hidden: Hidden | None = None,
    ) -> None:
        self.live, self.engine = live, engine
        self.node = live.graph.task.node
        self.tally = Tally()
        self._inputs = Inputs(live.graph.only(model.relations), live.features, model.transforms(0))
        room = {node: live.room(node) for node in live.graph.nodes}
        self._reader = Reader(self._inputs, self.node, fanouts, recent, seed, room)
        self.nearby = Nearby(self._reader, engine, hidden, self.node) if hidden is not None else None
        self._slope, self._intercept = model.calibration(model.winner, 0)
        self._threshold = model.threshold(model.winner, 0)
        self._counts: list[int] = []
        self._explainer = Explainer(self._inputs, live, self._reader, engine, self._slope)

    def answer(
        self, instances: Sequence[Instance], options: Options, now: int, timer: Timer | None = None
    ) -> list[Answer | Refusal]:
        """Judge instances, each by itself: what one brings along is seen by no other.

        Args:
            instances: what is asked.
            options: what is wanted beside the score.
            now: the moment of those that name none, in the schema's clock.
            timer: is told how long sampling, gathering and the network took, in seconds.
        """
        stage = Stage(self.live)
        found: list[tuple[int, int, bool] | Refusal] = [self._placed(stage, item, now) for item in instances]
        chosen = [item for item in found if not isinstance(item, Refusal)]
        answers = iter(self._judged(chosen, options, now, timer) if chosen else [])
        self.tally = stage.tally
        return [
            item if isinstance(item, Refusal) else self._answer(instance, item, next(answers))
            for instance, item in zip(instances, found, strict=True)
        ]

    def _placed(self, stage: Stage, instance: Instance, now: int) -> tuple[int, int, bool] | Refusal:
        """Id, moment, and whether the graph has the node."""
        try:
            return self._found(stage, instance, now)
        except UserError as error:
            return Refusal(str(error))

    def _found(self, stage: Stage, instance: Instance, now: int) -> tuple[int, int, bool]:
        live, key = self.live, str(instance.id)
        given = None if instance.at is None else moment(instance.at, live.graph.clock, "at")
        brings = bool(instance.columns or instance.links or instance.edges)
        if live.is_new(self.node, key) and (brings or key not in live.keys[self.node]):
            if not brings:
                raise UserError(f"no {self.node} {key[:60]!r}; give its columns, links and edges to judge a new one")
            at = now if given is None else given
            return stage.add(instance, at), at, False
        place = live.keys[self.node][key]
        born = int(live.time(self.node)[place])
        events = live.graph.judges_events
        at = given if given is not None else born if events and born != ALWAYS else now
        if born > at or (born == at and not events):
            when = text(born, live.graph.clock)
            told = f"{self.node} {key[:60]!r} is not there yet at {text(at, live.graph.clock)}"
            raise UserError(f"{told}: it is from {when}")
        if instance.columns:
            place = stage.copy(place, instance.columns)
        return place, at, True

    def _judged(
        self, chosen: list[tuple[int, int, bool]], options: Options, now: int, timer: Timer | None
    ) -> list[Any]:
        """Score, embedding and explanation of each."""
        self._know()
        ids, times = np.array([item[0] for item in chosen], np.int32), np.array([item[1] for item in chosen], np.int64)
        embeddings, raw = self._forward(ids, times, now, timer)
        scores = [_probability(self._slope * value + self._intercept) for value in raw.tolist()]
        embedded: list[Any] = [None] * len(chosen)
        if options.embedding and self.engine.hidden:
            embedded = list(np.array(embeddings))
        reasons: list[Any] = [None] * len(chosen)
        if options.explanation:
            reasons = [
                self._explainer.explain(self._reader.read(ids[place : place + 1], times[place : place + 1]))
                for place in range(len(chosen))
            ]
        return list(zip(scores, embedded, reasons, strict=True))

    def _forward(self, ids: Any, times: Any, now: int, timer: Timer | None) -> tuple[Any, Any]:
        if self.nearby is not None:
            return self.nearby.forward(ids, times, now, timer)
        batch = self._reader.read(ids, times, timer)
        start = time.perf_counter()
        found = self.engine.forward(batch)
        if timer is not None:
            timer("network", time.perf_counter() - start)
        return found

    def renew(self, moment: int) -> bool:
        """Compute a few stored rows that are lacking, as of a moment; whether there were any."""
        if self.nearby is None:
            return False
        self._know()
        return self.nearby.renew(moment)

    def _know(self) -> None:
        counts = [len(names) for names in self.live.names.values()]
        if counts != self._counts:
            self._reader.know(dict(zip(self.live.names, counts, strict=True)))
            self._counts = counts

    def _answer(self, instance: Instance, item: tuple[int, int, bool], judged: Any) -> Answer:
        score, embedding, reasons = judged
        return Answer(str(instance.id), score, score >= self._threshold, item[2], item[1], embedding, reasons)


def _probability(logit: float) -> float:
    """As ``train.calibration`` has it; a batch is too short for numpy to pay."""
    return 1.0 / (1.0 + math.exp(-min(max(logit, -50.0), 50.0)))


def now(live: Live, newest: int) -> int:
    """The moment of a question that names none: the time of day, or the step after the newest one known.

    Args:
        live: the graph.
        newest: the newest moment of an event applied.
    """
    if live.graph.clock == "timestamp":
        return time.time_ns() // MICROSECOND
    return max(newest, live.graph.as_of - 1) + 1
