"""KServe: its controller, its settings, and what splits the traffic in its two modes."""

import json
from collections.abc import Iterator
from typing import Any

from automation.doctor import versions
from automation.doctor.door import Door, Object
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import Wanted

INSTALL = "install it (docs/cluster.md#4-kserve)"
CONTROLLER, SETTINGS = "kserve-controller-manager", "inferenceservice-config"
NAMESPACES = ("kserve", "kubeflow")
"""Where the charts put it, and where Kubeflow's own installation does."""
GATEWAY, GATEWAYS = "gateway.networking.k8s.io/v1", "kserve/kserve-ingress-gateway"
KNATIVE, SERVING = "serving.knative.dev/v1", "knative-serving"
FEATURES = ("securitycontext", "persistent-volume-claim", "volumes-emptydir", "init-containers")
"""Of Knative, `kubernetes.podspec-…`: what the predictor's pods have. docs/manifests.md names them."""


def kserve(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether its controller works, and is new enough."""
    namespace = _namespace(door)
    if namespace is None:
        yield missing(f"no Deployment {CONTROLLER} in namespace {' or '.join(NAMESPACES)}", INSTALL)
        return
    deployment = door.object("deployments", CONTROLLER, namespace, "apps/v1") or {}
    if not deployment.get("status", {}).get("availableReplicas"):
        yield missing(f"{CONTROLLER} does not work", f"kubectl -n {namespace} describe deployment {CONTROLLER}")
    tag = versions.of_image(deployment, "manager")  # beside a proxy, in some releases
    version, least = versions.parse(tag), versions.text(versions.KSERVE)
    if version is None:
        yield warning(f"the image of {CONTROLLER} does not tell its version", f"see that it is {least} or newer")
    elif version >= versions.KSERVE:
        yield ok(f"KServe {tag} in namespace {namespace}")
    elif wanted.mode == "standard":
        yield missing(f"KServe {tag}: in mode Standard a rollout's canaries need {least}", INSTALL)
    else:
        yield warning(f"KServe {tag}; the manifests are checked for {least}", INSTALL)


def mode(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether traffic can be split as the overlay's mode does it."""
    namespace = _namespace(door)
    if namespace is not None:
        yield from (_standard if wanted.mode == "standard" else _knative)(door, namespace)


def _standard(door: Door, namespace: str) -> Iterator[Answer]:
    if not {"Gateway", "HTTPRoute"} <= (door.kinds(GATEWAY) or {}).keys():
        yield missing(f"mode Standard: the cluster does not know {GATEWAY}", INSTALL)
        return
    settings = door.object("configmaps", SETTINGS, namespace) or {}
    ingress, service = _section(settings, "ingress"), _section(settings, "service")
    restart = f"set it in ConfigMap {SETTINGS}, then kubectl -n {namespace} rollout restart deployment {CONTROLLER}"
    if ingress.get("enableGatewayApi") is not True:
        yield missing("mode Standard: ingress.enableGatewayApi is not true, nothing splits traffic", restart)
    if service.get("serviceClusterIPNone") is True:
        yield missing("mode Standard: service.serviceClusterIPNone is true, shadow traffic finds nobody", restart)
    yield _gateway(door, str(ingress.get("kserveIngressGateway") or GATEWAYS))


def _gateway(door: Door, place: str) -> Answer:
    namespace, _, name = place.partition("/")
    found = door.object("gateways", name, namespace, GATEWAY)
    if found is None:
        return missing(f"mode Standard: there is no Gateway {place}", "make it (docs/cluster.md#4-kserve)")
    true = [one["type"] for one in found.get("status", {}).get("conditions", []) if one["status"] == "True"]
    if "Programmed" not in true:
        return warning(
            f"mode Standard: Gateway {place} is not ready", f"kubectl -n {namespace} describe gateway {name}"
        )
    return ok(f"mode Standard: Gateway {place}")


def _knative(door: Door, namespace: str) -> Iterator[Answer]:
    if not {"Service", "Revision"} <= (door.kinds(KNATIVE) or {}).keys():
        yield missing(f"mode Knative: the cluster does not know {KNATIVE}", INSTALL)
        return
    controller = door.object("deployments", "controller", SERVING, "apps/v1") or {}
    label = controller.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/version", "")
    version, least = versions.parse(label), versions.text(versions.KNATIVE)
    if version is None:
        yield warning("mode Knative: Knative does not tell its version", f"see that it is {least} or newer")
    elif version < versions.KNATIVE:
        yield missing(f"mode Knative: Knative {label}", f"update to {least}: older ones take no startup probe")
    else:
        yield ok(f"mode Knative: Knative {label}")
    data = (door.object("configmaps", "config-features", SERVING) or {}).get("data") or {}
    for feature in (f"kubernetes.podspec-{name}" for name in FEATURES):
        if data.get(feature) != "enabled":
            patch = f'kubectl -n {SERVING} patch configmap config-features -p \'{{"data":{{"{feature}":"enabled"}}}}\''
            state = missing if data.get(feature) == "disabled" else warning
            yield state(f"mode Knative: {feature} is {data.get(feature, 'not set')}", patch)


def _namespace(door: Door) -> str | None:
    return next((one for one in NAMESPACES if door.object("deployments", CONTROLLER, one, "apps/v1")), None)


def _section(settings: Object, key: str) -> dict[str, Any]:
    """A section of the settings, which are JSON in a ConfigMap; empty where it is none."""
    try:
        found = json.loads((settings.get("data") or {}).get(key) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
