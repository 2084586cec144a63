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
            one |= {"histogram": total < MOST_HISTOGRAMS, "boolean": field.kind == "boolean"}
            frozen[scope.name][field.name] = one
            total += 1
    return frozen


def left_out(field: Field, frozen: dict[str, Summary]) -> bool:
    """Whether a column is missing from a reference for its size only, not because it is new."""
    return _too_wide(field) or sum(len(item) for item in frozen.values()) >= MOST_COLUMNS


def _too_wide(field: Field) -> bool:
    return field.kind == "vector" and int(field.name.rpartition("[")[2].rstrip("]")) >= MOST_PARTS


def freeze_number(values: NDArray[Any]) -> Summary:
    """65 edges at equal shares of the values (fewer where values repeat), their mean and standard deviation."""
    there = _ordered(values)
    if len(there) == 0:
        return {"kind": "number", "edges": [], "deviation": 0.0, "mean": 0.0}
    first, *cuts, last = _quantiles(there, np.linspace(0, 1, BINS + 1))
    inner = {rounded(float(cut)) or 0.0 for cut in cuts}
    edges = [float(first), *sorted(cut for cut in inner if first < cut < last), float(last)]
    return {
        "kind": "number",
        "edges": edges if last > first else edges[:1],
        "deviation": rounded(float(there.std(dtype=np.float64))),
        "mean": rounded(float(there.mean(dtype=np.float64))),
    }


def _ordered(values: NDArray[Any]) -> NDArray[Any]:
    """The finite ones in order: sorting once is cheaper than looking for each value's bin."""
    values = np.ascontiguousarray(values)
    return np.sort(values[np.isfinite(values)])


def _quantiles(ordered: NDArray[Any], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of values in order, between two of them in proportion."""
    place = shares * (len(ordered) - 1)
    below = np.floor(place).astype(np.int64)
    low, high = (ordered[at].astype(np.float64) for at in (below, np.minimum(below + 1, len(ordered) - 1)))
    found: NDArray[np.float64] = low + (high - low) * (place - below)
    return found


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
    """Rows, those without a value, mean, standard deviation, quantiles and counts between the frozen edges.

    Returns:
        ``histogram`` has one count more at either end: of values below the training's least, and above its largest.
    """
    there = _ordered(values)
    some = len(there) > 0
    quantiles = _quantiles(there, np.array(SHARES)).tolist() if some else []
    found: Summary = {
        "rows": len(values),
        "missing": len(values) - len(there),
        "mean": rounded(float(there.mean(dtype=np.float64))) if some else None,
        "deviation": rounded(float(there.std(dtype=np.float64))) if some else None,
        "quantiles": [rounded(value) for value in quantiles],
    }
    if how["histogram"]:
        found["histogram"] = _counts(there, how["edges"])
    return found


def _counts(ordered: NDArray[Any], edges: list[float]) -> list[int]:
    """Values below the first edge, between each two (the last edge belongs inside), and above the last."""
    if not edges:
        return [0, 0, len(ordered)]
    bounds = np.asarray(edges, ordered.dtype)
    first = np.searchsorted(ordered, bounds[:-1] if len(edges) > 1 else bounds, side="left")
    last = np.searchsorted(ordered, bounds[-1], side="right")
    return [int(count) for count in np.diff([0, *first, last, len(ordered)])]


def _category(values: NDArray[Any], vocabulary: list[str], how: Summary, start: int) -> Summary:
    """Counts of the commonest categories, of the others, and of those that were not seen before ``start``."""
    codes = values[np.isfinite(values)].astype(np.int64)
    count = np.bincount(codes, minlength=len(vocabulary))
    total = int(count.sum())
    place = {name: code for code, name in enumerate(vocabulary)}
    counts = {name: int(count[place[name]]) if name in place else 0 for name in how["top"]}
    return {
        "rows": len(values),
        "missing": len(values) - total,
        "counts": counts,
        "other": total - sum(counts.values()),
        "unseen": _unseen(count, vocabulary, how["seen"], start) if total else None,
    }


def merge(one: Summary, other: Summary, how: Summary) -> Summary:
    """The summary of two parts of the rows of one column; quantiles are read off the histogram.

    Args:
        one: summary of some rows.
        other: summary of other rows.
        how: what both were measured with.
    """
    found: Summary = {"rows": one["rows"] + other["rows"], "missing": one["missing"] + other["missing"]}
    if "counts" in one:
        found["counts"] = {name: count + other["counts"][name] for name, count in one["counts"].items()}
        known = [part["unseen"] for part in (one, other) if part["unseen"] is not None]
        return found | {"other": one["other"] + other["other"], "unseen": sum(known) if known else None}
    found |= _moments(one, other)
    if "histogram" in one:
        found["histogram"] = [left + right for left, right in zip(one["histogram"], other["histogram"], strict=True)]
    found["quantiles"] = _read_off(found.get("histogram"), how["edges"])
    return found


def _moments(one: Summary, other: Summary) -> Summary:
    """Mean and standard deviation of two parts together (Chan, Golub and LeVeque 1979)."""
    parts = [part for part in (one, other) if part["mean"] is not None]
    if len(parts) < 2:
        return {name: parts[0][name] if parts else None for name in ("mean", "deviation")}
    first, second = (part["rows"] - part["missing"] for part in parts)
    share, apart = second / (first + second), other["mean"] - one["mean"]
    variance = (1 - share) * one["deviation"] ** 2 + share * other["deviation"] ** 2 + share * (1 - share) * apart**2
    # not rounded: of many merges the last would be lost
    return {"mean": one["mean"] + share * apart, "deviation": float(np.sqrt(variance))}


def _read_off(histogram: list[int] | None, edges: list[float]) -> list[float | None]:
    """Quantiles that counts between edges tell: the values of a bin lie evenly in it."""
    if histogram is None or sum(histogram) == 0 or not edges:
        return []
    cumulative = np.cumsum(histogram)[:-1] / sum(histogram)
    at = edges if len(edges) == len(cumulative) else [edges[0], edges[-1]]
    return [rounded(float(np.interp(share, cumulative, at))) for share in SHARES]


def _share(count: int | None, total: int) -> float | None:
    """Part of a whole; None where there is none."""
    return None if count is None or total == 0 else count / total


def missing(summary: Summary) -> float | None:
    """Share of the rows without a value; None without rows."""
    return _share(summary["missing"], summary["rows"])


def shares(summary: Summary) -> dict[str, float]:
    """Shares of a column's commonest categories, ``share of …``, of the others and of those never seen before."""
    total = summary["rows"] - summary["missing"]
    counted = {f"share of {name}": count for name, count in summary["counts"].items()}
    counted |= {"share of others": summary["other"], "unseen share": summary["unseen"]}
    found = {name: _share(count, total) for name, count in counted.items()}
    return {name: share for name, share in found.items() if share is not None}


def _unseen(count: Integers, vocabulary: list[str], seen: dict[str, int] | None, start: int) -> int | None:
    """None where nothing lies before the period, so that everything in it is new."""
    if seen is None:
        return None
    known = {name for name, first in seen.items() if first < start or first == ALWAYS}
    if not known:
        return None
    return sum(int(count[code]) for code, name in enumerate(vocabulary) if name not in known)
