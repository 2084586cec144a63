"""Choosing training examples: rare positives, and as many negatives beside them as asked for."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.artifact import digest_of


def part(examples: pd.DataFrame, split: int, name: str) -> pd.DataFrame:
    """The labelled examples of one part of a split."""
    chosen = examples[(examples[f"split_{split}"] == name) & examples["label"].notna()]
    return chosen.reset_index(drop=True)


def learned(examples: pd.DataFrame, split: int) -> dict[str, str | int]:
    """What a split's models learn from, the validation part included: how much, from when, until when, and a digest.

    Two models of the same digest learned from the same examples of the same nodes.
    """
    chosen = examples[examples[f"split_{split}"].isin(["train", "validation"]) & examples["label"].notna()]
    node, time = (chosen[name].to_numpy(np.int64) for name in ("node", "time"))
    content = node.astype("<i8").tobytes() + time.astype("<i8").tobytes()
    return {
        "count": len(chosen),
        "positives": int(chosen["label"].sum()),
        "first": int(time.min()),
        "until": int(time.max()),
        "examples": digest_of(content),
    }


def labels(examples: pd.DataFrame) -> NDArray[np.float32]:
    """Labels as 0 and 1: float32 ``[n]``."""
    return examples["label"].to_numpy(dtype=np.float32)


def balanced(label: NDArray[np.float32], negatives: int | str, seed: list[int]) -> NDArray[np.int64]:
    """Places of all positives and ``negatives`` times as many negatives (or all), shuffled: int64 ``[k]``."""
    state = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    if not isinstance(negatives, str) and len(negative) > negatives * len(positive):
        negative = state.choice(negative, negatives * len(positive), replace=False)
    return state.permutation(np.concatenate([positive, negative]))


def limited(count: int, limit: int, label: NDArray[np.float32], seed: list[int]) -> NDArray[np.int64]:
    """Up to ``limit`` places, all positives among them as far as they fit, in order: int64 ``[k]``."""
    if count <= limit:
        return np.arange(count)
    state = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(label == 1)[:limit], np.flatnonzero(label == 0)
    rest = state.choice(negative, min(limit - len(positive), len(negative)), replace=False)
    return np.sort(np.concatenate([positive, rest]))
