import asyncio
import gzip
import json
import zlib

import orjson
import pytest
from prometheus_client import REGISTRY, generate_latest

from graphmill.serving import metrics
from graphmill.serving.failure import Kind
from tests.oracle import score
from tests.serving import BEARER, TOKEN, Served, samples

PREDICT = "/v1/models/oracle:predict"
INFER = "/v2/models/oracle/infer"
ONE = b'{"instances": [{"id": "a"}]}'
TENSOR = b'{"inputs": [{"name": "id", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'


@pytest.fixture
def served() -> Served:
    return Served()


def test_a_prediction_says_what_it_was_computed_from(served):
    answer = served.post(PREDICT, b'{"instances": [{"id": "a"}, {"id": 5, "at": 9}, {"id": "new1"}]}')
    assert answer.status_code == 200
    assert answer.json() == {
        "predictions": [
            {"id": "a", "score": score("a"), "decision": True, "known": True, "at": 7},
            {"id": "5", "score": score("5"), "decision": True, "known": True, "at": 9},
            {"id": "new1", "score": score("new1"), "decision": score("new1") >= 0.5, "known": False, "at": 7},
        ],
        "model": {"name": "oracle", "version": "sha256:0a"},
        "graph": {"snapshot": "sha256:9f", "offset": 0, "staleness": 1.5},
    }


def test_embeddings_and_explanations_only_when_asked_for(served):
    body = b'{"instances": [{"id": "a"}], "parameters": {"embedding": true}}'
    (found,) = served.post(PREDICT, body).json()["predictions"]
    assert found["embedding"] == pytest.approx([score("a")] * 4) and "explanation" not in found
    (found,) = served.post("/v1/models/oracle:explain", ONE).json()["predictions"]
    assert found["explanation"] == [{"kind": "column", "name": "amount", "effect": 0.5}] and "embedding" not in found


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "", None]
)
def test_v1_is_json_whatever_the_content_type_says(served, kind):
    headers = {} if kind is None else {"content-type": kind}
    assert served.post(PREDICT, ONE, headers).status_code == 200


def test_v2_json_needs_no_content_type(served):
    assert served.post(INFER, TENSOR).status_code == 200
    assert served.post(INFER, TENSOR, {"content-type": "application/octet-stream"}).status_code == 200


