"""Boosted trees as LightGBM writes them, read into flat arrays and walked by one compiled loop."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill.errors import UserError

CATEGORICAL, DEFAULT_LEFT = 1, 2
"""Bits of a split's decision type; the two above say what counts as missing."""
NEVER, ZERO, NAN = range(3)
"""What counts as missing at a split."""
NEARLY_ZERO = float(np.float32(1e-35))
"""LightGBM's kZeroThreshold, a float there too: the nearest one lies above 1e-35."""


class Forest(NamedTuple):
    """All trees of all bags; a node below 0 is a leaf, ``~leaf`` its number within its tree."""

    roots: NDArray[np.int64]
    """``[trees]``: first split of each tree; -1 where a tree is a single leaf."""
    leaves: NDArray[np.int64]
    """``[trees]``: first leaf of each tree."""
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    decision: NDArray[np.int8]
    children: NDArray[np.int32]
    """``[splits, 2]``: left and right, within the tree."""
    value: NDArray[np.float64]
    """Of each leaf."""
    bags: int
    columns: int
    """Of the rows that the trees were grown on; 0 without any tree."""
    name: str
    """What to call them in errors."""

    @classmethod
    def read(cls, models: list[str], name: str) -> "Forest":
        """Read models in LightGBM's text format.

        Args:
            models: one text a bag.
            name: what to call them in errors.

        Raises:
            UserError: for trees of a kind that is not walked here.
        """
        columns = {_columns(text, name) for text in models}
        if len(columns) > 1:
            raise UserError(f"{name}: its bags were grown on rows of different widths; train the model again")
        trees = [tree for text in models for tree in _trees(text, name)]
        splits = [len(tree.get("split_feature", ())) for tree in trees]
        leaves = [len(tree["leaf_value"]) for tree in trees]
        roots = np.cumsum([0, *splits])[:-1]

        def joined(key: str, kind: Any) -> Any:
            return np.concatenate([np.empty(0, kind), *(np.array(tree.get(key, []), kind) for tree in trees)])

        return cls(
            np.where(np.array(splits, np.int64) > 0, roots, -1),
            np.cumsum([0, *leaves])[:-1].astype(np.int64),
            joined("split_feature", np.int32),
            joined("threshold", np.float64),
            joined("decision_type", np.int8),
            np.stack([joined("left_child", np.int32), joined("right_child", np.int32)], axis=1),
            joined("leaf_value", np.float64),
            len(models),
            max(columns, default=0),
            name,
        )

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean raw score (log odds) over the bags, 0 without any: float64 ``[n]``.

        Raises:
            UserError: for rows that are narrower or wider than those that the trees were grown on.
        """
        if self.bags and matrix.shape[1] != self.columns:  # the walk looks at no border
            told = f"was trained on {self.columns} columns, and the graph makes {matrix.shape[1]}"
            raise UserError(f"{self.name}: {told}; serve it on the graph that it was trained on, or train it again")
        total = np.zeros(len(matrix))
        walk(self.roots, self.leaves, self.feature, self.threshold, self.decision, self.children, self.value, matrix,
             total)  # fmt: skip
        return total / max(self.bags, 1)


def _columns(text: str, name: str) -> int:
    """Width of the rows that a model was grown on, if it is one whose trees add up to a single score."""
    head = text.partition("\nTree=")[0].splitlines()
    facts = dict(line.split("=", 1) for line in head if "=" in line)
    if "average_output" in head or facts.get("num_tree_per_iteration") != "1" or "max_feature_idx" not in facts:
        raise UserError(f"{name}: is no model of boosted trees with one score, and no other kind is served")
    return int(facts["max_feature_idx"]) + 1


def _trees(text: str, name: str) -> list[dict[str, list[float]]]:
    """Arrays by name, tree by tree."""
    found: list[dict[str, list[float]]] = []
    for part in text.split("\nTree=")[1:]:
        tree: dict[str, list[float]] = {}
        for line in part.split("\nend of trees")[0].splitlines()[1:]:
            key, sign, values = line.partition("=")
            if sign:
                tree[key] = [float(value) for value in values.split()]
        if tree.get("num_cat", [0])[0] or tree.get("is_linear", [0])[0]:
            raise UserError(f"{name}: has categorical splits or linear leaves, which are not served")
        if len(tree.get("leaf_value", ())) != tree["num_leaves"][0]:
            raise UserError(f"{name}: damaged: a tree lacks leaves")
        found.append(tree)
    return found


@njit(cache=True, nogil=True)
def walk(
    roots: Any, leaves: Any, feature: Any, threshold: Any, decision: Any, children: Any, value: Any, matrix: Any,
    total: Any,
) -> None:  # fmt: skip
    """Add every tree's leaf of every row to ``total`` float64 ``[n]``; ``matrix`` is float32 ``[n, columns]``."""
    for tree in range(len(roots)):
        root = roots[tree]
        for row in range(len(matrix)):
            node = 0 if root >= 0 else -1
            while node >= 0:
                split = root + node
                node = children[split, _side(np.float64(matrix[row, feature[split]]), threshold[split],
                                             decision[split])]  # fmt: skip
            total[row] += value[leaves[tree] + ~node]


@njit(cache=True, nogil=True)
def _side(number: float, threshold: float, decision: int) -> int:
    """0 for left, 1 for right (LightGBM's Tree::NumericalDecision)."""
    missing = (decision >> 2) & 3
    if np.isnan(number) and missing != NAN:
        number = 0.0
    if (missing == NAN and np.isnan(number)) or (missing == ZERO and abs(number) <= NEARLY_ZERO):
        return 0 if decision & DEFAULT_LEFT else 1
    return 0 if number <= threshold else 1
