"""A stand-in for GitHub's API: the requests of the automation, with the shapes that GitHub answers in."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = "team/graphmill"
TOKEN = "a-token"


class Server(ThreadingHTTPServer):
    """One repository: its branches, files, pull requests, comments, and the events that were sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.branches = {"main": "1" * 40}
        self.files: dict[tuple[str, str], bytes] = {}
        self.pulls: list[dict[str, Any]] = []
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self.faults: list[int] = []
        self.calls: list[str] = []

    def pull(self, number: int, branch: str, sha: str, repository: str | None = REPOSITORY) -> None:
        """A pull request from a branch of this or another repository; None: the fork is deleted."""
        repo = None if repository is None else {"full_name": repository}
        owner = (repository or "ghost/x").split("/")[0]
        head = {"ref": branch, "sha": sha, "label": f"{owner}:{branch}", "repo": repo}
        self.pulls.append({"number": number, "state": "open", "head": head})


class Handler(BaseHTTPRequestHandler):
    """The requests."""

    server: Server

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        self.server.calls.append(f"{self.command} {self.path}")
        if self.server.faults and (status := self.server.faults.pop(0)):
            return self._answer(status, {"message": "a fault"})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._answer(401, {"message": "Bad credentials"})
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        path = unquote(split.path).removeprefix(f"/repos/{REPOSITORY}")
        self._answer(*answer(self.server, self.command, path, query, body))

    do_GET = do_POST = do_PATCH = do_PUT = _handle

    def _answer(self, status: int, content: Any) -> None:
        text = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def answer(server: Server, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
    """What GitHub would answer."""
    page = slice((int(query.get("page", 1)) - 1) * 100, int(query.get("page", 1)) * 100)
    if path == "":
        return 200, {"default_branch": "main"}
    if path == "/dispatches":
        server.events.append(body)
        return 204, None
    if path == "/pulls" and method == "GET":
        return 200, [pull for pull in server.pulls if pull["head"]["label"] == query["head"]][page]
    if path == "/pulls":
        server.pull(len(server.pulls) + 1, body["head"], server.branches[body["head"]])
        server.pulls[-1] |= body | {"head": server.pulls[-1]["head"]}
        return 201, server.pulls[-1]
    if found := re.fullmatch(r"/pulls/(\d+)", path):
        pull = next(pull for pull in server.pulls if pull["number"] == int(found[1]))
        pull |= body
        return 200, pull
    if found := re.fullmatch(r"/issues/(\d+)/comments", path):
        comments = server.comments.setdefault(int(found[1]), [])
        if method == "POST":
            comments.append({"id": 1000 + len(comments), "user": {"type": "Bot"}, **body})
        return (201, comments[-1]) if method == "POST" else (200, comments[page])
    if found := re.fullmatch(r"/issues/comments/(\d+)", path):
        comment = next(one for all_ in server.comments.values() for one in all_ if one["id"] == int(found[1]))
        comment |= body
        return 200, comment
    return git(server, method, path, query, body)


def git(server: Server, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
    """References and files."""
    if found := re.fullmatch(r"/git/refs?/heads/(.+)", path):
        if found[1] not in server.branches:
            return (404 if method == "GET" else 422), {"message": "Reference does not exist"}
        if method == "PATCH":
            server.branches[found[1]] = body["sha"]
            for (branch, name), content in list(server.files.items()):
                if branch == "main":
                    server.files[found[1], name] = content
        return 200, {"object": {"sha": server.branches[found[1]]}}
    if path == "/git/refs":
        server.branches[body["ref"].removeprefix("refs/heads/")] = body["sha"]
        return 201, {}
    name = path.removeprefix("/contents/")
    if method == "GET":
        content = server.files.get((query["ref"], name))
        return (404, {"message": "Not Found"}) if content is None else (200, _file(content))
    before = server.files.get((body["branch"], name), server.files.get(("main", name)))
    if before is not None and body.get("sha") != _file(before)["sha"]:
        return 409, {"message": f"{name} does not match {body.get('sha')}"}
    server.files[body["branch"], name] = base64.b64decode(body["content"])
    server.branches[body["branch"]] = "2" * 40
    return 200, {}


def _file(content: bytes) -> dict[str, str]:
    return {"sha": hashlib.sha1(content).hexdigest(), "content": base64.encodebytes(content).decode()}


@contextmanager
def serving() -> Iterator[Server]:
    """A server, for a while."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
