"""The champion, judged beside the candidate on the same examples."""

from dataclasses import dataclass

from graphmill import predict, registry
from graphmill.errors import UserError
from graphmill.evaluate.judgement import Judgement
from graphmill.evaluate.metrics import metric
from graphmill.evaluate.params import Params
from graphmill.model import Model


@dataclass(frozen=True)
class Champion:
    """The model that is in production."""

    version: str
    digest: str
    winner: str
    problem: str | None = None
    """Why it cannot be judged on today's examples."""


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
        if model.split_count != judgement.model.split_count:
            raise UserError(f"it was trained on {model.split_count} splits, not {judgement.model.split_count}")
        for split, examples in enumerate(judgement.examples):
            scores = predict.score(model, model.winner, split, judgement.graph, judgement.features, examples)
            judgement.parts[split].scores[judgement.CHAMPION] = scores
    except UserError as error:
        return Champion(version, model.artifact.digest, model.winner, str(error))
    judgement.thresholds[judgement.CHAMPION] = [
        model.threshold(model.winner, split) for split in range(model.split_count)
    ]
    return Champion(version, model.artifact.digest, model.winner)


def worse_slices(judgement: Judgement, params: Params) -> list[str]:
    """Guarded slices in which the candidate falls behind the champion by more than the margin.

    Raises:
        UserError: for a slice that no test example is in.
    """
    behind = []
    for wanted in params.guarded_slices:
        name, _, value = wanted.partition("=")
        columns = judgement.slices[0]
        if name not in columns or value not in set(columns[name]):
            known = ", ".join(f"{item}={one}" for item in columns for one in sorted(columns[item].unique())[:5])
            raise UserError(f"evaluate.guarded_slices: no test example is in {wanted!r}; there are {known}")
        inside = (columns[name] == value).to_numpy()
        part = judgement.parts[0]
        label = part.label[inside]
        if not label.any() or label.all():
            continue
        values = [
            metric(judgement.metric_name, label, part.scores[model][inside])
            for model in (judgement.model.winner, judgement.CHAMPION)
        ]
        if values[0] - values[1] < -params.margin:
            behind.append(f"{wanted} ({values[0] - values[1]:+.3f})")
    return behind
