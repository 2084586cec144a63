"""Stage `deploy`: the judged model becomes a version of the registry, and what a cluster needs is rendered.

No cluster is touched here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from graphmill import artifact, lineage, progress, registry
from graphmill.artifact import Artifact
from graphmill.deploy.manifest import inference_service, serving_runtime
from graphmill.deploy.params import Params
from graphmill.errors import UserError
from graphmill.registry import Registry

__all__ = ["Params", "run"]

SUMMARY = ("winner", "verdict", "metrics", "gates")
"""What the registry keeps of an evaluation."""


def run(model: str | Path, evaluation: str | Path, release: str | Path, params: Params) -> None:
    """Register the model and write the artifact ``release``.

    The version becomes ``candidate``; with the verdict ``pass`` it becomes ``champion`` too. The registry
    is not part of the artifact: running again with the same model changes neither.

    Args:
        model: the artifact `model`.
        evaluation: the artifact `evaluation`, of that very model.
        release: where `release.json` (version, aliases, verdict), `inference_service.yaml` and
            `serving_runtime.yaml` go.
        params: section `deploy`.

    Raises:
        UserError: when an input is altered, the evaluation judged another model, or the registry's home
            cannot be written.
    """
    candidate = artifact.read(model, "model")
    judged = artifact.read(evaluation, "evaluation")
    summary = _summary(judged, candidate)
    home = registry.open(params.home)
    with artifact.write(release, "release") as draft:
        version = home.register(candidate.path, summary)
        _render(draft.folder / "serving_runtime.yaml", serving_runtime(params))
        service = inference_service(params, version, candidate.digest)
        _render(draft.folder / "inference_service.yaml", service)
        draft.lineage = lineage.record(
            "deploy", {"deploy": params.canonical()}, {"model": candidate, "evaluation": judged}
        )
        _move(home, version, summary)
        draft.manifest = _facts(params, home, version, candidate, summary)
    progress.say(_last_line(home, version, summary))


def _summary(judged: Artifact, model: Artifact) -> dict[str, Any]:
    """The part of the evaluation that decides, checked to be about this model."""
    missing = [name for name in SUMMARY if name not in judged.manifest]
    if missing or judged.manifest["verdict"] not in ("pass", "block"):
        problem = f"no {missing[0]!r}" if missing else f"verdict {judged.manifest['verdict']!r}"
        raise UserError(f"{judged.path}: {problem} in evaluation.json; run `evaluate` again")
    if judged.lineage.get("inputs", {}).get("model") != model.digest:
        raise UserError(f"{judged.path}: judged another model than {model.path}; run `evaluate` again")
    return {name: judged.manifest[name] for name in SUMMARY}


def _render(file: Path, manifest: Mapping[str, Any]) -> None:
    file.write_text(yaml.safe_dump(dict(manifest), sort_keys=False), encoding="utf-8")


def _move(home: Registry, version: str, summary: Mapping[str, Any]) -> None:
    """The last thing before the release appears: a release that is there says where the aliases went."""
    home.move("candidate", version, f"deployed, verdict {summary['verdict']}")
    if summary["verdict"] == "pass":
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
    }


def _last_line(home: Registry, version: str, summary: Mapping[str, Any]) -> str:
    aliases = home.aliases()
    named = ", ".join(alias for alias, target in aliases.items() if target == version)
    failed = ", ".join(gate["name"] for gate in summary["gates"] if not gate["passed"])
    verdict = "gates passed" if summary["verdict"] == "pass" else f"blocked by {failed or 'the evaluation'}"
    stays = aliases.get("champion", version)
    rest = "" if stays == version else f"; champion stays {stays}"
    return f"deploy: {summary['winner']} is version {version} ({named}), {verdict}{rest}"
