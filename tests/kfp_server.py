"""A stand-in for Kubeflow Pipelines' API server: what the client of `pipelines.cluster` asks of one.

Paths and shapes are those of kfp-server-api 2.17 (``V2beta1…``); so is what such a server refuses: a namespace where
there is one user and none where there are several, a second pipeline or version of a name, a schedule of five fields.
A run plays a script, one step further each time that it is looked at, and its tasks are told as Argo's nodes, flat:
a driver, a group and its executor. It is no server: nothing runs.
"""

import json
import re
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Thing = dict[str, Any]
EPOCH = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
YEAR_ONE = "0001-01-01T00:00:00Z"
ENDS = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


@dataclass(frozen=True)
class Fault:
    """What befalls a request: an HTTP status, a silence in seconds, or nothing; with `done` it is carried out first."""

    status: int = 0
    seconds: float = 0.0
    done: bool = False


@dataclass
class Step:
    """What a run shows at a look: its state, the states of its tasks by key, and what went wrong.

    With `cached` tasks their executor was skipped; with `driver` tasks only the driver began.
    """

    state: str = "RUNNING"
    tasks: dict[str, str] = field(default_factory=dict)
    error: str = ""
    cached: tuple[str, ...] = ()
    driver: tuple[str, ...] = ()


class Refused(Exception):
    """An answer other than 2xx: status, gRPC code and message."""


