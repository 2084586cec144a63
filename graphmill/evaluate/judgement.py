"""Scores of every model on the test part of every split, and what follows from them."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from graphmill import predict
from graphmill.errors import UserError
from graphmill.evaluate.bootstrap import Part
from graphmill.evaluate.groups import groups
from graphmill.evaluate.metrics import Figures, figures, mean_of
from graphmill.evaluate.params import Params
from graphmill.evaluate.slices import check, slices
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.progress import track


@dataclass
class Judgement:
    """What the models scored."""

    SHUFFLED: ClassVar[str] = "shuffled_edges"
    """The winner's scores with neighbours drawn at random."""
    CHAMPION: ClassVar[str] = "champion"

    model: Model
    graph: Graph
    features: Features
    examples: list[pd.DataFrame]
    """The test part of each split."""
    parts: list[Part]
    slices: list[pd.DataFrame]
    thresholds: dict[str, list[float]]
    metrics: dict[str, Figures] = field(default_factory=dict)
    """Means over the splits; the winner first, then the champion."""
    by_split: dict[str, list[Figures]] = field(default_factory=dict)
    milliseconds: float | None = None

    @property
    def metric_name(self) -> str:
        """The task's metric."""
        return self.graph.task.metric

    def measure(self, params: Params) -> None:
        """Fill the figures of every model that was scored; the shuffled control is only for its gate."""
        first = (self.model.winner, self.CHAMPION)
        names = [name for name in first if name in self.thresholds]
        for name in [*names, *(name for name in self.model.names if name not in first)]:
            found = [
                figures(part.label, part.scores[name], self.thresholds[name][split], params.top, params.bins)
                for split, part in enumerate(self.parts)
            ]
            self.by_split[name], self.metrics[name] = found, mean_of(found)

    def by_slice(self, params: Params) -> list[dict[str, Any]]:
        """Figures of the winner in every slice, means over the splits that have it: slice, value, figures."""
        found: dict[tuple[str, str], list[Figures]] = {}
        threshold = self.thresholds[self.model.winner]
        for split, (part, columns) in enumerate(zip(self.parts, self.slices, strict=True)):
            for name in columns:
                for value in columns[name].cat.categories:
                    chosen = (columns[name] == value).to_numpy()
                    rows = found.setdefault((str(name), str(value)), [])
                    if chosen.any():
                        label, score = part.label[chosen], part.scores[self.model.winner][chosen]
                        rows.append(figures(label, score, threshold[split], params.top, params.bins))
        order = list(dict.fromkeys(name for name, _ in found))
        return [
            {"slice": name, "value": value, "figures": mean_of(rows)}
            for (name, value), rows in sorted(found.items(), key=lambda item: order.index(item[0][0]))
            if rows
        ]


def score_all(model: Model, graph: Graph, features: Features, params: Params) -> Judgement:
    """Score every model, and the winner over shuffled edges, on the test part of every split.

    Raises:
        UserError: for a test part with one class, a guarded slice that no example is in, scores that are not
            numbers, models of another number of splits, features of another graph.
    """
    made_from = features.artifact.lineage.get("inputs", {}).get("graph", graph.artifact.digest)
    if made_from != graph.artifact.digest:
        raise UserError(f"{features.artifact.path}: made from another graph than {graph.path}; run `features` again")
    if model.split_count != features.split_count:
        raise UserError(f"the model has {model.split_count} splits, the features {features.split_count}; train again")
    count = model.split_count
    tests = [_test_part(features, split) for split in range(count)]
    found = [slices(test, graph.task.node, graph.clock) for test in tests]
    check(params.guarded_slices, found)
    thresholds = {name: [model.threshold(name, split) for split in range(count)] for name in model.names}
    shuffled = graph.shuffled(params.seed) if "worse_with_shuffled_edges" in params.gates else None
    parts = []
    for split in track(range(count), "evaluate"):
        test = tests[split]
        scores = {name: predict.score(model, name, split, graph, features, test) for name in model.names}
        if shuffled is not None:
            scores[Judgement.SHUFFLED] = predict.score(model, model.winner, split, shuffled, features, test)
        for name, values in scores.items():
            if not np.isfinite(values).all():
                raise UserError(f"{model.path}: model {name!r} gives scores that are not numbers; train it again")
        group = None if params.group is None else groups(graph, test, params.group)
        parts.append(Part(test["label"].to_numpy(dtype=bool), scores, group))
    return Judgement(model, graph, features, tests, parts, found, thresholds)


def _test_part(features: Features, split: int) -> pd.DataFrame:
    """The labelled test examples of a split."""
    examples = features.examples
    chosen = (examples[f"split_{split}"] == "test") & examples["label"].notna()
    test = examples[chosen].reset_index(drop=True)
    positives = int(test["label"].sum())
    if positives in (0, len(test)):
        raise UserError(
            f"{features.artifact.path}: the test part of split {split} has {positives} positives among {len(test)} "
            "labelled examples: nothing can be judged; change task.split or the as-of moment"
        )
    return test
