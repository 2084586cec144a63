"""Facts beside a check's items: what there is to learn from, and what came of earlier challengers."""

from pathlib import Path
from typing import Any

import numpy as np

from graphmill import registry
from graphmill.drift.cohorts import label_age
from graphmill.drift.decision import Check, Outcome
from graphmill.drift.items import unjudged
from graphmill.drift.periods import train_end
from graphmill.drift.record import Line, Standing
from graphmill.drift.source import Source
from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.registry import Move, Version


def check(report: dict[str, Any], model: str, source: Source, reference: dict[str, Any], number: int) -> Check:
    """What the policy has to know of a report.

    Args:
        report: ``families``, ``integrity`` and ``items``.
        model: digest of the model that was judged.
        source: today's graph and examples.
        reference: what was frozen at the model's training.
        number: of the check, 1 for the first; the moment of data without time.
    """
    timed = bool(reference["timed"])
    labels, new_labels = _labels(source, reference)
    failed = {name: family["error"] for name, family in report["families"].items() if family["error"]}
    estimated = [item for item in report["items"] if (item["name"], item["state"]) == ("estimated", "warn")]
    return Check(
        moment=source.graph.as_of if timed else number,
        model=model,
        states={name: family["state"] for name, family in report["families"].items()} | unjudged_families(report),
        broken=tuple(f"{item['rule']}, {item['where']}" for item in report["integrity"]),
        failed=tuple(f"{name} ({error})" for name, error in failed.items()),
        trained=reference.get("as_of", reference["until"]) if timed else None,
        labels=labels,
        new_labels=new_labels,
        learns_until=_learns_until(source) if timed else None,
        new_edges=_edges(source, reference) if timed else None,
        estimated_drop=max((item["reference"] - item["value"] for item in estimated), default=None),
    )


def unjudged_families(report: dict[str, Any]) -> dict[str, str]:
    """A warning without labels, an estimate's for one, is no verdict on performance: it clears no earlier alarm."""
    own = [item for item in report["items"] if item["family"] == "performance"]
    missing = any(unjudged(item["name"], item["state"]) for item in own)
    loud = any(item["state"] == "alarm" for item in own)
    return {"performance": "insufficient_labels"} if missing and not loud else {}


def _labels(source: Source, reference: dict[str, Any]) -> tuple[int | None, int | None]:
    """Labelled examples that the model was trained on, and those that a new training would have besides."""
    before, now = reference["train_end"], train_end(source.graph)
    if before is None or now is None:
        return None, None
    times = source.examples["time"].to_numpy(np.int64) + label_age(source)
    known = source.examples["label"].notna().to_numpy(bool)
    return int(np.sum(known & (times <= before))), int(np.sum(known & (times > before) & (times <= now)))


def _learns_until(source: Source) -> int | None:
    """Up to which moment a new training would learn: labels that are not known at the end of its part do not count."""
    end = train_end(source.graph)
    return None if end is None else end - label_age(source)


def _edges(source: Source, reference: dict[str, Any]) -> float | None:
    """Share by which the edges with a time have grown since the end of the model's training part."""
    before, after = 0, 0
    for relation in source.relations:
        time = source.graph.relations[relation.name].time
        if time is not None:
            moments = np.asarray(time)
            old = int(np.sum(moments < reference["train_end"]))
            before, after = before + old, after + len(moments) - old
    return after / before if before else None


def standing(home: str | Path, checks: list[Line]) -> Standing:
    """What the registry says of earlier retrainings.

    Args:
        home: the registry's home.
        checks: earlier checks of the record, oldest first.
    """
    try:
        found = registry.open(home)
        versions, moves, aliases = found.versions(), found.history(), found.aliases()
    except UserError as error:  # a registry out of reach is no reason to check nothing
        say(f"drift: what came of earlier challengers cannot be told: {error}")
        last = checks[-1] if checks else None
        return Standing(tuple(last["versions"]), last["outcomes"]) if last else Standing()
    return Standing(tuple(item.name for item in versions), outcomes(checks, versions, moves, aliases))


def outcomes(
    checks: list[Line], versions: list[Version], moves: list[Move], aliases: dict[str, str]
) -> dict[str, Outcome]:
    """What came of each retraining: of the newest version registered between its check and the next retraining's."""
    retrains = [line for line in checks if line["answer"] == "retrain"]
    if not retrains:
        return {}
    ends = [*(set(line["versions"]) for line in retrains[1:]), {item.name for item in versions}]
    found: dict[str, Outcome] = {}
    for line, end in zip(retrains, ends, strict=True):
        made = [item for item in versions if item.name in end and item.name not in line["versions"]]
        found[line["id"]] = _outcome(made[-1], moves, aliases) if made else "none"
    return found


def _outcome(version: Version, moves: list[Move], aliases: dict[str, str]) -> Outcome:
    if any(move.alias == "champion" and move.target == version.name for move in moves):
        return "promoted"
    waits = version.evaluation.get("verdict") == "pass" and aliases.get("candidate") == version.name
    return "pending" if waits else "rejected"
