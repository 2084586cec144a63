"""KServe over Knative: the candidate is the service's newest revision and gets ``canaryTrafficPercent``.

Which model a revision runs is read from the revision itself. KServe's ``latestRolledoutRevision`` is not asked for
more than where its percentages lead: it moves whenever any change of the pods' template has been rolled out.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphmill.errors import UserError
from graphmill.rollout.service import (
    SHADOW,
    Object,
    Service,
    annotations,
    failure,
    named,
    predictor,
    stable,
    storage_uri,
    waiting,
)
from graphmill.rollout.target import Revision, Status

LOG = logging.getLogger(__name__)
MODE, TAGS = "serving.kserve.io/deploymentMode", "serving.kserve.io/enable-tag-routing"
SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""Annotation that KServe writes on every revision: where its model comes from."""
STANDARD = ("Standard", "RawDeployment")


@dataclass(frozen=True)
class View:
    """An InferenceService in Knative mode: what is asked for, and what the controller tells."""

    uri: str
    percent: int | None
    """``canaryTrafficPercent``; None: the newest revision gets all as soon as it is ready."""
    created: str
    ready: str
    rolledout: str
    """The newest revision that had all of the traffic: the rest of ``percent`` goes there."""
    previous: str
    traffic: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, service: Object) -> "View":
        """What an object tells."""
        status = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
        return cls(
            storage_uri(service),
            predictor(service).get("canaryTrafficPercent"),
            status.get("latestCreatedRevision") or "",
            status.get("latestReadyRevision") or "",
            status.get("latestRolledoutRevision") or "",
            status.get("previousRolledoutRevision") or "",
            tuple(status.get("traffic") or ()),
        )

    @property
    def newest(self) -> int | None:
        """Percent of the newest revision that is ready; None when the traffic is not told."""
        found = [item for item in self.traffic if item.get("latestRevision")]
        return found[0].get("percent", 0) if found else None


