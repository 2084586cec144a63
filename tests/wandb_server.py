"""A stand-in for W&B's server: the GraphQL operations and file transfers that the registry's home makes.

Names and shapes are those of the requests of wandb 0.31 (the Python part reads and moves aliases, the Go part
uploads). It keeps what such a server promises: a version appears only when it is committed, its number is given
then and never again, the same manifest digest in a collection is the same version, and an alias names one
version of its collection. It is no server: there is one user and no permission beyond the key.
"""

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "0123456789" * 4
"""The one key that is accepted."""
ENTITY = "team"
"""The one team, of which ``someone`` is a member."""

WRITES = (
    *("UpsertBucket", "CreateArtifact", "CreateArtifactManifest", "CreateArtifactFiles", "PUT", "CommitArtifact"),
    *("AddAliases", "UpdateArtifact"),
)
"""The operations that change what the registry reads."""


@dataclass(frozen=True)
class Fault:
    """What befalls an operation: an HTTP ``status``, or a connection that breaks (-1); 0 is none.

    With ``done`` it is carried out first, and only the answer is lost.
    """

    status: int = 0
    done: bool = False


class Server(ThreadingHTTPServer):
    """Everything that was stored, by artifact id, and the operations that came, by name."""

    daemon_threads = True
    STATE = ("projects", "artifacts", "numbers", "aliases", "files")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.RLock()
        self.fault: Callable[[str, int], Fault] = lambda operation, count: Fault()
        self.calls: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.projects: set[str] = set()
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.numbers: dict[str, int] = {}
        self.aliases: dict[str, dict[str, str]] = {}
        self.files: dict[str, bytes] = {}

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The ``data`` of one GraphQL operation."""
        with self.lock:
            return OPERATIONS[operation](self, variables)

    def judge(self, operation: str) -> Fault:
        """Count the operation and say what befalls it."""
        with self.lock:
            self.calls.append(operation)
            return self.fault(operation, self.calls.count(operation))

    def name(self, artifact: dict[str, Any], alias: str) -> None:
        """Let an alias name this version, and no other of its collection."""
        self.aliases.setdefault(artifact["collection"], {})[alias] = artifact["id"]

    def collection(self, name: str, state: str = "COMMITTED") -> list[dict[str, Any]]:
        """The artifacts of a collection in the order of their numbers."""
        found = [item for item in self.artifacts.values() if item["collection"] == name and item["state"] == state]
        return sorted(found, key=lambda item: item["index"])


@contextmanager
def running() -> Iterator[Server]:
    """A server on loopback, in a thread, until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """``/graphql``, presigned files under ``/storage/``, and the stream of a run, which is not kept."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/graphql":
            self._send(200, b"{}")
            return
        request = json.loads(body)
        operation = re.findall(r"(?:query|mutation) (\w+)", request["query"])[0]
        if not self._authorised():
            self._send(401, json.dumps({"errors": [{"message": TEXTS[401]}]}).encode())
            return
        self._with_fault(operation, lambda: self._graphql(operation, request.get("variables") or {}))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._with_fault("PUT", lambda: self._keep(body))

    def do_GET(self) -> None:
        self._with_fault(
            "GET", lambda: (200 if self.path in self.server.files else 404, self.server.files.get(self.path, b""))
        )

    def _graphql(self, operation: str, variables: dict[str, Any]) -> tuple[int, bytes]:
        self.server.requests.append({"operation": operation, "variables": variables})
        if operation not in OPERATIONS:
            return 400, json.dumps({"errors": [{"message": f"the stand-in has no {operation}"}]}).encode()
        try:
            return 200, json.dumps({"data": self.server.answer(operation, variables)}).encode()
        except LookupError as error:
            return 404, json.dumps({"errors": [{"message": str(error.args[0])}], "data": None}).encode()

    def _keep(self, body: bytes) -> tuple[int, bytes]:
        self.server.files[self.path] = body
        return 200, b""

    def _with_fault(self, operation: str, work: Callable[[], tuple[int, bytes]]) -> None:
        fault = self.server.judge(operation)
        answer = work() if fault.done or not fault.status else None
        if fault.status == -1:
            self.close_connection = True
            self.connection.close()
        elif fault.status:
            self._send(fault.status, json.dumps({"errors": [{"message": TEXTS[fault.status]}]}).encode())
        elif answer:
            self._send(*answer)

    def _authorised(self) -> bool:
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(value).decode().split(":")[1] == KEY

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


TEXTS = {401: "user is not logged in", 403: "permission denied", 404: "entity not found", 429: "slow", 500: "broken"}
OPERATIONS: dict[str, Callable[[Server, dict[str, Any]], dict[str, Any]]] = {}


def operation(work: Callable[[Server, dict[str, Any]], dict[str, Any]]) -> Callable[..., Any]:
    """Register a function under its name in the SDK's spelling: ``create_artifact`` is ``CreateArtifact``."""
    OPERATIONS["".join(word.capitalize() for word in work.__name__.split("_"))] = work
    return work


