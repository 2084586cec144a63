"""An API server on loopback with the objects of one service, and KServe's controller in both of its modes.

The transitions are written after KServe's Go sources: ``ksvc_reconciler.go`` and ``inference_service_status.go`` for
Knative, ``predictor.go`` and ``httproute_reconciler.go`` for Standard. Time passes by one step with each read of the
InferenceService; every step writes down which model's pods get how much of the traffic.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kserve import V1beta1CanarySpec, V1beta1InferenceServiceSpec, V1beta1ModelSpec, V1beta1PredictorSpec

NAMESPACE, NAME = "fraud", "payment-fraud"
SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
LOST = "lost"
"""Key of the history for requests that no ready pod answers."""
NESTED = {
    "predictor": V1beta1PredictorSpec, "canary": V1beta1CanarySpec, "model": V1beta1ModelSpec,
    "spec": V1beta1InferenceServiceSpec,
}  # fmt: skip


class Refused(Exception):
    """An answer that is no 2xx."""

    def __init__(self, status: int, message: str, **details: str) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, details


class World:
    """Objects, the controller, and what a test makes go wrong."""

    def __init__(self, mode: str, uri: str, name: str = NAME, start_up: int = 2, lag: int = 1) -> None:
        self.mode, self.start_up, self.lag = mode, start_up, lag
        self.namespaces, self.kinds = {NAMESPACE}, {"inferenceservices", "revisions", "httproutes"}
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.broken: dict[str, str] = {}
        """Storage URIs whose pods never get ready, and the reason of their condition."""
        self.refuse: Callable[[str, str, str], Refused | None] = lambda verb, plural, name: None
        self.meanwhile: Callable[[], None] | None = None
        """Run once right before the next patch of the service: another writer."""
        self.down = 0
        """Requests that find nobody there."""
        self.calls: list[str] = []
        self.history: list[dict[str, float]] = []
        self.versions, self.stale = 100, 0
        self.drift = 0
        """How far the Knative Service's generation is from the InferenceService's."""
        self.controller: Knative | Standard = Knative(self) if mode == "knative" else Standard(self)
        self.create(name, uri)

    def create(self, name: str, uri: str) -> None:
        standard = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "hpa"}
        model = {"modelFormat": {"name": "graphmill", "version": "1"}, "runtime": "graphmill", "storageUri": uri}
        predictor = {"minReplicas": 2, "maxReplicas": 6, "serviceAccountName": "predictor", "model": model}
        self.objects["inferenceservices", name] = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": name, "namespace": NAMESPACE, "generation": 1, "resourceVersion": "100",
                "annotations": standard if self.mode == "standard" else {},
            },
            "spec": {"predictor": predictor},
        }  # fmt: skip
        self.objects["configmaps", f"{name}-shadow"] = {"metadata": {"name": f"{name}-shadow"}, "data": None}
        self.settle()
        self.history.clear()

    @property
    def service(self) -> dict[str, Any]:
        return self.objects["inferenceservices", NAME]

    @property
    def spec(self) -> dict[str, Any]:
        return self.service["spec"]

    @property
    def mirrored(self) -> dict[str, Any] | None:
        text = (self.objects["configmaps", f"{NAME}-shadow"].get("data") or {}).get("shadow.json")
        return None if text is None else json.loads(text)

    def settle(self, steps: int = 12) -> None:
        """Let the controller come to rest."""
        self.stale = 0
        for _ in range(steps):
            self.controller.step(self.service)

    def edit(self, patch: dict[str, Any], manager: str = "kubectl-edit") -> None:
        """Another writer."""
        self.patch("inferenceservices", NAME, patch, manager)

    def get(self, plural: str, name: str) -> dict[str, Any]:
        if plural == "namespaces":
            if name not in self.namespaces:
                raise Refused(404, f'namespaces "{name}" not found', name=name, kind=plural)
            return {"metadata": {"name": name}}
        found = self.objects.get((plural, name))
        if found is None:
            raise Refused(404, f'{plural} "{name}" not found', name=name, kind=plural)
        if plural == "inferenceservices":
            self.stale -= 1
            if self.stale < 0:
                self.controller.step(found)
        return deepcopy(found)

    def patch(self, plural: str, name: str, patch: dict[str, Any], manager: str = "graphmill") -> dict[str, Any]:
        if plural == "inferenceservices" and manager == "graphmill" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        before = self.objects.get((plural, name))
        if before is None:
            raise Refused(404, f'{plural} "{name}" not found', name=name, kind=plural)
        lock = patch.get("metadata", {}).get("resourceVersion")
        if lock is not None and lock != before["metadata"].get("resourceVersion"):
            raise Refused(409, f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified')
        after = merged(before, patch)
        if plural == "inferenceservices":
            admit(before, after)
            changed = after["spec"] != before["spec"]
            after["metadata"]["generation"] = before["metadata"]["generation"] + changed
            entry = {"manager": manager, "operation": "Update", "time": f"{self.versions:06}"}
            after["metadata"]["managedFields"] = [entry]
            self.stale = self.lag
        self.write(plural, name, after)
        return deepcopy(after)

    def write(self, plural: str, name: str, value: dict[str, Any]) -> None:
        self.versions += 1
        value["metadata"]["resourceVersion"] = str(self.versions)
        self.objects[plural, name] = value

    def status(self, service: dict[str, Any], status: dict[str, Any]) -> None:
        """The controller's own writes, which move the resourceVersion too."""
        if status != service.get("status"):
            service["status"] = status
            self.versions += 1
            service["metadata"]["resourceVersion"] = str(self.versions)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def known(value: Any, model: Any, where: str = "spec") -> None:
    """Refuse a field that the SDK's models, made from the CRD, do not have."""
    names = {wire: name for name, wire in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            raise Refused(422, f"{where}: unknown field {key}")
        if model.openapi_types[names[key]] == "int" and (not isinstance(item, int) or isinstance(item, bool)):
            raise Refused(422, f"{where}.{key}: must be of type integer")
        if key in NESTED:
            for one in item if isinstance(item, list) else [item]:
                known(one, NESTED[key], f"{where}.{key}")


def admit(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The CRD's schema and the webhook's rules."""
    known(after["spec"], V1beta1InferenceServiceSpec)
    canary, stable = after["spec"].get("canary") or [], after["spec"]["predictor"]
    for item in canary:
        if "name" not in item["predictor"]["model"] or "modelFormat" not in item["predictor"]["model"]:
            raise Refused(422, "spec.canary[0].predictor.model.name: Required value")
    names = [item["predictor"].get("name", "") for item in canary]
    mode = after["metadata"]["annotations"].get("serving.kserve.io/deploymentMode")
    renamed = stable.get("name") != before["spec"]["predictor"].get("name")
    checks = {
        "canary is only supported in Standard mode": not canary or mode == "Standard",
        "canary requires a stable predictor with a model": not canary or "model" in stable,
        "canary names must be unique": len({*names, stable.get("name", "")}) == len(names) + 1,
        "canary trafficPercent must be between 0 and 100": all(0 <= item["trafficPercent"] <= 100 for item in canary),
        "sum of canary trafficPercent exceeds 100": sum(item["trafficPercent"] for item in canary) <= 100,
        "canary must not set maxReplicas": not any("maxReplicas" in item["predictor"] for item in canary),
        "canary minReplicas exceeds the stable one's": all(
            item["predictor"].get("minReplicas", 0) <= stable.get("minReplicas", 1) for item in canary
        ),
        "predictor.name changed but storageUri did not": not renamed
        or stable["model"]["storageUri"] != before["spec"]["predictor"]["model"]["storageUri"],
        "the 'name' field is not allowed in standard predictor": not stable.get("model", {}).get("name"),
        "deploymentMode cannot be changed": mode
        == before["metadata"]["annotations"].get("serving.kserve.io/deploymentMode"),
    }
    for rule, kept in checks.items():
        if not kept:
            webhook = 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request'
            raise Refused(403, f"{webhook}: {rule}")


def template(service: dict[str, Any], predictor: dict[str, Any]) -> dict[str, Any]:
    """What makes a pod another pod: the model, and the annotations of object and predictor, the latter first."""
    annotations = {**service["metadata"].get("annotations", {}), **predictor.get("annotations", {})}
    uri = predictor["model"]["storageUri"]
    return {"uri": uri, "annotations": {**annotations, SOURCE: uri}}


def condition(kind: str, good: bool | None, reason: str = "", message: str = "") -> dict[str, str]:
    status = {True: "True", False: "False", None: "Unknown"}[good]
    return {"type": kind, "status": status, "reason": reason, "message": message}


class Knative:
    """A Knative Service below the InferenceService, and KServe's controller above it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.revisions: list[dict[str, Any]] = []
        self.created, self.ready, self.generation = "", "", 0
        self.spec: Any = None
        self.traffic: list[dict[str, Any]] = []

    def step(self, service: dict[str, Any]) -> None:
        status = deepcopy(service.get("status") or {})
        component = status.get("components", {}).get("predictor", {})
        percent = service["spec"]["predictor"].get("canaryTrafficPercent")
        failed = percent is not None and not 0 <= percent <= 100
        if not failed:
            self._reconcile(service, percent, component.get("latestRolledoutRevision", ""))
        self._propagate(component)
        uris = {item["metadata"]["name"]: item["uri"] for item in self.revisions}
        broken = self.world.broken.get(uris.get(self.created, ""))
        good = True if self.created and self.created == self.ready else None
        told = ("", "")
        if failed:
            told = ("ReconcileFailed", f"validation failed: expected 0 <= {percent} <= 100: spec.traffic[0].percent")
        elif broken and good is None:
            told = (broken, f'Revision "{self.created}" failed with message: it does not start.')
        if broken == "Deploying":  # the old revision serves on, and so the whole stays ready
            good, told = True, ("", "")
        good = False if told[0] else good
        conditions = [condition(kind, good, *told) for kind in ("PredictorReady", "Ready")]
        told_status = {"components": {"predictor": component}, "conditions": conditions}
        self.world.status(service, {**told_status, "observedGeneration": self.generation + self.world.drift})
        self._knative()
        self._record()

    def _record(self) -> None:
        models = {item["metadata"]["name"]: item["uri"] for item in self.revisions}
        shares: dict[str, float] = {}
        for item in self.traffic:
            shares[models[item["revisionName"]]] = shares.get(models[item["revisionName"]], 0) + item["percent"]
        self.world.history.append({key: value for key, value in shares.items() if value})

    def _reconcile(self, service: dict[str, Any], percent: int | None, rolledout: str) -> None:
        """createKnativeService."""
        wanted = [{"latestRevision": True, "percent": 100}]
        if percent is not None and rolledout:
            wanted[0]["percent"] = percent
            if percent < 100:
                wanted.append({"latestRevision": False, "revisionName": rolledout, "percent": 100 - percent})
        pods = template(service, service["spec"]["predictor"])
        if (pods, wanted) != self.spec:
            self.generation += 1
        if self.spec is None or pods != self.spec[0]:
            name = f"{service['metadata']['name']}-predictor-{len(self.revisions) + 1:05}"
            revision = {"metadata": {"name": name, "annotations": pods["annotations"]}, "age": 0, "uri": pods["uri"]}
            self.revisions.append(revision)
            self.world.write("revisions", name, revision)
        self.spec = (pods, wanted)

    def _knative(self) -> None:
        """Revisions get ready, and the Route follows."""
        newest = self.revisions[-1]
        self.created = newest["metadata"]["name"]
        newest["age"] += 1
        if newest["age"] >= self.world.start_up and newest["uri"] not in self.world.broken:
            self.ready = newest["metadata"]["name"]
        wanted = self.spec[1]
        if self.ready:
            self.traffic = [{**item, "revisionName": item.get("revisionName", self.ready)} for item in wanted]

    def _propagate(self, component: dict[str, Any]) -> None:
        """PropagateStatus."""
        created, sums = self.created, {}
        for item in self.traffic:
            sums[item["revisionName"]] = sums.get(item["revisionName"], 0) + item["percent"]
        for item in self.traffic:
            if not item["latestRevision"] or item["revisionName"] != self.ready:
                continue
            rolledout, previous = component.get("latestRolledoutRevision"), component.get("previousRolledoutRevision")
            if rolledout != self.ready:
                if item["percent"] == 100:
                    component["previousRolledoutRevision"] = rolledout or ""
                    component["latestRolledoutRevision"] = self.ready
            elif self.ready == created and item["percent"] < 100 and sums[self.ready] == 100 and previous:
                component["latestRolledoutRevision"] = previous
        component["latestCreatedRevision"], component["latestReadyRevision"] = created, self.ready
        component["traffic"] = deepcopy(self.traffic)


class Standard:
    """Deployments, HTTPRoute and KServe's controller above them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pods: dict[str, dict[str, Any]] = {}
        """Deployments by name: template, age, and how often their pods were started."""

    def step(self, service: dict[str, Any]) -> None:
        name, spec = service["metadata"]["name"], service["spec"]
        stable, canary = spec["predictor"], spec.get("canary") or []
        statuses = []
        for item in canary:
            whole = {**stable, **item["predictor"]}
            deployment = f"{name}-{whole['name']}-predictor"
            replicas = item["predictor"].get("minReplicas")
            if replicas is None:
                replicas = -(-stable.get("minReplicas", 1) * item["trafficPercent"] // 100)
            self._deploy(deployment, template(service, whole), replicas)
            ready = self._ready(deployment)
            statuses.append({"name": whole["name"], "ready": ready, "trafficPercent": item["trafficPercent"]})
        own = f"{name}-{stable['name']}-predictor" if stable.get("name") else f"{name}-predictor"
        self._deploy(own, template(service, stable), stable.get("minReplicas", 1))
        kept = {own, *(f"{name}-{item['predictor']['name']}-predictor" for item in canary)}
        if self._ready(own):
            self._route(name, own, [item for item in statuses if item["ready"]])
        gone = [deployment for deployment in self.pods if deployment not in kept]
        for deployment in gone:
            del self.pods[deployment]
        self._tell(service, own, statuses)
        self._record(name)

    def _deploy(self, name: str, pods: dict[str, Any], replicas: int) -> None:
        found = self.pods.setdefault(name, {"template": None, "serving": None, "starts": 0})
        if found["template"] != pods:  # a rolling update: the old pods serve until the new ones do
            found.update(template=pods, age=0, starts=found["starts"] + 1)
        found["age"] += 1
        found["replicas"] = replicas
        if found["age"] >= self.world.start_up and replicas and pods["uri"] not in self.world.broken:
            found["serving"] = pods

    def _ready(self, name: str) -> bool:
        return self.pods[name]["serving"] is not None

    def _route(self, name: str, own: str, ready: list[dict[str, Any]]) -> None:
        backends = [{"name": own, "weight": 100 - sum(item["trafficPercent"] for item in ready)}]
        backends += [{"name": f"{name}-{item['name']}-predictor", "weight": item["trafficPercent"]} for item in ready]
        if not ready:
            backends = [{"name": own}]
        route = {"metadata": {"name": f"{name}-predictor"}, "spec": {"rules": [{"backendRefs": backends}]}}
        self.world.write("httproutes", f"{name}-predictor", route)

    def _tell(self, service: dict[str, Any], own: str, statuses: list[dict[str, Any]]) -> None:
        good = self._ready(own)
        broken = self.world.broken.get(self.pods[own]["template"]["uri"], "MinimumReplicasUnavailable")
        told = ("", "") if good else (broken, "Deployment does not have minimum availability.")
        conditions = [condition(kind, good, *told) for kind in ("PredictorReady", "Ready")]
        if statuses:
            ready = all(item["ready"] for item in statuses)
            uris = {
                item["predictor"]["name"]: item["predictor"]["model"]["storageUri"]
                for item in service["spec"]["canary"]
            }
            causes = [self.world.broken.get(uri, "") for uri in uris.values()]
            reason = "AllCanariesReady" if ready else next((item for item in causes if item), "CanariesNotReady")
            conditions.append(
                condition("CanaryPredictorReady", ready, reason, "exceeded quota" if "Failed" in reason else "")
            )
        copies = {"totalCopies": self.pods[own]["replicas"] if good else 0}
        status = {
            "conditions": conditions, "canaryStatuses": statuses, "modelStatus": {"copies": copies},
            "deploymentMode": "Standard", "observedGeneration": self.pods[own]["starts"],
        }  # fmt: skip
        self.world.status(service, status)

    def _record(self, name: str) -> None:
        shares: dict[str, float] = {}
        route = self.world.objects.get(("httproutes", f"{name}-predictor"))
        if route is None:
            return
        backends = route["spec"]["rules"][0]["backendRefs"]
        for item in backends:
            there = item["name"] in self.pods and self._ready(item["name"])
            key = self.pods[item["name"]]["serving"]["uri"] if there else LOST
            shares[key] = shares.get(key, 0) + item.get("weight", 100)
        self.world.history.append({key: value for key, value in shares.items() if value})


PATHS = (
    re.compile(
        r"/apis/(?P<group>[^/]+)/(?P<version>[^/]+)/namespaces/(?P<space>[^/]+)/(?P<plural>[^/]+)/(?P<name>[^/]+)$"
    ),
    re.compile(r"/api/v1/namespaces/(?P<space>[^/]+)/(?P<plural>configmaps)/(?P<name>[^/]+)$"),
    re.compile(r"/api/v1/(?P<plural>namespaces)/(?P<name>[^/]+)$"),
)


class Handler(BaseHTTPRequestHandler):
    """The requests that a rollout makes, and their answers as the API server words them."""

    world: World
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer in two packets waits 40 ms for the first one to be acknowledged

    def do_GET(self) -> None:
        self._answer("get", lambda plural, name: self.world.get(plural, name))

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        wanted = "strategic-merge-patch" if "/configmaps/" in self.path else "application/merge-patch"
        if wanted not in self.headers["Content-Type"]:
            return self._send(415, {"message": f"the body is of {self.headers['Content-Type']}, not {wanted}"})
        return self._answer("patch", lambda plural, name: self.world.patch(plural, name, body))

    def _answer(self, verb: str, work: Callable[[str, str], dict[str, Any]]) -> None:
        if self.world.down:
            self.world.down -= 1
            self.close_connection = True
            return None
        found = next((match for path in PATHS if (match := path.match(self.path))), None)
        if found is None:
            return self._send(404, None)
        parts = found.groupdict()
        self.world.calls.append(f"{verb} {parts['plural']} {parts['name']}")
        try:
            if refused := self.world.refuse(verb, parts["plural"], parts["name"]):
                raise refused
            if "group" in parts and parts["plural"] not in self.world.kinds:
                return self._send(404, None)
            if parts.get("space", NAMESPACE) not in self.world.namespaces:
                raise Refused(404, f'{parts["plural"]} "{parts["name"]}" not found', name=parts["name"])
            return self._send(200, work(parts["plural"], parts["name"]))
        except Refused as error:
            status = {"kind": "Status", "status": "Failure", "message": error.message, "code": error.status}
            return self._send(error.status, {**status, "details": error.details})

    def _send(self, status: int, body: dict[str, Any] | None) -> None:
        text = b"404 page not found\n" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if body is None else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *given: Any) -> None: ...


@contextmanager
def serving(world: World) -> Iterator[str]:
    """The API server's URL."""
    handler = type("Bound", (Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
