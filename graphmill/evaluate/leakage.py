"""Columns that alone separate the classes: too good to be true, more often than not."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill import predict
from graphmill.evaluate.judgement import Judgement
from graphmill.evaluate.ranking import Ranking
from graphmill.features.inputs import Inputs
from graphmill.train import neighbourhood

MOST = 50_000
"""So many examples of each class are looked at."""
NEIGHBOURS = 20
Values = NDArray[np.float32]


def suspects(judgement: Judgement, bound: float) -> list[dict[str, object]]:
    """Every column that a model reads whose ROC-AUC alone reaches the bound.

    Looked at are the columns of the task's nodes, their state as of each example's time, and the means over their
    neighbours' and edges' columns.

    Returns:
        ``column`` and ``roc_auc`` (the better direction), best first.
    """
    labelled = judgement.features.examples[judgement.features.examples["label"].notna()]
    label = labelled["label"].to_numpy(dtype=bool)
    places = [np.flatnonzero(label == value) for value in (True, False)]
    kept = np.sort(np.concatenate([one[:: max(1, -(-len(one) // MOST))] for one in places]))
    examples, label = labelled.iloc[kept], label[kept]
    areas: dict[str, float] = {}
    for name, values, nominal in _columns(judgement, examples):
        areas[name] = max(areas.get(name, 0.0), _nominal(label, values) if nominal else _area(label, values))
    found = sorted((-area, name) for name, area in areas.items() if area >= bound)
    return [{"column": name, "roc_auc": -area} for area, name in found]


def _columns(judgement: Judgement, examples: pd.DataFrame) -> Iterator[tuple[str, Values, bool]]:
    """Name, values of the examples, and whether they are categories."""
    graph, features = judgement.graph, judgement.features
    node = graph.task.node
    ids, times = examples["node"].to_numpy(np.int32), examples["time"].to_numpy(np.int64)
    own = np.asarray(features.nodes[node][ids])
    for place, field in enumerate(features.columns[node]):
        yield field.name, own[:, place], field.vocabulary is not None
    state = features.state(graph, node, ids, times)
    for place, name in enumerate(features.state_names(graph, node)):
        yield name, state[:, place], False
    inputs = predict.inputs_of(judgement.model, 0, graph, features)
    means, names = neighbourhood.aggregates(inputs, examples, [NEIGHBOURS], recent=True, seed=0)
    told = _told(inputs, node)
    for place, name in enumerate(names):
        if name in told:
            yield name, means[:, place], False


def _told(inputs: Inputs, node: str) -> set[str]:
    """Names of what tables say of neighbours and edges: not what the time or known labels of others say."""
    found: set[str] = set()
    for relation in inputs.graph.incoming(node):
        edge = inputs.relation[relation].edge
        found |= {f"{relation} < {name}" for name in inputs.nodes[inputs.graph.relations[relation].source].names}
        found |= {f"{relation} < edge {name}" for name in (inputs.edges[edge].names if edge else [])}
    return found


def _nominal(label: NDArray[np.bool_], values: Values) -> float:
    """ROC-AUC of categories, each scored by its share of positives in the other half of the examples."""
    codes = np.where(np.isnan(values), 0, values + 1).astype(np.int64)
    half = np.arange(len(label)) % 2 == 0
    if min(label[half].sum(), (~label[half]).sum(), label[~half].sum(), (~label[~half]).sum()) == 0:
        return 0.5
    size = codes.max() + 1
    count = np.bincount(codes[half], minlength=size) + 1.0
    share = (np.bincount(codes[half], label[half], minlength=size) + label.mean()) / count
    return _ordered(label[~half], share[codes[~half]])


def _area(label: NDArray[np.bool_], values: Values) -> float:
    """ROC-AUC in the better direction; missing counts as lower, and as higher, than every value."""
    missing = np.isnan(values)
    place = np.unique(values[~missing], return_inverse=True)[1].astype(np.float64)
    ranks = np.full(len(values), -1.0)
    ranks[~missing] = place
    areas = [_ordered(label, ranks)]
    if missing.any():
        areas.append(_ordered(label, np.where(missing, len(values), ranks)))
    return max(max(area, 1 - area) for area in areas)


def _ordered(label: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    return Ranking(label, score).metric("roc_auc", np.ones(len(label), np.int64))
