"""Columns that alone separate the classes: too good to be true, more often than not."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from graphmill.features.store import Features
from graphmill.graph.store import Graph

MOST = 50_000


def suspects(graph: Graph, features: Features, bound: float) -> list[dict[str, object]]:
    """Every raw and point-in-time column of the task's nodes whose ROC-AUC alone reaches the bound.

    Returns:
        ``column`` and ``roc_auc`` (the better direction), best first.
    """
    node = graph.task.node
    examples = features.examples[features.examples["label"].notna()]
    if len(examples) > MOST:
        label = examples["label"].to_numpy(dtype=bool)
        negative = np.flatnonzero(~label)
        step = max(1, round(len(negative) / MOST))
        examples = examples.iloc[np.sort(np.concatenate([np.flatnonzero(label)[:MOST], negative[::step]]))]
    ids, times = examples["node"].to_numpy(np.int32), examples["time"].to_numpy(np.int64)
    label = examples["label"].to_numpy(dtype=bool)
    own = [field.name for field in features.columns[node]]
    columns = list(zip(own, np.asarray(features.nodes[node][ids]).T, strict=True))
    columns += list(zip(features.state_names(graph, node), features.state(graph, node, ids, times).T, strict=True))
    found = [{"column": name, "roc_auc": value} for name, values in columns if (value := _auc(label, values)) >= bound]
    return sorted(found, key=lambda item: (-float(str(item["roc_auc"])), str(item["column"])))


def _auc(label: NDArray[np.bool_], values: NDArray[np.float32]) -> float:
    """ROC-AUC in the better direction; missing counts as lower, and as higher, than every value."""
    there = ~np.isnan(values)
    if not there.any() or pd.Series(values[there]).nunique() < 2 and there.all():
        return 0.5
    low, high = np.nanmin(values), np.nanmax(values)
    best = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for filled in (np.where(there, values, low - 1), np.where(there, values, high + 1)):
            area = float(roc_auc_score(label, filled))
            best = max(best, area, 1 - area)
    return best
