"""A retraining, step by step: what the workflow `retrain` does on a runner, and `make retrain-local` on a laptop."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from automation import cluster, data, outputs
from automation.dispatch import body
from automation.process import run, show
from automation.summary import answer, tell
from graphmill import artifact
from graphmill.deploy import Params as Deploy
from graphmill.errors import UserError
from graphmill.evaluate import describe
from graphmill.params import load, plain
from graphmill.progress import say
from pipelines.local import check

ENGINES = ("dvc", "pipeline")
EVALUATION, RELEASE = Path("artifacts/evaluation"), Path("artifacts/release")


@dataclass
class Retraining:
    """One retraining.

    Args:
        engine: ``dvc`` runs what is not up to date and records it; ``pipeline`` runs the Kubeflow pipeline `training`
            through its local runner, in ``root``.
        reason: why; it goes along to whoever hears of the result.
        overrides: as ``section.key=value``; they make the run an experiment, which DVC does not record.
        data: folder of tables instead of those of `data.dvc`.
        root: folder for artifacts/ and registry/ with the engine ``pipeline``.
    """

    engine: str = "dvc"
    reason: str = "by hand"
    overrides: Sequence[str] = ()
    data: Path | None = None
    root: Path = Path(".")
    _told: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UserError(f"engine {self.engine!r}: must be one of {', '.join(ENGINES)}")
        if self.engine == "dvc" and (self.overrides or self.data):
            raise UserError("what DVC records has its own data and params.yaml: use --engine pipeline for a trial")

    def run(self) -> None:
        """All steps; the last line says what came of it.

        Raises:
            UserError: when a step fails, which ends it.
        """
        steps = self.steps()
        for number, (title, step) in enumerate(steps, 1):
            say(f"[{number}/{len(steps)}] {title}")
            step()
        say(f"retrain: {self._told['line']}")

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """The steps in their order."""
        own = self.data is None
        return [
            ("parameters and registry", self._prepare),
            *([("the data that data.dvc names", _pull), ("nobody changed them", data.intact)] if own else []),
            (f"the stages, by {self.engine}", self._train),
            *([("still nobody changed the data", data.intact)] if own else []),
            ("the evaluation's verdict", self._judge),
            *(
                [("metrics against the last commit", _metrics), ("outputs to the remote", outputs.push)]
                if self._kept
                else []
            ),
            ("what a dispatch would carry", self._carry),
        ]

    @property
    def _kept(self) -> bool:
        return self.engine == "dvc"

    def _prepare(self) -> None:
        sections = load(Path("params.yaml"))
        changed = _overridden(sections, self.overrides)
        check(changed)
        home = Deploy.parse(changed["deploy"], "deploy").home
        if os.environ.get("GITHUB_ACTIONS") and "://" not in home and not Path(home).is_dir():
            told = (
                f"deploy.home is the folder {home}, and a runner's folders end with it: every model would be the first"
            )
            raise UserError(
                f"{told}; give a home that lasts, such as wandb://ENTITY/PROJECT/COLLECTION (docs/registry.md)"
            )
        if not self._kept:
            self.root.mkdir(parents=True, exist_ok=True)
            artifact.write_text(self.root / "params.retrain.yaml", yaml.safe_dump(changed, sort_keys=False))

    def _train(self) -> None:
        if self._kept:
            # what the remote has of an earlier run is fetched, not made again
            command = ["dvc", "repro", *(["--pull"] if outputs.default_remote() else [])]
        else:
            params, folder = self.root / "params.retrain.yaml", self.data or Path("data")
            command = [sys.executable, "-m", "pipelines", "run", "training", f"--params={params}", f"--data={folder}"]
            command.append(f"--root={self.root}")
        if status := show(*command):
            raise UserError(f"`{' '.join(command)}` ended with status {status}; its words are above")

    def _judge(self) -> None:
        evaluation, release = self.root / EVALUATION, self.root / RELEASE
        tell(f"```\n{describe(evaluation, release)}\n```")
        made = artifact.read(release, "release").manifest
        gates = artifact.read(evaluation, "evaluation").manifest["gates"]
        failed = ", ".join(gate["name"] for gate in gates if not gate["passed"])
        self._told = {"version": made["version"], "verdict": made["verdict"], "line": _line(made, failed)}
        answer("version", made["version"])
        answer("verdict", made["verdict"])
        answer("waits", str(bool(made["rollout_due"])).lower())

    def _carry(self) -> None:
        revision = run("git", "rev-parse", "HEAD").strip()
        payload = {"version": self._told["version"], "verdict": self._told["verdict"]}
        payload |= {"revision": revision, "reason": self.reason}
        say(json.dumps(body("candidate", payload)))


def _line(made: dict[str, Any], failed: str) -> str:
    version = f"{made['name']} {made['version']}"
    if made["verdict"] != "pass":
        return f"{version} is blocked by {failed or 'the evaluation'}; the champion stays"
    if made["rollout_due"]:
        return f"{version} passed its gates and waits for its rollout: `make rollout`, or the workflow promote"
    return f"{version} passed its gates and is the champion"


def _pull() -> None:
    if not shutil.which("dvc"):
        raise UserError("dvc is not installed here; `make install`")
    run("dvc", "pull", "--quiet", "data.dvc")
    if Path("dvc.lock").is_file() and outputs.default_remote():
        run("dvc", "fetch", "--quiet", "evaluate")  # what the new metrics are compared with


def _metrics() -> None:
    tell(run("dvc", "metrics", "diff", "HEAD", "--md").strip() or "no metric differs from the last commit's")


def _overridden(sections: dict[str, dict[str, Any]], overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The sections with some values replaced; the mappings on the way are made."""
    changed: dict[str, dict[str, Any]] = json.loads(json.dumps(sections))
    for line in cluster.overrides("\n".join(overrides)):
        path, _, text = line.partition("=")
        name, *keys = path.split(".")
        if name not in changed or not keys:
            raise UserError(f"{path}: must begin with a section of params.yaml and name a key of it")
        place = changed[name]
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UserError(f"{path}: {key} is a value and has no keys")
        place[keys[-1]] = plain(yaml.safe_load(text), path)
    return changed
