"""How a run on a cluster ended, as the workflow behind it has it.

Kubeflow's own record of a run is written by its pods: one that was killed leaves it open, and a task whose result came
from the cache may. The workflow is the controller's, which sees every pod.
"""

import base64
import gzip
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

ADDRESS = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has its namespace, its token, and the authority of the API server."""
SECONDS, TRIES = 10.0, 2
BOX = "exit-handler-1"
"""What Kubeflow calls the group of all stages."""
ENDS = {"Succeeded": "SUCCEEDED", "Failed": "FAILED", "Error": "FAILED"}
"""Argo's words, and a run's."""


def ended(name: str) -> tuple[str, str] | None:
    """The state in which a workflow's stages ended, and which failed and why; None where that cannot be had.

    Args:
        name: of the workflow, in this pod's namespace.
    """
    if not name or not ACCOUNT.is_dir():
        return None
    try:
        return told(_nodes(name))
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError) as error:
        print(f"notify: the workflow {name} cannot be read: {error}", flush=True)
        return None


def told(nodes: Mapping[str, Any]) -> tuple[str, str] | None:
    """The same from a workflow's nodes, by their ids."""
    boxes = [node for node in nodes.values() if node["displayName"] == BOX and node["type"] != "Pod"]
    state = ENDS.get(boxes[0]["phase"]) if boxes else None
    if state is None:
        return None
    failed = [node for node in nodes.values() if node["type"] == "Pod" and ENDS.get(node["phase"]) == "FAILED"]
    if state == "SUCCEEDED" or not failed:  # a failed try may have been made good
        return state, ""
    last = max(failed, key=lambda node: node.get("finishedAt") or "")
    return state, f"{_task(last['name'])}: {last.get('message') or last['phase']}"


def _task(path: str) -> str:
    """The task of a pod: ``training-x7.root.exit-handler-1.train.executor(0)``."""
    parts = [part for part in path.split(".") if not part.startswith("executor")]
    return parts[-1].removesuffix("-driver")


def _nodes(name: str) -> dict[str, Any]:
    place = (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    token = (ACCOUNT / "token").read_text(encoding="utf-8").strip()
    transport = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=ACCOUNT / "ca.crt"), retries=TRIES)
    with httpx.Client(transport=transport, timeout=SECONDS, headers={"Authorization": f"Bearer {token}"}) as client:
        answer = client.get(f"{ADDRESS}/apis/argoproj.io/v1alpha1/namespaces/{place}/workflows/{name}")
    status = answer.raise_for_status().json()["status"]
    if packed := status.get("compressedNodes"):  # of a workflow that would be too large for its object
        status["nodes"] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return dict(status["nodes"])
