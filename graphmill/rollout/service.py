"""What both of KServe's modes have in common: the state beside the service, its two versions, and the mirroring."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphmill.errors import UserError
from graphmill.rollout.state import State
from graphmill.rollout.target import Revision, Unreachable

if TYPE_CHECKING:
    from graphmill.rollout.cluster import Cluster

Object = dict[str, Any]
"""An object of the API server, as JSON."""
STATE = "graphmill/rollout"
"""Annotation of the InferenceService with the rollout's state."""
VERSION, DIGEST = "graphmill/model-version", "graphmill/model-digest"
COVER = "on the InferenceService"
"""KServe copies the object's annotations into every pod's template, where a change of one is a new revision and a
restart. The predictor's own annotations come before the object's: this value under the same names covers them."""
SHADOW = "shadow.json"
SHORT = 16
FAILED = {
    "ReconcileFailed", "RevisionFailed", "RevisionMissing", "FailedCreate", "ProgressDeadlineExceeded",
    "ContainerMissing", "InvalidSpec",
}  # fmt: skip
"""Reasons of a condition that waiting does not mend."""


class Service:
    """An InferenceService that a rollout changes.

    Args:
        cluster: where it lives.
        share: of the champion's requests that are mirrored to the candidate.
    """

    def __init__(self, cluster: "Cluster", share: float) -> None:
        self._cluster, self._share = cluster, share
        self._seen: str | None = None
        self._undoing = False
        """Whether the last change that was asked for is `rollback`."""

    def save(self, state: str) -> None:
        """See `Target`."""

        def plan(service: Object) -> Object | None:
            kept = annotations(service).get(STATE)
            if kept == state:
                return None
            if self._seen is not None and kept != self._seen:
                raise Unreachable(f"{self._cluster.name}: another process went on with this rollout; looking again")
            patch: Object = {"metadata": {"annotations": {STATE: state}}}
            if predictor(service).get("annotations", {}).get(STATE) != COVER:
                patch["spec"] = {"predictor": {"annotations": {STATE: COVER}}}
            return patch

        self._cluster.edit(plan)
        self._seen = state

    def saved(self) -> str | None:
        """See `Target`."""
        self._seen = annotations(self._cluster.service()).get(STATE)
        return self._seen

    def close(self) -> None:
        """See `Target`."""
        self._cluster.close()

    def _pair(self, service: Object) -> tuple[Revision, Revision]:
        """Champion and candidate, as the state beside the service names them."""
        text = annotations(service).get(STATE)
        if text is None:
            told = f"{self._cluster.name}: its annotation {STATE} is gone, which says what is being rolled out"
            raise UserError(f"{told}; `rollback` writes it again and goes back to the champion")
        state = State.parse(text, f"annotation {STATE} of {self._cluster.name}")
        return state.champion, state.candidate

    def _mirror(self, champion: Revision, candidate: Revision, url: str) -> None:
        """Have the champion's predictor send a sample of its requests to the candidate too."""
        told = {"champion": champion.digest[:SHORT], "candidate": candidate.digest[:SHORT], "url": url}
        self._cluster.shadow(SHADOW, json.dumps({**told, "share": self._share}))

    def _other(self, uri: str, expected: str) -> UserError:
        told = f"{self._cluster.name}: spec.predictor.model.storageUri is {uri}, not {expected}"
        return UserError(f"{told}: somebody deployed another version meanwhile; put it back, or end with `rollback`")


def predictor(service: Mapping[str, Any]) -> dict[str, Any]:
    """``spec.predictor``."""
    found: dict[str, Any] = service["spec"].get("predictor") or {}
    return found


def annotations(service: Mapping[str, Any]) -> dict[str, str]:
    """The object's annotations."""
    found: dict[str, str] = service["metadata"].get("annotations") or {}
    return found


def storage_uri(service: Mapping[str, Any]) -> str:
    """Where the predictor's model comes from.

    Raises:
        UserError: when the predictor is not given as a model.
    """
    uri = (predictor(service).get("model") or {}).get("storageUri")
    if not isinstance(uri, str):
        name = service["metadata"]["name"]
        raise UserError(f"{name}: spec.predictor.model.storageUri is missing; a rollout changes nothing else")
    return uri


def named(revision: Revision) -> dict[str, str]:
    """Annotations of a predictor's pods: which version they run."""
    return {VERSION: revision.version, DIGEST: revision.digest}


def stable(revision: Revision) -> dict[str, Any]:
    """Annotations of the object: which version is the stable one."""
    return {"annotations": {VERSION: revision.version, DIGEST: revision.digest}}


def failure(service: Mapping[str, Any]) -> str:
    """What waiting does not mend, as the controller tells it; empty when there is none."""
    for condition in conditions(service).values():
        told = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
        bad = condition.get("reason") in FAILED or "exceeded quota" in told
        if condition.get("status") == "False" and bad:
            return f"{condition['type']} {told}"
    model = (service.get("status") or {}).get("modelStatus") or {}
    if model.get("transitionStatus") in FAILED:
        info = model.get("lastFailureInfo") or {}
        return f"{model['transitionStatus']} {info.get('reason', '')}: {info.get('message', '')}"
    return ""


def waiting(service: Mapping[str, Any], kind: str) -> str:
    """Why a condition is not true, in the controller's words; empty when it is."""
    condition = conditions(service).get(kind, {})
    if condition.get("status") == "True":
        return ""
    told = ": ".join(text for text in (condition.get("reason"), condition.get("message")) if text)
    model = (service.get("status") or {}).get("modelStatus") or {}
    cause = (model.get("lastFailureInfo") or {}).get("message", "")
    return " ".join(text for text in (f"{kind} is {condition.get('status', 'not told')}", told, cause) if text)


def conditions(service: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The status' conditions by their type."""
    return {item["type"]: item for item in (service.get("status") or {}).get("conditions") or []}
