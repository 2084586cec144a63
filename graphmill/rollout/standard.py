"""KServe over Deployments: the candidate is an entry of ``spec.canary``, and the Gateway API splits the traffic.

Whether a change was carried out is read from ``canaryStatuses`` and from the HTTPRoute's weights. The status'
own percentages repeat the spec, and its ``observedGeneration`` is that of the stable predictor's Deployment.
"""

from collections.abc import Mapping
from typing import Any

from graphmill.errors import UserError
from graphmill.rollout import rules
from graphmill.rollout.service import (
    SHADOW,
    Object,
    Service,
    failure,
    named,
    predictor,
    stable,
    storage_uri,
    waiting,
)
from graphmill.rollout.target import Revision, Status


class Standard(Service):
    """The target `standard`."""

    def start(self, champion: Revision, candidate: Revision) -> None:
        """See `Target`. The candidate becomes a canary of its version's name, at 0 %."""
        self._undoing = False
        self._cluster.shadowed(SHADOW)
        if self._cluster.route() is None:
            told = (
                f"{self._cluster.name}: there is no HTTPRoute {self._cluster.name}-predictor, which splits the traffic"
            )
            raise UserError(f"{told}; set `enableGatewayApi: true` in KServe's ConfigMap inferenceservice-config")

        def plan(service: Object) -> Object | None:
            uri, canary = storage_uri(service), _canary(service)
            if uri == candidate.uri != champion.uri:
                return None
            if champion.uri == candidate.uri:
                told = f"{candidate.version} and {champion.version} are both at {uri}"
                raise UserError(f"{told}; see deploy.storage_uri")
            if uri != champion.uri:
                raise self._other(uri, f"the champion's {champion.uri}")
            if _entry(canary, candidate):
                return None
            self._refuse_others(canary, candidate)
            return self._planned(service, candidate, 0)

        self._cluster.edit(plan)

    def traffic(self, percent: int) -> None:
        """See `Target`. At 100 % too the candidate is a canary: the champion's pods are there to go back to."""
        self._undoing = False

        def plan(service: Object) -> Object | None:
            champion, candidate = self._pair(service)
            entry = self._open(service, champion, candidate)
            return None if entry["trafficPercent"] == percent else self._planned(service, candidate, percent)

        self._cluster.edit(plan)

    def promote(self) -> None:
        """See `Target`. The canary's pods become the stable ones: same name, same template, no restart."""
        self._undoing = False

        def plan(service: Object) -> Object | None:
            champion, candidate = self._pair(service)
            if storage_uri(service) == candidate.uri:
                return None
            self._open(service, champion, candidate)
            if not _answers(service, candidate):
                return None  # the stable predictor goes with this change: not before there is another
            return self._swapped(service, candidate)

        promoted = self._cluster.edit(plan)
        if storage_uri(promoted) == self._pair(promoted)[1].uri:
            self._cluster.shadow(SHADOW, None)

    def rollback(self) -> None:
        """See `Target`. Before `promote` the canary goes, at once.

        After it the champion has no pods any more. It comes back as a canary with all of the traffic, which it gets
        from its first ready replica on, and then takes the stable place with the pods it has: no request is lost.
        """
        self._undoing = True
        self._cluster.edit(self._undo)
        self._cluster.shadow(SHADOW, None)

    def status(self) -> Status:
        """See `Target`. Switches the mirroring on when the candidate answers: before, it would count as failing."""
        service = self._cluster.service()
        champion, candidate = self._pair(service)
        weights = _weights(self._cluster.route())
        share = self._share_of(service, candidate, weights)
        if self._undoing:
            return self._undone(service, champion, share)
        if weights is None:
            return Status(False, f"the HTTPRoute {self._cluster.name}-predictor is gone", failed=True)
        if broken := failure(service):
            return Status(False, broken, failed=True, traffic=share)
        if reason := self._unsettled(service, candidate, share):
            return Status(False, reason, traffic=share)
        if storage_uri(service) != candidate.uri:
            host = f"{self._backend(candidate.version)}.{self._cluster.namespace}"
            self._mirror(champion, candidate, f"http://{host}/v1/models/{self._cluster.name}:predict")
        return Status(True, traffic=share)

    def _planned(self, service: Object, version: Revision, percent: int) -> Object:
        """The patch to one canary."""
        model = (service.get("status") or {}).get("modelStatus") or {}
        running = (model.get("copies") or {}).get("totalCopies") or 0
        now = predictor(service)
        entry = {
            "trafficPercent": percent,
            "predictor": {
                "name": version.version,
                "minReplicas": rules.part(now, percent, running),
                "annotations": {**now.get("annotations", {}), **named(version)},
                # the CRD requires the model's name, and the webhook that it says nothing
                "model": {**now["model"], "name": "", "storageUri": version.uri},
            },
        }
        rules.check(service, [entry])
        return {"spec": {"canary": [entry]}}

    def _swapped(self, service: Object, version: Revision) -> Object:
        """The patch that puts a canary into the stable place."""
        change = {"name": version.version, "annotations": named(version), "model": {"storageUri": version.uri}}
        rules.check(service, [], change)
        return {"metadata": stable(version), "spec": {"predictor": change, "canary": []}}

    def _undo(self, service: Object) -> Object | None:
        champion, candidate = self._pair(service)
        uri, canary = storage_uri(service), _canary(service)
        if uri == champion.uri:
            return {"spec": {"canary": []}} if _entry(canary, candidate) else None
        if uri != candidate.uri:
            raise self._other(uri, f"{champion.uri} or {candidate.uri}")
        if _entry(canary, champion) is None:
            self._refuse_others(canary, champion)
            return self._planned(service, champion, 100)
        share = self._share_of(service, champion, _weights(self._cluster.route()))
        return self._swapped(service, champion) if _answers(service, champion) and share == 100 else None

    def _undone(self, service: Object, champion: Revision, share: int | None) -> Status:
        """Whether the champion has everything, and nothing is left behind."""
        if storage_uri(service) != champion.uri:
            return Status(False, f"the champion is not back yet: {_told(service, champion)}", traffic=share)
        if _canary(service) or share:
            return Status(False, f"the candidate still gets {share} % of the traffic", traffic=share)
        return Status(True, traffic=share)

    def _unsettled(self, service: Object, candidate: Revision, share: int | None) -> str:
        """What the controller has not carried out yet."""
        promoted = storage_uri(service) == candidate.uri
        entry = _entry(_canary(service), candidate)
        wanted = 100 if promoted else 0 if entry is None else entry["trafficPercent"]
        if not promoted and not _answers(service, candidate):
            return f"canary {candidate.version}: {_told(service, candidate)}"
        if share != wanted:
            return f"the HTTPRoute gives the candidate {share} % of the traffic, not {wanted} % yet"
        return waiting(service, "Ready") or ("" if promoted else waiting(service, "CanaryPredictorReady"))

    def _open(self, service: Object, champion: Revision, candidate: Revision) -> Object:
        """The candidate's entry, where the champion is still the stable one."""
        uri, entry = storage_uri(service), _entry(_canary(service), candidate)
        if uri != champion.uri:
            raise self._other(uri, f"the champion's {champion.uri}")
        if entry is None:
            told = f"{self._cluster.name}: spec.canary has no {candidate.version} at {candidate.uri} any more"
            raise UserError(f"{told}: somebody removed it; put it back, or end with `rollback`")
        return entry

    def _refuse_others(self, canary: list[Object], version: Revision) -> None:
        if canary:
            names = ", ".join(item["predictor"].get("name") or "?" for item in canary)
            told = f"{self._cluster.name}: spec.canary has {names}, which this rollout does not know"
            raise UserError(f"{told}; remove it before {version.version} goes in")

    def _share_of(self, service: Object, version: Revision, weights: Mapping[str, int] | None) -> int | None:
        """Percent of the requests that the HTTPRoute sends to a version; None where there is no route."""
        if weights is None:
            return None
        whole = sum(weights.values())
        own = weights.get(self._backend(version.version), 0)
        if storage_uri(service) == version.uri:  # the stable predictor, under whichever name
            own = weights.get(self._backend(predictor(service).get("name")), 0)
        return round(100 * own / whole) if whole else 0

    def _backend(self, name: str | None) -> str:
        return f"{self._cluster.name}-{name}-predictor" if name else f"{self._cluster.name}-predictor"


