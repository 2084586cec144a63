"""The gates: what a candidate must show before it may become the champion.

What must be shown is shown by an interval, not by a value: "better" when all of it lies above 0, "not worse" when all
of it lies above the margin that is tolerated. On a test part too small to tell, the gate does not open.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from graphmill import predict
from graphmill.evaluate.bootstrap import Bootstrap
from graphmill.evaluate.champion import Champion, guarded
from graphmill.evaluate.judgement import Judgement
from graphmill.evaluate.metrics import chance_errors
from graphmill.evaluate.params import Params

LATENCY_EXAMPLES = 32


@dataclass(frozen=True)
class Gate:
    """One gate: passed when ``value`` keeps to ``bound``, which ``meaning`` says in words."""

    name: str
    passed: bool
    value: float | None
    bound: float | None
    meaning: str
    low: float | None = None
    high: float | None = None
    slices: list[dict[str, Any]] = field(default_factory=list)
    """The same for each guarded slice."""

    def canonical(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def check(judgement: Judgement, bootstrap: Bootstrap, champion: Champion | None, params: Params) -> list[Gate]:
    """The gates that count, in their order."""
    gates: dict[str, Callable[[], Gate]] = {
        "better_than_features_only": lambda: _better(judgement, bootstrap),
        "not_worse_than_neighbour_trees": lambda: _not_worse(judgement, bootstrap, params),
        "worse_with_shuffled_edges": lambda: _shuffled(judgement, bootstrap),
        "not_worse_than_champion": lambda: _champion(judgement, bootstrap, champion, params),
        "calibrated": lambda: _calibrated(judgement, params),
        "fast_enough": lambda: _fast(judgement, params),
        "small_enough": lambda: _small(judgement, params),
    }
    return [gates[name]() for name in gates if name in params.gates]


def _better(judgement: Judgement, bootstrap: Bootstrap) -> Gate:
    winner, other = judgement.model.winner, "features_only"
    name = "better_than_features_only"
    if winner == other:
        return Gate(name, False, 0.0, 0.0, "the winner is the model on the node's own columns: the graph earns nothing")
    value, low, high = bootstrap.difference(winner, other)
    meaning = f"{winner} minus {other}: the interval must lie above the bound"
    return Gate(name, low > 0, value, 0.0, meaning, low, high)


def _not_worse(judgement: Judgement, bootstrap: Bootstrap, params: Params) -> Gate:
    winner, other, bound = judgement.model.winner, "neighbour_trees", -params.margin
    name = "not_worse_than_neighbour_trees"
    if winner == other:
        return Gate(name, True, 0.0, bound, f"the winner is {other} itself")
    value, low, high = bootstrap.difference(winner, other)
    meaning = f"{winner} minus {other}: the interval must not reach below the bound"
    return Gate(name, low >= bound, value, bound, meaning, low, high)


def _shuffled(judgement: Judgement, bootstrap: Bootstrap) -> Gate:
    value, low, high = bootstrap.difference(judgement.model.winner, judgement.SHUFFLED)
    meaning = "the same model minus itself with neighbours drawn at random: the interval must lie above the bound"
    return Gate("worse_with_shuffled_edges", low > 0, value, 0.0, meaning, low, high)


def _champion(judgement: Judgement, bootstrap: Bootstrap, champion: Champion | None, params: Params) -> Gate:
    name, bound = "not_worse_than_champion", -params.margin
    if champion is None:
        return Gate(name, True, None, bound, "there is no champion yet")
    if champion.problem is not None:
        meaning = f"champion {champion.version} cannot be compared: {champion.problem}; if that is meant, "
        return Gate(name, False, None, bound, meaning + "leave this gate out of evaluate.gates for one run")
    value, low, high = bootstrap.difference(judgement.model.winner, judgement.CHAMPION)
    slices = guarded(judgement, params)
    behind = [row["slice"] for row in slices if not row["passed"]]
    meaning = f"{judgement.model.winner} minus champion {champion.version} ({champion.winner}), on the same examples: "
    meaning += "the interval must not reach below the bound"
    meaning += "; it is the same model" if champion.same else ""
    meaning += f"; worse in {', '.join(behind)}" if behind else ""
    meaning += f"; but {champion.seen}" if champion.seen else ""
    return Gate(name, low >= bound and not behind, value, bound, meaning, low, high, slices)


def _calibrated(judgement: Judgement, params: Params) -> Gate:
    """On few examples true scores show an error too: what they show by chance is allowed."""
    winner, bound = judgement.model.winner, params.maximum_calibration_error
    value, meaning = judgement.metrics[winner]["calibration_error"], "expected calibration error of the winner"
    assert value is not None  # both classes are there
    if value > bound:
        scores = [part.scores[winner] for part in judgement.parts]
        chance = [chance_errors(score, params.bins, params.bootstrap, params.seed) for score in scores]
        bound = max(bound, float(np.quantile(np.mean(chance, axis=0), params.confidence)))
        if bound > params.maximum_calibration_error:
            meaning += f"; on so few examples true scores show up to {bound:.3f} by chance"
    return Gate("calibrated", value <= bound, value, bound, meaning)


def _fast(judgement: Judgement, params: Params) -> Gate:
    """The time itself is told, not stored: the same model must give the same bytes on any machine."""
    examples = judgement.examples[0].iloc[:: max(1, len(judgement.examples[0]) // LATENCY_EXAMPLES)]
    model = judgement.model
    spent = predict.milliseconds(
        model, model.winner, judgement.graph, judgement.features, examples.iloc[:LATENCY_EXAMPLES]
    )
    judgement.milliseconds = spent
    meaning = "median milliseconds to score one example alone; the time itself is printed, not stored"
    return Gate("fast_enough", spent <= params.maximum_milliseconds, None, params.maximum_milliseconds, meaning)


def _small(judgement: Judgement, params: Params) -> Gate:
    value, bound = round(judgement.model.size_bytes / 1e6, 3), params.maximum_megabytes
    return Gate("small_enough", value <= bound, value, bound, "megabytes of the model folder")