class Server(ThreadingHTTPServer):
    """Everything that was stored, and the requests that came, by name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.RLock()
        self.fault: Callable[[str, int], Fault] = lambda name, count: Fault()
        self.token: str | None = None
        self.multi_user = False
        self.calls: list[str] = []
        self.tokens: list[str | None] = []
        self.pipelines: list[Thing] = []
        self.versions: list[Thing] = []
        self.experiments: list[Thing] = []
        self.runs: list[Thing] = []
        self.recurring: list[Thing] = []
        self.scripts: list[list[Step]] = []
        self.logs: dict[str, str] = {}
        self.pages: dict[str, str] = {}
        self.page = 0

    def play(self, *steps: Step) -> None:
        """The script of the next run; the last step stays."""
        self.scripts.append(list(steps))

    def count(self, name: str) -> int:
        """How often a request of a name came."""
        return self.calls.count(name)


class Handler(BaseHTTPRequestHandler):
    """Routes, refuses and answers."""

    server: Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _serve(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if found := re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", address.path):
            log = self.server.logs.get(found[2])
            self._answer(200, log or "", "text/plain") if log else self._fail(500, 13, f"pod {found[2]} not found")
            return
        if address.path == "/k8s/pod/logs" and (log := self.server.pages.get(query["podname"])):
            self._answer(200, log, "text/html")  # as Express calls text
            return
        for name, method, pattern, handle in ROUTES:
            match = re.fullmatch(f"/apis/v2beta1/{pattern}", address.path)
            if match and method == self.command:
                self._befall(name, lambda: handle(self.server, match.groups(), query, body))  # noqa: B023
                return
        self._answer(404, "404 page not found\n", "text/plain")

    def _befall(self, name: str, work: Callable[[], Thing]) -> None:
        with self.server.lock:
            self.server.calls.append(name)
            self.server.tokens.append(self.headers.get("authorization"))
            fault = self.server.fault(name, self.server.count(name))
        if self.server.token is not None and self.headers.get("authorization") != f"Bearer {self.server.token}":
            self._fail(401, 16, "Unauthenticated: the token is not valid")
            return
        if fault.done:
            work()
        time.sleep(fault.seconds)
        if fault.status:
            self._fail(fault.status, 13, "upstream connect error")
        elif not fault.done:
            try:
                with self.server.lock:
                    self._answer(200, json.dumps(work()))
            except Refused as refused:
                self._fail(*refused.args)

    def _fail(self, status: int, code: int, message: str) -> None:
        detail = {"@type": "type.googleapis.com/google.rpc.Status", "error_message": message}
        self._answer(status, json.dumps({"error": message, "code": code, "message": message, "details": [detail]}))

    def _answer(self, status: int, text: str, kind: str = "application/json") -> None:
        content = text.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever asked did not wait


def moment(seconds: float = 0) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def listed(server: Server, things: list[Thing], key: str, query: dict[str, str]) -> Thing:
    """A page of what the filter leaves, the newest first when asked so."""
    for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
        assert predicate["operation"] in ("EQUALS", 1)
        things = [thing for thing in things if thing[predicate["key"]] == predicate["stringValue"]]
    things = things[::-1] if query.get("sort_by") == "created_at desc" else list(things)
    size, start = server.page or int(query.get("page_size") or 10), int(query.get("page_token") or 0)
    following = str(start + size) if start + size < len(things) else ""
    found: Thing = {"total_size": len(things), "next_page_token": following}
    return found | {key: things[start : start + size]} if things[start : start + size] else found


def namespaced(server: Server, query: dict[str, str], what: str) -> None:
    if server.multi_user and not query.get("namespace"):
        raise Refused(400, 3, f"{what}: namespace cannot be empty")
    if not server.multi_user and query.get("namespace"):
        raise Refused(400, 3, f"In single-user mode, {what} cannot filter by namespace.")


def one(things: list[Thing], key: str, value: str, what: str) -> Thing:
    for thing in things:
        if thing[key] == value:
            return thing
    raise Refused(404, 5, f"{what} {value} not found.")


def healthz(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    return {"commit_sha": "4a3592cb2d", "tag_name": "2.17.0", "multi_user": server.multi_user}


def list_pipelines(server: Server, path: Any, query: dict[str, str], body: bytes) -> Thing:
    namespaced(server, query, "ListPipelines")
    return listed(server, server.pipelines, "pipelines", query)


def create_pipeline(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    given = json.loads(body)
    if any(item["display_name"] == given["display_name"] for item in server.pipelines):
        raise Refused(409, 6, f"The name {given['display_name']} already exist. Please specify a new name.")
    made = {**given, "pipeline_id": str(uuid.uuid4()), "created_at": moment()}
    server.pipelines.append(made)
    return made


def list_versions(server: Server, path: Any, query: dict[str, str], body: bytes) -> Thing:
    one(server.pipelines, "pipeline_id", path[0], "Pipeline")
    return listed(
        server, [item for item in server.versions if item["pipeline_id"] == path[0]], "pipeline_versions", query
    )


def get_version(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    return one(server.versions, "pipeline_version_id", path[1], "PipelineVersion")


def delete_version(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    server.versions.remove(one(server.versions, "pipeline_version_id", path[1], "PipelineVersion"))
    return {}


def upload_version(server: Server, path: Any, query: dict[str, str], body: bytes) -> Thing:
    text = re.search(rb'name="uploadfile".*?\r\n\r\n(.*)\r\n--', body, re.S)
    assert text, "the file is sent as a form"
    documents = list(yaml.safe_load_all(text[1]))
    if any(item["display_name"] == query["name"] for item in server.versions):
        raise Refused(409, 6, "Failed to create a pipeline version")
    spec = documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0], "platform_spec": documents[1]}
    made = {
        "pipeline_id": query["pipelineid"],
        "pipeline_version_id": str(uuid.uuid4()),
        "display_name": query["name"],
        "name": query["name"],
        "description": query.get("description", ""),
        "created_at": moment(),
        "pipeline_spec": spec,
    }
    server.versions.append(made)
    return made


def list_experiments(server: Server, path: Any, query: dict[str, str], body: bytes) -> Thing:
    namespaced(server, query, "ListExperiments")
    return listed(server, server.experiments, "experiments", query)


def create_experiment(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    made = {**json.loads(body), "experiment_id": str(uuid.uuid4()), "created_at": moment()}
    server.experiments.append(made)
    return made


def list_runs(server: Server, path: Any, query: dict[str, str], body: bytes) -> Thing:
    if query.get("experiment_id"):
        one(server.experiments, "experiment_id", query["experiment_id"], "Experiment")
    else:
        namespaced(server, query, "ListRuns")
    return listed(server, [shown(run) for run in server.runs], "runs", query)


def create_run(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    given = json.loads(body)
    one(server.experiments, "experiment_id", given["experiment_id"], "Experiment")
    one(server.versions, "pipeline_version_id", given["pipeline_version_reference"]["pipeline_version_id"], "Version")
    made = {"service_account": "pipeline-runner", **given}
    made |= {"run_id": str(uuid.uuid4()), "storage_state": "AVAILABLE", "created_at": moment(), "state": "PENDING"}
    made |= {"finished_at": "1970-01-01T00:00:00Z", "state_history": [], "looks": 0}
    made["script"] = server.scripts.pop(0) if server.scripts else [Step("SUCCEEDED")]
    server.runs.append(made)
    return shown(made)


def get_run(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    run = one(server.runs, "run_id", path[0], "Run")
    step = run["script"][min(run["looks"], len(run["script"]) - 1)]
    run["looks"] += 1
    if run["state"] not in ENDS:
        enter(run, "CANCELED" if run["state"] == "CANCELING" and len(run["script"]) == 1 else step.state)
    run["error"] = {"code": 13, "message": step.error} if step.error else None
    run["run_details"] = {"task_details": [node for key in step.tasks for node in nodes(run, key, step)]}
    return shown(run)


def terminate_run(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    enter(one(server.runs, "run_id", path[0], "Run"), "CANCELING")
    return {}


def enter(run: Thing, state: str) -> None:
    if run["state"] != state:
        run["state_history"].append({"update_time": moment(), "state": state})
    run["state"] = state
    if state in ENDS:
        run["finished_at"] = moment(60)


def shown(run: Thing) -> Thing:
    return {key: value for key, value in run.items() if key not in ("script", "looks") and value is not None}


def nodes(run: Thing, key: str, step: Step) -> list[Thing]:
    """What Argo makes of a task."""
    workflow, state = f"{run['run_id'][:8]}-run", step.tasks[key]
    order = list(step.tasks).index(key)

    def node(name: str, template: str, state: str, children: tuple[str, ...] = ()) -> Thing:
        number = zlib.crc32(f"{key}.{name}".encode())
        return {
            "run_id": run["run_id"],
            "task_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run['run_id']}.{key}.{name}")),
            "display_name": name,
            "pod_name": f"{workflow}-{template}-{number}",
            "create_time": moment(),
            "start_time": moment(10 * order),
            "end_time": moment(10 * order + 7) if state in ENDS else YEAR_ONE,
            "state": state,
            "child_tasks": [{"pod_name": child} for child in children],
        }

    if key in step.driver:
        return [node(f"{key}-driver", "system-container-driver", state)]
    executor = node("executor", "system-container-impl", "SKIPPED" if key in step.cached else state)
    inner = f"{workflow}-{zlib.crc32(f'{key}.executor'.encode())}"
    group = node(key, "system-container-executor", "RUNNING" if state == "PENDING" else state, (inner,))
    return [node(f"{key}-driver", "system-container-driver", "SUCCEEDED"), group, executor]


def pod(run_id: str, key: str) -> str:
    """The pod in which a task's code runs."""
    return f"{run_id[:8]}-run-system-container-impl-{zlib.crc32(f'{key}.executor'.encode())}"


