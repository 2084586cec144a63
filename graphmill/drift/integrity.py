"""Rules about broken feeds: no statistics, no threshold. A broken feed must not become the new normal."""

from typing import Any

import numpy as np

from graphmill.clock import text
from graphmill.drift import features
from graphmill.drift.profile import Profile, Reference
from graphmill.drift.source import Source

Finding = dict[str, str]

HANDFUL = 5
FEW = 0.01
"""Two clocks may differ about so many of what both tell."""
LATEST = 3
"""A column may have begun late: only so many past periods say what is usual."""


def check(source: Source, newest: Profile, history: list[Profile], reference: Reference) -> list[Finding]:
    """Everything that looks like a broken feed, with ``rule``, ``where`` and ``what`` in words.

    Args:
        source: the graph of today.
        newest: its newest period; parts that failed are absent.
        history: past periods, oldest first.
        reference: what was frozen at training.
    """
    found = _vanished(source, reference) + _future(source)
    if "structure" in newest:
        found += _silent(newest["structure"], [profile.get("structure", {}) for profile in history])
    if "columns" in newest:
        known = [profile.get("columns", {}) for profile in history]
        found += _columns(newest, known, reference["columns"])
    if "predictions" in newest:
        found += _unjudged(newest["predictions"], [profile.get("predictions", {}) for profile in history])
    if "performance" in newest:
        found += _clocks(newest["performance"].get("clocks", {}))
    return found


def _vanished(source: Source, reference: Reference) -> list[Finding]:
    found = []
    for node in reference["node_types"]:
        if source.graph.nodes.get(node, 0) == 0:
            found.append(_finding("vanished node type", node, "the model knows it, this graph has none of it"))
    relations = {relation.name for relation in source.relations}
    for name in reference["relations"]:
        if name not in relations:
            found.append(_finding("vanished relation", name, "the model knows it, this graph does not"))
    return found


def _future(source: Source) -> list[Finding]:
    """Nothing in a snapshot may be later than its moment; what happens at that very moment ingest lets in."""
    as_of = source.graph.as_of
    moments = {f"node {node}": times for node, times in source.times.items()}
    for relation in source.relations:
        time = source.graph.relations[relation.name].time
        moments[f"relation {relation.name}"] = np.empty(0, np.int64) if time is None else np.asarray(time)
    found = []
    for name, times in moments.items():
        late = int(np.sum(times > as_of))
        if late:
            latest = text(int(times.max()), source.graph.clock)
            what = f"{late:,} times after the as-of moment {text(as_of, source.graph.clock)}, up to {latest}"
            found.append(_finding("time in the future", name, what))
    return found


def _silent(newest: dict[str, Any], history: list[dict[str, Any]]) -> list[Finding]:
    """Edges or rows that came in every past period and do not come any more."""
    found = []
    for name, values in newest.items():
        for statistic, rule in (("edges", "empty relation"), ("rows", "no rows")):
            before = _since_first(
                [profile[name][statistic] for profile in history if statistic in profile.get(name, {})]
            )
            if values.get(statistic) == 0 and _steady(before):
                usual = f"none in the newest period; past periods had {min(before):,} to {max(before):,}"
                found.append(_finding(rule, name, usual))
    return found


def _columns(newest: Profile, history: list[dict[str, Any]], frozen: dict[str, Any]) -> list[Finding]:
    found = []
    for scope, columns in frozen.items():
        for name in columns:
            where = f"{scope}: {name}"
            now = newest["columns"].get(scope, {}).get(name)
            before = [features.missing(item[scope][name]) for item in history if name in item.get(scope, {})]
            usual = [share for share in before if share is not None][-LATEST:]
            if now is None:
                found.append(_finding("vanished column", where, "the model knows it, these features do not"))
            elif now["rows"] and now["missing"] == now["rows"] and usual and now["rows"] * (1 - max(usual)) >= HANDFUL:
                what = f"missing in all {now['rows']:,} rows; at most {max(usual):.1%} in the latest past periods"
                found.append(_finding("column all missing", where, what))
    return found


def _unjudged(newest: dict[str, Any], history: list[dict[str, Any]]) -> list[Finding]:
    before = _since_first([item["examples"] for item in history if "examples" in item])
    if newest["examples"] == 0 and _steady(before):
        what = f"nothing to judge in the newest period; past periods had {min(before):,} to {max(before):,}"
        return [_finding("no examples", "task", what)]
    return []


def _clocks(told: dict[str, list[int]]) -> list[Finding]:
    """Two clocks that disagree about more than a few."""
    return [
        _finding("clocks disagree", what, f"{some:,} of {every:,}")
        for what, (some, every) in told.items()
        if some > FEW * every
    ]


def _since_first(counts: list[int]) -> list[int]:
    """Without the periods before the feed began."""
    first = next((place for place, count in enumerate(counts) if count), len(counts))
    return counts[first:]


def _steady(counts: list[int]) -> bool:
    """Whether none at all would be strange: there were always some, and enough that chance does not explain none."""
    return bool(counts) and min(counts) > 0 and float(np.mean(counts)) >= HANDFUL


def _finding(rule: str, where: str, what: str) -> Finding:
    return {"rule": rule, "where": where, "what": what}
