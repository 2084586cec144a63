"""A check for drift on this machine: the newest data against the model that `dvc.lock` names. Nothing is trained."""

import json
import sys
from pathlib import Path

from automation.dispatch import dispatch
from automation.github import GitHub
from automation.process import run, show
from automation.summary import answer, tell
from graphmill.errors import UserError
from graphmill.progress import say

TRAINED = "train"
"""The stage that is not run: its model is the one that is watched."""
QUIET = ("ok", "watch", "request_labels")
"""Decisions that begin nothing."""
REPORT = Path("artifacts/drift_report")


def check() -> None:
    """Run the stages up to `drift`, and tell its decision.

    Raises:
        UserError: when there is no trained model, or a stage fails. An answer that asks for somebody is no failure.
    """
    if not Path("dvc.lock").is_file():
        raise UserError("no dvc.lock: no model was trained yet that could be watched; merge the first retraining")
    run("dvc", "pull", "--quiet", "data.dvc", TRAINED)
    for stage in upstream():
        if status := show(sys.executable, "-m", "components", stage):
            raise UserError(f"stage {stage} ended with status {status}; its words are above")
    decision = str(json.loads((REPORT / "drift_report.json").read_bytes())["decision"])
    answer("decision", decision)
    answer("trained", "false")
    tell(f"drift: {decision}; the report: {REPORT / 'report.html'}")


def upstream(last: str = "drift", file: Path = Path("dvc.yaml")) -> list[str]:
    """The stages that ``last`` needs and itself, in their order; what is trained is there already."""
    import yaml  # not needed, nor installed, where a decision is answered

    found = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
    makers = {out: stage for stage, about in found.items() for out in about["outs"]}
    needed, waiting = set(), [last]
    while waiting:
        stage = waiting.pop()
        needed.add(stage)
        waiting += [makers[dep] for dep in found[stage]["deps"] if makers.get(dep) not in (None, TRAINED, *needed)]
    return [stage for stage in found if stage in needed]


def answer_to(decision: str, trained: bool, run_id: str, github: GitHub) -> None:
    """Do what the decision asks for: begin a retraining, or call a person by a red run.

    Args:
        decision: of the monitoring.
        trained: whether the monitoring's run has trained a challenger itself.
        run_id: of the monitoring, for whoever asks later why.
        github: where the workflow `retrain` is.

    Raises:
        UserError: for `page`, and for no decision.
    """
    if decision == "retrain" and not trained:
        dispatch(github, "drift", {"reason": f"drift: run {run_id}", "run": run_id})
    elif decision == "retrain":
        say(f"drift: run {run_id} has trained a challenger itself; nothing more is begun")
    elif decision == "page":
        raise UserError(f"run {run_id}: a person must look; its report says why")
    elif decision in QUIET:
        tell(f"drift: {decision}; nothing is begun")
    else:
        raise UserError(f"run {run_id}: no decision that is known, but {decision!r}; was it of an older pipeline?")
