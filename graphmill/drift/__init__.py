"""Stage `drift`: the newest period against the model's past periods, and what to do about it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graphmill import artifact, lineage
from graphmill.clock import ALWAYS, duration, text
from graphmill.drift import (
    compare,
    embeddings,
    history,
    integrity,
    periods,
    policy,
    predictions,
    profile,
    report,
    served,
)
from graphmill.drift.items import Item, ordered
from graphmill.drift.params import Params
from graphmill.drift.profile import Past
from graphmill.drift.source import Period, Source, thin
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import NETWORKS, Model
from graphmill.progress import say

__all__ = ["Params", "run"]


def run(model: str | Path, graph: str | Path, features: str | Path, drift_report: str | Path, params: Params) -> str:
    """Write the drift report of the newest period and return the decision.

    Args:
        model: the model folder; it carries the profiles of its past periods.
        graph: today's graph.
        features: today's features.
        drift_report: where `drift_report.json`, `report.html` and `profile.json` (the newest period's) go.
        params: section `drift`.

    Returns:
        ``retrain``, ``watch``, ``ok`` or ``page``.

    Raises:
        UserError: for altered inputs, a model without profiles or with profiles of another version.
    """
    judge, now, rows = Model.open(model), Graph.open(graph), Features.open(features)
    past = profile.read(judge.path)
    if now.clock != past.reference["clock"]:
        raise UserError(f"{graph}: its clock is {now.clock!r}, the model's {past.reference['clock']!r}; train again")
    source = Source(now, rows, rows.examples, embedder=_embedder(judge, now, rows))
    past = _in_periods(judge, source, past, params)
    period = periods.newest_period(now, past.reference)
    past = history.joined(past, params.history, period)
    newest, errors = _profile(judge, source, period, past, params)
    found = _report(source, period, newest, errors, past, params)
    with artifact.write(drift_report, "drift_report") as draft:
        draft.manifest |= found
        (draft.folder / "profile.json").write_text(profile.compact(newest), encoding="utf-8")
        page = report.render(found, newest, past, params)
        (draft.folder / "report.html").write_text(page, encoding="utf-8")
        inputs = {"model": judge.artifact, "graph": now.artifact, "features": rows.artifact}
        draft.lineage = lineage.record("drift", {"drift": params.canonical()}, inputs)
    if params.history is not None:
        history.record(params.history, past.reference, newest, found["state"])
    say(f"drift: {found['state']}, {found['decision']}; {found['words']}")
    return str(found["decision"])


def _in_periods(model: Model, source: Source, past: Past, params: Params) -> Past:
    """The past in periods of the length asked for; the model's own are kept where they fit."""
    if params.period is None or not past.reference["timed"]:
        return past
    if duration(params.period, source.graph.clock, "drift.period") == past.reference["period"]:
        return past
    held_out = predictions.held_out(source, past.reference)
    before = source.examples["time"].to_numpy(np.int64)[held_out] < past.reference["until"]
    scored = _scored(model, source, held_out[before])
    return profile.with_period(scored, past.reference, params.period)


def _profile(
    model: Model, source: Source, period: Period, past: Past, params: Params
) -> tuple[profile.Profile, dict[str, str]]:
    """The newest period's profile, and what went wrong in the parts that are missing from it."""
    newest, errors = profile.head(source, period), {}
    for part in profile.PARTS:
        try:
            of = _judged(model, source, period, past, params) if part == "prediction" else source
            before = past.history[-1] if past.history else None
            newest |= profile.build_part(part, of, period, past.reference, before=before)
        except Exception as error:  # whatever fails in a part is a state of the report, never a silent `ok`
            errors[part] = f"{type(error).__name__}: {error}"
    return newest, errors


def _judged(model: Model, source: Source, period: Period, past: Past, params: Params) -> Source:
    """The source with scores of the period's examples; entities without a moment in it are judged at its end."""
    if not source.graph.judges_events and len(source.example_places(period)) == 0:
        task = source.graph.task.node
        there = np.flatnonzero(source.times[task] < period.end).astype(np.int32)
        label = pd.array([pd.NA] * len(there), dtype="boolean")
        examples = pd.DataFrame({"node": there, "time": np.int64(period.end), "label": label})
        source = Source(source.graph, source.features, examples)
    rows = np.intersect1d(source.example_places(period), predictions.held_out(source, past.reference))
    return _scored(model, source, thin(rows, params.examples), params.predictions)


def _embedder(model: Model, graph: Graph, rows: Features) -> embeddings.Embedder | None:
    """The winner's embeddings, where it is a network that was profiled with them."""
    frozen = embeddings.read(model.path / "profile")
    if frozen is None or model.winner not in NETWORKS:
        return None
    from graphmill import predict  # brings torch, and imports `train`, which imports this package

    return embeddings.Embedder(lambda examples: predict.embeddings(model, graph, rows, examples), frozen)


def _scored(model: Model, source: Source, rows: Any, log: str | None = None) -> Source:
    from graphmill import predict  # brings torch, and imports `train`, which imports this package

    if len(rows) == 0:
        return source
    examples = source.examples.iloc[rows].reset_index(drop=True)
    scores = np.full(len(examples), np.nan)
    if log is not None:
        node, version = source.graph.task.node, model.artifact.digest[:16]
        keys = source.graph.key(node)[examples["node"]]
        scores, unreadable = served.scores(log, node, version, keys, examples["time"].to_numpy(np.int64))
        for told in unreadable:
            say(f"drift: left out of the prediction log: {told}")
    left = np.flatnonzero(np.isnan(scores))
    if len(left):
        some = examples.iloc[left]
        scores[left] = predict.score(model, model.winner, 0, source.graph, source.features, some)
    if not np.all(np.isfinite(scores)):
        raise ValueError(f"{np.sum(~np.isfinite(scores)):,} of {len(scores):,} scores are not numbers")
    return profile.with_scores(source, rows, scores)


def _report(
    source: Source, period: Period, newest: profile.Profile, errors: dict[str, str], past: Past, params: Params
) -> dict[str, Any]:
    items, broken = _verdicts(source, newest, errors, past, params)
    families = compare.families(items, errors, params)
    found: dict[str, Any] = {
        "families": families,
        "integrity": broken,
        "items": [item.canonical() for item in ordered(items)],
        "period": [None if period.start == ALWAYS else period.start, period.end],
        "period_text": [text(period.start, source.graph.clock), text(period.end, source.graph.clock)],
        "past_periods": len(past.usual),
        "excluded": [text(past.history[row]["end"], source.graph.clock) for row in sorted(past.excluded)],
        "alpha": params.level(past.reference),
        "cold_start": len(past.usual) < params.enough,
        "clock": source.graph.clock,
    }
    found["state"] = policy.state(found)
    found["decision"] = policy.decide(found, params)
    found["words"] = report.words(found)
    return found


def _verdicts(
    source: Source, newest: profile.Profile, errors: dict[str, str], past: Past, params: Params
) -> tuple[list[Item], list[integrity.Finding]]:
    """Items and broken rules; what fails here fails every family."""
    try:
        return (
            compare.items(newest, past, params),
            integrity.check(source, newest, past.usual, past.reference),
        )
    except Exception as error:
        errors.update(dict.fromkeys(profile.PARTS, f"{type(error).__name__}: {error}"))
        return [], []
