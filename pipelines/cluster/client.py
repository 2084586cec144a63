"""The one door to a Kubeflow Pipelines server: ``kfp.Client``, found, authenticated and patient."""

import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from graphmill.errors import UserError
from pipelines.cluster import auth, door

IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
PAGE = 100
"""Things asked for at a time."""


class Cluster:
    """A server that answers.

    Args:
        host: its address; ``KFP_HOST``, then ``KF_PIPELINES_ENDPOINT``, then the service in this cluster.
        namespace: of the runs, on a server for several users; ``KFP_NAMESPACE``, then the pod's own.

    Attributes:
        api: the ``kfp.Client``.
        host: address of the API.
        ui: address of the pages.
        namespace: to ask for; None on a server for one user, which takes none.
        pods: namespace in which the runs' pods are.

    Raises:
        UserError: when no server is named, it refuses the credentials, or wants a namespace.
        Unreachable: when it does not answer.
    """

    def __init__(self, host: str | None = None, namespace: str | None = None) -> None:
        self.host = _host(host)
        self.ui = (os.environ.get("KF_PIPELINES_UI_ENDPOINT") or self.host).rstrip("/")
        credentials = auth.find()
        self.api = _client(self.host, credentials)
        self.generated = self.api._run_api.api_client  # kfp.Client shows its services, not what they share
        door.fit(self.generated, self.host, credentials.source if credentials else None)
        wanted = namespace or os.environ.get("KFP_NAMESPACE")
        self.namespace = self._namespace(wanted)
        self.pods = self.namespace or wanted or "kubeflow"

    def link(self, *path: str) -> str:
        """Address of a page."""
        return "/".join((f"{self.ui}/#", *path))

    def listed(self, call: Callable[..., Any], field: str, **asked: Any) -> Iterator[Any]:
        """The things of every page of a list.

        Args:
            call: one of the ``list_…`` methods of ``kfp.Client``.
            field: of its answer that has the things.
            asked: its other arguments.
        """
        token = ""
        while True:
            page = call(page_token=token, page_size=PAGE, **asked)
            yield from getattr(page, field) or []
            token = page.next_page_token or ""
            if not token:
                return

    def named(self, call: Callable[..., Any], field: str, name: str, **asked: Any) -> list[Any]:
        """The things of a display name, the newest first."""
        wanted = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        asked |= {"filter": json.dumps({"predicates": [wanted]}), "sort_by": "created_at desc"}
        return [thing for thing in self.listed(call, field, **asked) if thing.display_name == name]

    def text(self, path: str, **query: str) -> str:
        """A text that is no part of the generated client, asked for once with the same credentials.

        Raises:
            Absent: when it is not there.
            Unreachable: when there is no answer.
        """
        return door.text(self.generated, f"{self.host}{path}", query)

    def _namespace(self, wanted: str | None) -> str | None:
        shared = self.api._healthz_api.healthz_service_get_healthz().multi_user
        if shared is None:  # the pages answer in words of their own
            shared = json.loads(self.generated.last_response.data).get("apiServerMultiUser")
        if not shared:
            return None
        if not wanted and POD_NAMESPACE.exists():
            wanted = POD_NAMESPACE.read_text().strip()
        if not wanted:
            raise UserError(f"{self.host} serves several users: name your namespace with --namespace or KFP_NAMESPACE")
        return wanted


def _host(given: str | None) -> str:
    host = given or os.environ.get("KFP_HOST") or os.environ.get("KF_PIPELINES_ENDPOINT")
    if not host and "KUBERNETES_SERVICE_HOST" in os.environ:
        host = IN_CLUSTER
    if not host:
        forward = "`kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80` makes one http://localhost:8080"
        raise UserError(f"no Kubeflow Pipelines server is named; give --host or KFP_HOST; {forward}")
    return (host if "://" in host else f"https://{host}").rstrip("/")


def _client(host: str, credentials: auth.Credentials | None) -> Any:
    try:
        import kfp
        import kfp_server_api
    except ImportError:
        raise UserError("a cluster is spoken to through the package `kfp`: pip install 'graphmill[stage]'") from None

    class Client(kfp.Client):  # type: ignore[misc]
        """Asks nothing while it is made: kfp asks five times without a time-out, and writes into the home directory."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it is for servers since 2.0
        return Client(host=host, credentials=credentials, ssl_ca_cert=os.environ.get("KFP_CA_FILE") or None)
