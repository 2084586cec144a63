"""Stage `drift`: the newest period against the model's past periods, and what to do about it."""

from pathlib import Path
from typing import Any

import numpy as np

from graphmill import artifact, lineage
from graphmill.clock import ALWAYS, duration, text
from graphmill.drift import (
    baseline,
    compare,
    embeddings,
    findings,
    history,
    integrity,
    judged,
    metrics,
    periods,
    policy,
    predictions,
    profile,
    record,
    report,
    standing,
)
from graphmill.drift.baseline import Past
from graphmill.drift.items import Item, ordered
from graphmill.drift.params import Params
from graphmill.drift.rules import Rules
from graphmill.drift.source import Period, Source
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import NETWORKS, Model
from graphmill.progress import say

__all__ = ["Params", "exit_status", "keep", "run"]


def run(model: str | Path, graph: str | Path, features: str | Path, drift_report: str | Path, params: Params) -> str:
    """Write the drift report of the newest period and return the decision.

    Args:
        model: the model folder; it carries the profiles of its past periods.
        graph: today's graph.
        features: today's features.
        drift_report: where `drift_report.json`, `report.html` and `profile.json` (the newest period's) go.
        params: section `drift`.

    Returns:
        ``retrain``, ``request_labels``, ``watch``, ``ok`` or ``page``; see `policy.decide`.

    Raises:
        UserError: for altered inputs, a model without profiles or with profiles of another version.
    """
    judge, now, rows = Model.open(model), Graph.open(graph), Features.open(features)
    past = baseline.read(judge.path)
    if now.clock != past.reference["clock"]:
        raise UserError(f"{graph}: its clock is {now.clock!r}, the model's {past.reference['clock']!r}; train again")
    source = Source(now, rows, rows.examples, embedder=_embedder(judge, now, rows))
    past = _in_periods(judge, source, past, params)
    period = periods.newest_period(now.as_of, past.reference)
    checks = Path(params.home) / history.FOLDER
    inputs = {"model": judge.artifact, "graph": now.artifact, "features": rows.artifact}
    end = _end(period, past, inputs, params)
    past = history.joined(past, checks, period._replace(end=end))
    answers = judged.Judged(judge, source, period, past.reference, params)
    newest, errors = _profile(source, answers, past)
    newest["end"] = end
    found = _report(answers, newest, errors, past, params)
    found |= _decided(found, source, past, inputs, params)
    found["words"] = report.words(found)
    lines = _up_to(record.Record(Path(params.home)).lines(), found["policy"]["check"])
    check = metrics.Check(found, newest, past, params.service, lines)
    with artifact.write(drift_report, "drift_report") as draft:
        draft.manifest |= found
        (draft.folder / "profile.json").write_text(profile.compact(newest), encoding="utf-8")
        (draft.folder / "report.html").write_text(report.render(found, newest, past, params, lines), encoding="utf-8")
        (draft.folder / metrics.FILE).write_text(metrics.exposition(check), encoding="utf-8")
        draft.lineage = lineage.record("drift", {"drift": params.canonical()}, inputs)
    history.record(checks, past.reference, newest, found["state"])
    metrics.publish(check, params)
    say(f"drift: {found['state']}, {found['decision']}; {found['words']}{_because(found)}")
    return str(found["decision"])


def keep(drift_report: str | Path) -> None:
    """Say why nothing is retrained.

    Raises:
        UserError: for an altered report.
    """
    found = artifact.read(drift_report, "drift_report").manifest
    say(f"drift: the model is kept: {found['decision']}. {found['policy']['words'] or found['words']}")


def exit_status(drift_report: str | Path) -> int:
    """What a report says, for scripts: 0 when nothing calls for anybody, 2 for an alarm or an action, 3 for an error.

    Raises:
        UserError: for an altered report.
    """
    found = artifact.read(drift_report, "drift_report").manifest
    if found["state"] == "error":
        return 3
    return 2 if found["state"] == "alarm" or found["decision"] in ("retrain", "page") else 0


def _in_periods(model: Model, source: Source, past: Past, params: Params) -> Past:
    """The past in periods of the length asked for; the model's own are kept where they fit."""
    if params.period is None or not past.reference["timed"]:
        return past
    if duration(params.period, source.graph.clock, "drift.period") == past.reference["period"]:
        return past
    held_out = predictions.held_out(source, past.reference)
    before = source.examples["time"].to_numpy(np.int64)[held_out] < past.reference["until"]
    rows = held_out[before]
    scored = baseline.with_scores(source, rows, judged.score(model, source, rows))
    return baseline.with_period(scored, past.reference, params.period)


