"""What graphmill asks of every pod and right: confined, bounded, probed where it means something, ended in peace.

Each check yields what is wrong, and where.
"""

from collections.abc import Callable, Iterator

from graphmill.deploy.objects import Objects
from graphmill.deploy.rules import KNATIVE, MODE


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
    used = {pod.get("serviceAccountName") for _, pod in objects.pods()}
    for account in objects.of("ServiceAccount"):
        if account["metadata"]["name"] in used and account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {account['metadata']['name']}: automountServiceAccountToken must be false"


def containers_are_confined(objects: Objects) -> Iterator[str]:
    """No way to become more than they are, and nothing to write on but what is mounted."""
    wanted = {
        "allowPrivilegeEscalation": False,
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
        if context.get("privileged"):
            yield f"{where}: securityContext.privileged must not be set"
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


def ends_are_waited_for(objects: Objects) -> Iterator[str]:
    """The pod lives on until the last request may have ended: REST is drained first, then gRPC."""
    from graphmill.serving.settings import Settings

    grace = 2 * int(Settings.model_fields["grace"].default)
    pods = dict(objects.pods())
    for service in objects.of("InferenceService"):
        where = f"InferenceService {service['metadata']['name']}"
        if service["metadata"].get("annotations", {}).get(MODE) == KNATIVE:
            continue  # its queue-proxy does it
        if pods[where].get("terminationGracePeriodSeconds", 30) <= grace:
            yield f"{where}: terminationGracePeriodSeconds must be above {grace}"
        if "lifecycle" not in pods[where].get("containers", [{}])[0]:
            yield f"{where}: no preStop: requests would still come when nobody listens any more"


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
    pods_are_nobody, containers_are_confined, containers_have_limits, predictors_are_probed, ends_are_waited_for,
    rights_are_named,
)  # fmt: skip
"""Every check."""
