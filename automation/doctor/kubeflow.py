"""Kubeflow Pipelines: its kinds, its server, and what its pods read."""

import re
from collections.abc import Iterator

from automation.doctor import versions
from automation.doctor.door import Door
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import KUBEFLOW, Wanted

INSTALL = "install it (docs/cluster.md#2-kubeflow-pipelines)"
KINDS = {"argoproj.io/v1alpha1": "Workflow", "kubeflow.org/v1beta1": "ScheduledWorkflow"}
SERVER = "ml-pipeline"
"""Its Deployment and its Service."""
LAUNCHER, STORE = "kfp-launcher", "mlpipeline-minio-artifact"
"""ConfigMap that says where artifacts are kept, and which Secrets open that; the Secret where it does not say."""
STEP = "make them (docs/cluster.md#3-the-object-store)"
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
    tag = versions.of_image(deployment, "ml-pipeline-api-server")
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
    """Whether steps have the keys of the object store, and may read them."""
    settings = door.object("configmaps", LAUNCHER, wanted.runs) or {}
    text = (settings.get("data") or {}).get("providers", "")
    names = re.findall(r"secretName:\s*[\"']?([a-z0-9.-]+)", text) or ([] if "fromEnv: true" in text else [STORE])
    account = wanted.cluster.service_account
    for name in dict.fromkeys(names):
        if door.object("secrets", name, wanted.runs) is None:
            told = f"no Secret {name} in namespace {wanted.runs}, with which steps ask the object store"
            yield missing(told, STEP)
        elif account and not door.may("get", "", "secrets", wanted.runs, name, account):
            yield missing(f"{account} may not read Secret {name}, with which steps ask the object store", STEP)
        else:
            yield ok(f"Secret {name} in namespace {wanted.runs}")
    if not names:
        yield ok("steps ask the object store as the account that they run as")
