"""Which model wins: the simplest that is not shown to be behind the best (one standard error; Breiman et al., 1984).

Validation parts are small and differences on them mostly chance; a network that wins by chance fails at the gates.
"""

from typing import Any

import numpy as np

from graphmill.train.examples import labels

RESAMPLES = 200
ONE_STANDARD_ERROR = 0.683
"""The share of a normal distribution that lies within one standard deviation."""


def choose(names: list[str], results: list[dict[str, Any]], metric: str, seed: int) -> str:
    """The first of ``names`` that is within one standard error of the best on the validation parts.

    Args:
        names: from the simplest to the most demanding.
        results: for every split and name ``validation`` and ``scores`` (examples and probabilities).
        metric: the task's metric.
        seed: of the resampling.
    """
    from graphmill.evaluate.bootstrap import Bootstrap, Part  # evaluate imports this package
    from graphmill.evaluate.params import Params

    best = max(names, key=lambda name: float(np.mean([result[name]["validation"] for result in results])))
    parts = [
        Part(labels(result[best]["scores"][0]) == 1, {name: result[name]["scores"][1] for name in names})
        for result in results
    ]
    params = Params(bootstrap=RESAMPLES, confidence=ONE_STANDARD_ERROR, seed=seed)
    bootstrap = Bootstrap(parts, metric, params)
    return next(name for name in names if name == best or bootstrap.difference(best, name)[1] <= 0)