class Knative(Service):
    """The target `knative`."""

    _models: dict[str, str] | None = None

    def start(self, champion: Revision, candidate: Revision) -> None:
        """See `Target`. The candidate becomes the newest revision, at 0 %."""
        self._undoing = False
        self._cluster.shadowed(SHADOW)

        def plan(service: Object) -> Object | None:
            view = View.of(service)
            if view.uri == candidate.uri != champion.uri:
                return None
            self._refuse(service, view, champion, candidate)
            if view.percent != 0 and not view.created == view.ready == view.rolledout:
                return None  # the rest of the traffic would go to an older revision; `status` says what it waits for
            model = {"storageUri": candidate.uri}
            change = {"canaryTrafficPercent": 0, "annotations": named(candidate), "model": model}
            return {"metadata": {"annotations": {TAGS: "true"}}, "spec": {"predictor": change}}

        self._cluster.edit(plan)

    def traffic(self, percent: int) -> None:
        """See `Target`."""
        if percent == 100:  # Knative keeps the champion's revision, and goes back to it at once, also after this
            return self.promote()
        if not 0 <= percent <= 100:
            raise UserError(f"traffic {percent}: must be from 0 to 100; KServe would take it and fail later")
        self._undoing = False
        self._cluster.edit(lambda service: self._percent(service, percent))

    def promote(self) -> None:
        """See `Target`. The percentage is removed: left at 100, the next version would get all of the traffic."""
        self._undoing = False
        self._cluster.edit(lambda service: self._percent(service, None))
        self._cluster.shadow(SHADOW, None)

    def rollback(self) -> None:
        """See `Target`. One safe step a call, each read off the object; the first takes the candidate's traffic.

        1. 0 %: what the candidate has goes to the champion's revision at once, also after `promote`.
        2. The champion's model is asked for again, still at 0 %: it comes up as a third revision.
        3. That one is ready: the percentage is removed, and the object is as it was before the rollout.

        Were 1 and 2 one change, the controller would not look for the previous revision; were 2 and 3, the newest
        revision that is ready would get all, and that is the candidate's until the third is there.
        """
        self._undoing = True
        self._cluster.edit(self._undo)
        self._cluster.shadow(SHADOW, None)

    def status(self) -> Status:
        """See `Target`. Switches the mirroring on when the candidate answers: before, it would count as failing."""
        service = self._cluster.service()
        champion, candidate = self._pair(service)
        view = View.of(service)
        share = self._share_of(view, candidate)
        if self._undoing:
            return self._undone(service, view, champion, share)
        if broken := failure(service) or self._strays(view, champion, candidate):
            return Status(False, broken, failed=True, traffic=share)
        if view.uri != candidate.uri:
            told = f"the champion's newest revision {view.created} is not rolled out"
            return Status(False, f"{told}: {waiting(service, 'PredictorReady')}".rstrip(": "), traffic=share)
        if reason := self._unsettled(service, view):
            return Status(False, reason, traffic=share)
        if view.percent is not None:
            name, namespace = self._cluster.name, self._cluster.namespace
            host = f"latest-{name}-predictor.{namespace}.svc.cluster.local"
            self._mirror(champion, candidate, f"http://{host}/v1/models/{name}:predict")
        return Status(True, traffic=share)

    def _refuse(self, service: Object, view: View, champion: Revision, candidate: Revision) -> None:
        """What would make the first change something else than a candidate at 0 %."""
        name = self._cluster.name
        mode = annotations(service).get(MODE) or (service.get("status") or {}).get("deploymentMode")
        if mode in STANDARD:
            raise UserError(
                f"{name}: its mode is {mode}, which ignores canaryTrafficPercent; set rollout.target: standard"
            )
        if champion.uri == candidate.uri:
            raise UserError(
                f"{candidate.version} and {champion.version} are both at {champion.uri}; see deploy.storage_uri"
            )
        if view.uri != champion.uri:
            raise self._other(view.uri, f"the champion's {champion.uri}")
        if not view.rolledout:
            told = f"{name}: no revision has been rolled out yet, and KServe ignores the percentage of the first"
            raise UserError(f"{told}; wait until it is ready, then `resume`")
        if view.percent not in (None, 0, 100):
            told = f"{name}: canaryTrafficPercent is {view.percent}: a rollout that is not this one is open"
            raise UserError(f"{told}; set it to 100 or remove it, and wait until the service is ready")
        if not self._runs(view.rolledout, champion):
            told = f"{name}: the rest of the traffic would go to {view.rolledout}, which does not run {champion.uri}"
            raise UserError(f"{told}; deploy the champion again without a percentage first")

    def _percent(self, service: Object, percent: int | None) -> Object | None:
        """The patch to a percentage of the candidate."""
        champion, candidate = self._pair(service)
        view = View.of(service)
        if view.uri == champion.uri and view.percent is None:
            return None  # `start` waits
        if view.uri != candidate.uri:
            raise self._other(view.uri, f"the candidate's {candidate.uri}")
        if view.percent == percent:
            return None
        patch: Object = {"spec": {"predictor": {"canaryTrafficPercent": percent}}}
        return patch if percent is not None else {**patch, "metadata": stable(candidate)}

    def _undo(self, service: Object) -> Object | None:
        champion, candidate = self._pair(service)
        view = View.of(service)
        if view.uri not in (champion.uri, candidate.uri):
            raise self._other(view.uri, f"{champion.uri} or {candidate.uri}")
        if view.uri == champion.uri:
            fresh = view.ready == view.created and self._runs(view.ready, champion)
            done = view.percent is None or not fresh
            return None if done else {"spec": {"predictor": {"canaryTrafficPercent": None}}}
        model = {"annotations": named(champion), "model": {"storageUri": champion.uri}}
        pinned = self._runs(view.rolledout, champion)
        # the controller goes back to the previous revision only while the newest one is ready
        if not pinned and not (self._runs(view.previous, champion) and view.created == view.ready):
            LOG.warning("no revision of %s to go back to: its traffic comes back with a new one", champion.version)
            return {"metadata": stable(champion), "spec": {"predictor": {**model, "canaryTrafficPercent": None}}}
        if view.percent != 0:
            return {"spec": {"predictor": {"canaryTrafficPercent": 0}}}
        if pinned and self._share_of(view, champion) == 100:
            return {"metadata": stable(champion), "spec": {"predictor": model}}
        return None

    def _undone(self, service: Object, view: View, champion: Revision, share: int | None) -> Status:
        """Whether the champion has everything, and nothing is left behind."""
        if self._share_of(view, champion) != 100:
            return Status(False, "the champion does not have all of the traffic yet", traffic=share)
        if view.uri == champion.uri and view.percent is None:
            return Status(True, traffic=share)
        if self._runs(view.created, champion) and (broken := failure(service)):
            LOG.warning("the champion has all of the traffic; canaryTrafficPercent stays at 0, for %s", broken)
            return Status(view.uri == champion.uri, broken, traffic=share)
        return Status(False, f"the champion has all of the traffic; its new revision: {waiting(service, 'Ready')}")

    def _unsettled(self, service: Object, view: View) -> str:
        """What the controller has not carried out yet.

        ``observedGeneration`` is not asked: KServe copies the Knative Service's own count there, which goes its own
        way as soon as either object is changed without the other. What was asked for is looked for itself.
        """
        wanted = 100 if view.percent is None else view.percent
        if not view.ready or view.created != view.ready:
            return f"revision {view.created or 'of the model'} is not ready: {waiting(service, 'PredictorReady')}"
        if self._model(view.ready) != view.uri:
            return f"no revision of {view.uri} has been made yet"
        if view.newest != wanted:
            return f"the newest revision gets {view.newest} % of the traffic, not {wanted} % yet"
        return waiting(service, "Ready")

    def _strays(self, view: View, champion: Revision, candidate: Revision) -> str:
        """A revision of neither version that gets traffic."""
        for item in view.traffic:
            name = item.get("revisionName", "")
            if item.get("percent") and not (self._runs(name, champion) or self._runs(name, candidate)):
                return (
                    f"{name} gets {item['percent']} % of the traffic and runs neither version, but {self._model(name)}"
                )
        return ""

    def _share_of(self, view: View, version: Revision) -> int | None:
        """Percent that all revisions of a version get together; None when the traffic is not told."""
        if not view.traffic:
            return None
        return sum(item.get("percent") or 0 for item in view.traffic if self._runs(item["revisionName"], version))

    def _runs(self, revision: str, version: Revision) -> bool:
        return bool(revision) and self._model(revision) == version.uri

    def _model(self, revision: str) -> str:
        """Where a revision's model comes from; a revision never changes."""
        self._models = {} if self._models is None else self._models
        if revision not in self._models:
            found = self._cluster.revision(revision)
            if found is None:
                return ""
            self._models[revision] = annotations(found).get(SOURCE, "")
        return self._models[revision]
