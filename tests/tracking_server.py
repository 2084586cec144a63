"""A stand-in for W&B's server: the requests by which a run is uploaded and its inputs are linked.

Names and shapes are those of the requests of wandb 0.31. It keeps what arrives: runs with their config and
summary, the lines of the file stream, artifacts with their files, and which run used which artifact.
"""

import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789" * 4
ENTITY = "team"
MOMENT = "2026-01-01T00:00:00Z"


class Server(ThreadingHTTPServer):
    """What arrived. ``fault`` is asked about every operation: ``""``, a status, ``reset`` or ``hang``."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.fault = lambda operation: ""
        self.calls = []
        self.runs, self.artifacts, self.files, self.used = {}, {}, {}, []

    def run(self, name):
        return self.runs.setdefault(name, {"config": {}, "summary": {}, "history": {}, "exit": None, "files": []})

    def named(self, name, alias):
        """The committed artifact of a collection with an alias; the newest has ``latest``."""
        found = [a for a in self.artifacts.values() if a["name"] == name and a["committed"] and alias in a["aliases"]]
        return found[-1] if found else None

    def handle_error(self, request, client_address):
        """A client that was stopped breaks its connections."""


@contextmanager
def running() -> Iterator[Server]:
    """A server on loopback, in a thread, until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self._body()
        if self.path == "/graphql":
            request = json.loads(body)
            operation = re.findall(r"(?:query|mutation) (\w+)", request["query"])[0]
            self._answer(operation, lambda: graphql(self.server, operation, request.get("variables") or {}))
        else:
            self._answer("FileStream", lambda: stream(self.server, self.path, json.loads(body)))

    def do_PUT(self):
        body = self._body()
        self._answer("Upload", lambda: self.server.files.__setitem__(self.path, body) or {})

    def _body(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

    def _answer(self, operation, work):
        with self.server.lock:
            self.server.calls.append(operation)
            fault = self.server.fault(operation)
        if fault == "hang":
            self.server.closing.wait()
        if fault in ("hang", "reset"):
            self.close_connection = True
            self.connection.close()
        elif fault:
            self._send(int(fault), {"errors": [{"message": f"{operation} fails"}]})
        elif operation != "Upload" and not self._authorised():
            self._send(401, {"errors": [{"message": "user is not logged in"}]})
        else:
            with self.server.lock:
                self._send(200, work())

    def _authorised(self):
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(value).decode().split(":")[1] == KEY

    def _send(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def stream(server, path, request):
    """Lines of a run's files; they come with their place, so that what comes twice is kept once."""
    run = server.run(path.split("/")[-2])
    for name, chunk in request.get("files", {}).items():
        if name == "wandb-history.jsonl":
            run["history"] |= {chunk["offset"] + place: json.loads(line) for place, line in enumerate(chunk["content"])}
        elif name == "wandb-summary.json":
            run["summary"] = json.loads(chunk["content"][-1])
    run["files"] += request.get("uploaded", [])
    if request.get("complete"):
        run["exit"] = request["exitcode"]
    return {}


def graphql(server, operation, given):
    if operation not in OPERATIONS:
        print("UNKNOWN", operation, json.dumps(given)[:2000], flush=True)
        return {"errors": [{"message": f"the stand-in has no {operation}"}]}
    return {"data": OPERATIONS[operation](server, given)}


def viewer(server, given):
    person = {"id": "U", "name": "Someone", "username": "someone", "entity": ENTITY, "email": None, "flags": "{}"}
    more = {"admin": False, "deletedAt": None, "apiKeys": {"edges": []}, "teams": {"edges": []}}
    return {"viewer": person | more}


def upsert_bucket(server, given):
    run = server.run(given["name"])
    run |= {key: given[key] for key in ("project", "groupName", "jobType", "displayName") if given.get(key)}
    run["config"] |= json.loads(given["config"] or "{}")
    bucket = {"id": given["name"], "name": given["name"], "displayName": given["name"], "description": None}
    more = {"config": "{}", "sweepName": None, "historyLineCount": 0, "project": project(given["project"])}
    return {"upsertBucket": {"bucket": bucket | more, "inserted": True}}


def create_run_files(server, given):
    names = given["files"]
    files = [{"name": n, "uploadUrl": f"{server.url}/storage/{given['run']}/{n}"} for n in names]
    return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}


def create_artifact(server, given):
    one = given["input"]
    name = one["artifactCollectionName"] or one["artifactCollectionNames"][0]
    same = [
        a for a in server.artifacts.values() if (a["name"], a["digest"]) == (name, one["digest"]) and a["committed"]
    ]
    identity = same[0]["id"] if same else base64.b64encode(f"Artifact:{len(server.artifacts)}".encode()).decode()
    artifact = {"id": identity, "name": name, "type": one["artifactTypeName"], "digest": one["digest"], "files": {}}
    artifact |= {"metadata": json.loads(one["metadata"] or "{}"), "run": one["runName"], "committed": False}
    artifact |= {"aliases": [item["alias"] for item in one["aliases"]], "project": one["projectName"]}
    artifact = server.artifacts.setdefault(identity, artifact)
    state = "COMMITTED" if artifact["committed"] else "PENDING"
    return {
        "createArtifact": {"artifact": {"id": identity, "state": state, "artifactSequence": {"latestArtifact": None}}}
    }


def create_artifact_manifest(server, given):
    path = f"/storage/{given['artifactID']}/{given['name']}"
    file = {"id": path, "uploadUrl": server.url + path, "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": given["artifactID"], "file": file}}}


