"""An API server on loopback that has what it is told: objects by path, kinds by group, rights that it denies."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "the-token"
REVIEWS = "/apis/authorization.k8s.io/v1/"
PLURALS = {"NetworkPolicy": "networkpolicies", "Gateway": "gateways"}


@dataclass
class World:
    """What the server knows, and what a test makes go wrong."""

    version: str = "v1.34.11"
    objects: dict[str, Any] = field(default_factory=dict)
    """By path; where a list is asked for, the list."""
    kinds: dict[str, set[str]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    """Rights that nobody has: ``patch jobs``; with an account's name before it those that this account has not."""
    forbidden: set[str] = field(default_factory=set)
    """Ends of paths that may not be read."""
    broken: dict[str, int] = field(default_factory=dict)
    """Statuses by the ends of paths."""
    calls: list[tuple[str, str]] = field(default_factory=list)

    def put(self, plural: str, name: str, namespace: str = "", version: str = "v1", **content: Any) -> None:
        self.objects[path(plural, name, namespace, version)] = {"metadata": {"name": name}, **content}

    def answer(self, where: str) -> tuple[int, Any]:
        for end, status in self.broken.items():
            if where.endswith(end):
                return status, {"message": "broken"}
        if any(where.endswith(end) for end in self.forbidden):
            return 403, {"message": f"cannot get {where}"}
        if where == "/version":
            return 200, {"gitVersion": self.version}
        group = where.removeprefix("/apis/").removeprefix("/api/")
        if group in self.kinds:
            names = [
                {"kind": kind, "name": PLURALS.get(kind, f"{kind.lower()}s")} for kind in sorted(self.kinds[group])
            ]
            return 200, {"resources": [*names, *({**one, "name": f"{one['name']}/status"} for one in names)]}
        return (200, self.objects[where]) if where in self.objects else (404, {"message": "not found"})

    def review(self, where: str, spec: dict[str, Any]) -> tuple[int, Any]:
        if where.rsplit("/", 1)[-1] in self.forbidden:
            return 403, {"message": "cannot create it"}
        asked = spec["resourceAttributes"]
        resource = "/".join(part for part in (asked["resource"], asked["subresource"]) if part)
        right = " ".join(part for part in (asked["verb"], resource, asked["name"]) if part)
        account = spec.get("user", "").rpartition(":")[2]
        return 201, {"status": {"allowed": not self.denied & {right, f"{account} {right}"}}}


def path(plural: str, name: str, namespace: str = "", version: str = "v1") -> str:
    root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    return f"{root}/{f'namespaces/{namespace}/' if namespace else ''}{plural}/{name}"


class Handler(BaseHTTPRequestHandler):
    world: World
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer in two packets waits 40 ms for the first one to be acknowledged

    def do_GET(self) -> None:
        self._send(*self.world.answer(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.startswith(REVIEWS):
            return self._send(405, {"message": "this server takes questions only"})
        return self._send(*self.world.review(self.path, body["spec"]))

    def do_PUT(self) -> None:
        self._send(405, {"message": "this server takes questions only"})

    do_PATCH = do_DELETE = do_PUT

    def _send(self, status: int, body: Any) -> None:
        self.world.calls.append((self.command, self.path))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            status, body = 401, {"kind": "Status", "message": "Unauthorized", "code": 401}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *given: Any) -> None: ...


@contextmanager
def serving(world: World) -> Iterator[str]:
    """The server's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"world": world}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def kubeconfig(url: str, token: str = TOKEN) -> dict[str, Any]:
    """A kubeconfig that leads there, with the contexts `here` and `nowhere`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [
            {"name": "here", "cluster": {"server": url}},
            {"name": "nowhere", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "here", "user": "me"}},
            {"name": "nowhere", "context": {"cluster": "nowhere", "user": "me"}},
        ],
    }
