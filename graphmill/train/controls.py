"""The control models: gradient-boosted trees (LightGBM), which are cheap and often win."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.features.inputs import Inputs
from graphmill.train import neighbourhood
from graphmill.train.examples import balanced, labels, limited
from graphmill.train.params import Controls, Params

Matrix = NDArray[np.float32]
NAMES = ("features_only", "neighbour_trees")
CHUNK = 16_384
"""Examples described and scored at once: bounds the memory."""


def train(name: str, inputs: Inputs, examples: pd.DataFrame, validation: pd.DataFrame, params: Params) -> list[str]:
    """Fit one control model; only the examples that it is grown on are described."""
    rows = balanced(labels(examples), params.controls.negatives, [params.seed, 2])
    held = limited(len(validation), params.validation_limit, labels(validation), [params.seed, 1])
    pairs = [
        (_describe(name, inputs, chosen, params), labels(chosen))
        for chosen in (examples.iloc[np.sort(rows)], validation.iloc[held])
    ]
    return fit(pairs[0], pairs[1], inputs.graph.task.metric, params.controls, params.seed, params.threads)


def score_examples(
    name: str, models: list[str], inputs: Inputs, examples: pd.DataFrame, params: Params
) -> NDArray[np.float64]:
    """Raw scores of examples: float64 ``[n]``."""
    parts = [examples.iloc[first : first + CHUNK] for first in range(0, len(examples), CHUNK)]
    return np.concatenate([score(models, _describe(name, inputs, part, params)) for part in parts])


def _describe(name: str, inputs: Inputs, examples: pd.DataFrame, params: Params) -> Matrix:
    return neighbourhood.describe(name, inputs, examples, params.controls.fanouts, params.recent, params.seed)


def fit(
    train: tuple[Matrix, NDArray[np.float32]],
    validation: tuple[Matrix, NDArray[np.float32]],
    metric: str,
    params: Controls,
    seed: int,
    threads: int,
) -> list[str]:
    """Boost until the validation metric stops rising.

    Args:
        train: inputs ``[n, F]`` (NaN allowed) and labels ``[n]``.
        validation: the same.
        metric: the task's metric.
        params: how the trees grow.
        seed: seed of rows and columns drawn.
        threads: number of threads.

    Returns:
        One model a bag, in LightGBM's text format; none where there is no column to learn from.
    """
    if train[0].shape[1] == 0:
        return []
    options = {
        "objective": "binary",
        "metric": "auc" if metric == "roc_auc" else "average_precision",
        "learning_rate": params.learning_rate,
        "num_leaves": params.leaves,
        "min_data_in_leaf": params.minimum_leaf,
        "feature_fraction": params.column_share,
        "bagging_fraction": params.row_share,
        "bagging_freq": 1,
        "lambda_l2": params.regularisation,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    models = []
    for bag in range(params.bags):
        data = lightgbm.Dataset(train[0], train[1])
        booster = lightgbm.train(
            options | {"seed": seed + bag},
            data,
            params.rounds,
            valid_sets=[lightgbm.Dataset(validation[0], validation[1], reference=data)],
            callbacks=_stopping(params),
        )
        models.append(booster.model_to_string(num_iteration=booster.best_iteration))
    return models


def _stopping(params: Controls) -> list[Any]:
    if isinstance(params.patience, str):
        return []
    return [lightgbm.early_stopping(params.patience, verbose=False)]


def save(models: list[str], folder: Path, name: str) -> None:
    """Write one text file a bag."""
    for bag, model in enumerate(models):
        (folder / f"{name}_{bag}.txt").write_text(model, encoding="utf-8")


def score(models: list[str], matrix: Matrix) -> NDArray[np.float64]:
    """Mean raw score (log odds) over the bags, 0 without any: float64 ``[n]``."""
    total = np.zeros(len(matrix))
    for model in models:
        total += np.asarray(lightgbm.Booster(model_str=model).predict(matrix, raw_score=True, num_threads=1))
    return total / max(len(models), 1)
