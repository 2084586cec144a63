"""The last lines that a failed task printed, from wherever they can still be had.

The API has no log in its version 2. The API server itself streams one under an old path that its pages do not pass
on; the pages have one of their own; and the Kubernetes API has it for whoever may read pods.
"""

from collections.abc import Iterator
from typing import Any

from graphmill.errors import UserError
from pipelines.cluster.client import Cluster
from pipelines.cluster.errors import Unreachable
from pipelines.cluster.patience import SHORT
from pipelines.cluster.tasks import Task

CONTAINER = "main"
"""The container of a task's pod in which its code runs."""
RUN = "pipeline/runid"
"""Label that the pods of a run have."""
NODE = "workflows.argoproj.io/node-name"
"""Annotation that tells which node of the workflow a pod is."""
NO_LOG = ("<!doctype html", "<html", '{"error_message"')
"""How answers with status 200 begin that are none: a page, and older servers' errors."""


def tail(cluster: Cluster, run: str, task: Task, lines: int) -> list[str]:
    """The last lines of a task's log; empty when it cannot be had."""
    for text in _texts(cluster, run, task):
        if found := [line.rstrip() for line in text.splitlines() if line.strip()]:
            return found[-lines:]
    return []


def advice(cluster: Cluster, run: str) -> str:
    """How to see a log that could not be had."""
    return f"kubectl logs -n {cluster.pods} -l {RUN}={run} -c {CONTAINER} --prefix --tail 50"


def _texts(cluster: Cluster, run: str, task: Task) -> Iterator[str]:
    for pod in task.pods:
        yield from _asked(cluster, f"/apis/v1alpha1/runs/{run}/nodes/{pod}/log")
        yield from _asked(cluster, "/k8s/pod/logs", podname=pod, runid=run, podnamespace=cluster.pods)
    yield from _kubernetes(cluster.pods, run, task)


def _asked(cluster: Cluster, path: str, **query: str) -> list[str]:
    """The text at an address of the server, if there is one: a log is a courtesy, and its lack is no error."""
    try:
        text = cluster.text(path, **query)
    except (UserError, Unreachable):
        return []
    return [] if text.lstrip()[:20].lower().startswith(NO_LOG) else [text]


def _kubernetes(namespace: str, run: str, task: Task) -> list[str]:
    """The logs of the task's pods, the last first."""
    try:
        from kubernetes import client, config
    except ImportError:
        return []
    from urllib3.exceptions import HTTPError

    settings = client.Configuration()
    settings.retries = False
    try:
        _configure(config, settings)
        core = client.CoreV1Api(client.ApiClient(settings))
        pods = core.list_namespaced_pod(namespace, label_selector=f"{RUN}={run}", _request_timeout=SHORT).items
        names = [pod.metadata.name for pod in pods if _of(pod, task)]
        asked = {"namespace": namespace, "container": CONTAINER, "tail_lines": 200, "_request_timeout": SHORT}
        return [core.read_namespaced_pod_log(name, **asked) for name in reversed(names)]
    except (config.ConfigException, client.ApiException, HTTPError, OSError, TypeError):
        return []


def _configure(config: Any, settings: Any) -> None:
    """The cluster that this runs in, else the one that the kubeconfig names."""
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        config.load_kube_config(client_configuration=settings)


def _of(pod: Any, task: Task) -> bool:
    """Whether a pod ran the task: it is one of its nodes, ``….train.executor``, or bears the name."""
    node = (pod.metadata.annotations or {}).get(NODE, "")
    return pod.metadata.name in task.pods or f".{task.key}.executor" in node
