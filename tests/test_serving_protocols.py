import http
import json
import struct
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import open_inference.openapi.types as specification
import orjson
import pytest
import tritonclient.http
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.errors.bad_request_error import BadRequestError

from graphmill.serving.failure import Kind
from tests.oracle import score
from tests.serving import Served, running

INFER = "/v2/models/oracle/infer"
KEYS = ["a", "b", "new1"]


def tensor(name: str, data: list, kind: str = "BYTES", **more) -> dict:
    return {"name": name, "datatype": kind, "shape": [len(data)], "data": data, **more}


def raw(texts: list[str]) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


@pytest.fixture
def served() -> Served:
    return Served()


def infer(served: Served, *inputs: dict, **more):
    return served.post(INFER, orjson.dumps({"inputs": inputs, **more}))


def framed(served: Served, document: dict, behind: bytes):
    head = orjson.dumps(document)
    return served.post(INFER, head + behind, {"inference-header-content-length": str(len(head))})


def data(answer) -> dict[str, list]:
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_tensors_in_json(served):
    answer = infer(served, tensor("id", KEYS), id="q")
    assert answer.status_code == 200
    assert specification.InferenceResponse.parse_obj(answer.json())
    found = answer.json()
    assert (found["model_name"], found["model_version"], found["id"]) == ("oracle", "sha256:0a", "q")
    assert found["parameters"] == {"snapshot": "sha256:9f", "offset": 0, "staleness": 1.5}
    assert data(answer) == {
        "score": [score(key) for key in KEYS],
        "decision": [score(key) >= 0.5 for key in KEYS],
        "known": [True, True, False],
        "at": [7, 7, 7],
    }
    assert [(output["datatype"], output["shape"]) for output in found["outputs"]] == [
        ("FP64", [3]),
        ("BOOL", [3]),
        ("BOOL", [3]),
        ("INT64", [3]),
    ]
    assert all("parameters" not in output for output in found["outputs"])


def test_outputs_are_those_named_in_their_order(served):
    answer = infer(served, tensor("id", KEYS), outputs=[{"name": name} for name in ("explanation", "embedding", "at")])
    outputs = answer.json()["outputs"]
    assert [output["name"] for output in outputs] == ["explanation", "embedding", "at"]
    assert outputs[1]["shape"] == [3, 4] and outputs[1]["datatype"] == "FP32"
    assert outputs[1]["data"] == pytest.approx(np.repeat([score(key) for key in KEYS], 4).tolist())
    assert orjson.loads(outputs[0]["data"][0]) == [{"kind": "column", "name": "amount", "effect": 0.5}]


def test_moments_and_instances(served):
    assert data(infer(served, tensor("id", KEYS), tensor("at", [5, 6, 8], "INT64")))["at"] == [5, 6, 8]
    infer(served, tensor("id", ["a", "b"]), tensor("at", ["2024-01-01", ""]))
    whole = [orjson.dumps({"id": "new2", "at": 4, "columns": {"x": 1.5}, "links": {"payer": 3}}).decode()]
    answer = infer(served, tensor("instance", whole))
    assert data(answer)["at"] == [4] and data(answer)["known"] == [False]


def test_a_model_without_embeddings_says_so():
    answer = infer(Served(hidden=0), tensor("id", ["a"]), outputs=[{"name": "embedding"}])
    assert answer.status_code == 400 and "no embedding" in answer.json()["error"]


def test_binary_tensors_in_and_out(served):
    keys = raw(KEYS)
    moments = np.array([5, 6, 8], "<i8").tobytes()
    inputs = [
        {"name": "id", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(keys)}},
        {"name": "at", "datatype": "INT64", "shape": [3], "parameters": {"binary_data_size": len(moments)}},
    ]
    wanted = [{"name": "embedding", "parameters": {"binary_data": True}}, {"name": "score"}]
    answer = framed(served, {"inputs": inputs, "outputs": wanted}, keys + moments)
    assert answer.headers["content-type"] == "application/octet-stream"
    head = int(answer.headers["inference-header-content-length"])
    embedding, found = orjson.loads(answer.content[:head])["outputs"]
    assert embedding["parameters"] == {"binary_data_size": 48} and "data" not in embedding
    rows = np.frombuffer(answer.content[head:], "<f4").reshape(3, 4)
    assert rows[:, 0].tolist() == pytest.approx([score(key) for key in KEYS])
    assert found["data"] == [score(key) for key in KEYS]


def test_binary_output_may_be_asked_for_once_and_refused_for_one(served):
    wanted = [{"name": "score"}, {"name": "at", "parameters": {"binary_data": False}}]
    answer = infer(served, tensor("id", ["a"]), outputs=wanted, parameters={"binary_data_output": True})
    head = int(answer.headers["inference-header-content-length"])
    assert np.frombuffer(answer.content[head:], "<f8").tolist() == [score("a")]
    assert orjson.loads(answer.content[:head])["outputs"][1]["data"] == [7]


