"""What KServe's and Knative's admission webhooks refuse: no CRD says it, so it is said here, before it is applied.

Read from KServe 0.21 (`inference_service_validation.go`) and Knative serving (`fieldmask.go`). Each rule yields what is
wrong with an InferenceService and what to do.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

Service = Mapping[str, Any]
MODE = "serving.kserve.io/deploymentMode"
STANDARD, KNATIVE = "Standard", "Knative"
AUTOSCALERS = ("hpa", "keda", "external", "none")
LONGEST = 63
NOT_OF_A_CANARY = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec", "canaryTrafficPercent")
NOT_IN_KNATIVE = (
    "terminationGracePeriodSeconds",
    "deploymentStrategy",
    "automountServiceAccountToken",
    "initContainers",
)
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def check(service: Service) -> list[str]:
    """Everything that a webhook would refuse in one InferenceService."""
    return list(chain.from_iterable(rule(service) for rule in RULES))


def names_fit(service: Service) -> Iterator[str]:
    """Services are named ``NAME-predictor``, and ``NAME-CANARY-predictor`` beside it."""
    name = service["metadata"]["name"]
    if not _NAME.fullmatch(name):
        yield f"metadata.name: {name!r} must begin with a letter and have only a-z, 0-9 and -"
    for inner in ("", *(f"-{canary['predictor'].get('name', '')}" for canary in _canaries(service))):
        made = f"{name}{inner}-predictor"
        if len(made) > LONGEST:
            yield f"metadata.name: {made} has {len(made)} characters, a Service's name at most {LONGEST}; shorten it"


def mode_is_known(service: Service) -> Iterator[str]:
    """A mode that is misspelt falls back to the cluster's default without a word."""
    mode = _annotations(service).get(MODE)
    if mode not in (STANDARD, KNATIVE):
        yield f"metadata.annotations: {MODE} must be {STANDARD} or {KNATIVE}, not {mode!r}"


def autoscaler_is_known(service: Service) -> Iterator[str]:
    """Standard's autoscalers; Knative has its own."""
    found = _annotations(service).get("serving.kserve.io/autoscalerClass")
    if found is not None and found not in AUTOSCALERS:
        yield f"metadata.annotations: autoscalerClass must be one of {', '.join(AUTOSCALERS)}, not {found!r}"


def replicas_are_a_range(service: Service) -> Iterator[str]:
    """None below zero, and not fewer at the most than at the least; 0 at the most is no limit."""
    predictor = _predictor(service)
    least, most = predictor.get("minReplicas", 1), predictor.get("maxReplicas", 0)
    if least < 0 or most < 0 or 0 < most < least:
        yield f"spec.predictor: minReplicas {least} and maxReplicas {most} are no range"


def percents_are_percents(service: Service) -> Iterator[str]:
    """The CRD takes any number; the route fails later, as ReconcileFailed in the status."""
    found = {"spec.predictor.canaryTrafficPercent": _predictor(service).get("canaryTrafficPercent")}
    for place, canary in enumerate(_canaries(service)):
        found[f"spec.canary[{place}].trafficPercent"] = canary["trafficPercent"]
    for where, percent in found.items():
        if percent is not None and not 0 <= percent <= 100:
            yield f"{where}: {percent} is not between 0 and 100"


def canary_percent_is_knatives(service: Service) -> Iterator[str]:
    """Standard ignores the field, and all of the traffic goes to the new version at once."""
    if "canaryTrafficPercent" in _predictor(service) and _annotations(service).get(MODE) != KNATIVE:
        yield f"spec.predictor.canaryTrafficPercent: ignored in mode {STANDARD}; use spec.canary there"


def canaries_are_standards(service: Service) -> Iterator[str]:
    """The annotation must be on the object, literally; a cluster's default does not count."""
    if _canaries(service) and _annotations(service).get(MODE) != STANDARD:
        yield f"spec.canary: needs the annotation {MODE}: {STANDARD} on the object itself"


def canaries_leave_a_model(service: Service) -> Iterator[str]:
    """What they are a canary of must have a model."""
    predictor = _predictor(service)
    variables = chain.from_iterable(container.get("env", []) for container in predictor.get("containers", []))
    if _canaries(service) and "model" not in predictor and "STORAGE_URI" not in [item["name"] for item in variables]:
        yield "spec.canary: needs a stable predictor with a model, or with STORAGE_URI in its container's env"


def canaries_are_named(service: Service) -> Iterator[str]:
    """By names of their own: their Deployments are named so."""
    names = [canary["predictor"].get("name", "") for canary in _canaries(service)]
    if "" in names:
        yield "spec.canary: every predictor needs a name"
    taken = Counter([*names, *([_predictor(service)["name"]] if "name" in _predictor(service) else [])])
    for name in sorted(name for name, count in taken.items() if name and count > 1):
        yield f"spec.canary: the name {name} is used twice"


def canaries_share_the_traffic(service: Service) -> Iterator[str]:
    """Together they get at most all of it."""
    total = sum(canary["trafficPercent"] for canary in _canaries(service))
    if total > 100:
        yield f"spec.canary: the shares add up to {total} %, more than 100"


def canaries_do_not_scale(service: Service) -> Iterator[str]:
    """They have as many replicas as they ask for, at most the stable predictor's."""
    least = _predictor(service).get("minReplicas", 1)
    for place, canary in enumerate(_canaries(service)):
        for field in NOT_OF_A_CANARY:
            if field in canary["predictor"]:
                yield f"spec.canary[{place}].predictor.{field}: a canary does not have it; take it out"
        if canary["predictor"].get("minReplicas", 0) > least:
            yield f"spec.canary[{place}].predictor.minReplicas: more than the stable predictor's {least}"


def canaries_name_their_model(service: Service) -> Iterator[str]:
    """A slip in KServe's CRD: only the stable predictor's model may go without its name."""
    for place, canary in enumerate(_canaries(service)):
        if "name" not in canary["predictor"].get("model", {"name": ""}):
            yield f'spec.canary[{place}].predictor.model.name: the CRD asks for it; write `name: ""`'


def no_python_path(service: Service) -> Iterator[str]:
    """It would let whoever may edit the service run other code."""
    predictor = _predictor(service)
    for owner in (predictor.get("model", {}), *predictor.get("containers", [])):
        if "PYTHONPATH" in [item["name"] for item in owner.get("env", [])]:
            yield "spec.predictor: PYTHONPATH is not allowed in env"


def knative_takes_it(service: Service) -> Iterator[str]:
    """Its webhook refuses what its queue-proxy does itself."""
    if _annotations(service).get(MODE) == KNATIVE:
        for field in NOT_IN_KNATIVE:
            if field in _predictor(service):
                yield f"spec.predictor.{field}: Knative does not take it; it belongs to the component canary-standard"


RULES: tuple[Callable[[Service], Iterator[str]], ...] = (
    names_fit, mode_is_known, autoscaler_is_known, replicas_are_a_range, percents_are_percents,
    canary_percent_is_knatives, canaries_are_standards, canaries_leave_a_model, canaries_are_named,
    canaries_share_the_traffic, canaries_do_not_scale, canaries_name_their_model, no_python_path, knative_takes_it,
)  # fmt: skip
"""Every rule."""


def _annotations(service: Service) -> Mapping[str, str]:
    found: Mapping[str, str] = service["metadata"].get("annotations", {})
    return found


def _predictor(service: Service) -> Mapping[str, Any]:
    found: Mapping[str, Any] = service["spec"]["predictor"]
    return found


def _canaries(service: Service) -> list[Mapping[str, Any]]:
    return list(service["spec"].get("canary", []))
