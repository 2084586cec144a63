"""The client of a Kubeflow server: the real ``kfp.Client`` against a stand-in on loopback."""

import base64
import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from graphmill.errors import UserError
from pipelines import PIPELINES, placement
from pipelines.__main__ import main
from pipelines.cluster import auth, door, logs, overrides, patience, schedule, source, tasks, upload, watch
from pipelines.cluster.client import Cluster
from pipelines.cluster.errors import Absent, Exists, Unreachable
from pipelines.placement import TITLES
from tests import kfp_server
from tests.kfp_server import Fault, Step

HOME = Path(__file__).parent.parent
QUICK = ("--interval", "0.01")
DONE = {"ingest": "SUCCEEDED", "graph": "SUCCEEDED", "features": "SUCCEEDED"}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No home directory and no setting of the machine's own; no wait worth mentioning."""
    for name in [name for name in os.environ if name.startswith(("KFP_", "KF_", "KUBE", "ACTIONS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(patience, "BACKOFF", 0.001)
    monkeypatch.setattr(auth, "SERVICE_ACCOUNT", str(tmp_path / "no-token"))


@pytest.fixture
def server(monkeypatch):
    with kfp_server.serving() as found:
        monkeypatch.setenv("KFP_HOST", found.url)
        yield found


@pytest.fixture(scope="session")
def training():
    """The compiled pipeline `training`, whose form knows where the data are."""
    return source.parse(source.compiled("training").text.replace("defaultValue: data\n", "defaultValue: s3://b/data\n"))


@pytest.fixture(autouse=True)
def compiled_once(training, monkeypatch):
    """Compiling is tested elsewhere, and takes its time."""
    real = source.compiled
    monkeypatch.setattr(source, "compiled", lambda name: training if name == "training" else real(name))


def said(capsys):
    """What was printed: (standard output, standard error)."""
    return tuple(capsys.readouterr())


# Versions


def test_a_version_is_named_by_its_source_and_not_by_the_release_of_kfp(training):
    text = training.text
    assert source.parse(text).version == training.version
    assert source.parse(text.replace("sdkVersion: kfp-2.17.0", "sdkVersion: kfp-9.9.9")).version == training.version
    assert source.parse(text.replace("epochs: 15", "epochs: 16")).version != training.version
    assert training.version.startswith("training-")


def test_a_version_with_platform_settings_is_named_by_both_documents(training):
    one = source.parse(training.text + "---\nplatforms: {kubernetes: {a: 1}}\n")
    two = source.parse(training.text + "---\nplatforms: {kubernetes: {a: 2}}\n")
    assert len({training.version, one.version, two.version}) == 3


def test_upload_makes_every_pipeline_and_its_version_once(server, capsys):
    assert main(["upload"]) == 0
    assert main(["upload"]) == 0
    assert sorted(item["display_name"] for item in server.pipelines) == sorted(PIPELINES)
    assert len(server.versions) == len(PIPELINES)
    assert server.count("upload_version") == len(PIPELINES)
    out, err = said(capsys)
    assert out.count("is new") == out.count("is there") == len(PIPELINES)
    assert f"{server.url}/#/pipelines/details/" in out
    assert "set GRAPHMILL_IMAGE" in err, "an image without a registry is told"


def test_platform_settings_go_along(server, training):
    settings = {
        "platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-train": {"imagePullPolicy": "Always"}}}}}
    }
    both = source.parse(yaml.safe_dump_all([training.spec, settings]))
    version = upload.upload(Cluster(server.url), both)
    assert version.pipeline_spec["platform_spec"] == settings
    found = source.stored(version)
    assert (found.titles, found.parameters, found.version) == (training.titles, training.parameters, both.version)


def test_upload_completes_a_pipeline_without_its_version(server):
    server.pipelines.append({"pipeline_id": "p", "display_name": "training", "created_at": kfp_server.moment()})
    assert main(["upload", "training"]) == 0
    assert [item["pipeline_id"] for item in server.versions] == ["p"]
    assert server.count("create_pipeline") == 0


@pytest.mark.parametrize("broken", [{"pipeline_spec": None}, {"error": {"code": 13, "message": "no object"}}])
def test_upload_replaces_a_version_without_its_source(server, training, broken):
    assert main(["upload", "training"]) == 0
    before = server.versions[0]["pipeline_version_id"]
    server.versions[0].update(broken)
    assert main(["upload", "training"]) == 0
    (version,) = server.versions
    assert version["pipeline_version_id"] != before
    whole = version["pipeline_spec"]  # with the platform's settings it is one of two parts
    assert whole.get("pipeline_spec", whole)["root"] == training.spec["root"]


def test_what_is_found_is_looked_for_on_every_page(server):
    server.page = 1
    assert main(["upload"]) == 0
    assert main(["submit", "training", *QUICK]) == 0
    assert main(["submit", "training", *QUICK]) == 0
    cluster = Cluster(server.url)
    assert len(list(cluster.listed(cluster.api.list_runs, "runs", namespace=None))) == 2


@pytest.mark.parametrize("operation", ["create_pipeline", "upload_version", "create_experiment", "create_run"])
@pytest.mark.parametrize("fault", [Fault(503), Fault(503, done=True)], ids=["refused", "answer lost"])
def test_a_create_that_failed_or_whose_answer_was_lost_is_made_once(server, operation, fault):
    server.fault = lambda name, count: fault if (name, count) == (operation, 1) else Fault()
    assert main(["submit", "training", *QUICK]) == 0
    kept = (server.pipelines, server.versions, server.experiments, server.runs)
    assert [len(things) for things in kept] == [1, 1, 1, 1]