BAD = [
    ({"inputs": []}, "inputs"),
    ({}, "inputs: is missing"),
    ({"inputs": [tensor("id", ["a"])], "inputz": 1}, "inputz: unknown"),
    ({"inputs": [tensor("id", ["a"]) | {"shape": [2]}]}, "shape [2] and 1 elements"),
    ({"inputs": [tensor("id", ["a"]) | {"shape": [1, 1]}]}, "shape [1, 1]"),
    ({"inputs": [tensor("id", ["a"]) | {"shape": [-1]}]}, "shape [-1]"),
    ({"inputs": [tensor("id", [])]}, "give 1 to 1000"),
    ({"inputs": [tensor("id", [1])]}, "element 0 of id is no BYTES"),
    ({"inputs": [tensor("id", ["a", None])]}, "element 1 of id"),
    ({"inputs": [tensor("id", [["a"]])]}, "element 0 of id"),
    ({"inputs": [tensor("id", [1], "INT64")]}, "id must be BYTES, not 'INT64'"),
    ({"inputs": [tensor("id", [1.5], "FP32")]}, "no FP32"),
    ({"inputs": [tensor("x", ["a"])]}, "no input 'x'"),
    ({"inputs": [tensor("id", ["a"]), tensor("id", ["b"])]}, "given twice"),
    ({"inputs": [tensor("id", ["a"]), tensor("instance", ["{}"])]}, "either id"),
    ({"inputs": [tensor("at", ["a"])]}, "either id"),
    ({"inputs": [tensor("id", ["a"]), tensor("at", [1, 2], "INT64")]}, "2 moments for 1 ids"),
    ({"inputs": [tensor("id", ["a"]), tensor("at", [True], "INT64")]}, "element 0 of at"),
    ({"inputs": [tensor("id", ["a"]), tensor("at", [2**63], "INT64")]}, "does not fit into 64 bits"),
    ({"inputs": [tensor("instance", ["{"])]}, "element 0 is none"),
    ({"inputs": [tensor("instance", ['{"id": "a"}', '{"id": []}'])]}, "instances[1].id"),
    ({"inputs": [tensor("id", ["a"])], "outputs": [{"name": "loss"}]}, "no output 'loss'"),
    ({"inputs": [tensor("id", ["a"], parameters={"x": {}})]}, "parameters"),
    ({"inputs": [tensor("id", ["a"], parameters={"binary_data_size": 3})]}, "either data or"),
    ({"inputs": [{"name": "id", "datatype": "BYTES", "shape": [1]}]}, "either data or"),
    ({"inputs": [{"name": "id", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}]}, "not fit"),
]


@pytest.mark.parametrize("document, told", BAD)
def test_wrong_tensors_are_told(served, document, told):
    answer = served.post(INFER, orjson.dumps(document))
    assert answer.status_code == 400 and list(answer.json()) == ["error"]
    assert told in answer.json()["error"]
    assert served.oracle.calls == []


@pytest.mark.parametrize(
    "size, behind, told",
    [
        (6, raw(["a"]), "does not fit"),
        (5, raw(["a"]) + b"x", "belong to no input"),
        (-1, b"", "does not fit"),
        (True, b"x", "does not fit"),
        (4, raw(["a"])[:4], "ends within an element"),
        (2, b"\0\0", "ends within an element's length"),
        (5, struct.pack("<I", 1) + b"\xff", "not UTF-8"),
    ],
)
def test_wrong_bytes_are_told(served, size, behind, told):
    inputs = [{"name": "id", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}]
    answer = framed(served, {"inputs": inputs}, behind)
    assert answer.status_code == 400 and told in answer.json()["error"]


def test_a_head_longer_than_the_body_is_told(served):
    answer = served.post(INFER, b"{}", {"inference-header-content-length": "3"})
    assert answer.status_code == 400 and "the body has 2" in answer.json()["error"]


# other people's clients, over a network


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server") / "log") as process:
        yield process


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_triton_over_rest(server, binary_in, binary_out, packing):
    with tritonclient.http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("oracle")
        keys = tritonclient.http.InferInput("id", [3], "BYTES")
        keys.set_data_from_numpy(np.array(KEYS, dtype=object), binary_data=binary_in)
        names = ("score", "decision", "embedding", "explanation")
        wanted = [tritonclient.http.InferRequestedOutput(name, binary_data=binary_out) for name in names]
        found = client.infer("oracle", [keys], outputs=wanted, request_compression_algorithm=packing)
        assert found.as_numpy("score").tolist() == [score(key) for key in KEYS]
        assert found.as_numpy("decision").tolist() == [score(key) >= 0.5 for key in KEYS]
        assert found.as_numpy("embedding").shape == (3, 4)
        assert b"amount" in bytes(found.as_numpy("explanation")[0]) if binary_out else True
        assert client.get_model_metadata("oracle")["versions"] == ["sha256:0a"]
        assert client.is_model_ready("oracle", "sha256:0a") and not client.is_model_ready("oracle", "2")


