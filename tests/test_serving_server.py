import subprocess
import sys
import threading
from pathlib import Path

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

from graphmill.errors import UserError
from graphmill.serving.settings import Settings, parse
from tests.oracle import score
from tests.serving import BEARER, TOKEN, Process, running, samples

GIVEN = ["--model=m", "--graph=g"]


def test_the_arguments_that_the_manifests_give_are_taken():
    settings = parse(
        ["--model=/mnt/models", "--graph=/mnt/graph", "--model_name=fraud", "--http_port=8080", "--workers=1"]
    )
    assert (settings.model, settings.graph, settings.model_name) == ("/mnt/models", Path("/mnt/graph"), "fraud")
    assert settings.enable_grpc and not settings.access_log and not settings.latency_log


def test_flags_are_written_either_way():
    assert parse([*GIVEN, "--insecure-local", "--queue-limit", "5000"]).insecure_local
    assert parse([*GIVEN, "--insecure_local", "--enable_grpc=false"]).enable_grpc is False
    assert parse([*GIVEN, "--queue-limit=5000"]).queue_limit == 5000


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "model: is missing"),
        ([*GIVEN, "--workers=2"], "workers: must be 1"),
        ([*GIVEN, "--http_port=http"], "http_port: must be a whole number"),
        ([*GIVEN, "--queue_limit=10"], "instances_limit: must be at most queue_limit"),
        ([*GIVEN, "--grpc_port=8080"], "grpc_port: must differ"),
        ([*GIVEN, "--model_name=a/b"], "model_name"),
        ([*GIVEN, "--mod=x"], "unknown argument '--mod=x'"),
        ([*GIVEN, "--token=secret"], "unknown argument"),
        ([*GIVEN, "--stream=redis://:secret@host"], "GRAPHMILL_STREAM"),
        ([*GIVEN, "--stream=host:6379"], "must be a URL"),
        ([*GIVEN, "--queue_limit"], "queue_limit"),
    ],
)
def test_wrong_arguments_are_told(arguments, told):
    with pytest.raises(UserError) as error:
        parse(arguments)
    assert told in str(error.value)


def test_a_stream_with_a_password_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("GRAPHMILL_STREAM", "redis://:secret@host:6379/0")
    assert parse(GIVEN).stream == "redis://:secret@host:6379/0"
    assert parse([*GIVEN, "--stream=redis://other"]).stream == "redis://other"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "graphmill.serving", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent.parent)


def test_help_shows_every_setting_with_its_meaning():
    found = command("--help")
    assert found.returncode == 0
    shown = " ".join(found.stdout.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name} " in shown
        assert " ".join(field.description.split()) in shown


def test_a_mistake_on_the_command_line_ends_with_2_and_no_traceback():
    found = command(*GIVEN, "--workers=4")
    assert found.returncode == 2 and found.stderr.startswith("graphmill.serving: workers: must be 1")
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("name, told", [("missing", "cannot be read"), ("short", "at least 16")])
def test_a_token_that_is_none_stops_the_start(tmp_path, name, told):
    (tmp_path / "short").write_text("abc\n")
    process = Process(tmp_path / "log", f"--token_file={tmp_path / name}")
    assert process.process.wait(60) == 2
    assert told in process.log.read_text()