def test_a_create_that_somebody_else_was_faster_with_is_taken_over(server):
    def faster(name, count):
        if (name, count) == ("create_pipeline", 1):
            server.pipelines.append({"pipeline_id": "theirs", "display_name": "training"})
        return Fault()

    server.fault = faster
    assert main(["upload", "training"]) == 0
    assert [item["pipeline_id"] for item in server.versions] == ["theirs"]


def test_once_raises_what_stays():
    def create():
        raise Exists("there, and not to be seen")

    with pytest.raises(Exists):
        patience.once(lambda: None, create)

    def silent():
        raise Unreachable("nothing")

    with pytest.raises(Unreachable):
        patience.once(lambda: None, silent)


# Whole runs


def test_a_run_is_followed_to_success(server, training, capsys):
    server.play(
        Step("PENDING"),
        Step("RUNNING", {"ingest": "PENDING"}),
        Step("RUNNING", {"ingest": "RUNNING"}),
        Step("RUNNING", {"ingest": "RUNNING"}),
        Step("PAUSED", {"ingest": "SUCCEEDED", "graph": "RUNNING"}),
        Step("SUCCEEDED", {**DONE, "train": "SUCCEEDED"}, cached=("features",)),
    )
    assert (
        main(["submit", "training", "-p", "train.epochs=5", "-p", "data=s3://b/d", "--data-revision", "v1", *QUICK])
        == 0
    )
    (run,) = server.runs
    given = run["runtime_config"]["parameters"]
    assert given["train"] == {**training.parameters["train"].default, "epochs": 5}
    assert given["data"] == "s3://b/d"
    assert given["ingest"]["revision"] == "v1"
    assert sorted(given) == ["data", "ingest", "train"], "what is not changed is left to the form"
    assert run["pipeline_version_reference"]["pipeline_version_id"] == server.versions[0]["pipeline_version_id"]
    out, _ = said(capsys)
    told = [line[9:] for line in out.splitlines() if line[2:3] == ":"]
    assert told == [
        f"PENDING   {TITLES['ingest']}",
        f"RUNNING   {TITLES['ingest']}",
        f"SUCCEEDED {TITLES['ingest']} (7 s)",
        f"RUNNING   {TITLES['graph']}",
        "PAUSED    the run",
        f"SUCCEEDED {TITLES['graph']} (7 s)",
        f"SUCCEEDED {TITLES['features']} (from the cache)",
        f"SUCCEEDED {TITLES['train']} (7 s)",
    ]
    assert run["run_id"] in out and f"{server.url}/#/runs/details/{run['run_id']}" in out
    assert out.splitlines()[-1] == f"run {run['run_id']}: SUCCEEDED"


def test_a_failed_run_tells_the_task_and_the_last_lines_of_its_log(server, capsys, monkeypatch):
    server.play(Step("RUNNING", {"ingest": "RUNNING"}), Step("FAILED", {**DONE, "train": "FAILED"}))
    real = kfp_server.create_run

    def with_a_log(*given):
        made = real(*given)
        server.logs[kfp_server.pod(made["run_id"], "train")] = (
            "\n".join(f"line {number}" for number in range(99)) + "\n\n"
        )
        return made

    monkeypatch.setattr(kfp_server, "ROUTES", [(*route[:3], with_a_log if route[3] is real else route[3])
                                               for route in kfp_server.ROUTES])  # fmt: skip
    assert main(["submit", "training", *QUICK]) == 1
    _, err = said(capsys)
    told = err[err.index("run ") :].splitlines()
    assert told[0].endswith(f"failed in task '{TITLES['train']}'")
    assert told[2:] == [f"  line {number}" for number in range(99 - watch.LINES, 99)]


def test_a_failed_run_without_a_log_tells_how_to_see_it(server, capsys):
    server.play(Step("FAILED", {"ingest": "FAILED"}, error="pod was evicted"))
    assert main(["submit", "training", *QUICK]) == 1
    _, err = said(capsys)
    assert f"failed in task '{TITLES['ingest']}': pod was evicted" in err
    assert f"kubectl logs -n kubeflow -l pipeline/runid={server.runs[0]['run_id']}" in err


def test_a_task_whose_driver_failed_is_told_though_it_never_began(server, capsys):
    server.play(Step("FAILED", {"ingest": "SUCCEEDED", "graph": "FAILED"}, driver=("graph",)))
    assert main(["submit", "training", *QUICK]) == 1
    assert f"failed in task '{TITLES['graph']} (its driver)'" in said(capsys)[1]


def test_a_run_that_failed_before_any_task_is_told(server, capsys):
    server.play(Step("FAILED", error="quota exceeded"))
    assert main(["submit", "training", *QUICK]) == 1
    assert "failed: quota exceeded" in said(capsys)[1]


