"""Whether the objects of an overlay meet: what one names the other is, and the predictor takes what it is told.

Each check yields what is wrong, and where.
"""

from collections.abc import Callable, Iterator

from graphmill.deploy.objects import Objects
from graphmill.deploy.rules import KNATIVE, MODE
from graphmill.errors import UserError

POD_LABEL = "serving.kserve.io/inferenceservice"
"""The label by which KServe marks a service's pods."""
PORT_NAMES = ("", "http1", "h2c")
"""Knative's names of a container's port."""


def runtimes_are_there(objects: Objects) -> Iterator[str]:
    """A service names a runtime of its release, of its format and protocol."""
    runtimes = {item["metadata"]["name"]: item["spec"] for item in objects.of("ServingRuntime")}
    for service in objects.of("InferenceService"):
        model, name = service["spec"]["predictor"].get("model", {}), service["metadata"]["name"]
        runtime = runtimes.get(model.get("runtime"))
        if runtime is None:
            yield f"InferenceService {name}: no ServingRuntime {model.get('runtime')!r} here"
            continue
        if model["modelFormat"]["name"] not in [item["name"] for item in runtime["supportedModelFormats"]]:
            yield f"InferenceService {name}: its runtime does not take the format {model['modelFormat']['name']}"
        if model.get("protocolVersion", "v1") not in runtime.get("protocolVersions", []):
            yield f"InferenceService {name}: its runtime does not speak {model['protocolVersion']}"


def flags_are_the_predictors(objects: Objects) -> Iterator[str]:
    """What the command line says is what the predictor takes."""
    from graphmill.serving.settings import parse

    for runtime in objects.of("ServingRuntime"):
        where, container = f"ServingRuntime {runtime['metadata']['name']}", runtime["spec"]["containers"][0]
        try:
            settings = parse([text.replace("{{.Name}}", runtime["metadata"]["name"]) for text in container["args"]])
        except UserError as error:
            yield f"{where}: {error}"
            continue
        if settings.http_port not in [port["containerPort"] for port in container["ports"]]:
            yield f"{where}: --http_port={settings.http_port} is no port of the container"


def knative_takes_the_container(objects: Objects) -> Iterator[str]:
    """Knative's webhook refuses lifecycle hooks, a second port, and most names of the first."""
    if KNATIVE not in [item["metadata"].get("annotations", {}).get(MODE) for item in objects.of("InferenceService")]:
        return
    for runtime in objects.of("ServingRuntime"):
        where, container = f"ServingRuntime {runtime['metadata']['name']}", runtime["spec"]["containers"][0]
        if "lifecycle" in container or len(container["ports"]) > 1:
            yield f"{where}: Knative takes no lifecycle and one port only"
        for name in (port.get("name", "") for port in container["ports"]):
            if name not in PORT_NAMES:
                yield f"{where}: ports: Knative does not take the name {name!r}; leave it out, or http1, or h2c"
        if "privileged" in container.get("securityContext", {}):
            yield f"{where}: securityContext.privileged: Knative before 1.17 does not take it, not even false"


def volumes_are_there(objects: Objects) -> Iterator[str]:
    """Every mount has its volume, every volume its claim or ConfigMap, unless that is optional."""
    for where, pod in objects.pods():
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for container in pod.get("containers", []):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{where}: mounts {mount['name']}, which is no volume"
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim is not None and claim not in objects.names("PersistentVolumeClaim"):
                yield f"{where}: no PersistentVolumeClaim {claim} here"
            config = volume.get("configMap", {}).get("name")
            if config is not None and config not in objects.names("ConfigMap"):
                yield f"{where}: no ConfigMap {config} here"


def claims_hold_the_model(objects: Objects) -> Iterator[str]:
    """A model on a claim is on one of the release's."""
    for service in objects.of("InferenceService"):
        scheme, _, rest = service["spec"]["predictor"].get("model", {}).get("storageUri", "").partition("://")
        if scheme == "pvc" and (claim := rest.partition("/")[0]) not in objects.names("PersistentVolumeClaim"):
            yield f"InferenceService {service['metadata']['name']}: storageUri: no PersistentVolumeClaim {claim} here"


def selectors_meet_the_pods(objects: Objects) -> Iterator[str]:
    """Budget, network policy and monitor select the predictor's pods, the candidate's among them."""
    names = objects.names("InferenceService")
    for kind, field in (
        ("PodDisruptionBudget", "selector"),
        ("PodMonitor", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        found = [item["spec"][field].get("matchLabels", {}).get(POD_LABEL) for item in objects.of(kind)]
        for name in names:
            if name not in found:
                yield f"{kind}: none selects {POD_LABEL}: {name}"


def metrics_are_where_they_are_asked(objects: Objects) -> Iterator[str]:
    """The monitor asks a port that the predictor has and that the network policy lets through."""
    ports = [
        port["containerPort"]
        for item in objects.of("ServingRuntime")
        for port in item["spec"]["containers"][0]["ports"]
    ]
    for monitor in objects.of("PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if (port := endpoint.get("portNumber")) not in ports:
                yield f"PodMonitor {monitor['metadata']['name']}: port {port} is not the predictor's"


CHECKS: tuple[Callable[[Objects], Iterator[str]], ...] = (
    runtimes_are_there, flags_are_the_predictors, knative_takes_the_container, volumes_are_there, claims_hold_the_model,
    selectors_meet_the_pods, metrics_are_where_they_are_asked,
)  # fmt: skip
"""Every check."""
