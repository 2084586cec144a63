"""Columns in a period: moments, histograms on frozen edges, missing values, categories never seen before."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.drift.scopes import Scope
from graphmill.drift.source import Integers, rounded
from graphmill.features.columns import Field

BINS = 64
MOST_COLUMNS = 240
"""Columns in a profile, and histograms below: a profile stays under 100 KB."""
MOST_HISTOGRAMS = 90
MOST_PARTS = 64
"""Parts of one vector that are profiled; drift of embeddings is a matter of its own."""
TOP = 20
MOST_SEEN = 5_000
"""Categories of a column that are remembered; with more, new ones are nothing unusual and not counted."""
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)

Summary = dict[str, Any]


def freeze(found: Iterator[Scope]) -> dict[str, dict[str, Summary]]:
    """What later periods are measured with, from the rows of the training time.

    Returns:
        By scope and column: for numbers ``edges`` and ``deviation``, for categories the commonest (``top``) and
        the moment at which each was first ``seen``.
    """
    frozen: dict[str, dict[str, Summary]] = {}
    total = 0
    for scope in found:
        frozen[scope.name] = {}
        for place, field in enumerate(scope.fields):
            if total >= MOST_COLUMNS or _too_wide(field):
                continue
            values = scope.values[:, place]
            one = _freeze_category(values, scope, field) if field.vocabulary is not None else freeze_number(values)
            one["histogram"] = total < MOST_HISTOGRAMS
            frozen[scope.name][field.name] = one
            total += 1
    return frozen


def left_out(field: Field, frozen: dict[str, Summary]) -> bool:
    """Whether a column is missing from a reference for its size only, not because it is new."""
    return _too_wide(field) or sum(len(item) for item in frozen.values()) >= MOST_COLUMNS


def _too_wide(field: Field) -> bool:
    return field.kind == "vector" and int(field.name.rpartition("[")[2].rstrip("]")) >= MOST_PARTS


def freeze_number(values: NDArray[Any]) -> Summary:
    """Edges at equal shares of the values (at most 63), their mean and standard deviation."""
    there = values[np.isfinite(values)].astype(np.float64)
    if len(there) == 0:
        return {"kind": "number", "edges": [], "deviation": 0.0, "mean": 0.0}
    cuts = np.quantile(there, np.arange(1, BINS) / BINS)
    edges = sorted({rounded(float(cut)) or 0.0 for cut in cuts})
    return {
        "kind": "number",
        "edges": edges,
        "deviation": rounded(float(there.std())),
        "mean": rounded(float(there.mean())),
    }


def _freeze_category(values: NDArray[Any], scope: Scope, field: Field) -> Summary:
    vocabulary = field.vocabulary or []
    there = np.flatnonzero(np.isfinite(values))
    codes = values[there].astype(np.int64)
    count = np.bincount(codes, minlength=len(vocabulary))
    first = np.full(len(vocabulary), np.iinfo(np.int64).max, np.int64)
    np.minimum.at(first, codes, scope.times[there])
    order = np.lexsort((np.arange(len(count)), -count))
    top = [vocabulary[code] for code in order[:TOP] if count[code]]
    known = {vocabulary[code]: int(first[code]) for code in np.flatnonzero(count)}
    return {"kind": "category", "top": top, "seen": known if len(known) <= MOST_SEEN else None}


def summarise(scope: Scope, frozen: dict[str, Summary], start: int) -> dict[str, Summary]:
    """Summaries of the scope's columns that the reference knows, by column."""
    found = {}
    for place, field in enumerate(scope.fields):
        if field.name not in frozen:
            continue
        how, values = frozen[field.name], scope.values[:, place]
        if how["kind"] == "category" and field.vocabulary is not None:
            found[field.name] = _category(values, field.vocabulary, how, start)
        elif how["kind"] == "number" and field.vocabulary is None:
            found[field.name] = number(values, how)
    return found


def number(values: NDArray[Any], how: Summary) -> Summary:
    """Rows, missing share, mean, standard deviation, quantiles and counts between the frozen edges."""
    there = values[np.isfinite(values)].astype(np.float64)
    some = len(there) > 0
    quantiles = np.quantile(there, SHARES) if some else []
    found: Summary = {
        "rows": len(values),
        "missing": rounded(1 - len(there) / len(values)) if len(values) else None,
        "mean": rounded(float(there.mean())) if some else None,
        "deviation": rounded(float(there.std())) if some else None,
        "quantiles": [rounded(float(value)) for value in quantiles],
    }
    if how["histogram"]:
        bins = np.searchsorted(np.asarray(how["edges"]), there, side="right")
        found["histogram"] = np.bincount(bins, minlength=len(how["edges"]) + 1).tolist()
    return found


def _category(values: NDArray[Any], vocabulary: list[str], how: Summary, start: int) -> Summary:
    """Shares of the commonest categories, and of those that were not seen before ``start``."""
    codes = values[np.isfinite(values)].astype(np.int64)
    count = np.bincount(codes, minlength=len(vocabulary))
    total = int(count.sum())
    place = {name: code for code, name in enumerate(vocabulary)}
    shares = {name: int(count[place[name]]) / total if name in place else 0.0 for name in how["top"] if total}
    return {
        "rows": len(values),
        "missing": rounded(1 - total / len(values)) if len(values) else None,
        "shares": {name: rounded(share) for name, share in shares.items()},
        "other": rounded(1 - sum(shares.values())) if total else None,
        "unseen": _unseen(count, vocabulary, how["seen"], start) if total else None,
    }


def _unseen(count: Integers, vocabulary: list[str], seen: dict[str, int] | None, start: int) -> float | None:
    """None where nothing lies before the period, so that everything in it is new."""
    if seen is None:
        return None
    known = {name for name, first in seen.items() if first < start or first == ALWAYS}
    if not known:
        return None
    strange = sum(int(count[code]) for code, name in enumerate(vocabulary) if name not in known)
    return rounded(strange / int(count.sum()))
