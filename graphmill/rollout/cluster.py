"""The one door to Kubernetes: reads of the few objects that a rollout looks at, and locked merge patches."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from graphmill.errors import UserError
from graphmill.rollout import answers
from graphmill.rollout.params import Params
from graphmill.rollout.service import STATE, Object
from graphmill.rollout.target import Target, Unreachable

LOG = logging.getLogger(__name__)
KSERVE = ("serving.kserve.io", "v1beta1", "inferenceservices")
KNATIVE = ("serving.knative.dev", "v1", "revisions")
GATEWAY = ("gateway.networking.k8s.io", "v1", "httproutes")
SECONDS = (5.0, 20.0)
"""To connect, and to be answered."""
TRIES = 5
"""Times that a patch is planned again because somebody else wrote the object meanwhile."""
OURS = (("predictor", "canaryTrafficPercent"), ("predictor", "name"), ("predictor", "model", "storageUri"), ("canary",))
"""Fields of ``spec`` that nobody else may write while a rollout runs."""


def open(params: Params, name: str, namespace: str) -> Target:
    """The target of a mode on a cluster.

    Args:
        params: section `rollout`.
        name: of the InferenceService.
        namespace: it lives in.

    Raises:
        UserError: when there is no way to a cluster.
    """
    from graphmill.rollout.knative import Knative
    from graphmill.rollout.standard import Standard

    mode = Knative if params.target == "knative" else Standard
    return mode(Cluster(name, namespace, params.context), params.shadow_share)


class Cluster:
    """The objects of one InferenceService.

    Args:
        name: of the InferenceService.
        namespace: it lives in.
        context: of the kubeconfig; None for the cluster that this runs in, else the kubeconfig's current one.

    Raises:
        UserError: when there is no way to a cluster.
    """

    def __init__(self, name: str, namespace: str, context: str | None = None) -> None:
        self.name, self.namespace = name, namespace
        self._client = connected(context)

    def service(self) -> Object:
        """The InferenceService.

        Raises:
            UserError: when it, its namespace or KServe is not there, or may not be read.
            Unreachable: when there is no answer.
        """
        return self._get(KSERVE, self.name)

    def revision(self, name: str) -> Object | None:
        """A Knative revision; None when it is gone."""
        return self._get_any(KNATIVE, name)

    def route(self) -> Object | None:
        """The HTTPRoute in front of the predictors; None when there is none."""
        return self._get_any(GATEWAY, f"{self.name}-predictor")

    def edit(self, plan: Callable[[Object], Object | None]) -> Object:
        """Patch the InferenceService as it is now, or not at all.

        Args:
            plan: told the object, gives the merge patch (a None in it removes a field); None when nothing is to do.

        Returns:
            The object after it.

        Raises:
            UserError: when another writer changes our own fields.
            Unreachable: when there is no answer, or others never stop writing.
        """
        service = self.service()
        for _ in range(TRIES):
            patch = plan(service)
            if not patch:
                return service
            lock = {"resourceVersion": service["metadata"]["resourceVersion"]}
            body = {**patch, "metadata": {**patch.get("metadata", {}), **lock}}
            changed = self._patch(body)
            if changed is not None:
                return changed
            before, service = service, self.service()
            self._refuse_another(before, service)
        raise Unreachable(f"{self.name}: written by others {TRIES} times while it was to be patched")

    def shadow(self, key: str, text: str | None) -> None:
        """Set a key of the ConfigMap that tells the predictor what to mirror; None removes it where it is.

        Raises:
            UserError: when the ConfigMap is not there, or may not be written.
            Unreachable: when there is no answer.
        """
        try:
            found = self.shadowed(key)
        except _Gone:
            if text is None:
                return  # where nothing can be mirrored, nothing is
            raise
        if found != text:
            core, name = self._core(), self._shadow
            patch = {"data": {key: text}}
            self._asked("patch", "configmaps", name, core.patch_namespaced_config_map, name, self.namespace, patch)

    def shadowed(self, key: str) -> str | None:
        """The key's text as it is.

        Raises:
            UserError: when the ConfigMap is not there, or may not be read.
            Unreachable: when there is no answer.
        """
        core, name = self._core(), self._shadow
        found = self._asked("get", "configmaps", name, core.read_namespaced_config_map, name, self.namespace)
        text: str | None = (found.data or {}).get(key)
        return text

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def _shadow(self) -> str:
        return f"{self.name}-shadow"

    def _core(self) -> Any:
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self._client)

    def _get(self, kind: tuple[str, str, str], name: str) -> Object:
        from kubernetes.client import CustomObjectsApi

        group, version, plural = kind
        call = CustomObjectsApi(self._client).get_namespaced_custom_object
        found: Object = self._asked("get", plural, name, call, group, version, self.namespace, plural, name)
        return found

    def _get_any(self, kind: tuple[str, str, str], name: str) -> Object | None:
        try:
            return self._get(kind, name)
        except _Gone:
            return None

    def _patch(self, body: Object) -> Object | None:
        """The object after a patch; None when somebody else was faster."""
        from kubernetes.client import CustomObjectsApi

        group, version, plural = KSERVE
        call = CustomObjectsApi(self._client).patch_namespaced_custom_object
        try:
            where = (group, version, self.namespace, plural, self.name, body)
            changed: Object = self._asked("patch", plural, self.name, call, *where)
        except _Conflict:
            return None
        return changed

    def _asked(self, verb: str, resource: str, name: str, call: Callable[..., Any], *given: Any) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*given, _request_timeout=SECONDS)
        except ApiException as error:
            self._raise(error, verb, resource, name)
        except (HTTPError, OSError) as error:
            raise answers.refusal(0, str(error), "", verb, resource, name, self.namespace) from error

    def _raise(self, error: Any, verb: str, resource: str, name: str) -> None:
        body = str(error.body or "")
        found = answers.refusal(error.status or 0, error.reason or "", body, verb, resource, name, self.namespace)
        if error.status == 409:
            raise _Conflict(str(found)) from error
        if error.status == 404 and answers.knows(body):
            raise (self._namespace() or _Gone(str(found))) from error
        raise found from error

    def _namespace(self) -> UserError | None:
        """The refusal when the namespace is not there; None when it is, or cannot be told."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._core().read_namespace(self.namespace, _request_timeout=SECONDS)
        except ApiException as error:
            return answers.absent_namespace(self.namespace) if error.status == 404 else None
        except (HTTPError, OSError):
            return None
        return None

    def _refuse_another(self, before: Object, now: Object) -> None:
        """A conflict over a field of ours cannot be planned away."""
        if before["metadata"].get("annotations", {}).get(STATE) != now["metadata"].get("annotations", {}).get(STATE):
            raise Unreachable(f"{self.name}: another process went on with this rollout; looking again")
        for path in OURS:
            old, new = _at(before["spec"], path), _at(now["spec"], path)
            if old != new:
                field = ".".join(("spec", *path))
                told = f"{self.name}: {_writer(now)} changed {field} from {old!r} to {new!r} during the rollout"
                raise UserError(f"{told}; let one of the two end, then `resume` or `rollback`")


