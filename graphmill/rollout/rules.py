"""What KServe's webhook asks of ``spec.canary``, looked at before anything is sent: its own refusals come late."""

import math
import re
from typing import Any

from graphmill.errors import UserError
from graphmill.rollout.service import Object, annotations, predictor, storage_uri

MODE = "serving.kserve.io/deploymentMode"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
FIXED = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec")
"""Fields that a canary may not have: its replicas are a fixed number."""


def check(service: Object, canary: list[Object], stable: Object | None = None) -> None:
    """Refuse what the webhook would refuse, and what the controller would silently ignore.

    Args:
        service: the InferenceService as it is.
        canary: ``spec.canary`` as it is to be.
        stable: changes to ``spec.predictor`` that go with it.

    Raises:
        UserError: naming the rule and what to do.
    """
    name, now = service["metadata"]["name"], predictor(service)
    mode = annotations(service).get(MODE)
    if mode != "Standard":
        told = f"{name}: its annotation {MODE} is {mode!r}; spec.canary needs it to be 'Standard' on the object itself"
        raise UserError(f"{told}: a service is deployed anew in another mode, or set rollout.target: knative")
    if now.get("canaryTrafficPercent") is not None:
        raise UserError(f"{name}: spec.predictor.canaryTrafficPercent is ignored in mode Standard; remove it")
    storage_uri(service)
    renamed = stable is not None and stable.get("name") != now.get("name")
    if renamed and stable is not None and stable["model"]["storageUri"] == storage_uri(service):
        raise UserError(f"{name}: spec.predictor.name cannot change while its storageUri stays")
    _check_canaries(name, canary, {**now, **(stable or {})})


def _check_canaries(name: str, canary: list[Object], stable: dict[str, Any]) -> None:
    names = [item["predictor"].get("name") or "" for item in canary]
    for item, own in zip(canary, names, strict=True):
        service = f"{name}-{own}-predictor"
        if not NAME.fullmatch(own) or len(service) > 63:
            raise UserError(
                f"the version {own!r} cannot name a canary: {service} must be a DNS label of at most 63 letters"
            )
        if found := [field for field in FIXED if field in item["predictor"]]:
            raise UserError(f"{name}: spec.canary {own} may not have {', '.join(found)}")
        if item["predictor"].get("minReplicas", 0) > replicas(stable):
            raise UserError(f"{name}: spec.canary {own} may not have more minReplicas than the stable predictor")
        if not 0 <= item["trafficPercent"] <= 100:
            raise UserError(f"{name}: spec.canary {own} gets {item['trafficPercent']} %; must be from 0 to 100")
    if len({*names, stable.get("name") or ""}) != len(names) + 1:
        raise UserError(f"{name}: spec.canary and spec.predictor have a name twice: {', '.join(sorted(names))}")
    if sum(item["trafficPercent"] for item in canary) > 100:
        raise UserError(f"{name}: spec.canary asks for more than 100 % together")


def replicas(stable: dict[str, Any]) -> int:
    """Replicas that the stable predictor runs at least."""
    found = stable.get("minReplicas")
    return 1 if found is None else int(found)


def part(stable: dict[str, Any], percent: int, running: int) -> int:
    """Replicas of a canary.

    Args:
        stable: ``spec.predictor``; a canary may not have more than its minimum.
        percent: of the traffic that the canary gets.
        running: replicas of the stable predictor now, which an autoscaler may have added to.

    Returns:
        Its share of them, at least 1: without traffic, too, it is asked by the mirroring.
    """
    least = replicas(stable)
    return min(least, max(1, math.ceil(max(least, running) * percent / 100)))