def _canary(service: Object) -> list[Object]:
    found: list[Object] = service["spec"].get("canary") or []
    return found


def _entry(canary: list[Object], version: Revision) -> Object | None:
    for item in canary:
        own = item["predictor"]
        if own.get("name") == version.version and (own.get("model") or {}).get("storageUri") == version.uri:
            return item
    return None


def _told(service: Object, version: Revision) -> str:
    """What the controller tells of a canary that does not answer yet."""
    statuses = (service.get("status") or {}).get("canaryStatuses") or []
    found: Object = next((item for item in statuses if item["name"] == version.version), {})
    info = (found.get("modelStatus") or {}).get("lastFailureInfo") or {}
    return info.get("message") or waiting(service, "CanaryPredictorReady") or "no replica is ready"


def _answers(service: Object, version: Revision) -> bool:
    statuses = (service.get("status") or {}).get("canaryStatuses") or []
    return any(item["name"] == version.version and item.get("ready") for item in statuses)


def _weights(route: Object | None) -> dict[str, int] | None:
    """Weights of an HTTPRoute's backends; an absent weight is 1."""
    if route is None:
        return None
    rules_ = route["spec"].get("rules") or [{}]
    found: dict[str, Any] = {item["name"]: item.get("weight", 1) for item in rules_[0].get("backendRefs") or []}
    return found
