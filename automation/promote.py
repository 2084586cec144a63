"""A promotion: the model of this revision, judged beside the champion of a stage, released there and rolled out."""

import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from automation.carry import carry
from automation.process import run, show
from automation.summary import answer, tell
from graphmill import artifact, registry
from graphmill.deploy import Params as Deploy
from graphmill.deploy.release import home, overlays
from graphmill.errors import UserError
from graphmill.params import load
from graphmill.progress import say

STAGES = ("graph", "features", "train")
"""Stages whose artifacts a judgement needs."""
RELEASE = Path("artifacts/release")
PAUSE = 15.0
"""Seconds between two looks at the cluster."""
MINUTES = 330
"""Minutes for which a rollout is followed; it goes on without us."""


@dataclass(frozen=True)
class Promotion:
    """What goes where.

    Args:
        stage: an overlay of manifests/, and the environment on GitHub.
        home: the stage's registry; empty for `deploy.home`.
        serve: image of the predictor, with its digest; empty for `deploy.image`.
        rollout: image of the rollout's job, with its digest; empty for `deploy.rollout_image`.
        pause: seconds between two looks.
    """

    stage: str
    home: str = ""
    serve: str = ""
    rollout: str = ""
    pause: float = PAUSE

    @classmethod
    def here(cls, variables: Mapping[str, str]) -> "Promotion":
        """What a job's environment says.

        Raises:
            UserError: for a stage without manifests.
        """
        known = overlays(home())
        stage = variables.get("STAGE", "")
        if stage not in known:
            raise UserError(f"STAGE must be one of {', '.join(known)}, not {stage!r}")
        serve, rollout = variables.get("SERVE_IMAGE", ""), variables.get("GRAPHMILL_IMAGE", "")
        return cls(stage, variables.get("DEPLOY_HOME", ""), serve, rollout)

    def sections(self, sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The parameters of this stage.

        Raises:
            UserError: when the registry is a folder that is not here: its champion would be nobody.
        """
        deploy = sections["deploy"] | {"overlay": self.stage}
        given = {"home": self.home, "image": self.serve, "rollout_image": self.rollout}
        deploy |= {name: value for name, value in given.items() if value}
        deploy.pop("namespace", None)  # the overlay has its own
        place = str(deploy.get("home") or "registry")
        if "://" not in place and not Path(place).is_dir():
            told = f"the registry {place} is a folder that is not here"
            raise UserError(f"{told}; set DEPLOY_HOME of the stage, such as wandb://ENTITY/PROJECT/COLLECTION")
        return sections | {"deploy": deploy, "evaluate": sections["evaluate"] | {"registry": place}}


def promote(promotion: Promotion) -> None:
    """Judge, write the release, carry the model where the cluster reads it, apply, follow.

    Raises:
        UserError: when the gates block the model beside this stage's champion, a cluster would refuse the release, or
            the rollout took it back.
    """
    sections = promotion.sections(load(Path("params.yaml")))
    run("dvc", "pull", "--quiet", *STAGES)
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder, "params.yaml")
        params.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
        for stage in ("evaluate", "deploy"):
            _stage(stage, params)
    made = artifact.read(RELEASE, "release").manifest
    answer("version", str(made["version"]))
    if made["verdict"] != "pass":
        raise UserError(f"{made['version']} is blocked beside the champion of {promotion.stage}; nothing is applied")
    deploy = Deploy.parse(sections["deploy"], "deploy")
    version = str(made["version"])
    carry(registry.open(deploy.home).path(version), deploy.uri(version, str(made["digest"])))
    _apply()
    tell(f"promote: {made['name']} {made['version']} {_follow(made, promotion)} in {promotion.stage}")


def _stage(stage: str, params: Path) -> None:
    if status := show(sys.executable, "-m", "components", stage, "--params", str(params)):
        raise UserError(f"stage {stage} ended with status {status}; its words are above")


def _apply() -> None:
    text = run("kubectl", "kustomize", str(RELEASE))
    run(sys.executable, "-m", "graphmill.deploy", "validate", "-", text=text)
    say(run("kubectl", "apply", "--kustomize", str(RELEASE)).strip())


def _follow(made: dict[str, Any], promotion: Promotion) -> str:
    """Wait for the rollout's job, or for the predictor where none is due."""
    namespace = _namespace()
    if not made["rollout_due"]:
        wanted = f"inferenceservice/{made['name']}"
        run("kubectl", "-n", namespace, "wait", wanted, "--for=condition=Ready", "--timeout=20m")
        return "serves"
    job = f"job/{made['name']}-rollout-{made['version']}"
    end = time.monotonic() + MINUTES * 60
    while time.monotonic() < end:
        state = json.loads(run("kubectl", "-n", namespace, "get", job, "--output=json")).get("status", {})
        if ended := _ended(state):
            say(run("kubectl", "-n", namespace, "logs", job, "--tail=20").strip())
            if ended == "Failed":
                raise UserError(
                    f"{made['version']} was taken back, or its rollout could not begin: the job's words above"
                )
            return "is rolled out"
        time.sleep(promotion.pause)
    raise UserError(f"{job} goes on after {MINUTES} minutes: `kubectl -n {namespace} logs -f {job}`")


def _ended(state: Mapping[str, Any]) -> str:
    """`Complete` or `Failed`; empty while the job runs."""
    true = [found["type"] for found in state.get("conditions", []) if found["status"] == "True"]
    return next((word for word in true if word in ("Complete", "Failed")), "")


def _namespace() -> str:
    found = yaml.safe_load((RELEASE / "kustomization.yaml").read_text(encoding="utf-8"))["namespace"]
    if not re.fullmatch(r"[a-z0-9-]+", found):
        raise UserError(f"{RELEASE}/kustomization.yaml: namespace {found!r} is none")
    return str(found)
