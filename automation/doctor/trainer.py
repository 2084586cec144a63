"""Kubeflow Trainer, which only training on several machines asks for (`cluster.distributed`)."""

from collections.abc import Iterator

from automation.doctor.door import Door, Forbidden
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import Wanted

INSTALL = "install it (docs/cluster.md#several-machines)"
TRAINER = "trainer.kubeflow.org/v1alpha1"
PLURALS = {"ClusterTrainingRuntime": "clustertrainingruntimes", "TrainingRuntime": "trainingruntimes"}
VERBS = ("create", "get", "delete")
"""What the stage does with its TrainJob."""


def trainer(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether several machines can train together; nothing where one does."""
    asked = wanted.distributed
    if asked.get("nodes", 1) <= 1:
        return
    if "TrainJob" not in (door.kinds(TRAINER) or {}):
        yield missing(f"cluster.distributed: the cluster knows no TrainJob of {TRAINER}", INSTALL)
        return
    kind, name = asked["runtime_kind"], asked["runtime"]
    place = "" if kind.startswith("Cluster") else wanted.runs
    if door.object(PLURALS[kind], name, place, TRAINER) is None:
        yield missing(f"cluster.distributed: there is no {kind} {name}", INSTALL)
    else:
        yield ok(f"{kind} {name}")
    yield _rights(door, wanted)


def _rights(door: Door, wanted: Wanted) -> Answer:
    account, place, group = wanted.cluster.service_account, wanted.runs, TRAINER.partition("/")[0]
    if account is None:
        return warning("runs run as Kubeflow's own account, which may make no TrainJob", "set cluster.service_account")
    try:
        refused = [verb for verb in VERBS if not door.may(verb, group, "trainjobs", place, account=account)]
    except Forbidden:
        ask = f"kubectl auth can-i create trainjobs.{group} -n {place} --as=system:serviceaccount:{place}:{account}"
        return warning(f"whether {account} may make TrainJobs you may not ask", ask)
    if refused:
        told = f"{account} may not {', '.join(refused)} trainjobs in namespace {place}"
        return missing(told, "add manifests/components/trainjob to the overlay, and apply it again")
    return ok(f"{account} may make TrainJobs")
