"""The last lines that a failed task printed, from wherever they can still be had.

The API has no log in its version 2. The API server itself streams one under an old path that its pages do not pass
on; the pages have one of their own; and the Kubernetes API has it for whoever may read pods.
"""

from collections.abc import Callable, Iterator
from typing import Any

from graphmill.errors import UserError
from pipelines.cluster.client import Cluster
from pipelines.cluster.errors import Unreachable
from pipelines.cluster.tasks import Task

CONTAINER = "main"
"""The container of a task's pod in which its code runs."""
RUN = "pipeline/runid"
"""Label that the pods of a run have."""
NODE = "workflows.argoproj.io/node-name"
"""Annotation that tells which node of the workflow a pod is."""
NO_LOG = ("<!doctype html", "<html", '{"error_message"')
"""How answers with status 200 begin that are none: a page, and older servers' errors."""
SECONDS = (5.0, 20.0)
"""To connect to the Kubernetes API, and to be answered."""


def tail(cluster: Cluster, run: str, task: Task, lines: int) -> list[str]:
    """The last lines of a task's log; empty when it cannot be had."""
    for read in (_server, _pages, _kubernetes):
        for text in _tried(read(cluster, run, task)):
            if found := [line.rstrip() for line in text.splitlines() if line.strip()]:
                return found[-lines:]
    return []


def advice(cluster: Cluster, run: str) -> str:
    """How to see a log that could not be had."""
    return f"kubectl logs -n {cluster.pods} -l {RUN}={run} -c {CONTAINER} --prefix --tail 50"


def _tried(texts: Iterator[Callable[[], str]]) -> Iterator[str]:
    """Those that come: a log is a courtesy, and its lack must not hide why the run failed."""
    for fetch in texts:
        try:
            text = fetch()
        except (UserError, Unreachable):
            continue
        if not text.lstrip()[:20].lower().startswith(NO_LOG):
            yield text


def _server(cluster: Cluster, run: str, task: Task) -> Iterator[Callable[[], str]]:
    for pod in task.pods:
        yield lambda pod=pod: cluster.text(f"/apis/v1alpha1/runs/{run}/nodes/{pod}/log")  # type: ignore[misc]


def _pages(cluster: Cluster, run: str, task: Task) -> Iterator[Callable[[], str]]:
    for pod in task.pods:
        query = {"podname": pod, "runid": run, "podnamespace": cluster.pods}
        yield lambda query=query: cluster.text("/k8s/pod/logs", **query)  # type: ignore[misc]


def _kubernetes(cluster: Cluster, run: str, task: Task) -> Iterator[Callable[[], str]]:
    try:
        from kubernetes import client, config
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        settings = client.Configuration()
        settings.retries = False
        _configure(config, settings)
        core = client.CoreV1Api(client.ApiClient(settings))
        asked = {"label_selector": f"{RUN}={run}", "_request_timeout": SECONDS}
        pods = core.list_namespaced_pod(cluster.pods, **asked).items
        for pod in reversed([pod for pod in pods if _of(pod, task)]):
            asked = {"container": CONTAINER, "tail_lines": 200, "_request_timeout": SECONDS}
            text = core.read_namespaced_pod_log(pod.metadata.name, cluster.pods, **asked)
            yield lambda text=text: text  # type: ignore[misc]
    except (ImportError, config.ConfigException, ApiException, HTTPError, OSError, TypeError):
        return


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
