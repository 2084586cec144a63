"""An API server on loopback with TrainJobs, the pods of Kubeflow Trainer, and their logs."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

NAMESPACE = "fraud"
JOBS = re.compile(rf"/apis/trainer\.kubeflow\.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs(?:/(?P<name>[^/]+))?$")
PODS = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/pods(?:/(?P<name>[^/]+)/log)?$")
FIELDS = {
    "spec": {"runtimeRef", "trainer", "runtimePatches", "activeDeadlineSeconds"},
    "trainer": {"image", "command", "args", "env", "numNodes", "resourcesPerNode", "numProcPerNode"},
}
"""Those of version 2.2 that are used here; a server that is told to be strict refuses any other."""


class Refused(Exception):
    """An answer that is no 2xx."""

    def __init__(self, status: int, message: str | None, **details: str) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, details


def pod(index: int, phase: str = "Running", restarts: int = 0, **state: Any) -> dict[str, Any]:
    """A pod of node ``index``; ``ended`` and ``before`` are exit statuses, ``at`` the second, ``waiting`` a reason."""
    at = f"2026-01-01T00:00:{state.get('at', 0):02}Z"
    ended, before = (
        {"terminated": {"exitCode": state[key], "reason": "Error", "finishedAt": at}} if key in state else {}
        for key in ("ended", "before")
    )
    now = {"waiting": {"reason": state["waiting"], "message": "no such image"}} if "waiting" in state else ended
    status = {
        "name": "node", "image": "i", "imageID": "i", "ready": False, "restartCount": restarts,
        "state": now, "lastState": before,
    }  # fmt: skip
    return {
        "metadata": {
            "name": f"pod-{index}", "uid": f"uid-{index}",
            "labels": {"batch.kubernetes.io/job-completion-index": str(index)},
        },
        "spec": {"containers": [{"name": "node"}]},
        "status": {"phase": phase, "containerStatuses": [status]},
    }  # fmt: skip


@dataclass
class Step:
    """What one look at the job finds."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    condition: str = ""


@dataclass
class World:
    """The objects, what happens to them, and what goes wrong."""

    steps: list[Step] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """By pod, and by ``pod/previous``."""
    job: dict[str, Any] | None = None
    others: set[str] = field(default_factory=set)
    """Names of jobs that are of no interest but for being there."""
    created: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    done: Callable[[dict[str, Any]], None] = lambda job: None
    """What the nodes do before the job is complete."""
    refuse: Callable[[str, int], Refused | None] = lambda verb, count: None
    counts: dict[str, int] = field(default_factory=dict)
    selectors: list[str] = field(default_factory=list)

    def create(self, job: dict[str, Any], strict: bool) -> dict[str, Any]:
        name = job["metadata"]["name"]
        if self.job is not None:
            raise Refused(409, f'trainjobs.trainer.kubeflow.org "{name}" already exists', name=name)
        unknown = [key for key in job["spec"] if key not in FIELDS["spec"]]
        unknown += [key for key in job["spec"]["trainer"] if key not in FIELDS["trainer"]]
        if unknown and strict:
            raise Refused(400, f'strict decoding error: unknown field "spec.{unknown[0]}"')
        self.job = job
        self.created.append(job)
        return job

    def get(self, name: str) -> dict[str, Any]:
        if name in self.others:
            return {"metadata": {"name": name}}
        if self.job is None or self.job["metadata"]["name"] != name:
            raise Refused(404, f'trainjobs.trainer.kubeflow.org "{name}" not found', name=name)
        if len(self.steps) > 1 and self.counts["get"] > 1:
            self.steps.pop(0)
        kind = self.steps[0].condition
        if kind == "Complete":
            self.done(self.job)
        conditions = [{"type": kind, "status": "True", "reason": f"Jobs{kind}", "message": "told"}] if kind else []
        return {**self.job, "status": {"conditions": conditions}}

    def delete(self, name: str) -> dict[str, Any]:
        if self.job is None:
            raise Refused(404, f'"{name}" not found', name=name)
        self.job = None
        self.deleted.append(name)
        return {}


class Handler(BaseHTTPRequestHandler):
    world: World
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if found := JOBS.match(url.path):
            self._answer("get", lambda: self.world.get(found["name"]))
        elif (found := PODS.match(url.path)) and found["name"]:
            self._answer("log", lambda: self._log(found["name"], parse_qs(url.query)))
        elif found:
            self.world.selectors += parse_qs(url.query)["labelSelector"]
            self._answer("list", lambda: {"kind": "PodList", "items": self.world.steps[0].pods})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        strict = parse_qs(urlsplit(self.path).query).get("fieldValidation") == ["Strict"]
        self._answer("create", lambda: self.world.create(body, strict))

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer("delete", lambda: self.world.delete(urlsplit(self.path).path.rsplit("/", 1)[1]))

    def _log(self, name: str, query: dict[str, list[str]]) -> str:
        lines = self.world.logs[name + "/previous" * (query.get("previous") == ["True"])].splitlines(keepends=True)
        return "".join(lines[-int(query["tailLines"][0]) :])

    def _answer(self, verb: str, work: Callable[[], Any]) -> None:
        self.world.counts[verb] = self.world.counts.get(verb, 0) + 1
        try:
            if refused := self.world.refuse(verb, self.world.counts[verb]):
                raise refused
            self._send(200, work())
        except Refused as error:
            body = {"kind": "Status", "message": error.message, "code": error.status, "details": error.details}
            self._send(error.status, "404 page not found\n" if error.message is None else body)

    def _send(self, status: int, body: Any) -> None:
        text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *given: Any) -> None: ...


@contextmanager
def serving(world: World, kubeconfig: Path) -> Iterator[None]:
    """The server, and a kubeconfig that names it."""
    handler = type("Bound", (Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": {}}],
    }  # fmt: skip
    kubeconfig.write_text(yaml.safe_dump(content))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
