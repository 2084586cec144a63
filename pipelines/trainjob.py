"""The TrainJob of section `cluster.distributed`, but for what a run knows alone: its name, its owner and its files."""

import json
from typing import Any

from components.image import IMAGE
from components.trainjob import NODE
from graphmill import shared
from pipelines.platform import Cluster, Node

MANAGER = "graphmill.io/pipeline"
"""Whose patches of the runtime these are."""
MESH = {"sidecar.istio.io/inject": "false"}
"""A service mesh in the pods would stay when they are done, and keep the processes from meeting."""


def template(cluster: Cluster, mount: str) -> str:
    """The object as JSON, with the volume for large artifacts at ``mount``."""
    given, node = cluster.distributed, cluster.node
    spec: dict[str, Any] = {
        "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": given.runtime_kind, "name": given.runtime},
        "trainer": {
            "image": given.image or IMAGE,
            "numNodes": given.nodes,
            "resourcesPerNode": resources(node),
            "env": [{"name": shared.VARIABLE, "value": mount}, {"name": "GRAPHMILL_QUIET", "value": "1"}],
        },
        "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": {"template": {"spec": _jobs(cluster, mount)}}}],
    }
    if given.deadline:
        spec["activeDeadlineSeconds"] = given.deadline
    rules = {"labels": given.labels, "restarts": given.restarts, "starting": given.starting}
    return json.dumps(rules | {"spec": spec}, sort_keys=True)


def resources(node: Node) -> dict[str, dict[str, str]]:
    """Requests and limits as Kubernetes words them; those of a GPU are one."""
    requests = {"cpu": node.cpu_request, "memory": node.memory_request}
    limits = {"cpu": node.cpu_limit, "memory": node.memory_limit}
    if node.accelerator:
        requests[node.accelerator] = limits[node.accelerator] = str(node.accelerator_count)
    both = {"requests": requests, "limits": limits}
    return {kind: {key: value for key, value in found.items() if value} for kind, found in both.items()}


def _jobs(cluster: Cluster, mount: str) -> dict[str, Any]:
    """The patch of the runtime's pods, whose replicated job and container Kubeflow calls ``node``."""
    pod = {"metadata": {"labels": MESH, "annotations": MESH}, "spec": _pod(cluster, mount)}
    return {"replicatedJobs": [{"name": NODE, "template": {"spec": {"template": pod}}}]}


def _pod(cluster: Cluster, mount: str) -> dict[str, Any]:
    node = cluster.node
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    mounts = [{"name": "shared", "mountPath": mount}, {"name": "memory", "mountPath": "/dev/shm"}]
    pod: dict[str, Any] = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "shared", "persistentVolumeClaim": {"claimName": cluster.claims.shared}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},  # NCCL's; a container's own 64 MiB are too few
        ],
        "containers": [{"name": NODE, "volumeMounts": mounts, "securityContext": locked}],
    }
    if node.node_selector:
        pod["nodeSelector"] = node.node_selector
    if node.tolerations:
        pod["tolerations"] = [taint.manifest for taint in node.tolerations]
    if cluster.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in cluster.image_pull_secrets]
    return pod
