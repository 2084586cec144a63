"""The end of a run is told to GitHub and to a chat, as they answer: well, badly, late, or not at all."""

import base64
import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import certifi
import pytest

from components import notify as component
from components import workflow
from graphmill import notify

END = notify.End("training", "run-1", "FAILED", "step <train> & more\nfailed", "abc123")
SUCCESS = notify.End("training", "run-1", "SUCCEEDED", revision="abc123")


@contextmanager
def receiver(*statuses):
    """A server that answers with these statuses, the last one for ever; yields its URL and what it was sent."""
    left, received = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, dict(self.headers), body))
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setattr(notify, "PAUSE", 0.001)
    for name in (notify.TOKEN, notify.WEBHOOK, notify.REVISION):
        monkeypatch.delenv(name, raising=False)


def github(url, **more):
    return {"to": ["github"], "repository": "team/fraud", "github": url} | more


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("SUCCEEDED", "success"),
        ("COMPLETE", "success"),  # what a cluster says: the state in its metadata store
        ("CACHED", "success"),
        ("FAILED", "failure"),
        ("CANCELLED", "error"),
        ("CANCELED", "error"),
        ("RUNNING", "error"),  # a pod that was killed has told nobody
        ("", "error"),
    ],
)
def test_the_commit_gets_the_status(monkeypatch, capsys, state, told):
    monkeypatch.setenv(notify.TOKEN, "secret-token")
    with receiver(201) as (url, received):
        link = "https://kubeflow.example/#/runs/details/{run}"
        notify.run(notify.End("training", "run-1", state, "x" * 300, "abc123"), github(url, link=link))
    [(path, headers, body)] = received
    assert path == "/repos/team/fraud/statuses/abc123" and headers["Authorization"] == "Bearer secret-token"
    assert body["state"] == told and body["context"] == "graphmill/training" and len(body["description"]) <= 140
    assert body["target_url"] == "https://kubeflow.example/#/runs/details/run-1"
    output = capsys.readouterr().out
    assert "notify: github: told" in output and "secret-token" not in output


def test_the_commit_is_the_images_unless_given(monkeypatch):
    monkeypatch.setenv(notify.TOKEN, "t")
    monkeypatch.setenv(notify.REVISION, "image-commit")
    with receiver(201) as (url, received):
        notify.run(notify.End("training", "run-1", "SUCCEEDED"), github(url))
    assert received[0][0].endswith("/image-commit")