@pytest.mark.parametrize("end", ["CANCELED", "FAILED"])
def test_a_run_that_is_cancelled_in_the_ui_is_no_success_and_no_failure_of_a_task(server, capsys, end):
    server.play(
        Step("RUNNING", {"ingest": "RUNNING"}),
        Step("CANCELING", {"ingest": "RUNNING"}),
        Step(end, {"ingest": "FAILED"}),
    )
    assert main(["submit", "training", *QUICK]) == 1
    out, err = said(capsys)
    assert "was cancelled" in err and "failed" not in err
    assert "CANCELING the run" in out


def test_a_run_that_was_cancelled_and_begun_again_can_fail_by_itself():
    history = [SimpleNamespace(state=state) for state in ("RUNNING", "CANCELING", "FAILED", "RUNNING", "FAILED")]
    assert not watch.cancelled(SimpleNamespace(state="FAILED", state_history=history))
    assert watch.cancelled(SimpleNamespace(state="FAILED", state_history=history[:3]))


def test_a_run_whose_results_were_all_known_is_a_success(server):
    server.play(Step("SKIPPED"))
    assert main(["submit", "training", *QUICK]) == 0


def test_a_run_that_hangs_is_watched_no_longer_than_was_asked(server, capsys):
    server.play(Step("RUNNING", {"ingest": "RUNNING"}))
    assert main(["submit", "training", "--timeout", "0.05", *QUICK]) == 3
    _, err = said(capsys)
    run = server.runs[0]["run_id"]
    assert f"the run goes on: `python -m pipelines status {run} --follow`" in err
    assert server.count("terminate_run") == 0


def test_no_wait_does_not_look(server, capsys):
    assert main(["submit", "training", "--no-wait"]) == 0
    assert server.count("get_run") == 0
    assert server.runs[0]["run_id"] in said(capsys)[0]


def test_ctrl_c_leaves_the_run_going(server, capsys, monkeypatch):
    server.play(Step("RUNNING"))

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
    assert main(["submit", "training", *QUICK]) == 130
    assert f"`python -m pipelines cancel {server.runs[0]['run_id']}` ends it" in said(capsys)[1]
    assert server.runs[0]["state"] == "RUNNING"


def test_a_name_makes_a_repeated_job_one_run(server):
    for _ in range(2):
        assert main(["submit", "training", "--name", "retrain 17", "--experiment", "nightly", *QUICK]) == 0
    assert [run["display_name"] for run in server.runs] == ["retrain 17"]
    assert [item["display_name"] for item in server.experiments] == ["nightly"]


def test_place_goes_along(server):
    assert main(["submit", "training", "--service-account", "trainer", "--pipeline-root", "s3://b/r", *QUICK]) == 0
    (run,) = server.runs
    assert run["service_account"] == "trainer"
    assert run["runtime_config"]["pipeline_root"] == "s3://b/r"


def test_the_account_of_section_cluster_is_taken_unless_another_is_named(server, monkeypatch):
    monkeypatch.setattr(placement, "CLUSTER", placement.Cluster(service_account="fraud-pipeline"))
    for named in ((), ("--service-account", "trainer")):
        assert main(["submit", "training", "--no-wait", *named]) == 0
        assert main(["schedule", "training", "--cron", "0 4 * * 1", *named]) == 0
    assert [run["service_account"] for run in server.runs] == ["fraud-pipeline", "trainer"]
    assert [item["service_account"] for item in server.recurring] == ["trainer"], "it replaced fraud-pipeline's"


def test_a_version_that_was_uploaded_before_can_be_run(server, training, capsys):
    assert main(["upload", "training"]) == 0
    assert main(["submit", "training", "--version", training.version, "-p", "train.epochs=2", *QUICK]) == 0
    assert server.runs[0]["runtime_config"]["parameters"]["train"]["epochs"] == 2
    assert server.count("upload_version") == 1
    assert main(["submit", "training", "--version", "training-000000000000", *QUICK]) == 2
    err = said(capsys)[1]
    assert "no version 'training-000000000000'" in err and training.version in err
    assert main(["submit", "scoring", "--version", "x", *QUICK]) == 2
    assert "has no pipeline 'scoring'; `upload` it first" in said(capsys)[1]


def test_a_run_of_which_nothing_is_heard_is_told_how_to_find(server, capsys):
    server.fault = lambda name, count: Fault(503) if name == "create_run" else Fault()
    assert main(["submit", "training", "--name", "tonight", *QUICK]) == 3
    assert "--name 'tonight' finds it again" in said(capsys)[1]
    assert not server.runs and server.count("create_run") == patience.TRIES


# Outages


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reads_are_repeated_until_they_are_answered(server, status, capsys):
    server.fault = lambda name, count: Fault(status) if name in ("healthz", "get_run") and count < 4 else Fault()
    assert main(["submit", "training", *QUICK]) == 0
    assert (server.count("healthz"), server.count("get_run")) == (4, 4)
    assert f"answered {status}; trying again (3 of 5)" in said(capsys)[1]


def test_time_outs_are_repeated(server, monkeypatch):
    monkeypatch.setattr(patience, "SECONDS", (5.0, 0.6))
    slow = ("list_pipelines", "upload_version", "create_run", "get_run")
    server.fault = lambda name, count: Fault(seconds=1.2, done=True) if name in slow and count == 1 else Fault()
    assert main(["submit", "training", *QUICK]) == 0
    assert [len(things) for things in (server.pipelines, server.versions, server.runs)] == [1, 1, 1]