def list_recurring(server: Server, path: Any, query: dict[str, str], body: bytes) -> Thing:
    namespaced(server, query, "ListRecurringRuns")
    return listed(server, server.recurring, "recurringRuns", query)


def create_recurring(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    given = json.loads(body)
    if not 1 <= int(given["max_concurrency"]) <= 10:
        raise Refused(400, 3, "Max concurrency of a recurring run must be at leas 1 and at most 10.")
    if len(given["trigger"]["cron_schedule"]["cron"].split()) != 6:
        raise Refused(400, 3, "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron).")
    made = {
        "service_account": "pipeline-runner",
        **given,
        "recurring_run_id": str(uuid.uuid4()),
        "created_at": moment(),
    }
    made["status"] = f"{made['mode']}D"
    server.recurring.append(made)
    return made


def delete_recurring(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    server.recurring.remove(one(server.recurring, "recurring_run_id", path[0], "RecurringRun"))
    return {}


def switch_recurring(server: Server, path: Any, query: Any, body: bytes) -> Thing:
    item = one(server.recurring, "recurring_run_id", path[0], "RecurringRun")
    item["mode"] = path[1].upper()
    return {}


ROUTES: list[tuple[str, str, str, Callable[[Server, Any, dict[str, str], bytes], Thing]]] = [
    ("healthz", "GET", "healthz", healthz),
    ("list_pipelines", "GET", "pipelines", list_pipelines),
    ("create_pipeline", "POST", "pipelines", create_pipeline),
    ("upload_version", "POST", "pipelines/upload_version", upload_version),
    ("list_versions", "GET", "pipelines/([^/]+)/versions", list_versions),
    ("get_version", "GET", "pipelines/([^/]+)/versions/([^/]+)", get_version),
    ("delete_version", "DELETE", "pipelines/([^/]+)/versions/([^/]+)", delete_version),
    ("list_experiments", "GET", "experiments", list_experiments),
    ("create_experiment", "POST", "experiments", create_experiment),
    ("list_runs", "GET", "runs", list_runs),
    ("create_run", "POST", "runs", create_run),
    ("get_run", "GET", "runs/([^/:]+)", get_run),
    ("terminate_run", "POST", "runs/([^/]+):terminate", terminate_run),
    ("list_recurring", "GET", "recurringruns", list_recurring),
    ("create_recurring", "POST", "recurringruns", create_recurring),
    ("delete_recurring", "DELETE", "recurringruns/([^/:]+)", delete_recurring),
    ("switch_recurring", "POST", "recurringruns/([^/]+):(enable|disable)", switch_recurring),
]


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port, until the block is left."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