def test_the_chat_gets_words_that_it_does_not_take_for_markup(monkeypatch, capsys):
    with receiver(200) as (url, received):
        monkeypatch.setenv(notify.WEBHOOK, f"{url}/services/secret-path")
        notify.run(END, {"to": ["webhook"], "link": "https://kubeflow.example/{run}"})
    assert received[0][2] == {
        "text": "training failed: step &lt;train&gt; &amp; more failed <https://kubeflow.example/run-1|run run-1>"
    }
    assert "secret-path" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statuses", "asked", "words"),
    [
        ((503, 429, 200), 3, "webhook: told"),
        ((500,), notify.ATTEMPTS, "status 500"),
        ((404,), 1, "status 404"),
    ],
)
def test_an_outage_is_waited_for_and_a_refusal_is_not(monkeypatch, capsys, statuses, asked, words):
    with receiver(*statuses) as (url, received):
        monkeypatch.setenv(notify.WEBHOOK, url)
        notify.run(SUCCESS, {"to": ["webhook"]})
    assert len(received) == asked and words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("section", "variables", "words"),
    [
        ({}, {}, "training succeeded (run run-1)"),
        ({"to": ["webhook"]}, {}, "no GRAPHMILL_WEBHOOK here"),
        (github("http://127.0.0.1:9"), {}, "no GITHUB_TOKEN here"),
        (github("http://127.0.0.1:9"), {"GITHUB_TOKEN": "t"}, "no answer"),
        ({"to": ["webhook"]}, {"GRAPHMILL_WEBHOOK": "not a URL secret-path"}, "not told: "),
        ({"to": ["mail"]}, {}, "nobody is told"),
    ],
)
def test_nothing_that_goes_wrong_fails_the_run(monkeypatch, capsys, section, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    notify.run(SUCCESS, section)
    output = capsys.readouterr().out
    assert words in output and "secret-path" not in output and output.startswith("notify: training succeeded")


def test_without_a_commit_nothing_is_sent(monkeypatch, capsys):
    monkeypatch.setenv(notify.TOKEN, "t")
    with receiver(201) as (url, received):
        notify.run(notify.End("training", "run-1", "SUCCEEDED"), github(url))
    assert not received and "parameter `revision`" in capsys.readouterr().out


def test_the_component_hands_over_what_kubeflow_says(capsys):
    from kfp.dsl import PipelineTaskFinalStatus

    status = PipelineTaskFinalStatus("FAILED", "job", "exit-handler-1", 9, "train failed")
    component.python_func(status, "scoring", "run-7", "", {})
    assert "notify: scoring failed: train failed (run run-7)" in capsys.readouterr().out


def node(name, phase, kind="Pod", **more):
    return {"name": f"training-x7.root.{name}", "displayName": name.split(".")[-1], "type": kind, "phase": phase} | more


GOOD = {
    "a": node("exit-handler-1", "Succeeded", "DAG"),
    "b": node("exit-handler-1.train.executor(0)", "Failed", finishedAt="2026-01-05T04:00:00Z", message="evicted"),
    "c": node("exit-handler-1.train.executor(1)", "Succeeded", finishedAt="2026-01-05T05:00:00Z"),
    "d": node("exit-handler-1.onExit", "Running", "DAG"),
}
KILLED = GOOD | {
    "a": node("exit-handler-1", "Failed", "DAG"),
    "c": node(
        "exit-handler-1.train.executor(1)",
        "Failed",
        finishedAt="2026-01-05T05:00:00Z",
        message="OOMKilled (exit code 137)",
    ),
}


@contextmanager
def cluster(monkeypatch, folder, status, body):
    """An API server that has one workflow, and a pod's account."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name, text in {
        "namespace": "fraud",
        "token": "pods-token\n",
        "ca.crt": certifi.contents(),
    }.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(workflow, "ACCOUNT", folder)
    monkeypatch.setattr(workflow, "ADDRESS", f"http://127.0.0.1:{server.server_port}")
    try:
        yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def notified(state, capsys):
    from kfp.dsl import PipelineTaskFinalStatus

    component.python_func(
        PipelineTaskFinalStatus(state, "training-x7", "stages", None, None), "training", "run-7", "", {}
    )
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("nodes", "state", "words"),
    [
        (GOOD, "RUNNING", "notify: training succeeded (run run-7)"),  # a try that failed was made good
        (KILLED, "RUNNING", "notify: training failed: train: OOMKilled (exit code 137) (run run-7)"),
        (KILLED, "COMPLETE", "notify: training failed: train: OOMKilled (exit code 137) (run run-7)"),
        (GOOD | {"a": node("exit-handler-1", "Running", "DAG")}, "COMPLETE", "notify: training succeeded (run run-7)"),
        ({}, "FAILED", "notify: training failed (run run-7)"),
        ({"a": node("exit-handler-1", "Error", "DAG"), "b": node("exit-handler-1.graph-driver", "Error")}, "RUNNING",
         "notify: training failed: graph: Error (run run-7)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_the_workflow_knows_what_kubeflows_record_leaves_open(
    monkeypatch, tmp_path, capsys, nodes, state, words, packed
):
    content = {"compressedNodes": base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()}
    with cluster(monkeypatch, tmp_path, 200, {"status": content if packed else {"nodes": nodes}}) as asked:
        assert notified(state, capsys) == words + "\n"
    assert asked == [("/apis/argoproj.io/v1alpha1/namespaces/fraud/workflows/training-x7", "Bearer pods-token")]


@pytest.mark.parametrize(("status", "body"), [(403, {"message": "forbidden"}), (200, {"kind": "Workflow"}), (200, [])])
def test_a_workflow_that_cannot_be_read_leaves_kubeflows_own_word(monkeypatch, tmp_path, capsys, status, body):
    with cluster(monkeypatch, tmp_path, status, body):
        told = notified("COMPLETE", capsys)
    assert "the workflow training-x7 cannot be read" in told and "pods-token" not in told
    assert told.endswith("notify: training succeeded (run run-7)\n")