def create_artifact_files(server, given):
    nodes = []
    for file in given["input"]["artifactFiles"]:
        path = f"/storage/{file['artifactID']}/files/{file['name']}"
        server.artifacts[file["artifactID"]]["files"][file["name"]] = path
        place = {"storagePath": path, "uploadUrl": server.url + path, "uploadHeaders": [], "uploadMultipartUrls": None}
        nodes.append({"node": place | {"artifact": {"id": file["artifactID"]}}})
    return {"createArtifactFiles": {"files": {"edges": nodes}}}


def commit_artifact(server, given):
    server.artifacts[given["artifactID"]]["committed"] = True
    return {"commitArtifact": {"artifact": {"digest": server.artifacts[given["artifactID"]]["digest"]}}}


def artifact_membership_by_name(server, given):
    name, alias = given["name"].split(":")
    found = server.named(name, alias)
    if found is None:
        return {"project": {"artifactCollectionMembership": None}}
    place = {"__typename": "ArtifactSequence", "name": name, "project": project(given["project"])}
    artifact = {"__typename": "Artifact", "id": found["id"], "digest": found["digest"], "state": "COMMITTED"}
    artifact |= {"artifactSequence": place, "versionIndex": 0, "artifactType": {"name": found["type"]}, "tags": []}
    artifact |= dict.fromkeys(("description", "metadata", "historyStep", "commitHash", "updatedAt"))
    artifact |= {"ttlDurationSeconds": -2, "ttlIsInherited": True, "size": 0, "fileCount": 0, "createdAt": MOMENT}
    membership = {"__typename": "ArtifactCollectionMembership", "id": "M", "versionIndex": 0, "createdAt": MOMENT}
    membership |= {"aliases": [], "artifactCollection": place, "artifact": artifact}
    return {"project": {"artifactCollectionMembership": membership}}


def run(server, given):
    found = server.runs.get(given["name"])
    if found is None:
        return {"project": {"run": None}}
    one = {
        "id": given["name"],
        "name": given["name"],
        "displayName": found["displayName"],
        "state": "finished" if found["exit"] == 0 else "running",
    }
    one |= {"config": json.dumps(found["config"]), "summaryMetrics": json.dumps(found["summary"]), "tags": []}
    one |= {
        "group": found["groupName"],
        "jobType": found["jobType"],
        "projectId": "1",
        "readOnly": False,
        "user": {"name": "Someone", "username": "someone"},
    }
    one |= {"createdAt": MOMENT, "historyLineCount": len(found["history"]), "historyKeys": None}
    one |= dict.fromkeys(("sweepName", "commit", "heartbeatAt", "description", "notes", "systemMetrics"))
    return {"project": {"run": one}}


def use_artifact(server, given):
    server.used.append((given["runName"], server.artifacts[given["artifactID"]]["name"]))
    return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}


def project(name):
    return {"id": "P", "internalId": "P", "name": name, "entity": {"name": ENTITY}}


OPERATIONS = {
    "Viewer": viewer,
    "GetViewer": viewer,
    "GetDefaultEntity": viewer,
    "ServerFeaturesQuery": lambda server, given: {"serverInfo": {"features": []}},
    "UpsertBucket": upsert_bucket,
    "CreateRunFiles": create_run_files,
    "CreateArtifact": create_artifact,
    "CreateArtifactManifest": create_artifact_manifest,
    "CreateArtifactFiles": create_artifact_files,
    "CommitArtifact": commit_artifact,
    "Run": run,
    "UseArtifact": use_artifact,
    "ArtifactMembershipByName": artifact_membership_by_name,
}