def test_a_long_outage_while_a_run_is_watched_is_waited_for(server):
    server.play(Step("RUNNING", {"ingest": "RUNNING"}), Step("SUCCEEDED"))
    server.fault = lambda name, count: Fault(503) if name == "get_run" and 1 < count < 15 else Fault()
    assert main(["submit", "training", *QUICK]) == 0
    assert server.count("get_run") == 15


def test_a_server_that_stays_silent_ends_the_watch_and_not_the_run(server, monkeypatch, capsys):
    monkeypatch.setattr(watch, "SILENCE", 0.0)
    server.fault = lambda name, count: Fault(503) if name == "get_run" else Fault()
    assert main(["submit", "training", *QUICK]) == 3
    assert "cannot answer now (503)" in said(capsys)[1]


def test_a_token_that_ends_while_a_run_is_watched_is_told(server, capsys, monkeypatch):
    server.token = "good"
    monkeypatch.setenv("KFP_TOKEN", "good")
    server.play(Step("RUNNING"))

    def revoke(name, count):
        if name == "get_run" and count == 2:
            server.token = "another"
        return Fault()

    server.fault = revoke
    assert main(["submit", "training", *QUICK]) == 3
    _, err = said(capsys)
    assert "the token in KFP_TOKEN" in err and "the run goes on" in err


def test_a_run_that_is_deleted_while_it_is_watched_is_told(server, capsys):
    server.play(Step("RUNNING"))

    def delete(name, count):
        if name == "get_run" and count == 2:
            server.runs.clear()
        return Fault()

    server.fault = delete
    assert main(["submit", "training", *QUICK]) == 2
    assert "not found" in said(capsys)[1]


def test_a_host_that_does_not_answer_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main(["status", "--host", host]) == 3
    last = said(capsys)[1].splitlines()[-1]
    assert last == f"{host} does not answer: Failed to establish a new connection: [Errno 111] Connection refused"


def test_a_host_without_tls_is_told_at_once(server, capsys):
    assert main(["status", "--host", server.url.replace("http://", "https://")]) == 2
    out, err = said(capsys)
    assert "no TLS connection" in err and "trying again" not in err


def test_no_host_is_told_before_anything_else(capsys):
    assert main(["status"]) == 2
    assert "give --host or KFP_HOST" in said(capsys)[1]


# Who asks


def test_a_refused_token_names_where_it_came_from(server, capsys, monkeypatch, tmp_path):
    server.token = "right"
    assert main(["status"]) == 2
    assert f"asked without a token: {auth.HINT}" in said(capsys)[1]
    monkeypatch.setenv("KFP_TOKEN", "wrong")
    assert main(["status"]) == 2
    assert "does not know who asks (401)" in (err := said(capsys)[1]) and "the token in KFP_TOKEN" in err
    monkeypatch.delenv("KFP_TOKEN")
    (tmp_path / "token").write_text("right\n")
    monkeypatch.setenv("KFP_TOKEN_FILE", str(tmp_path / "token"))
    assert main(["status"]) == 0
    server.fault = lambda name, count: Fault(403)
    assert main(["status"]) == 2
    assert "(403)" in (err := said(capsys)[1]) and "KFP_TOKEN_FILE" in err


def test_the_service_accounts_token_is_taken_in_a_pod(server, monkeypatch, tmp_path):
    server.token = "projected"
    (tmp_path / "mounted").write_text("projected")
    monkeypatch.setattr(auth, "SERVICE_ACCOUNT", str(tmp_path / "mounted"))
    monkeypatch.delenv("KFP_HOST")
    assert main(["status", "--host", server.url]) == 0


@pytest.mark.parametrize("file", ["", None], ids=["empty", "missing"])
def test_a_token_file_without_a_token_is_told(server, monkeypatch, tmp_path, capsys, file):
    if file is not None:
        (tmp_path / "token").write_text(file)
    monkeypatch.setenv("KFP_TOKEN_FILE", str(tmp_path / "token"))
    assert main(["status"]) == 2
    assert str(tmp_path / "token") in said(capsys)[1]


