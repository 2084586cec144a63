"""What an API server's refusal means to the person who runs a rollout: mend this, or wait."""

import json

from graphmill.errors import UserError
from graphmill.rollout.target import Unreachable

ROLE = "bind the rollout's Role (manifests/base/access.yaml) to this account"
PASSING = (408, 410, 429)
"""Client errors that pass by themselves."""


def refusal(status: int, reason: str, body: str, verb: str, resource: str, name: str, namespace: str) -> Exception:
    """The exception that an answer other than 2xx is raised as.

    Args:
        status: of the answer; 0 when there was none.
        reason: its HTTP reason.
        body: its text, a Kubernetes ``Status`` as JSON or anything else.
        verb: what was asked for: ``get`` or ``patch``.
        resource: the plural, such as ``inferenceservices``.
        name: of the object.
        namespace: it was looked for in.

    Returns:
        `Unreachable` for what passes by itself, `UserError` for what does not.
    """
    told = _message(body) or reason or "no answer"
    where = f"{resource} {name} in namespace {namespace}"
    if status == 0 or status >= 500 or status in PASSING:
        return Unreachable(f"the API server did not {verb} {where} ({status or 'no answer'}): {told}")
    if "denied the request" in told:  # a webhook's denial has any status, 403 as a rule
        return UserError(f"the cluster refuses to {verb} {where}: {told}")
    if status == 401:
        return UserError(f"the API server does not know who asks to {verb} {where}: {told}; log in again")
    if status == 403:
        return UserError(f"may not {verb} {where}: {told}; {ROLE}, and check that the namespace is there")
    if status == 404:
        return UserError(_absent(body, resource, name, namespace))
    return UserError(f"the cluster refuses to {verb} {where} ({status}): {told}")


def absent_namespace(namespace: str) -> UserError:
    """The refusal where the namespace itself is not there."""
    return UserError(f"there is no namespace {namespace} in this cluster; create it, or correct deploy.namespace")


def knows(body: str) -> bool:
    """Whether a 404 is of the object, and not of its whole kind."""
    return bool((_status(body).get("details") or {}).get("name"))


def _absent(body: str, resource: str, name: str, namespace: str) -> str:
    if not knows(body):
        return f"this cluster knows no {resource}: {_NEEDS.get(resource, 'install what defines them')}"
    return f"there is no {resource} {name} in namespace {namespace}: {_MAKES.get(resource, 'deploy it first')}"


_NEEDS = {
    "inferenceservices": "install KServe, or choose another cluster (rollout.context)",
    "httproutes": "mode standard needs the Gateway API and KServe with `enableGatewayApi: true`",
    "revisions": "mode knative needs Knative Serving",
}
_MAKES = {
    "inferenceservices": "deploy the first version before a rollout (`kubectl apply -k` on the rendered manifests)",
    "configmaps": "apply the manifests again, or `kubectl create configmap` it empty: the predictor mounts it, and the "
    "rollout writes there what is mirrored",
}


def _status(body: str) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _message(body: str) -> str:
    return str(_status(body).get("message") or body.strip()[:500])
