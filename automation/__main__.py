"""``python -m automation``: what the workflows in .github/ do, one verb a step; `make` calls them."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from graphmill.errors import UserError

Work = Callable[[Any, Mapping[str, str]], int | None]


def main(arguments: Sequence[str] | None = None, variables: Mapping[str, str] = os.environ) -> int:
    """Run one verb; the exit status is 0, 1 when a guard, a run or the doctor says no, 2 for a mistake."""
    given = _parser().parse_args(arguments)
    try:
        status: int | None = given.work(given, variables)
    except UserError as error:
        print(f"{given.verb}: {error}", file=sys.stderr)
        return 1 if given.verb in ("guard", "intact", "submit", "answer", "promote") else 2
    return status or 0


def _from(module: str) -> Any:
    """A module of ours, when it is needed: the verbs of the comment's job run where nothing is installed."""
    return import_module(f"automation.{module}")


def _github(variables: Mapping[str, str]) -> Any:
    return _from("github").GitHub.here(variables)


def report(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Run base and change, and write what DVC says of the difference."""
    _from("report").measure(given.base, given.output)
    page, file = _from("page"), given.output / "report.json"
    if file.is_file():
        _from("summary").tell(page.render(page.read(file)))


def comment(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Show a report on the pull request that it is of."""
    _from("comment").post(given.report, _github(variables), variables)


def guard(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Refuse a pull request that changes data.dvc and is not the schedule's."""
    _from("data").guard(given.base, variables)


def intact(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Refuse a work tree whose data are not those that were committed."""
    _from("data").intact()


def remote(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Give this clone the default remote that DVC_REMOTE names; nothing when it names none."""
    if url := variables.get("DVC_REMOTE"):
        _from("data").remote(url)


def fetch(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Make data/ what DATA_SOURCE has, check it, and write data.dvc."""
    changed = _from("data").fetch(variables.get("DATA_SOURCE", ""))
    _from("summary").answer("changed", str(changed).lower())


def propose(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Open the pull request that changes data.dvc or dvc.lock."""
    if not given.file.is_file():
        print(f"propose: there is no {given.file}: nothing to propose")
        return
    content = given.file.read_bytes()
    if given.file.name == "data.dvc":
        _from("pointer").check(content)
    words = given.title, given.body
    _from("propose").propose(_github(variables), given.file.name, content, given.branch, words)


def dispatch(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Send a repository_dispatch."""
    payload = dict(part.partition("=")[::2] for part in given.payload)
    _from("dispatch").dispatch(_github(variables), given.event, payload)


def submit(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Run PIPELINE on Kubeflow, with OVERRIDES, to its end."""
    cluster = _from("cluster")
    cluster.submit(cluster.Order.here(variables))


def outputs(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Bring what run RUN made from KFP_PIPELINE_ROOT, and record it; nothing where no root is named."""
    if root := variables.get("KFP_PIPELINE_ROOT"):
        _from("outputs").collect(root, variables.get("RUN", ""))


def push(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Send what the stages made to the default remote."""
    _from("outputs").push()


def retrain(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Retrain on this machine, step by step."""
    overrides = _from("cluster").overrides(variables.get("OVERRIDES", ""))
    reason = variables.get("REASON") or "by hand"
    work = _from("retrain").Retraining(given.engine, reason, overrides, given.data, given.root)
    work.run()


def drift(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Check for drift on this machine and tell the decision."""
    _from("drift").check()


def answer(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Do what the DECISION of the monitoring RUN asks for."""
    trained = variables.get("TRAINED") == "true"
    told = (variables.get("DECISION", ""), trained, variables.get("RUN", "by hand"))
    _from("drift").answer_to(*told, _github(variables))


def promote(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Judge the model again beside the stage's champion, apply its release, and follow the rollout."""
    work = _from("promote")
    work.promote(work.Promotion.here(variables))


def kubeconfig(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Write the way into the cluster that KUBE_CLUSTER names."""
    _from("kubeconfig").write(variables)


def doctor(given: argparse.Namespace, variables: Mapping[str, str]) -> int:
    """Say what a cluster has of all that training, serving and a rollout need; changes nothing."""
    from automation.doctor import examine, finding, wanted
    from automation.doctor.door import Door

    asked = wanted.Wanted.here(given.params, variables)
    door = Door(given.context or asked.rollout.context)
    found = list(examine(door, asked))
    finding.show(found, given.json)
    return int(any(one.state == "missing" for one in found))


def release(given: argparse.Namespace, variables: Mapping[str, str]) -> None:
    """Publish the release that TAG names."""
    _from("release").publish(variables.get("TAG", ""), given.files)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m automation", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    one = _verb(verbs, report)
    one.add_argument("--base", default="origin/main", help="what the change goes to (origin/main)")
    one.add_argument("--output", type=Path, default=Path("compiled/report"), help="folder (compiled/report)")
    one = _verb(verbs, comment)
    one.add_argument("--report", type=Path, default=Path("compiled/report/report.json"), help="what `report` wrote")
    one = _verb(verbs, guard)
    one.add_argument("--base", default="origin/main", help="what the change goes to (origin/main)")
    one = _verb(verbs, propose)
    one.add_argument("file", type=Path, help="data.dvc or dvc.lock, as it should be")
    one.add_argument("--branch", required=True, help="branch of the pull request, which is overwritten")
    one.add_argument("--title", required=True, help="of the pull request and the commit")
    one.add_argument("--body", default="", help="of the pull request")
    one = _verb(verbs, dispatch)
    one.add_argument("event", help="drift or candidate")
    one.add_argument("payload", nargs="*", metavar="NAME=VALUE", help="what it carries")
    one = _verb(verbs, retrain)
    one.add_argument("--engine", default="dvc", help="dvc (recorded) or pipeline (Kubeflow's local runner) (dvc)")
    one.add_argument("--data", type=Path, help="folder of tables instead of data.dvc's; engine pipeline")
    one.add_argument("--root", type=Path, default=Path("."), help="folder for artifacts/ and registry/ (.)")
    one = _verb(verbs, doctor)
    one.epilog = "exit status: 0 nothing is missing; 1 something is; 2 the cluster could not be asked, or a mistake"
    one.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)")
    one.add_argument("--context", help="of the kubeconfig (rollout.context, else the current one)")
    one.add_argument("--json", action="store_true", help="for programs")
    one = _verb(verbs, release)
    one.add_argument("files", nargs="*", type=Path, help="what is attached")
    for work in (intact, remote, fetch, submit, outputs, push, drift, answer, promote, kubeconfig):
        _verb(verbs, work)
    return parser


def _verb(verbs: Any, work: Work) -> argparse.ArgumentParser:
    told = (work.__doc__ or "").strip()
    verb: argparse.ArgumentParser = verbs.add_parser(work.__name__, help=told, description=told)
    verb.set_defaults(work=work)
    return verb


if __name__ == "__main__":
    sys.exit(main())