class Issuer(BaseHTTPRequestHandler):
    """Issues tokens that end after `lifetime` seconds, numbered."""

    def do_GET(self):
        self._issue("value", urlsplit(self.path).query)

    def do_POST(self):
        self._issue("access_token", self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _issue(self, field, asked):
        issuer = self.server
        issuer.asked.append((parse_qs(asked), self.headers.get("Authorization")))
        claims = {"exp": time.time() + issuer.lifetime, "number": len(issuer.asked)}
        field = issuer.field or field
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        body = json.dumps({field: f"head.{payload}.sign"} if issuer.status == 200 else {"error": "no"}).encode()
        self.send_response(issuer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def issuer():
    found = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    found.asked, found.lifetime, found.status, found.field = [], 600, 200, None
    found.url = f"http://127.0.0.1:{found.server_port}/token"
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def github(issuer):
    names = {"URL": f"{issuer.url}?api-version=2.0", "TOKEN": "job"}
    return {"KFP_OIDC_AUDIENCE": "kfp"} | {f"ACTIONS_ID_TOKEN_REQUEST_{key}": value for key, value in names.items()}


def test_githubs_token_is_asked_for_the_audience_and_kept_until_it_ends(issuer):
    credentials = auth.find(github(issuer))
    assert credentials.token() == credentials.token()
    assert issuer.asked == [({"api-version": ["2.0"], "audience": ["kfp"]}, "Bearer job")]
    issuer.lifetime = auth.LEEWAY - 1
    short = auth.find(github(issuer))
    assert short.token() != short.token(), "a token about to end is renewed"


def test_a_run_is_watched_for_longer_than_a_token_lives(issuer, server, monkeypatch):
    for name, value in github(issuer).items():
        monkeypatch.setenv(name, value)
    issuer.lifetime = 0
    server.play(Step("RUNNING"), Step("SUCCEEDED"))
    assert main(["submit", "training", *QUICK]) == 0
    assert len(set(server.tokens)) == len(server.tokens) > 5, "each request has a new one"


def test_outside_a_job_githubs_token_is_told_to_be_missing():
    with pytest.raises(UserError, match="id-token: write"):
        auth.find({"KFP_OIDC_AUDIENCE": "kfp"})


def test_client_credentials(issuer):
    given = {"KFP_OIDC_TOKEN_URL": issuer.url, "KFP_OIDC_CLIENT_ID": "robot", "KFP_OIDC_CLIENT_SECRET": "s&cret"}
    assert auth.find(given).token().startswith("head.")
    form = {"grant_type": ["client_credentials"], "client_id": ["robot"], "client_secret": ["s&cret"]}
    assert issuer.asked == [(form, None)]
    del given["KFP_OIDC_CLIENT_SECRET"]
    with pytest.raises(UserError, match="KFP_OIDC_CLIENT_SECRET"):
        auth.find(given)


def test_an_answer_without_the_token_is_not_shown(issuer):
    given = github(issuer) | {"ACTIONS_ID_TOKEN_REQUEST_URL": issuer.url}
    source_of = {**given, "KFP_OIDC_TOKEN_URL": issuer.url, "KFP_OIDC_CLIENT_ID": "r", "KFP_OIDC_CLIENT_SECRET": "s"}
    issuer.field = "id_token"
    with pytest.raises(UserError, match="has no 'access_token'") as told:
        auth.find(source_of).token()
    assert "head." not in str(told.value)


def test_an_issuer_that_refuses_or_is_down(issuer):
    issuer.status = 403
    with pytest.raises(UserError, match="refused by its issuer"):
        auth.find(github(issuer)).token()
    issuer.status = 503
    with pytest.raises(Unreachable):
        auth.find(github(issuer)).token()
    assert len(issuer.asked) == 1 + 1 + patience.TRIES


def test_a_login_page_is_not_taken_for_an_empty_answer(server, monkeypatch, capsys):
    answer = kfp_server.Handler._answer
    page = lambda self, status, text, kind="": answer(self, 200, "<!doctype html><h1>Log in</h1>", "text/html")  # noqa: E731
    monkeypatch.setattr(kfp_server.Handler, "_answer", page)
    assert main(["status"]) == 2
    assert "answers with a web page, as a login does" in said(capsys)[1]


def test_an_answer_that_cannot_be_read_is_told(server, capsys):
    server.runs.append({"run_id": "r", "display_name": "r", "state": "RUNNING", "created_at": "yesterday"})
    assert main(["status"]) == 2
    assert "cannot read" in (err := said(capsys)[1]) and "is it a Kubeflow Pipelines 2?" in err


def test_a_server_for_several_users_wants_a_namespace(server, capsys):
    server.multi_user = True
    assert main(["submit", "training", *QUICK]) == 2
    assert "name your namespace with --namespace" in said(capsys)[1]
    assert main(["submit", "training", "--namespace", "team", *QUICK]) == 0
    assert main(["schedule", "training", "--cron", "0 4 * * *", "--namespace", "team"]) == 0
    assert main(["status", "--namespace", "team"]) == 0
    assert server.pipelines[0]["namespace"] == server.experiments[0]["namespace"] == "team"


@pytest.mark.parametrize("shared", [True, False])
def test_the_pages_answer_for_the_server_in_their_own_words(server, monkeypatch, shared):
    server.multi_user = shared
    pages = lambda *given: {"apiServerReady": True, "apiServerMultiUser": shared}  # noqa: E731
    routes = [(*route[:3], pages if route[0] == "healthz" else route[3]) for route in kfp_server.ROUTES]
    monkeypatch.setattr(kfp_server, "ROUTES", routes)
    assert main(["status", "--namespace", "team"]) == 0


def test_a_server_for_one_user_is_not_bothered_with_a_namespace(server):
    assert main(["status", "--namespace", "team"]) == 0


def test_nothing_is_written_into_the_home_directory(server, tmp_path):
    assert main(["status"]) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, UserError), (401, UserError), (404, Absent), (408, Unreachable), (409, Exists), (501, Unreachable)],
)
def test_what_an_answer_means(status, kind):
    body = json.dumps({"error_message": "what the server says"}).encode()
    found = door.refusal(status, body, "GET", "http://h/apis/v2beta1/runs", "http://h", None)
    assert type(found) is kind and "what the server says" in str(found)