def test_a_server_serves_all_protocols_and_stops_clean(tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    with running(tmp_path / "log", f"--token_file={tmp_path / 'token'}") as server:
        with httpx.Client(base_url=server.url) as client:
            body = {"instances": [{"id": "a"}]}
            found = client.post("/v1/models/oracle:predict", json=body).json()
            assert found["predictions"][0]["score"] == score("a")
            assert client.get("/v2/models/oracle/ready").status_code == 200
            assert client.post("/v1/graph/events", json={"events": [{"id": "e"}]}).status_code == 401
            assert client.post("/v1/graph/events", json={"events": [{"id": "e"}]}, headers=BEARER).status_code == 200
            metrics = client.get("/metrics").text
            assert 'graphmill_requests_total{protocol="v1"} 1.0' in metrics
            assert 'request_predict_seconds_count{model_name="oracle"} 1.0' in metrics
            assert "graphmill_graph_staleness_seconds 1.5" in metrics and "graphmill_ready 1.0" in metrics
        assert server.stop() == 0
        log = server.log.read_text()
    assert "stopped" in log and "Error" not in log and "Warning" not in log
    assert "POST" not in log and "preprocess_ms" not in log


def test_what_runs_when_it_is_told_to_stop_is_finished(tmp_path):
    answers: list[object] = []

    def events() -> None:
        body = {"events": [{"id": "slow"}]}
        answers.append(httpx.post(f"{server.url}/v1/graph/events", json=body, timeout=60).status_code)

    def infer() -> None:
        contents = messages.InferTensorContents(bytes_contents=[b"sleep0.5"])
        tensor = messages.ModelInferRequest.InferInputTensor(name="id", datatype="BYTES", shape=[1], contents=contents)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            stub = stubs.GRPCInferenceServiceStub(channel)
            request = messages.ModelInferRequest(model_name="oracle", inputs=[tensor])
            answers.append(stub.ModelInfer(request, timeout=60).model_name)

    with running(tmp_path / "log", "--insecure-local") as server:
        threads = [threading.Thread(target=events), threading.Thread(target=infer)]
        for thread in threads:
            thread.start()
        server.until_told("asleep", "slow events")
        assert server.stop() == 0
        for thread in threads:
            thread.join(60)
        log = server.log.read_text()
    assert sorted(answers, key=str) == [200, "oracle"]
    assert log.rstrip().endswith("stopped")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A server that none of its tests stops."""
    with running(tmp_path_factory.mktemp("local") / "log", "--insecure-local") as server:
        yield server


def test_an_insecure_local_server_listens_on_this_machine_alone(local):
    for port in (local.http, local.grpc):
        # 127.0.0.1, also as an IPv6 address
        assert _listening(port) <= {"0100007F", "0000000000000000FFFF00000100007F"} and _listening(port)


def _listening(port: int) -> set[str]:
    """Addresses at which the port is listened at, as the kernel writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if int(number, 16) == port and line.split()[3] == "0A":
                found.add(address)
    return found


def test_a_port_that_is_taken_is_told(local, tmp_path):
    second = Process(tmp_path / "log", f"--grpc_port={local.grpc}")
    assert second.process.wait(60) == 2
    log = second.log.read_text()
    assert f"grpc_port: {local.grpc} is taken" in log and "Traceback" not in log


def test_grpc_follows_readiness_and_tells_the_reason(tmp_path):
    trouble = {"ORACLE_TROUBLE": "replaying the log"}
    with running(tmp_path / "log", environment=trouble) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").json() == {"error": "replaying the log"}
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            stub = stubs.GRPCInferenceServiceStub(channel)
            assert stub.ServerLive(messages.ServerLiveRequest()).live
            calls = [
                lambda: stub.ServerReady(messages.ServerReadyRequest()),
                lambda: stub.ModelReady(messages.ModelReadyRequest(name="oracle")),
                lambda: stub.ModelInfer(messages.ModelInferRequest(model_name="oracle")),
            ]
            for call in calls:
                with pytest.raises(grpc.RpcError) as error:
                    call()
                assert error.value.code() is grpc.StatusCode.UNAVAILABLE
                assert error.value.details() == "replaying the log"


def test_grpc_does_not_compute_what_its_client_waits_for_no_more(local):
    def ask(key: bytes, timeout: float) -> grpc.Future:
        contents = messages.InferTensorContents(bytes_contents=[key])
        tensor = messages.ModelInferRequest.InferInputTensor(name="id", datatype="BYTES", shape=[1], contents=contents)
        return stub.ModelInfer.future(messages.ModelInferRequest(model_name="oracle", inputs=[tensor]), timeout=timeout)

    with grpc.insecure_channel(f"127.0.0.1:{local.grpc}") as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        slow = ask(b"sleep2", 60)
        local.until_told("asleep")
        assert ask(b"late", 0.1).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert slow.code() is grpc.StatusCode.OK and ask(b"a", 60).code() is grpc.StatusCode.OK
        found = samples(httpx.get(f"{local.url}/metrics").text, "graphmill_batch_instances_sum")
        assert found == {"": 2}


@pytest.mark.slow
def test_the_front_is_faster_than_what_it_stands_before():
    from benchmarks import front

    assert front.run(small=True)["ratio"] > 1


def test_a_server_that_cannot_start_ends_with_the_reason(tmp_path):
    process = Process(tmp_path / "log", environment={"ORACLE_BROKEN": "model.json: damaged; deploy it again"})
    assert process.process.wait(60) == 2
    log = process.log.read_text()
    assert "graphmill.serving: model.json: damaged; deploy it again" in log and "Traceback" not in log


def test_a_server_that_is_still_starting_can_be_stopped(tmp_path):
    with running(tmp_path / "log", environment={"ORACLE_SLOW": "600"}) as server:
        assert server.stop() == 0
