"""The door to the API server: reads, and reviews of rights, which are questions too. Nothing here changes anything."""

from collections.abc import Mapping
from typing import Any

from graphmill.errors import UserError
from graphmill.rollout.cluster import SECONDS, connected

Object = Mapping[str, Any]
CORE = "v1"


class Forbidden(Exception):
    """Whoever asks may not look; that is no answer to what was asked."""


class Door:
    """Objects of a cluster as plain values.

    Args:
        context: of the kubeconfig; None for the cluster that this runs in, else the kubeconfig's current one.

    Raises:
        UserError: when there is no way to a cluster.
    """

    def __init__(self, context: str | None = None) -> None:
        self._client = connected(context)
        self._kinds: dict[str, dict[str, str] | None] = {}

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self._client.configuration.host)

    def get(self, path: str) -> Object | None:
        """The object at a path; None when it, its namespace or its kind is not there.

        Raises:
            Forbidden: when whoever asks may not look.
            UserError: when there is no answer, or whoever asks is not known.
        """
        return self._call("GET", path)

    def object(self, plural: str, name: str, namespace: str = "", version: str = CORE) -> Object | None:
        """An object by its plural and name; see `get`."""
        place = f"namespaces/{namespace}/" if namespace else ""
        return self.get(f"{_root(version)}/{place}{plural}/{name}")

    def kinds(self, version: str) -> Mapping[str, str] | None:
        """Kinds that the server knows of a group and version, each with its plural; None when it has no such group.

        Everybody who is known may ask this, other than for the list of CRDs.
        """
        if version not in self._kinds:
            found = self.get(_root(version))
            known = {
                item["kind"]: item["name"] for item in (found or {}).get("resources", []) if "/" not in item["name"]
            }
            self._kinds[version] = None if found is None else known
        return self._kinds[version]

    def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "", account: str = "") -> bool:
        """Whether whoever asks, or a service account of the namespace, has a right there.

        Args:
            verb: such as ``get``.
            group: of the API; empty for the core's.
            resource: the plural, with ``/log`` and the like behind it.
            namespace: where.
            name: of the object; empty for every one.
            account: name of the service account; empty for whoever asks.

        Raises:
            Forbidden: when whoever asks may not ask about others.
            UserError: when there is no answer.
        """
        resource, _, part = resource.partition("/")
        wanted = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "name": name}
        spec: dict[str, Any] = {"resourceAttributes": {**wanted, "subresource": part}}
        kind = "SelfSubjectAccessReview"
        path = f"{_root('authorization.k8s.io/v1')}/selfsubjectaccessreviews"
        if account:
            kind = "LocalSubjectAccessReview"
            path = f"{_root('authorization.k8s.io/v1')}/namespaces/{namespace}/localsubjectaccessreviews"
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
            spec |= {"user": f"system:serviceaccount:{namespace}:{account}", "groups": groups}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        body |= {"metadata": {"namespace": namespace}} if account else {}
        answer = self._call("POST", path, body)
        return bool(answer and answer.get("status", {}).get("allowed"))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, method: str, path: str, body: Object | None = None) -> Object | None:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            found: Object = self._client.call_api(
                *(path, method),
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                response_type="object",
                _return_http_data_only=True,
                _request_timeout=SECONDS,
            )
        except ApiException as error:
            self._refuse(error, path)
            return None
        except (HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(f"no answer from the API server {self.host}: {reason}") from None
        return found

    def _refuse(self, error: Any, path: str) -> None:
        if error.status == 404:
            return
        if error.status == 403:
            raise Forbidden(f"may not look at {path}") from None
        if error.status == 401:
            told = f"the API server {self.host} does not know who asks (401)"
            raise UserError(f"{told}; log in again, or name another context") from None
        raise UserError(f"the API server {self.host} answers {error.status} {error.reason} to {path}") from None


def _root(version: str) -> str:
    return f"/api/{version}" if version == CORE else f"/apis/{version}"