# Parameters


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trian.epochs=5", "no parameter 'trian'; did you mean 'train'?"),
        ("drift.warn=1", "pipeline training has no parameter 'drift'"),
        ("train.epocs=5", "train.epocs: unknown parameter; did you mean 'epochs'?"),
        ("train.model.hiden=5", "train.model.hiden: unknown parameter; did you mean 'hidden'?"),
        ("train.epochs=many", "train.epochs: must be a whole number (given 'many')"),
        ("train.epochs=2.5", "train.epochs: must be a whole number"),
        ("train.epochs", "write an override as section.key=value"),
        ("train.fanouts.0=5", "train.fanouts is no mapping"),
        ("train=5", "train: must be a mapping (given 5)"),
        ("train.model={a", "not readable as YAML"),
        ("data.x=1", "parameter 'data' is one value and has no keys"),
        ("data=[1]", "data: must be text"),
        ("data=tables", "data: 'tables' is no address in an object store"),
        ("data=https://example.org/data", "is no address in an object store"),
        ("task.kind=guessing", "task.kind"),
    ],
)
def test_an_override_that_is_wrong_is_told_before_anything_is_sent(server, capsys, override, told):
    assert main(["submit", "training", "-p", override, *QUICK]) == 2
    assert told in said(capsys)[1]
    assert not server.calls


def test_overrides_are_yaml_and_the_later_one_counts(training):
    given = ["train.epochs=3", "train.epochs=4", "train.fanouts=[3, 4]", "train.model.dropout=0", "train.patience=null"]
    found = overrides.parameters(training, given)["train"]
    assert (found["epochs"], found["fanouts"], found["model"]["dropout"]) == (4, [3, 4], 0)
    assert "patience" not in found, "Kubeflow has no null: the model's own default"
    assert "dropout" in training.parameters["train"].default["model"], "the pipeline itself is left alone"
    assert overrides.parameters(training, []) == {}


def test_parameters_are_read_from_the_compiled_pipeline():
    inputs = {
        "data_revision": {"parameterType": "STRING", "isOptional": True},
        "share": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.5, "isOptional": True},
        "rounds": {"parameterType": "NUMBER_INTEGER"},
        "place": {"parameterType": "STRUCT", "isOptional": True},
    }
    spec = {"pipelineInfo": {"name": "p"}, "root": {"inputDefinitions": {"parameters": inputs}}, "components": {}}
    found = source.Source("", spec, "p-1")
    taken = overrides.parameters(found, ["rounds=2", "share=1", "place.zone=a"], "v7")
    assert taken == {"rounds": 2, "share": 1, "place": {"zone": "a"}, "data_revision": "v7"}
    with pytest.raises(UserError, match="needs 'rounds': give it with -p rounds=VALUE"):
        overrides.parameters(found, [])
    with pytest.raises(UserError, match="rounds: must be a whole number"):
        overrides.parameters(found, ["rounds=true"])
    assert overrides.parameters(found, ["rounds=1", "data_revision=20"])["data_revision"] == "20"


def test_an_unknown_pipeline_is_told_with_the_nearest(server, capsys):
    assert main(["submit", "trainig"]) == 2
    assert "there is no pipeline 'trainig'; did you mean 'training'?" in said(capsys)[1]
    assert not server.calls


# Schedules


