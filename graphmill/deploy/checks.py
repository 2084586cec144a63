"""What graphmill itself asks of its manifests: confined pods, probes that mean something, names that meet.

Each check yields what is wrong with the objects of one overlay, and where.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from graphmill.deploy.rules import KNATIVE, MODE
from graphmill.errors import UserError

Object = Mapping[str, Any]
POD_LABEL = "serving.kserve.io/inferenceservice"
"""The label by which KServe marks a service's pods."""


class Objects:
    """The objects of one overlay."""

    def __init__(self, documents: Iterable[Object]) -> None:
        self.all = list(documents)

    def of(self, kind: str) -> list[Object]:
        """Every object of a kind."""
        return [item for item in self.all if item.get("kind") == kind]

    def names(self, kind: str) -> list[str]:
        """Their names."""
        return [item["metadata"]["name"] for item in self.of(kind)]

    def pods(self) -> list[tuple[str, Object]]:
        """Every pod that comes of them, by where it is written: its containers, its volumes, and who it is.

        A predictor's pod is its runtime's containers in its service's surroundings.
        """
        runtimes = {item["metadata"]["name"]: item["spec"] for item in self.of("ServingRuntime")}
        pods = [(f"Job {job['metadata']['name']}", job["spec"]["template"]["spec"]) for job in self.of("Job")]
        for service in self.of("InferenceService"):
            predictor = service["spec"]["predictor"]
            runtime = runtimes.get(predictor.get("model", {}).get("runtime"), {})
            pods.append((f"InferenceService {service['metadata']['name']}", {**runtime, **predictor}))
        return pods

    def containers(self) -> Iterator[tuple[str, Object]]:
        """Every container of them."""
        for where, pod in self.pods():
            for container in pod.get("containers", []):
                yield f"{where}, container {container['name']}", container


def check(objects: Objects) -> list[str]:
    """Everything that is wrong."""
    return list(chain.from_iterable(one(objects) for one in CHECKS))


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


def pods_are_nobody(objects: Objects) -> Iterator[str]:
    """Not root, and with no token unless they ask for it by an account of their own."""
    for where, pod in objects.pods():
        context = pod.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{where}: securityContext must have runAsNonRoot and a runAsUser other than 0"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where}: securityContext.seccompProfile must be RuntimeDefault"
        if pod.get("hostNetwork") or pod.get("hostPID") or pod.get("hostIPC"):
            yield f"{where}: shares the node's network or processes"
        if pod.get("serviceAccountName", "default") not in objects.names("ServiceAccount"):
            yield f"{where}: no ServiceAccount {pod.get('serviceAccountName', 'default')!r} here"
    for account in objects.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {account['metadata']['name']}: automountServiceAccountToken must be false"


def containers_are_confined(objects: Objects) -> Iterator[str]:
    """No way to become more than they are, and nothing to write on but what is mounted."""
    wanted = {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for where, container in objects.containers():
        context = container.get("securityContext", {})
        for field, value in wanted.items():
            if context.get(field) != value:
                yield f"{where}: securityContext.{field} must be {value}, not {context.get(field)}"
        if "/tmp" not in [mount["mountPath"] for mount in container.get("volumeMounts", [])]:
            yield f"{where}: nothing is mounted at /tmp, and the root file system is read-only"


def containers_have_limits(objects: Objects) -> Iterator[str]:
    """What they ask for and what they may take; memory that is promised is never taken back."""
    for where, container in objects.containers():
        resources = container.get("resources", {})
        for kind in ("requests", "limits"):
            for name in ("cpu", "memory"):
                if name not in resources.get(kind, {}):
                    yield f"{where}: resources.{kind}.{name} is missing"
        if resources.get("requests", {}).get("memory") != resources.get("limits", {}).get("memory"):
            yield f"{where}: resources: memory must be asked for and limited alike"


def predictors_are_probed(objects: Objects) -> Iterator[str]:
    """On the model's own route: KServe's ``/v2/health/ready`` is true whatever happens."""
    for runtime in objects.of("ServingRuntime"):
        where, container = f"ServingRuntime {runtime['metadata']['name']}", runtime["spec"]["containers"][0]
        wanted = {"startupProbe": "/v2/models/{{.Name}}/ready", "readinessProbe": "/v2/models/{{.Name}}/ready"}
        for probe, path in {**wanted, "livenessProbe": "/v2/health/live"}.items():
            found = container.get(probe, {}).get("httpGet", {})
            if found.get("path") != path:
                yield f"{where}: {probe} must ask {path}, not {found.get('path')}"
            elif found.get("port") not in [port["containerPort"] for port in container["ports"]]:
                yield f"{where}: {probe} asks port {found.get('port')}, which the container does not have"


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


def ends_are_waited_for(objects: Objects) -> Iterator[str]:
    """The pod lives on until the last request may have ended: REST is drained first, then gRPC."""
    from graphmill.serving.settings import Settings

    grace = 2 * int(Settings.model_fields["grace"].default)
    for service in objects.of("InferenceService"):
        if service["metadata"].get("annotations", {}).get(MODE) == KNATIVE:
            continue
        given = service["spec"]["predictor"].get("terminationGracePeriodSeconds", 30)
        if given <= grace:
            yield f"InferenceService {service['metadata']['name']}: terminationGracePeriodSeconds must be above {grace}"
        for where, pod in objects.pods():
            if where.startswith("InferenceService") and "lifecycle" not in pod.get("containers", [{}])[0]:
                yield f"{where}: no preStop: requests would still come when nobody listens any more"


def knative_has_no_lifecycle(objects: Objects) -> Iterator[str]:
    """Knative's webhook refuses lifecycle hooks and a second port."""
    for service in objects.of("InferenceService"):
        if service["metadata"].get("annotations", {}).get(MODE) == KNATIVE:
            for runtime in objects.of("ServingRuntime"):
                container = runtime["spec"]["containers"][0]
                if "lifecycle" in container or len(container["ports"]) > 1:
                    yield f"ServingRuntime {runtime['metadata']['name']}: Knative takes no lifecycle and one port only"


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


def rights_are_named(objects: Objects) -> Iterator[str]:
    """No wildcards, nothing of the whole cluster, and nobody may change another service than this."""
    for role in (*objects.of("ClusterRole"), *objects.of("ClusterRoleBinding")):
        yield f"{role['kind']} {role['metadata']['name']}: rights over the whole cluster"
    for role in objects.of("Role"):
        for rule in role["rules"]:
            where = f"Role {role['metadata']['name']}, {', '.join(rule['resources'])}"
            if "*" in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]):
                yield f"{where}: no wildcards"
            changes = {"patch", "update", "delete"} & set(rule["verbs"]) and "create" not in rule["verbs"]
            if changes and not rule.get("resourceNames"):
                yield f"{where}: {', '.join(rule['verbs'])} need resourceNames"


CHECKS: tuple[Callable[[Objects], Iterator[str]], ...] = (
    runtimes_are_there, pods_are_nobody, containers_are_confined, containers_have_limits, predictors_are_probed,
    flags_are_the_predictors, ends_are_waited_for, knative_has_no_lifecycle, volumes_are_there, claims_hold_the_model,
    selectors_meet_the_pods, metrics_are_where_they_are_asked, rights_are_named,
)  # fmt: skip
"""Every check."""
