"""The champion, judged beside the candidate on the same examples."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphmill import predict, registry
from graphmill.errors import UserError
from graphmill.evaluate.bootstrap import Bootstrap, Part
from graphmill.evaluate.judgement import Judgement
from graphmill.evaluate.metrics import Scores
from graphmill.evaluate.params import Params
from graphmill.evaluate.seen import seen
from graphmill.evaluate.slices import inside
from graphmill.model import Model


@dataclass(frozen=True)
class Champion:
    """The model that is in production."""

    version: str
    digest: str
    winner: str
    problem: str | None = None
    """Why it cannot be judged on today's examples."""
    seen: str | None = None
    """Why it may have learned from some of them."""
    same: bool = False
    """Whether the candidate is the champion itself."""


def judge(judgement: Judgement, params: Params) -> Champion | None:
    """Score the champion on every test part; None where there is none.

    Raises:
        UserError: when the registry is damaged.
    """
    home = registry.open(params.registry)
    if "champion" not in home.aliases():
        return None
    version = home.resolve("champion")
    model = Model.open(home.path(version))
    try:
        _check(model, judgement)
        scores = [_scores(model, split, judgement) for split in range(len(judgement.parts))]
    except UserError as error:
        return Champion(version, model.artifact.digest, model.winner, str(error))
    for part, values in zip(judgement.parts, scores, strict=True):
        part.scores[judgement.CHAMPION] = values
    judgement.thresholds[judgement.CHAMPION] = [
        model.threshold(model.winner, split) for split in range(model.split_count)
    ]
    digest = model.artifact.digest
    same = digest == judgement.model.artifact.digest
    return Champion(version, digest, model.winner, seen=seen(model, judgement), same=same)


def guarded(judgement: Judgement, params: Params) -> list[dict[str, Any]]:
    """Candidate against champion in each guarded slice.

    A slice is small, so it fails only on evidence: when the candidate is behind by more than the margin
    and the whole interval says that it is behind. A slice with one class cannot be judged: no value.
    """
    names = (judgement.model.winner, judgement.CHAMPION)
    rows = []
    for wanted in params.guarded_slices:
        row: dict[str, Any] = {"slice": wanted, "passed": True, "value": None, "low": None, "high": None}
        if parts := _inside(judgement, wanted, names):
            value, low, high = Bootstrap(parts, judgement.metric_name, params).difference(*names)
            passed = value >= -params.margin or high >= 0
            row |= {"passed": passed, "value": value, "low": low, "high": high}
        rows.append(row)
    return rows


def _inside(judgement: Judgement, wanted: str, names: tuple[str, str]) -> list[Part]:
    """The slice's share of each test part that has both classes there."""
    parts = []
    for part, found in zip(judgement.parts, judgement.slices, strict=True):
        chosen = inside(found, wanted)
        label = part.label[chosen]
        if label.any() and not label.all():
            group = None if part.group is None else part.group[chosen]
            parts.append(Part(label, {name: part.scores[name][chosen] for name in names}, group))
    return parts


def _scores(model: Model, split: int, judgement: Judgement) -> Scores:
    examples = judgement.examples[split]
    scores = predict.score(model, model.winner, split, judgement.graph, judgement.features, examples)
    if not np.isfinite(scores).all():
        raise UserError("it gives scores that are not numbers")
    return scores


def _check(model: Model, judgement: Judgement) -> None:
    """Whether the champion answers the same question about the same kind of graph."""
    if model.split_count != judgement.model.split_count:
        raise UserError(f"it was trained on {model.split_count} splits, not {judgement.model.split_count}")
    task, now = model.manifest["task"], judgement.graph.task.canonical()
    asked = [f"{one['label']['column']} of {one['node']}" for one in (task, now)]
    if asked[0] != asked[1]:
        raise UserError(f"it predicts {asked[0]}, not {asked[1]}")
    shape, graph = model.manifest["architecture"], judgement.graph
    absent = (set(shape["inputs"]) - set(graph.nodes)) | (set(model.relations) - set(graph.relations))
    if absent:
        raise UserError(f"it needs relations or node types that the graph does not have: {', '.join(sorted(absent))}")
