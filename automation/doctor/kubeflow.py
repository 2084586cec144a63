"""Kubeflow Pipelines: its kinds, its server, and what its pods read."""

from collections.abc import Iterator

from automation.doctor import versions
from automation.doctor.door import Door
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import KUBEFLOW, Wanted

INSTALL = "install it (docs/cluster.md#2-kubeflow-pipelines)"
KINDS = {"argoproj.io/v1alpha1": "Workflow", "kubeflow.org/v1beta1": "ScheduledWorkflow"}
SERVER = "ml-pipeline"
"""Its Deployment and its Service."""
STORE = "mlpipeline-minio-artifact"
"""The Secret with which the launcher of a step asks the object store, whichever store that is."""
SEVERAL = "MULTIUSER"
"""Variable of the server that gives each team a namespace of its own."""


def pipelines(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether it is there, serves, and knows what our pipelines are compiled for."""
    lacking = [kind for version, kind in KINDS.items() if kind not in (door.kinds(version) or {})]
    if lacking:
        yield missing(f"the cluster does not know {' and '.join(lacking)}", INSTALL)
    deployment = door.object("deployments", SERVER, KUBEFLOW, "apps/v1")
    if deployment is None or door.object("services", SERVER, KUBEFLOW) is None:
        yield missing(f"no Deployment and Service {SERVER} in namespace {KUBEFLOW}", INSTALL)
        return
    if not deployment.get("status", {}).get("availableReplicas"):
        yield missing(f"{SERVER} does not serve", f"kubectl -n {KUBEFLOW} describe deployment {SERVER}")
    tag = versions.of_image(deployment)
    version, least = versions.parse(tag), versions.text(versions.KUBEFLOW)
    if version is None:
        yield warning(f"the image of {SERVER} does not tell its version", f"see that it is {least} or newer")
    elif version < versions.KUBEFLOW:
        yield missing(f"Kubeflow Pipelines {tag}; the pipelines are compiled for {least}", INSTALL)
    else:
        yield ok(f"Kubeflow Pipelines {tag} in namespace {KUBEFLOW}")


def runs(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether runs and predictor share a namespace: a claim belongs to one."""
    deployment = door.object("deployments", SERVER, KUBEFLOW, "apps/v1") or {}
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    variables = {item["name"]: item.get("value", "") for one in containers for item in one.get("env", [])}
    if variables.get(SEVERAL, "").lower() == "true" and wanted.runs == KUBEFLOW:
        yield missing(
            f"{SERVER} serves several users, and runs would be in {KUBEFLOW}", "export KFP_NAMESPACE=your profile"
        )
    claims = wanted.cluster.claims
    if wanted.runs == wanted.namespace:
        yield ok(f"runs and predictor share namespace {wanted.namespace}")
    elif claims.models or claims.graph:
        told = f"runs are in {wanted.runs}, the predictor in {wanted.namespace}: they cannot share claims"
        yield missing(told, f"set deploy.namespace: {wanted.runs}, or empty cluster.claims (docs/pipelines.md)")
    else:
        yield ok(f"runs are in {wanted.runs}, the predictor in {wanted.namespace}; they share no claim")


def store(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether the runs' namespace has the object store's key."""
    if door.object("secrets", STORE, wanted.runs) is None:
        told = f"no Secret {STORE} in namespace {wanted.runs}"
        yield warning(told, "make it, unless the account of the pods is enough (docs/cluster.md#3-the-object-store)")
    else:
        yield ok(f"Secret {STORE} in namespace {wanted.runs}")