@operation
def viewer(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    teams = {"edges": [{"node": {"name": ENTITY}}]}
    person = {"id": "U", "name": "Someone", "username": "someone", "entity": "someone", "email": None, "flags": "{}"}
    return {"viewer": person | {"admin": False, "deletedAt": None, "apiKeys": {"edges": []}, "teams": teams}}


OPERATIONS["GetViewer"] = viewer


@operation
def server_features_query(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    return {"serverInfo": {"features": []}}


@operation
def upsert_bucket(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    if given["entity"] != ENTITY:
        raise LookupError(f"entity {given['entity']} not found during upsertBucket")
    server.projects.add(given["project"])
    run = {"id": given["name"], "name": given["name"], "displayName": given["name"], "description": None}
    more = {"config": "{}", "sweepName": None, "historyLineCount": 0, "project": _project(given["project"])}
    return {"upsertBucket": {"bucket": run | more, "inserted": True}}


@operation
def create_artifact(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    one = given["input"]
    name = one["artifactCollectionName"]
    same = [item for item in server.collection(name) if item["digest"] == one["digest"]]
    artifact = same[0] if same else _draft(server, name, one)
    latest = server.collection(name)[-1:]
    sequence = {"latestArtifact": {"id": latest[0]["id"]} if latest else None}
    return {"createArtifact": {"artifact": {**artifact, "artifactSequence": sequence}}}


@operation
def create_artifact_manifest(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    path = f"/storage/{given['artifactID']}/{given['name']}"
    server.artifacts[given["artifactID"]]["manifest"] = path
    file = {"id": path, "uploadUrl": server.url + path, "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": given["artifactID"], "file": file}}}


@operation
def update_artifact_manifest(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    path = server.artifacts[given["artifactManifestID"]]["manifest"]
    file = {"id": path, "uploadUrl": server.url + path, "uploadHeaders": []}
    return {"updateArtifactManifest": {"artifactManifest": {"id": given["artifactManifestID"], "file": file}}}


@operation
def create_artifact_files(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    nodes = []
    for file in given["input"]["artifactFiles"]:
        path = f"/storage/{file['artifactID']}/files/{file['name']}"
        server.artifacts[file["artifactID"]]["files"][file["name"]] = path
        place = {"storagePath": path, "uploadUrl": server.url + path, "uploadHeaders": [], "uploadMultipartUrls": None}
        nodes.append({"node": place | {"artifact": {"id": file["artifactID"]}}})
    return {"createArtifactFiles": {"files": {"edges": nodes}}}


@operation
def commit_artifact(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    artifact = server.artifacts[given["artifactID"]]
    if artifact["state"] != "COMMITTED":
        artifact["index"] = server.numbers.setdefault(artifact["collection"], 0)
        server.numbers[artifact["collection"]] += 1
        artifact["state"] = "COMMITTED"
        for alias in artifact["wanted"]:
            server.name(artifact, alias)
    return {"commitArtifact": {"artifact": {"digest": artifact["digest"]}}}


@operation
def add_aliases(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    for alias in given["input"]["aliases"]:
        server.name(server.artifacts[given["input"]["artifactID"]], alias["alias"])
    return {"result": {"success": True}}


@operation
def update_artifact(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    artifact = server.artifacts[given["input"]["artifactID"]]
    artifact["metadata"] = given["input"]["metadata"]
    return {"result": {"artifact": _shown(server, artifact)}}


OPERATIONS["ArtifactByID"] = lambda server, given: {"artifact": _shown(server, server.artifacts[given["id"]])}


@operation
def artifact_type(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    """The type of a collection, asked for before anything is uploaded to it."""
    there = server.collection(given["name"].partition(":")[0])
    kind = {"artifact": {"artifactType": {"name": there[0]["type"]}} if there else None}
    return {"project": kind}


@operation
def project_artifacts(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    if given["entity"] != ENTITY or given["project"] not in server.projects:
        return {"project": None}
    every = server.collection(given["collection"])[::-1]  # the newest first, as W&B lists them
    if not every:
        return {"project": {"artifactType": None}}
    start = int(given.get("cursor") or 0)
    page = every[start : start + given["perPage"]]
    end = start + len(page)
    about = {"endCursor": str(end), "hasNextPage": end < len(every), "__typename": "PageInfo"}
    edges = [{"version": f"v{item['index']}", "node": _shown(server, item)} for item in page]
    found = {"totalCount": len(every), "pageInfo": about, "edges": edges}
    collection = {"__typename": "ArtifactSequence", "artifacts": found}
    return {"project": {"artifactType": {"artifactCollection": collection}}}


@operation
def get_artifact_membership_file_urls(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    index = int(given["alias"][1:])
    artifact = next(item for item in server.collection(given["collection"]) if item["index"] == index)
    files = [
        {"__typename": "File", "name": name, "directUrl": server.url + path} for name, path in artifact["files"].items()
    ]
    about = {"endCursor": None, "hasNextPage": False, "__typename": "PageInfo"}
    membership = {"files": {"pageInfo": about, "edges": [{"node": file} for file in files]}}
    return {"project": {"artifactCollection": {"__typename": "ArtifactSequence", "artifactMembership": membership}}}


@operation
def fetch_artifact_manifest(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    url = server.url + server.artifacts[given["id"]]["manifest"]
    return {"artifact": {"currentManifest": {"file": {"directUrl": url}}}}


def _draft(server: Server, name: str, one: dict[str, Any]) -> dict[str, Any]:
    """A version that nobody sees until it is committed."""
    identity = base64.b64encode(f"Artifact:{len(server.artifacts)}".encode()).decode()
    artifact = {"id": identity, "collection": name, "state": "PENDING", "digest": one["digest"], "files": {}}
    artifact |= {"type": one["artifactTypeName"], "project": one["projectName"], "metadata": one.get("metadata")}
    artifact |= {"description": one.get("description"), "wanted": [item["alias"] for item in one["aliases"]]}
    server.artifacts[identity] = artifact
    return artifact


def _project(name: str) -> dict[str, Any]:
    return {"id": "P", "internalId": "P", "name": name, "entity": {"name": ENTITY}}


def _shown(server: Server, artifact: dict[str, Any]) -> dict[str, Any]:
    """The fields of the SDK's ``ArtifactFragment``."""
    about = {"__typename": "ArtifactSequence", "name": artifact["collection"], "project": _project(artifact["project"])}
    names = [
        alias for alias, owner in server.aliases.get(artifact["collection"], {}).items() if owner == artifact["id"]
    ]
    return {
        "__typename": "Artifact",
        **{key: artifact[key] for key in ("id", "description", "metadata", "state", "digest")},
        "artifactSequence": about,
        "versionIndex": artifact.get("index"),
        "artifactType": {"name": artifact["type"]},
        "aliases": [{"__typename": "ArtifactAlias", "id": n, "alias": n, "artifactCollection": about} for n in names],
        "tags": [],
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "historyStep": None,
        "size": 0,
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": None,
        "fileCount": len(artifact["files"]),
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": None,
    }


@contextmanager
def at_work(folder: Path) -> Iterator[Server]:
    """The SDK talks to a running stand-in, keeps its own files in ``folder``, and is silent."""
    names = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("DATA", "CACHE", "CONFIG")}
    quiet = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_CONSOLE": "off"}
    with running() as server, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name, value in {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, **names, **quiet}.items():
            patch.setenv(name, value)
        import wandb

        wandb.teardown()
        try:
            yield server
        finally:
            wandb.teardown()  # ends the process that uploads
            os.environ.pop("WANDB_SERVICE", None)
