"""What a cluster with KServe (0.21) needs for one version, as plain dictionaries.

Two objects: the ServingRuntime says how the predictor runs, the InferenceService which version it serves, so
that a new model changes one line and a new image another. The predictor is ``python -m graphmill.serving``.
KServe puts the model at ``/mnt/models`` and labels its pods ``serving.kserve.io/inferenceservice``.
"""

from typing import Any

from graphmill.deploy.params import Params

FORMAT = "graphmill"
"""The model format by which KServe matches models and runtimes."""

PORT = 8080
GRACE = 60
"""Seconds to finish running requests: twice KServe's own grace period, as REST and gRPC drain in turn."""

_NUMBER_OF_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

_CONFINED = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def inference_service(params: Params, version: str, digest: str) -> dict[str, Any]:
    """The KServe v1beta1 InferenceService that serves ``version`` of the model.

    Mode `Standard` (a Deployment, no Knative), written on the object because a canary asks for it there.
    """
    uri = params.storage_uri.format(name=params.name, version=version, digest=digest)
    modes = {"deploymentMode": "Standard", "autoscalerClass": "hpa"}
    annotations = {f"serving.kserve.io/{key}": value for key, value in modes.items()}
    annotations |= {"graphmill/model-version": version, "graphmill/model-digest": f"sha256:{digest}"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {**_metadata(params), "annotations": annotations},
        "spec": {"predictor": {**_pod(params), **_scaling(params), "model": _model(params, uri)}},
    }


def serving_runtime(params: Params) -> dict[str, Any]:
    """The KServe v1alpha1 ServingRuntime: the predictor's image, arguments, probes and limits.

    It holds nothing of a version: a rollout changes the InferenceService alone.
    """
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": _metadata(params),
        "spec": {
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(PORT),
                "prometheus.io/path": "/metrics",
            },
            "supportedModelFormats": [{"name": FORMAT, "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [_container(params)],
            "volumes": _volumes(params),
        },
    }


def _metadata(params: Params) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": params.name, "app.kubernetes.io/part-of": "graphmill"}
    return {"name": params.name, "namespace": params.namespace, "labels": labels}


def _pod(params: Params) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"serving.kserve.io/inferenceservice": params.name}},
    }
    return {
        "serviceAccountName": params.service_account,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
    }


def _scaling(params: Params) -> dict[str, Any]:
    return {
        "minReplicas": params.minimum_replicas,
        "maxReplicas": params.maximum_replicas,
        "scaleMetric": "cpu",
        "scaleTarget": params.cpu_target,
        "timeout": params.timeout,
        "deploymentStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
    }


def _model(params: Params, uri: str) -> dict[str, Any]:
    """The part that changes from version to version."""
    return {
        "modelFormat": {"name": FORMAT, "version": "1"},
        "runtime": params.name,
        "protocolVersion": "v2",
        "storageUri": uri,
    }


def _container(params: Params) -> dict[str, Any]:
    """One process (more are broken in KServe 0.21), one thread, no root, nothing writable but ``/tmp``."""
    return {
        "name": "kserve-container",
        "image": params.image,
        "command": ["python", "-m", "graphmill.serving"],
        "args": [
            "--model=/mnt/models",
            "--graph=/mnt/graph",
            "--model_name={{.Name}}",
            f"--http_port={PORT}",
            "--workers=1",
            "--state=/tmp/state",
            "--stream_group=$(POD_NAME)",
        ],
        "env": _environment(params),
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(params),
        "securityContext": _CONFINED,
        "volumeMounts": [
            {"name": "graph", "mountPath": "/mnt/graph", "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},
        ],
        **_probes(),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
    }


def _environment(params: Params) -> list[dict[str, Any]]:
    """One thread; each replica its own reader of the stream; the token and the stream's URL from a Secret, if any."""
    threads: list[dict[str, Any]] = [{"name": name, "value": "1"} for name in _NUMBER_OF_THREADS]
    threads.append({"name": "NUMBA_CACHE_DIR", "value": "/tmp/numba"})  # the root file system is read-only
    pod = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    secret = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": f"{params.name}-serving", "key": key, "optional": True}}}
        for name, key in (("GRAPHMILL_TOKEN", "token"), ("GRAPHMILL_STREAM", "stream"))
    ]
    return [*threads, pod, *secret]


def _resources(params: Params) -> dict[str, Any]:
    given = params.resources
    return {
        "requests": {"cpu": given.cpu, "memory": given.memory},
        "limits": {"cpu": given.cpu_limit, "memory": given.memory},
    }


def _volumes(params: Params) -> list[dict[str, Any]]:
    claim = {"claimName": params.graph_claim, "readOnly": True}
    return [{"name": "graph", "persistentVolumeClaim": claim}, {"name": "scratch", "emptyDir": {}}]


def _probes() -> dict[str, Any]:
    """Ready is the model's own route: KServe's ``/v2/health/ready`` is true whatever happens."""
    ready, live = "/v2/models/{{.Name}}/ready", "/v2/health/live"
    return {
        "startupProbe": {**_get(ready), "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {**_get(ready), "periodSeconds": 5, "timeoutSeconds": 2},
        "livenessProbe": {**_get(live), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def _get(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PORT}}