def test_a_schedule_is_made_once_and_a_changed_one_replaces_it(server, capsys, tmp_path):
    call = ["schedule", "training", "--cron", "0 4 * * 1", "-p", "train.epochs=5"]
    assert main(call) == main(call) == 0
    (first,) = server.recurring
    assert first["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * 1"
    assert (first["no_catchup"], first["max_concurrency"], first["mode"]) == (True, "1", "ENABLE")
    assert first["runtime_config"]["parameters"]["train"]["epochs"] == 5
    assert main([*call, "--pipeline-root", "s3://b/r"]) == 0
    (second,) = server.recurring
    assert second["recurring_run_id"] != first["recurring_run_id"]
    out, _ = said(capsys)
    for told in ("is new", "is as before", "replaces its predecessor"):
        assert out.count(told) == 1 + (told == "is new"), told  # the version is new too


def test_a_schedule_is_switched_off_and_on_in_place(server):
    call = ["schedule", "training", "--cron", "0 4 * * 1"]
    assert main(call) == 0
    (first,) = server.recurring
    for arguments, mode in (
        ([*call, "--disable"], "DISABLE"),
        (call, "ENABLE"),
        (["schedule", "training", "--disable"], "DISABLE"),
    ):
        assert main(arguments) == 0
        assert [(item["recurring_run_id"], item["mode"]) for item in server.recurring] == [
            (first["recurring_run_id"], mode)
        ]


def test_what_an_interrupted_call_left_too_many_is_taken_away(server):
    call = ["schedule", "training", "--cron", "0 4 * * 1"]
    assert main(call) == 0
    old = {**server.recurring[0], "recurring_run_id": "old", "description": "another"}
    server.recurring.insert(0, old)
    assert main(call) == 0
    assert [item["recurring_run_id"] for item in server.recurring] != ["old"] and len(server.recurring) == 1


@pytest.mark.parametrize("fault", [Fault(503), Fault(503, done=True)], ids=["refused", "answer lost"])
def test_a_schedule_whose_answer_was_lost_is_made_once(server, fault):
    server.fault = lambda name, count: fault if (name, count) == ("create_recurring", 1) else Fault()
    assert main(["schedule", "training", "--cron", "0 4 * * 1"]) == 0
    assert len(server.recurring) == 1


def test_schedules_have_names_of_their_own_and_overrides_from_a_file(server, tmp_path):
    file = tmp_path / "nightly.yaml"
    file.write_text(yaml.safe_dump({"train": {"epochs": 3, "fanouts": [2, 2]}}))
    call = ["schedule", "training", "--cron", "0 4 * * 1", "--name", "nightly", "--overrides", str(file)]
    assert main([*call, "-p", "train.epochs=9"]) == 0
    assert main(["schedule", "training", "--cron", "0 5 * * 1"]) == 0
    nightly, weekly = server.recurring
    assert (nightly["display_name"], weekly["display_name"]) == ("nightly", "training")
    train = nightly["runtime_config"]["parameters"]["train"]
    assert (train["epochs"], train["fanouts"]) == (9, [2, 2])


@pytest.mark.parametrize("text", ["", "daily", "* * *", "0 4 * * 1 2 3", "0 4 * * $"])
def test_a_cron_that_is_none_is_told(text, capsys, server):
    assert main(["schedule", "training", "--cron", text]) == 2
    assert "five fields" in said(capsys)[1]
    assert not server.calls


def test_cron_has_six_fields():
    assert schedule.cron("*/5 4 * * MON-FRI") == "0 */5 4 * * MON-FRI"
    assert schedule.cron("30 0 4 ? * 1") == "30 0 4 ? * 1"
    assert schedule.cron("@daily") == "@daily"


def test_a_schedule_that_is_not_there_cannot_be_disabled(server, capsys):
    assert main(["schedule", "training", "--disable"]) == 2
    assert "there is no schedule 'training'" in said(capsys)[1]
    assert main(["schedule", "training"]) == 2
    assert "needs --cron" in said(capsys)[1]


# Looking


def finished(server, *steps):
    server.play(*steps)
    main(["submit", "training", *QUICK])
    return server.runs[-1]


def test_status_lists_the_latest_runs(server, capsys):
    finished(server, Step("SUCCEEDED"))
    run = finished(server, Step("FAILED", {"ingest": "FAILED"}))
    said(capsys)
    assert main(["status", "--limit", "1", "--json"]) == 0
    (told,) = json.loads(said(capsys)[0])
    assert told == {
        "run": run["run_id"],
        "name": run["display_name"],
        "state": "FAILED",
        "created": "2026-01-05T04:00:00+00:00",
        "seconds": 60,
        "link": f"{server.url}/#/runs/details/{run['run_id']}",
    }
    assert main(["status"]) == 0
    lines = said(capsys)[0].splitlines()
    assert len(lines) == 3 and lines[1].split()[0] == run["run_id"]


def test_status_of_a_run_lists_its_tasks(server, capsys):
    run = finished(server, Step("SUCCEEDED", {**DONE, "train": "SUCCEEDED"}, cached=("graph",)))
    said(capsys)
    for wanted in (run["run_id"], run["display_name"]):
        assert main(["status", wanted, "--json"]) == 0
        told = json.loads(said(capsys)[0])
        assert [(task["key"], task["cached"]) for task in told["tasks"]] == [
            ("ingest", False), ("graph", True), ("features", False), ("train", False),
        ]  # fmt: skip
        assert [task["task"] for task in told["tasks"]] == [TITLES[task["key"]] for task in told["tasks"]]
        assert told["tasks"][3]["started"] == "2026-01-05T04:00:30+00:00"
        assert told["tasks"][3]["seconds"] == 7
    assert main(["status", run["run_id"]]) == 0
    assert TITLES["train"] in said(capsys)[0].splitlines()[-1]


@pytest.mark.parametrize(
    ("tasks", "decision"),
    [
        ({"drift": "SUCCEEDED", "keep": "SUCCEEDED"}, "page"),
        ({"drift": "SUCCEEDED", "keep-2": "SUCCEEDED"}, "request_labels"),
        ({"drift": "SUCCEEDED", "keep-3": "RUNNING"}, "watch"),
        ({"drift": "SUCCEEDED", "keep-4": "FAILED"}, "ok"),
        ({"drift": "SUCCEEDED", "train": "FAILED"}, "retrain"),
        ({"drift": "SUCCEEDED"}, None),
        ({"drift": "FAILED"}, None),
    ],
)
def test_status_tells_what_drift_decided(server, capsys, monkeypatch, tasks, decision):
    golden = source.parse((HOME / "tests" / "golden" / "monitoring.yaml").read_text())
    monkeypatch.setattr(source, "compiled", lambda name: golden)
    server.play(Step("SUCCEEDED" if decision else "FAILED", tasks))
    main(["submit", "monitoring", "--name", "tonight", "-p", "data=s3://b/data", *QUICK])
    said(capsys)
    assert main(["status", "tonight", "--json"]) == 0
    assert json.loads(said(capsys)[0])["decision"] == decision


def test_a_training_has_no_decision(server, capsys):
    run = finished(server, Step("SUCCEEDED", {"train": "SUCCEEDED"}))
    said(capsys)
    assert main(["status", run["run_id"], "--json"]) == 0
    assert json.loads(said(capsys)[0])["decision"] is None


def test_status_follows(server, capsys):
    server.play(Step("RUNNING"), Step("RUNNING", {"ingest": "RUNNING"}), Step("FAILED", {"ingest": "FAILED"}))
    assert main(["submit", "training", "--no-wait", "--name", "tonight"]) == 0
    assert main(["status", "tonight", "--follow", *QUICK]) == 1
    assert f"failed in task '{TITLES['ingest']}'" in said(capsys)[1]
    assert main(["status", "--follow"]) == 2


def test_a_run_that_is_not_there_is_told(server, capsys):
    assert main(["status", "nobody"]) == 2
    assert "there is no run named 'nobody'" in said(capsys)[1]
    assert main(["status", "12345678-1234-1234-1234-123456789012"]) == 2
    assert "there is no run 12345678" in said(capsys)[1]


def test_cancel_ends_a_run(server, capsys):
    server.play(Step("RUNNING"))
    assert main(["submit", "training", "--no-wait"]) == 0
    run = server.runs[0]["run_id"]
    assert main(["cancel", run]) == 0
    assert server.runs[0]["state"] == "CANCELING"
    assert main(["status", run, "--follow", *QUICK]) == 1
    assert main(["cancel", run]) == 0
    assert "has ended already: CANCELED" in said(capsys)[0]


# Tasks and logs


def node(name, state="SUCCEEDED", **fields):
    blank = dict.fromkeys(("task_id", "pod_name", "start_time", "end_time", "error", "child_tasks", "parent_task_id"))
    return SimpleNamespace(**{**blank, "display_name": name, "state": state, **fields})


def run_of(*nodes, **fields):
    return SimpleNamespace(run_details=SimpleNamespace(task_details=list(nodes)), **fields)


def test_tasks_of_an_unknown_pipeline_are_told_without_argos_plumbing():
    names = (
        "root-driver",
        "root",
        "train-driver",
        "executor",
        "executor(0)",
        "condition-2",
        "exit-handler-1",
        "for-loop-3",
    )
    run = run_of(node("training-x7", pod_name="training-x7"), node("train", "RUNNING"), *(node(name) for name in names))
    assert [(task.title, task.state) for task in tasks.tasks(run, {})] == [("train", "RUNNING")]


def test_a_failed_try_that_was_made_good_is_no_failed_task():
    child = lambda name: [SimpleNamespace(pod_name=name)]  # noqa: E731
    run = run_of(
        node("train", pod_name="w-group-1", child_tasks=child("w-2")),
        node("executor", pod_name="w-impl-2", child_tasks=[*child("w-3"), *child("w-4")]),
        node("executor(0)", "FAILED", pod_name="w-impl-3"),
        node("executor(1)", pod_name="w-impl-4"),
    )
    (task,) = tasks.tasks(run, {"train": "Train"})
    assert (task.title, task.state, task.pods) == ("Train", "SUCCEEDED", ("w-impl-4", "w-impl-3"))
    assert not tasks.failed(run, {"train": "Train"})


def test_pods_are_guessed_where_the_server_does_not_tell_them():
    run = run_of(node("train", "FAILED", child_tasks=[SimpleNamespace(pod_name="training-x7-12345")]))
    (task,) = tasks.tasks(run, {"train": "train"})
    assert task.pods == ("training-x7-system-container-impl-12345", "training-x7-retry-system-container-impl-12345")


def test_titles_are_those_of_tasks_that_work_in_every_group():
    found = source.parse((HOME / "tests" / "golden" / "monitoring.yaml").read_text()).titles
    assert {"ingest", "drift", "train", "score"} <= set(found)
    assert not [key for key in found if key.startswith("condition")]


@pytest.mark.parametrize("page", ["<!doctype html><html>", '{"error_message": "no pod"}', ""])
def test_a_log_that_is_a_page_or_an_error_or_empty_is_none(server, page):
    server.logs["pod"] = page
    task = SimpleNamespace(pods=("pod",), key="train")
    assert logs.tail(Cluster(server.url), "run", task, 5) == []


def test_a_log_is_read_from_the_pages_where_the_server_has_none(server):
    server.logs["old"], server.pages["new"] = "", "one\ntwo\n"
    assert logs.tail(Cluster(server.url), "run", SimpleNamespace(pods=("old", "new"), key="train"), 1) == ["two"]


def test_a_log_is_read_through_the_kubernetes_api(server, monkeypatch):
    kubernetes = pytest.importorskip("kubernetes")
    meta = {"name": "x-1", "annotations": {logs.NODE: "training-x.root.train.executor"}}
    other = {"name": "x-2", "annotations": {logs.NODE: "training-x.root.graph.executor"}}
    asked = []

    class Core:
        def __init__(self, client):
            pass

        def list_namespaced_pod(self, namespace, label_selector, **options):
            asked.append((namespace, label_selector))
            return SimpleNamespace(items=[SimpleNamespace(metadata=SimpleNamespace(**one)) for one in (meta, other)])

        def read_namespaced_pod_log(self, name, namespace, **options):
            return f"log of {name}\n"

    monkeypatch.setattr(logs, "_configure", lambda config, settings: None)
    monkeypatch.setattr(kubernetes.client, "CoreV1Api", Core)
    task = SimpleNamespace(pods=("gone",), key="train")
    assert logs.tail(Cluster(server.url), "run-1", task, 5) == ["log of x-1"]
    assert asked == [("kubeflow", "pipeline/runid=run-1")]


@pytest.mark.parametrize("verb", ["upload", "submit", "schedule", "status", "cancel"])
def test_help_tells_the_exit_statuses(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert "exit status: 0 done; 1 the run failed" in said(capsys)[0]