def _end(period: Period, past: Past, inputs: dict[str, artifact.Artifact], params: Params) -> int:
    """Where a period stands among the others: its end; of data without time the number of the snapshot."""
    if past.reference["timed"]:
        return period.end
    digests = {name: item.digest for name, item in inputs.items()}
    return record.Record(Path(params.home)).snapshot(digests, max(period.end, past.reference["until"]))


def _profile(source: Source, answers: judged.Judged, past: Past) -> tuple[profile.Profile, dict[str, str]]:
    """The newest period's profile, and what went wrong in the parts that are missing from it."""
    newest, errors = profile.head(source, answers.period), {}
    before = past.history[-1] if past.history else None
    for part in profile.PARTS:
        try:
            if part == "prediction":
                newest["predictions"] = answers.predictions()
            elif part == "performance":
                newest["performance"] = answers.performance()
            else:
                newest |= profile.build_part(part, source, answers.period, past.reference, before=before)
        except Exception as error:  # whatever fails in a part is a state of the report, never a silent `ok`
            errors[part] = f"{type(error).__name__}: {error}"
    for note in answers.notes:
        say(f"drift: {note}")
    return newest, errors


def _embedder(model: Model, graph: Graph, rows: Features) -> embeddings.Embedder | None:
    """The winner's embeddings, where it is a network that was profiled with them."""
    frozen = embeddings.read(model.path / "profile")
    if frozen is None or model.winner not in NETWORKS:
        return None
    from graphmill import predict  # brings torch, and imports `train`, which imports this package

    return embeddings.Embedder(lambda examples: predict.embeddings(model, graph, rows, examples), frozen)


def _report(
    answers: judged.Judged, newest: profile.Profile, errors: dict[str, str], past: Past, params: Params
) -> dict[str, Any]:
    source, period = answers.source, answers.period
    items, broken = _verdicts(source, newest, errors, past, params)
    items += findings.unreadable(answers.unreadable)
    families = compare.families(items, errors, params)
    found: dict[str, Any] = {
        "families": families,
        "integrity": broken,
        "items": [item.canonical() for item in ordered(items)],
        "period": [None if period.start == ALWAYS else period.start, newest["end"]],
        "period_text": [text(period.start, source.graph.clock), _moment(newest, past.reference)],
        "past_periods": len(past.usual),
        "excluded": [_moment(past.history[row], past.reference) for row in sorted(past.excluded)],
        "alpha": params.level(past.reference),
        "cold_start": len(past.usual) < params.enough,
        "clock": source.graph.clock,
        "notes": answers.notes,
    }
    found["state"] = policy.state(found)
    return found


def _moment(found: profile.Profile, reference: profile.Reference) -> str:
    """When a period ended, in words."""
    return text(found["end"], reference["clock"]) if reference["timed"] else f"snapshot {found['end']}"


def _decided(
    found: dict[str, Any], source: Source, past: Past, inputs: dict[str, artifact.Artifact], params: Params
) -> dict[str, Any]:
    """The decision, written into the record: ``decision`` is the answer, ``policy`` all that is known of it."""
    reference, settled = past.reference, params.policy
    rules = Rules.of(settled, source.graph.clock, reference["timed"], reference["period"])
    digests = {name: item.digest for name, item in sorted(inputs.items())}
    home = record.Record(Path(params.home))
    checks = home.checks()
    check = standing.check(found, digests["model"], source, reference, len(checks) + 1)
    name = record.digest({**digests, "drift": params.canonical(), "found": {**check.canonical(), "moment": None}})
    facts = {
        "inputs": digests,
        "policy": record.digest(settled.canonical()),
        "as_of": text(source.graph.as_of, source.graph.clock),
        "state": found["state"],
        "period": found["period"],
    }
    decision = home.add(name, facts, check, rules, standing.standing(settled.registry, checks))
    told = {**decision.canonical(), "check": name, "digest": facts["policy"]}
    return {"decision": decision.answer, "policy": told}


def _up_to(lines: list[record.Line], check: str) -> list[record.Line]:
    """Up to a check: made again later, its report says what it said."""
    return lines[: 1 + next(place for place, line in enumerate(lines) if line.get("id") == check)]


def _because(found: dict[str, Any]) -> str:
    """What held a retraining back, for the one line."""
    held = found["policy"]["blocked_by"]
    return f" (held back by {', '.join(held)})" if held else ""


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
