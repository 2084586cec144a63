"""The one door of the stages to Kubernetes: TrainJobs of this namespace, their pods, and what those printed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.trainjob import NODE
from graphmill.errors import UserError

Object = dict[str, Any]

GROUP, PLURAL, KIND = "trainer.kubeflow.org", "trainjobs", "TrainJob"
VERSION = f"{GROUP}/v1alpha1"
SET = "jobset.sigs.k8s.io/jobset-name"
"""Label of a job's pods: the set of jobs that Kubeflow makes of it bears its name."""
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
SECONDS = (5.0, 20.0)
"""To connect, and to be answered."""
PASSING = (408, 429, 500, 502, 503, 504)
"""Answers that may be another when it is asked again."""


class Unreachable(Exception):
    """No answer, or one that may be another in a while."""


class Absent(Exception):
    """The object is not there."""


class Exists(Exception):
    """An object of that name is there."""


class Door:
    """The cluster that this runs in, else the one that the kubeconfig names.

    Raises:
        UserError: when there is no way to a cluster.
    """

    def __init__(self) -> None:
        from kubernetes import client, config

        settings = client.Configuration()
        settings.retries = False  # whoever asks tries again, and is told meanwhile
        try:
            try:
                config.load_incluster_config(client_configuration=settings)
                self.namespace = NAMESPACE.read_text(encoding="utf-8").strip()
            except config.ConfigException:
                config.load_kube_config(client_configuration=settings)
                context = config.list_kube_config_contexts()[1]["context"]
                self.namespace = context.get("namespace", "default")
        except (config.ConfigException, OSError, TypeError) as error:
            told = f"train: no way to a cluster: {error}"
            raise UserError(f"{told}; cluster.distributed is for pipelines on a cluster") from error
        connection = client.ApiClient(settings)
        self._jobs, self._core = client.CustomObjectsApi(connection), client.CoreV1Api(connection)

    def create(self, job: Object) -> None:
        """Make a job; the server refuses fields that it does not know, such as those of a newer Trainer."""
        self._asked(
            "create", self._jobs.create_namespaced_custom_object, *self._where, body=job, field_validation="Strict"
        )

    def get(self, name: str) -> Object:
        """A job as it is."""
        found: Object = self._asked("get", self._jobs.get_namespaced_custom_object, *self._where, name=name)
        return found

    def has(self, name: str) -> bool:
        """Whether there is a job of that name."""
        try:
            return bool(self.get(name))
        except Absent:
            return False

    def delete(self, name: str) -> None:
        """Delete a job; its pods go with it."""
        call = self._jobs.delete_namespaced_custom_object
        self._asked("delete", call, *self._where, name=name, propagation_policy="Foreground")

    def pods(self, name: str) -> list[Any]:
        """The pods of a job."""
        found = self._asked("list", self._core.list_namespaced_pod, self.namespace, label_selector=f"{SET}={name}")
        return [pod for pod in found.items if any(item.name == NODE for item in pod.spec.containers)]

    def log(self, pod: str, lines: int, previous: bool = False) -> str:
        """The last lines that a pod printed, before its container was restarted when ``previous``; "" without any."""
        call = self._core.read_namespaced_pod_log
        try:
            text = self._asked("log", call, pod, self.namespace, container=NODE, tail_lines=lines, previous=previous)
        except (UserError, Unreachable, Absent):  # a log is a courtesy
            return ""
        return str(text)

    @property
    def _where(self) -> tuple[str, str, str, str]:
        group, version = VERSION.split("/")
        return group, version, self.namespace, PLURAL

    def _asked(self, verb: str, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*given, _request_timeout=SECONDS, **named)
        except ApiException as error:
            raise self._refusal(verb, error.status or 0, str(error.body or error.reason)) from error
        except (HTTPError, OSError) as error:
            raise Unreachable(str(error)) from error

    def _refusal(self, verb: str, status: int, body: str) -> Exception:
        """What an answer means."""
        told, known = _message(body)
        if status in PASSING or status == 0:
            return Unreachable(f"{status}: {told}")
        if status == 409:
            return Exists(told)
        if status == 404 and known:
            return Absent(told)
        if status == 404:
            advice = "install Kubeflow Trainer 2.2 or newer, or take cluster.distributed.nodes: 1"
        elif status in (401, 403) and "admission webhook" not in told:
            advice = f"give the pipeline's account in {self.namespace} the rights of manifests/components/trainjob"
        else:
            advice = "cluster.distributed must fit its runtime, and Kubeflow Trainer be 2.2 or newer"
        return UserError(f"train: the cluster refuses to {verb} the TrainJob or its pods ({status}: {told}); {advice}")


def _message(body: str) -> tuple[str, bool]:
    """What the API server says, and whether it knows the kind: of an unknown one it says nothing in JSON."""
    try:
        document = json.loads(body)
        return str(document["message"]), bool((document.get("details") or {}).get("name"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.strip(), False