class _Gone(UserError):
    """The object is not there; its kind and its namespace are."""


class _Conflict(UserError):
    """The object was written since it was read."""


def connected(context: str | None) -> Any:
    """The client of a cluster: the one that this runs in, else the kubeconfig's.

    Args:
        context: of the kubeconfig; then not the cluster that this runs in. None for the kubeconfig's current one.

    Raises:
        UserError: when there is no way to a cluster.
    """
    try:
        from kubernetes import client, config
    except ImportError:
        raise UserError("this target needs the package `kubernetes`: pip install 'graphmill[stage]'") from None
    settings = client.Configuration()
    settings.retries = False  # whoever asks tries again, and is told meanwhile
    try:
        try:
            if context is not None:
                raise config.ConfigException("a context was named")
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            config.load_kube_config(context=context, client_configuration=settings)
    except (config.ConfigException, OSError, TypeError) as error:
        told = f"no way to a cluster: {error}"
        raise UserError(f"{told}; run in a pod, or set KUBECONFIG, and rollout.context when it has several") from error
    return client.ApiClient(settings)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _writer(service: Object) -> str:
    """Who wrote the spec last, as the API server keeps it."""
    entries = [entry for entry in service["metadata"].get("managedFields", []) if not entry.get("subresource")]
    newest: Object = max(entries, key=lambda entry: str(entry.get("time", "")), default={})
    return str(newest.get("manager", "another writer"))
