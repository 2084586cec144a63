"""Scores of every model on the test part of every split, and what follows from them."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd

from graphmill import predict
from graphmill.errors import UserError
from graphmill.evaluate.bootstrap import Part
from graphmill.evaluate.metrics import Figures, figures, mean_of
from graphmill.evaluate.params import Params
from graphmill.evaluate.slices import slices
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
    """Means over the splits."""
    by_split: dict[str, list[Figures]] = field(default_factory=dict)
    milliseconds: float | None = None

    @property
    def metric_name(self) -> str:
        """The task's metric."""
        return self.graph.task.metric

    def measure(self, params: Params) -> None:
        """Fill the figures of every model that was scored; the shuffled control is only for its gate."""
        for name in self.parts[0].scores:
            if name == self.SHUFFLED:
                continue
            found = [
                figures(part.label, part.scores[name], self.thresholds[name][split], params.top, params.bins)
                for split, part in enumerate(self.parts)
            ]
            self.by_split[name], self.metrics[name] = found, mean_of(found)


def score_all(model: Model, graph: Graph, features: Features, params: Params) -> Judgement:
    """Score every model, and the winner over shuffled edges, on the test part of every split.

    Raises:
        UserError: for a test part with one class, scores that are not numbers, models of another number of splits.
    """
    if model.split_count != features.split_count:
        raise UserError(f"the model has {model.split_count} splits, the features {features.split_count}; train again")
    found = Judgement(model, graph, features, [], [], [], {
        name: [model.threshold(name, split) for split in range(model.split_count)] for name in model.names
    })  # fmt: skip
    shuffled = graph.shuffled(params.seed) if "worse_with_shuffled_edges" in params.gates else None
    for split in track(range(model.split_count), "evaluate"):
        examples = features.examples
        chosen = (examples[f"split_{split}"] == "test") & examples["label"].notna()
        test = examples[chosen].reset_index(drop=True)
        label = test["label"].to_numpy(dtype=bool)
        if len(label) == 0 or label.all() or not label.any():
            raise UserError(f"the test part of split_{split} has {int(label.sum())} positives among {len(label)}")
        scores = {name: predict.score(model, name, split, graph, features, test) for name in model.names}
        if shuffled is not None:
            scores[Judgement.SHUFFLED] = predict.score(model, model.winner, split, shuffled, features, test)
        for name, values in scores.items():
            if not np.isfinite(values).all():
                raise UserError(f"model {name!r} gives scores that are not numbers; train it again")
        found.examples.append(test)
        found.parts.append(Part(label, scores))
        found.slices.append(slices(test, graph.task.node, graph.clock))
    return found