@pytest.mark.parametrize(
    "body, told",
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"[]", "list of instances"),
        (b'{"instances": {}}', "list of instances"),
        (b'{"instances": []}', "give 1 to 1000"),
        (b'{"instances": [{"id": "a"}, {"id": true}]}', "instances[1].id: must be text or a whole number (given True)"),
        (b'{"instances": [{"id": "a"}, {}]}', "instances[1].id: is missing"),
        (b'{"instances": [{"id": "a", "color": 1}]}', "instances[0].color: unknown"),
        (b'{"instances": [{"id": "a", "columns": {"x": NaN}}]}', "not JSON"),
        (b'{"instances": [{"id": "a", "columns": {"x": 1e999}}]}', "not JSON"),
        (b'{"instances": [{"id": 1.5}]}', "instances[0].id"),
        (b'{"instances": [{"id": 18446744073709551615}]}', "instances[0]: 18446744073709551615 does not fit"),
        (b'{"instances": [{"id": "a"}], "parameters": {"embeding": true}}', "did you mean 'embedding'?"),
        (b'{"instances": [{"id": "a"}], "path": "/etc/passwd"}', "path: unknown"),
        (b'{"instances": [{"id": "a"}], "parameters": {"embedding": 1}}', "parameters.embedding: must be true or"),
        (b'{"instances": [{"id": "\xff"}]}', "not JSON"),
        (b'{"instances": [{"id": "a"}, {"id": "bad7"}]}', "instances[1]: bad7 is not a payment; give its key"),
        (b'{"instances": [{"id": "a", "edges": [{"edge": "e", "tim": 3}]}]}', "instances[0].edges[0].tim: unknown"),
    ],
)
def test_one_bad_instance_refuses_the_request_and_is_named(served, body, told):
    answer = served.post(PREDICT, body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"] and told in answer.json()["error"]


@pytest.mark.parametrize(
    "instance, told",
    [
        ({"id": "a" * 51}, "a text of 51 characters"),
        ({"id": "a", "columns": {"k" * 51: 1}}, "a text of 51 characters"),
        ({"id": "a", "columns": {"x": [[[[[[1]]]]]]}}, "nested deeper than 6 levels"),
        ({"id": "a", "links": {str(place): "b" for place in range(4)}}, "4 links; at most 3"),
        ({"id": "a", "edges": [{"edge": "e"}] * 3}, "3 edges; at most 2"),
        ({"id": "a", "columns": {str(place): 1 for place in range(4)}}, "4 columns; at most 3"),
        ({"id": "a", "edges": [{"edge": "e", "columns": dict.fromkeys("abcd", 1)}]}, "4 columns; at most 3"),
    ],
)
def test_limits_name_the_instance(instance, told):
    served = Served(text_limit=50, nesting_limit=6, links_limit=3, edges_limit=2, columns_limit=3)
    body = orjson.dumps({"instances": [{"id": "fine"}, instance]})
    assert served.post(PREDICT, body).json()["error"].startswith("instances[1]: ")
    assert told in served.post(PREDICT, body).json()["error"]
    tensor = {"name": "instance", "datatype": "BYTES", "shape": [1], "data": [orjson.dumps(instance).decode()]}
    answer = served.post(INFER, orjson.dumps({"inputs": [tensor]}))
    assert answer.status_code == 400 and told in answer.json()["error"]


def test_a_body_nested_a_hundred_thousand_deep_is_refused(served):
    deep = b'{"instances": [{"id": "a", "columns": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}"
    assert served.post(PREDICT, deep).status_code == 400


def test_too_many_instances_and_too_many_explanations():
    served = Served(instances_limit=3, explanations_limit=2)
    four, three = ({"instances": [{"id": "a"}] * number} for number in (4, 3))
    assert "at most" not in served.post(PREDICT, orjson.dumps(three)).text
    assert "give 1 to 3" in served.post(PREDICT, orjson.dumps(four)).json()["error"]
    assert "with explanations, give 1 to 2" in served.post("/v1/models/oracle:explain", orjson.dumps(three)).text


def test_a_body_over_the_limit_is_413_also_when_it_is_packed_or_comes_in_parts():
    served = Served(body_limit=1024)
    large = b'{"instances": [{"id": "a"}]' + b" " * 2000 + b"}"

    async def parts():
        for place in range(0, len(large), 100):
            yield large[place : place + 100]

    assert served.post(PREDICT, large).status_code == 413
    assert served.request("POST", PREDICT, content=parts()).status_code == 413
    packed = gzip.compress(large)
    assert len(packed) < 1024
    assert served.post(PREDICT, packed, {"content-encoding": "gzip"}).status_code == 413
    assert served.post(INFER, large).json() == {
        "error": "the body is larger than 1024 bytes; send fewer instances at once"
    }


def test_packed_bodies_are_unpacked(served):
    assert served.post(PREDICT, gzip.compress(ONE), {"content-encoding": "gzip"}).status_code == 200
    assert served.post(PREDICT, zlib.compress(ONE), {"content-encoding": "deflate"}).status_code == 200
    for broken in (ONE, gzip.compress(ONE)[:-3], gzip.compress(ONE) + b"more"):
        assert served.post(PREDICT, broken, {"content-encoding": "gzip"}).status_code == 400
    assert served.post(PREDICT, ONE, {"content-encoding": "br"}).status_code == 415


def test_readiness_follows_the_predictor_and_liveness_does_not(served):
    ready = [
        "/v1/models/oracle",
        "/v2/health/ready",
        "/v2/models/oracle/ready",
        "/v2/models/oracle/versions/sha256:0a/ready",
    ]
    assert [served.get(path).status_code for path in ready] == [200] * 4
    served.oracle.trouble = "replaying the log: 3 of 9 events"
    for path in ready:
        answer = served.get(path)
        assert answer.status_code == 503 and answer.json() == {"error": served.oracle.trouble}
    for path, body in ((PREDICT, ONE), (INFER, TENSOR)):
        answer = served.post(path, body)
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert served.oracle.calls == []
    assert served.get("/v2/health/live").json() == {"live": True} and served.get("/").json() == {"status": "alive"}


def test_what_is_not_named_cannot_be_reached(served):
    for path in ("/v2/repository/models/oracle/unload", "/v2/repository/models/oracle/load", "/v2/repository/index"):
        answer = served.post(path)
        assert answer.status_code == 404 and list(answer.json()) == ["error"]
    assert served.get("/openapi.json").status_code == served.get("/docs").status_code == 404
    assert served.get("/metrics").headers["x-from"] == "kserve"


def test_an_unknown_model_or_version_is_404_and_says_what_is_there(served):
    paths = ["/v1/models/other:predict", "/v2/models/other/infer", "/v2/models/oracle/versions/2/infer"]
    for path in paths:
        answer = served.post(path, ONE)
        assert answer.status_code == 404 and "'oracle' version 'sha256:0a'" in answer.json()["error"]
    assert served.post("/v2/models/oracle/versions/sha256:0a/infer", TENSOR).status_code == 200
    assert served.get("/v2/models/oracle/versions/sha256:0a").json() == served.get("/v2/models/oracle").json()
    assert served.get("/v2/models/oracle/versions/1/ready").status_code == 404


def test_a_wrong_method_is_405_and_says_the_right_one(served):
    for path, method, right in (
        (PREDICT, "GET", "POST"),
        ("/v2/health/ready", "POST", "GET"),
        ("/metrics", "PUT", "GET"),
    ):
        answer = served.request(method, path)
        assert answer.status_code == 405 and answer.headers["allow"] == right and right in answer.json()["error"]


def test_the_request_id_is_taken_or_made(served):
    assert served.post(PREDICT, ONE, {"x-request-id": "r-1"}).headers["x-request-id"] == "r-1"
    made = {served.post(PREDICT, ONE).headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    assert len(served.post(PREDICT, ONE, {"x-request-id": "r" * 500}).headers["x-request-id"]) == 32
    assert served.post(INFER, TENSOR, {"x-request-id": "r-2"}).json()["id"] == "r-2"
    assert served.post(PREDICT, b"{", {"x-request-id": "r-3"}).headers["x-request-id"] == "r-3"


def test_a_bug_is_500_without_its_details_and_harms_no_neighbour(served):
    fine, boom = served.together(
        lambda client: client.post(PREDICT, content=ONE),
        lambda client: client.post(PREDICT, content=b'{"instances": [{"id": "boom"}]}'),
    )
    assert fine.status_code == 200
    assert boom.status_code == 500 and "bug" not in boom.text


def test_an_answer_that_cannot_be_written_is_500_with_the_request_id(served, caplog):
    answer = served.post(PREDICT, b'{"instances": [{"id": "odd"}]}', {"x-request-id": "r-9"})
    assert answer.status_code == 500 and "r-9" in answer.json()["error"] and "r-9" in caplog.text


def test_headers_that_must_be_numbers(served):
    for name in ("x-request-timeout-ms", "inference-header-content-length"):
        for given in ("soon", "-1", "9" * 20):
            answer = served.post(INFER, TENSOR, {name: given})
            assert answer.status_code == 400 and name in answer.json()["error"]


def test_metadata_has_no_nulls(served):
    assert served.get("/v2").json()["name"] == "graphmill"
    assert served.get("/v1/models").json() == served.get("/v2/models").json() == {"models": ["oracle"]}
    found = served.get("/v2/models/oracle").json()
    assert found["versions"] == ["sha256:0a"] and None not in found.values()
    assert {tensor["name"] for tensor in found["outputs"]} >= {"score", "decision", "known", "at"}


# events and administration


@pytest.fixture
def keeper(monkeypatch) -> Served:
    monkeypatch.setenv("GRAPHMILL_TOKEN", TOKEN)
    return Served()


EVENTS = b'{"events": [{"id": "e1"}, {"id": "e2"}, {"id": "e1"}]}'


def test_events_are_counted_and_located(keeper):
    answer = keeper.post("/v1/graph/events", EVENTS, BEARER | {"content-type": "application/json"})
    assert answer.json() == {"accepted": 2, "duplicates": 1, "offset": 1}
    lines = {"content-type": "application/x-ndjson; charset=utf-8"}
    answer = keeper.post("/v1/graph/events", b'{"id": "e2"}\n\n{"id": "e3"}\n', BEARER | lines)
    assert answer.json() == {"accepted": 1, "duplicates": 1, "offset": 2}
    assert keeper.get("/v1/graph", headers=BEARER).json() == {
        "snapshot": "sha256:9f",
        "offset": 3,
        "staleness": 1.5,
        "ready": True,
        "problem": None,
    }


@pytest.mark.parametrize(
    "body, status, told",
    [
        (b'{"events": [{"id": "a"}, {"kind": "node"}]}', 400, "events[1].id: is missing"),
        (b'{"events": [{"id": "a"}, 7]}', 400, "events[1]: must be an object"),
        (b'{"events": []}', 400, "give 1 to 10000"),
        (b'{"events": [{"id": "a"}], "file": "x"}', 400, "nothing else"),
        (b"[]", 400, "the body must be"),
        (b'{"events": [{"id": "a"}, {"id": "%s"}]}' % (b"x" * 1001), 400, "events[1]: a text of 1001 characters"),
    ],
)
def test_bad_events_are_refused_and_named(keeper, body, status, told):
    answer = keeper.post("/v1/graph/events", body, BEARER | {"content-type": "application/json"})
    assert answer.status_code == status and told in answer.json()["error"]
    assert keeper.oracle.seen == {}


def test_events_that_cannot_be_taken_now_are_503(keeper):
    answer = keeper.post("/v1/graph/events", b'{"id": "full"}', BEARER | {"content-type": "application/x-ndjson"})
    assert answer.status_code == 503 and answer.json() == {"error": "the log is full; compact it"}


def test_events_of_a_connection_that_breaks_are_not_taken(keeper):
    messages = [{"type": "http.request", "body": b'{"id": "e1"}\n', "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/x-ndjson"}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/graph/events", "headers": raw}
    asyncio.run(keeper.front(scope, receive, send))
    assert sent[0]["status"] == 400 and keeper.oracle.seen == {}


def test_a_bad_line_is_named(keeper):
    answer = keeper.post("/v1/graph/events", b'{"id": "a"}\n{', BEARER | {"content-type": "application/x-ndjson"})
    assert answer.status_code == 400 and "line 2" in answer.json()["error"]
    assert keeper.post("/v1/graph/events", EVENTS, BEARER | {"content-type": "text/csv"}).status_code == 415


def test_the_keeper_compacts_and_reloads(keeper):
    assert keeper.post("/v1/graph/compact", headers=BEARER).json() == {"snapshot": "sha256:new"}
    assert keeper.post("/v1/graph/reload", headers=BEARER).json() == {"version": "sha256:0a"}
    keeper.oracle.trouble = "broken"
    assert "deploy the model again" in keeper.post("/v1/graph/reload", headers=BEARER).json()["error"]


ADMIN = [
    ("GET", "/v1/graph"),
    ("POST", "/v1/graph/events"),
    ("POST", "/v1/graph/compact"),
    ("POST", "/v1/graph/reload"),
]


@pytest.mark.parametrize("method, path", ADMIN)
def test_without_the_token_nothing_passes(keeper, method, path):
    for given in (None, "Bearer", "Bearer ", "Basic " + TOKEN, "Bearer " + TOKEN[:-1], "Bearer " + TOKEN + "0"):
        headers = {"content-type": "application/json"} | ({"authorization": given} if given else {})
        answer = keeper.request(method, path, headers=headers, content=EVENTS)
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    assert keeper.oracle.seen == {}


@pytest.mark.parametrize("method, path", ADMIN)
def test_a_server_without_a_token_takes_nothing(served, method, path):
    answer = served.request(method, path, headers=BEARER, content=EVENTS)
    assert answer.status_code == 403 and "--token_file" in answer.json()["error"]


def test_an_insecure_local_server_takes_events_but_none_from_web_pages():
    served = Served(insecure_local=True)
    kind = {"content-type": "application/json"}
    assert served.post("/v1/graph/events", EVENTS, kind).status_code == 200
    assert served.post("/v1/graph/compact", headers={"origin": "http://evil"}).status_code == 403


# metrics


def test_requests_failures_stages_and_scores_are_counted(served):
    def now(name: str) -> dict[str, float]:
        return samples(generate_latest(REGISTRY).decode(), name)

    names = ["graphmill_requests_total", "graphmill_failures_total", "graphmill_stage_seconds_count"]
    names += ["graphmill_score_count", "graphmill_judged_nodes_total", "graphmill_batch_instances_sum"]
    names += ["request_predict_seconds_count", "graphmill_request_seconds_count"]
    before = {name: now(name) for name in names}
    served.post(PREDICT, b'{"instances": [{"id": "a"}, {"id": "new1"}]}')
    served.post(PREDICT, b"{")
    served.post(INFER, TENSOR)
    served.get("/v1/models/other")

    def more(name: str, label: str) -> float:
        return now(name)[label] - before[name].get(label, 0)

    assert more(names[0], 'protocol="v1"') == 3 and more(names[0], 'protocol="v2"') == 1
    assert more(names[1], 'protocol="v1",reason="invalid"') == 1
    assert more(names[1], 'protocol="v1",reason="not_found"') == 1
    assert more(names[2], 'stage="queue"') == 2 and more(names[2], 'stage="encode"') == 2
    assert more(names[3], "") == 3 and more(names[5], "") == 3
    assert more(names[4], 'known="true"') == 2 and more(names[4], 'known="false"') == 1
    assert more(names[6], 'model_name="oracle"') == 2
    assert more(names[7], 'protocol="v1"') == 3


def test_the_score_histogram_is_cumulative(served):
    def now() -> dict[str, float]:
        return samples(generate_latest(REGISTRY).decode(), "graphmill_score_bucket")

    before = now()
    served.post(PREDICT, json.dumps({"instances": [{"id": "a"}]}).encode())
    steps = {float(label[4:-1]): value - before.get(label, 0) for label, value in now().items()}
    assert all(count == (bound >= score("a")) for bound, count in steps.items())


def test_labels_are_bounded():
    text = generate_latest(REGISTRY).decode()
    assert len(samples(text, "graphmill_failures_total")) == len(metrics.PROTOCOLS) * len(Kind)


def test_probes_are_not_counted_as_requests_for_predictions(served):
    def now() -> dict[str, float]:
        return samples(generate_latest(REGISTRY).decode(), "graphmill_requests_total")

    before = now()
    served.get("/v2/models/oracle/ready")
    served.get("/v1/models/oracle")
    assert {label: value - before[label] for label, value in now().items() if value != before[label]} == {
        'protocol="state"': 2
    }