def test_triton_over_grpc(server):
    command = [sys.executable, "-m", "tests.triton", str(server.grpc)]
    root = Path(__file__).parent.parent
    found = json.loads(subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60).stdout)
    assert found["ready"] and found["id"] == "q" and found["snapshot"] == "sha256:9f"
    assert found["versions"] == ["sha256:0a"]
    assert found["score"] == [score("a"), score("b")] and found["at"] == [5, 6]
    assert np.shape(found["embedding"]) == (2, 4) and "amount" in found["explanation"][1]


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        yield stubs.GRPCInferenceServiceStub(channel)


def asked(**more) -> messages.ModelInferRequest:
    contents = messages.InferTensorContents(bytes_contents=[b"a", b"b"])
    inputs = [messages.ModelInferRequest.InferInputTensor(name="id", datatype="BYTES", shape=[2], contents=contents)]
    return messages.ModelInferRequest(**{"model_name": "oracle", "inputs": inputs, **more})


def test_grpc_contents_that_are_not_raw(stub):
    wanted = [messages.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in ("score", "embedding")]
    found, call = stub.ModelInfer.with_call(asked(outputs=wanted), metadata=(("x-request-id", "r-1"),))
    assert not found.raw_output_contents and found.id == "r-1"
    assert list(found.outputs[0].contents.fp64_contents) == [score("a"), score("b")]
    assert list(found.outputs[1].shape) == [2, 4] and len(found.outputs[1].contents.fp32_contents) == 8
    assert ("x-request-id", "r-1") in [tuple(item) for item in call.trailing_metadata()]
    assert stub.ModelInfer(asked()).outputs[1].contents.bool_contents


@pytest.mark.parametrize(
    "request_, code, told",
    [
        (asked(model_name="other"), "NOT_FOUND", "'oracle' version 'sha256:0a'"),
        (asked(model_version="2"), "NOT_FOUND", "version '2'"),
        (asked(inputs=[]), "INVALID_ARGUMENT", "1 to 3 inputs"),
        (asked(raw_input_contents=[b"a", b"b"]), "INVALID_ARGUMENT", "2 raw contents for 1"),
        (asked(raw_input_contents=[raw(["a"])]), "INVALID_ARGUMENT", "beside the raw ones"),
        (asked(inputs=[messages.ModelInferRequest.InferInputTensor(name="id")]), "INVALID_ARGUMENT", "must be BYTES"),
    ],
)
def test_grpc_refusals_tell_why(stub, request_, code, told):
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(request_)
    assert error.value.code().name == code and told in error.value.details()


def test_grpc_tells_of_a_bug_without_its_details(stub):
    for key in (b"boom", b"odd"):
        contents = messages.InferTensorContents(bytes_contents=[key])
        tensor_ = messages.ModelInferRequest.InferInputTensor(name="id", datatype="BYTES", shape=[1], contents=contents)
        with pytest.raises(grpc.RpcError) as error:
            stub.ModelInfer(asked(inputs=[tensor_]))
        assert error.value.code().name == "INTERNAL" and "log" in error.value.details()


def test_every_failure_has_a_status_and_a_code():
    for kind in Kind:
        assert kind.code in grpc.StatusCode.__members__ and http.HTTPStatus(kind.status) >= 400


def test_grpc_repository_and_size_are_closed(server, stub):
    with pytest.raises(grpc.RpcError) as error:
        stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name="oracle"))
    assert error.value.code().name == "UNIMPLEMENTED"
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(asked(id="x" * (9 * 1024 * 1024)))
    assert error.value.code().name == "RESOURCE_EXHAUSTED"
    assert stub.ServerLive(messages.ServerLiveRequest()).live


def test_the_protocols_own_client(server):
    client = OpenInferenceClient(base_url=server.url)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("oracle")
    client.check_model_version_readiness("oracle", "sha256:0a")
    assert client.read_server_metadata().name == "graphmill"
    assert client.read_model_version_metadata("oracle", "sha256:0a").versions == ["sha256:0a"]
    request = specification.InferenceRequest(inputs=[specification.RequestInput(**tensor("id", KEYS))])
    for found in (
        client.model_infer("oracle", request=request),
        client.model_version_infer("oracle", "sha256:0a", request=request),
    ):
        assert found.outputs[0].data.__root__ == [score(key) for key in KEYS]
    with pytest.raises(BadRequestError):
        wrong = specification.RequestInput(**tensor("id", [1]))
        client.model_infer("oracle", request=specification.InferenceRequest(inputs=[wrong]))
    client._client_wrapper.httpx_client.close()
