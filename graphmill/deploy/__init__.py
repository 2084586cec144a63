"""Stage `deploy`: the judged model becomes a version of the registry, and the release that a cluster needs is written.

No cluster is touched here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphmill import artifact, lineage, progress, registry
from graphmill.artifact import Artifact
from graphmill.deploy.params import Params
from graphmill.deploy.release import Release
from graphmill.errors import UserError
from graphmill.lineage.check import verify
from graphmill.registry import Registry
from graphmill.rollout.params import Params as Rollout

__all__ = ["Params", "run"]

SUMMARY = ("winner", "verdict", "metrics", "gates")
"""What the registry keeps of an evaluation."""
AGAINST_CHAMPION = "not_worse_than_champion"
"""The gate that compares with the champion, who may have changed since."""


def run(
    model: str | Path, evaluation: str | Path, release: str | Path, params: Params, rollout: Rollout | None = None
) -> None:
    """Register the model and write the artifact ``release``.

    The version becomes ``candidate``. With the verdict ``pass`` it becomes ``champion`` too when it is the first or
    ``deploy.promote`` is ``at_once``; else a rollout is due, and the release serves the champion until then. The
    registry is not part of the artifact: running again with the same model changes neither.

    Args:
        model: the artifact `model`.
        evaluation: the artifact `evaluation`, of that very model.
        release: where `release.json` (version, aliases, verdict) and, when there is a champion to serve,
            `kustomization.yaml` with all that it needs go.
        params: section `deploy`.
        rollout: section `rollout`, which the rollout's job will read.

    Raises:
        UserError: when an input is altered, the model's lineage does not verify, the evaluation judged another
            model or beside another champion, the overlay does not fit, or the registry's home cannot be written.
    """
    candidate = artifact.read(model, "model")
    judged = artifact.read(evaluation, "evaluation")
    summary = _summary(judged, candidate)
    _verify(candidate)
    rollout = rollout or Rollout()
    home = registry.open(params.home)
    _compared(judged, candidate, home, params.home)
    with artifact.write(release, "release") as draft:
        version = home.register(candidate.path, summary)
        served = _served(home, version, summary, params)
        due = _due(served, version, summary)
        if served is not None:
            records = {record.name: record for record in home.versions()}
            Release(params, rollout, records[served], records[version] if due else None).write(draft.folder)
        sections = {"deploy": params.canonical(), "rollout": rollout.canonical()}
        draft.lineage = lineage.record("deploy", sections, {"model": candidate, "evaluation": judged})
        _move(home, version, served, summary)
        draft.manifest = _facts(params, home, version, candidate, summary) | {"serves": served, "rollout_due": due}
    progress.say(_last_line(home, version, summary, due))


def _summary(judged: Artifact, model: Artifact) -> dict[str, Any]:
    """The part of the evaluation that decides, checked to be about this model."""
    missing = [name for name in SUMMARY if name not in judged.manifest]
    if missing or judged.manifest["verdict"] not in ("pass", "block"):
        problem = f"no {missing[0]!r}" if missing else f"verdict {judged.manifest['verdict']!r}"
        raise UserError(f"{judged.path}: {problem} in evaluation.json; run `evaluate` again")
    if judged.lineage.get("inputs", {}).get("model") != model.digest:
        raise UserError(f"{judged.path}: judged another model than {model.path}; run `evaluate` again")
    return {name: judged.manifest[name] for name in SUMMARY}


def _verify(model: Artifact) -> None:
    """Refuse a model that was not made of what stands beside it; code may have moved on since."""
    for check in verify(model.path) if model.lineage else ():
        if check.what.startswith("artifact ") and check.state == "differs":
            raise UserError(f"{model.path}: its lineage does not verify: {check.what}: {check.detail}; train it again")


def _compared(judged: Artifact, model: Artifact, home: Registry, place: str) -> None:
    """Refuse gates that were passed beside another champion than the one that is there now."""
    gates = [gate["name"] for gate in judged.manifest["gates"]]
    if judged.manifest["verdict"] == "block" or AGAINST_CHAMPION not in gates or "champion" not in home.aliases():
        return
    name = home.resolve("champion")
    champion = next(item for item in home.versions() if item.name == name)
    rival = judged.manifest.get("champion")
    if champion.digest not in (model.digest, rival and rival["digest"]):
        beside = f"champion {rival['version']}" if rival else "no champion"
        told = f"{judged.path}: judged beside {beside}, and the champion in {place} is {name}"
        raise UserError(f"{told}; run `evaluate` again (under DVC with --force), with deploy.home as its registry")


def _served(home: Registry, version: str, summary: Mapping[str, Any], params: Params) -> str | None:
    """The version that has the traffic when the release is applied."""
    champion = home.resolve("champion") if "champion" in home.aliases() else None
    at_once = summary["verdict"] == "pass" and (champion is None or params.promote == "at_once")
    return version if at_once else champion


def _due(served: str | None, version: str, summary: Mapping[str, Any]) -> bool:
    """Whether a rollout is what the version waits for."""
    return summary["verdict"] == "pass" and served != version


def _move(home: Registry, version: str, served: str | None, summary: Mapping[str, Any]) -> None:
    """The last thing before the release appears: a release that is there says where the aliases went."""
    home.move("candidate", version, f"deployed, verdict {summary['verdict']}")
    if served == version and summary["verdict"] == "pass":
        names = ", ".join(gate["name"] for gate in summary["gates"])
        home.move("champion", version, f"gates passed: {names or 'there are none'}")


def _facts(params: Params, home: Registry, version: str, model: Artifact, summary: Mapping[str, Any]) -> dict[str, Any]:
    aliases = home.aliases()
    return {
        "name": params.name,
        "version": version,
        "aliases": aliases,
        "champion": aliases.get("champion") == version,
        "verdict": summary["verdict"],
        "winner": summary["winner"],
        "digest": model.digest,
        "overlay": params.overlay,
    }


def _last_line(home: Registry, version: str, summary: Mapping[str, Any], due: bool) -> str:
    aliases = home.aliases()
    named = ", ".join(alias for alias, target in aliases.items() if target == version)
    failed = ", ".join(gate["name"] for gate in summary["gates"] if not gate["passed"])
    verdict = "gates passed" if summary["verdict"] == "pass" else f"blocked by {failed or 'the evaluation'}"
    stays = aliases.get("champion", version)
    rest = "" if stays == version else f"; champion stays {stays}"
    after = "; next: `make rollout`, on a cluster `python -m graphmill.rollout start`" if due else ""
    return f"deploy: {summary['winner']} is version {version} ({named}), {verdict}{rest}{after}"
