"""Shadow traffic: a sample is asked of the candidate too, compared and counted, and never in an answer's way."""

import asyncio
import json
import math
import socket
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from graphmill.serving import metrics, service, shadow
from graphmill.serving.batching import Batcher
from graphmill.serving.drawn import drawn
from graphmill.serving.exchange import MIRRORED
from graphmill.serving.framework import messages, stubs
from graphmill.serving.instance import Answer, InlineEdge, Instance, Options
from graphmill.serving.settings import Settings
from graphmill.serving.shadow import Shadow
from tests.oracle import Oracle
from tests.serving import Served, free_ports

CHAMPION, CANDIDATE = "a" * 16, "b" * 16


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that stands still for seconds makes no candidate late."""
    monkeypatch.setattr(shadow, "TIMEOUT", 120.0)
    monkeypatch.setattr(shadow, "CONNECT", 60.0)


class Candidate:
    """A server that answers as it is told; what it was asked stands in ``asked``."""

    def __init__(self):
        self.asked, self.most, self.now = [], 0, 0
        self.over = asyncio.Event()
        self.scores = lambda instances: [0.75 for _ in instances]
        self.status, self.hang, self.body = 200, 0.0, None

    async def answer(self, request):
        self.asked.append(({name.lower(): value for name, value in request.headers.items()}, await request.json()))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.hang:
                await asyncio.wait([asyncio.create_task(self.over.wait())], timeout=self.hang)
        finally:
            self.now -= 1
        if self.body is not None:
            return web.Response(text=self.body)
        scores = self.scores(self.asked[-1][1]["instances"])
        answers = [{"score": score, "decision": score >= 0.5} for score in scores]
        return web.json_response({"predictions": answers}, status=self.status)

    @asynccontextmanager
    async def running(self):
        application = web.Application()
        application.router.add_post("/v1/models/m:predict", self.answer)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/models/m:predict"
        finally:
            self.over.set()
            await runner.cleanup()


def destination(file, url, **changes):
    told = {"champion": CHAMPION, "candidate": CANDIDATE, "url": url, "share": 1.0} | changes
    file.write_text(json.dumps(told))


def counted(candidate=CANDIDATE):
    """Compared, disagreed, failed, skipped."""
    return [int(counter.labels(candidate)._value.get()) for counter in metrics.SHADOW]


async def until(true):
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.005)


def mirrored(tmp_path, work, candidate=None, **changes):
    """What ``work`` makes of a shadow: counts that were added, and the candidate."""
    candidate = candidate or Candidate()

    async def live():
        async with candidate.running() as url:
            destination(tmp_path / "shadow.json", changes.pop("url", url), **changes)
            one = Shadow(tmp_path / "shadow.json", CHAMPION, "payment", str(tmp_path / "log"))
            await one.start()
            try:
                await work(one)
            finally:
                await one.stop()

    before = counted()
    asyncio.run(live())
    return [after - first for after, first in zip(counted(), before, strict=True)], candidate


def offer(one, *keys, request="r", decision=True):
    answers = [Answer(key, 0.75 if decision else 0.25, decision, True, 7) for key in keys]
    one.offer(request, [Instance(id=key) for key in keys], answers)


def rows(folder):
    return [row for file in sorted(folder.glob("comparisons-*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_the_candidate_is_asked_the_same_and_both_answers_are_kept(tmp_path):
    edge = InlineEdge(edge="login", target="d1", time=3, columns={"success": True})
    asked = [Instance(id=7, at=5, columns={"amount": 1.5}, links={"account_id": "a"}, edges=[edge]), Instance(id="p2")]
    candidate = Candidate()
    candidate.scores = lambda instances: [0.75, 0.1]

    async def work(one):
        one.offer("r1", asked, [Answer("7", 0.8, True, False, 5), Answer("p2", 0.1, False, True, 6)])
        await until(lambda: counted()[0] > before)

    before = counted()[0]
    found, candidate = mirrored(tmp_path, work, candidate)
    assert found == [1, 0, 0, 0]
    headers, body = candidate.asked[0]
    assert (headers[MIRRORED], headers["x-request-id"]) == ("1", "r1")
    given = {"edge": "login", "target": "d1", "time": 3, "columns": {"success": True}}
    first = {"id": 7, "at": 5, "columns": {"amount": 1.5}, "links": {"account_id": "a"}, "edges": [given]}
    assert body == {"instances": [first, {"id": "p2"}]}
    told = rows(tmp_path / "log")
    assert abs(told[0].pop("answered_at") - time.time()) < 60
    assert told[0] == {
        "request": "r1", "node": "payment", "key": "7", "time": 5, "champion": CHAMPION, "candidate": CANDIDATE,
        "champion_score": 0.8, "champion_decision": True, "candidate_score": 0.75, "candidate_decision": True,
        "failure": None,
    }  # fmt: skip
    assert (told[1]["key"], told[1]["candidate_decision"]) == ("p2", False)


def test_disagreement_is_counted_once_a_request(tmp_path):
    """Half of the instances of every request are decided otherwise: so are about half of the requests."""
    candidate = Candidate()
    candidate.scores = lambda instances: [0.9, 0.1] * (len(instances) // 2)

    async def work(one):
        for number in range(200):
            offer(one, *"abcd", request=f"r{number}")
        await until(lambda: counted()[0] - before == 200)

    before = counted()[0]
    (compared, disagreed, failed, skipped), _ = mirrored(tmp_path, work, candidate)
    assert (compared, failed, skipped) == (200, 0, 0) and 70 <= disagreed <= 130
    assert sum(row["candidate_decision"] for row in rows(tmp_path / "log")) == 400


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": 500}, "internal"),
        ({"status": 503}, "not_ready"),
        ({"status": 400}, "invalid"),
        ({"status": 302}, "status_302"),
        ({"hang": 600}, "late"),
        ({"body": "not json"}, "malformed"),
        ({"body": '{"predictions": []}'}, "malformed"),
    ],
)
def test_a_candidate_that_does_not_answer_is_counted_with_a_reason(tmp_path, monkeypatch, changes, reason):
    if reason == "late":
        monkeypatch.setattr(shadow, "TIMEOUT", 0.2)
    candidate = Candidate()
    vars(candidate).update(changes)

    async def work(one):
        offer(one, "p1", "p2")
        await until(lambda: counted()[2] > before)

    before = counted()[2]
    assert mirrored(tmp_path, work, candidate)[0] == [0, 0, 1, 0]
    assert [(row["failure"], row["candidate_score"]) for row in rows(tmp_path / "log")] == [(reason, None)] * 2


def test_a_candidate_that_hangs_delays_nothing_and_what_does_not_fit_is_skipped(tmp_path, monkeypatch):
    """Ten minutes a question: all answers are there before the first of them."""
    monkeypatch.setattr(shadow, "TIMEOUT", 900)
    monkeypatch.setattr(shadow, "QUEUE", 50)
    candidate = Candidate()
    candidate.hang = 600

    async def work(one):
        batcher = Batcher(Oracle(), 100, 10)
        async with asyncio.timeout(120):
            for number in range(100):
                instances = [Instance(id=f"p{number}")]
                answered = await batcher.ask(instances, Options(), math.inf)
                one.offer(f"r{number}", instances, answered.answers)
        await until(lambda: candidate.now == shadow.FLIGHTS)
        offer(one, *map(str, range(51)))

    (compared, disagreed, failed, skipped), candidate = mirrored(tmp_path, work, candidate)
    assert (compared, disagreed, failed) == (0, 0, 0)
    assert candidate.most == len(candidate.asked) == shadow.FLIGHTS
    assert skipped == 100 - 50 - shadow.FLIGHTS + 1, "those on their way and those that wait are all"


def test_a_candidate_that_is_away_is_left_alone_for_a_while(tmp_path, monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(shadow, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/models/m:predict"

        async def work(one):
            offer(one, "p1")
            await until(lambda: counted()[2] > before)
            for _ in range(10):
                offer(one, "p1")
            assert one._pause == shadow.PAUSE
            now[0] = one._until + 0.1
            offer(one, "p2")
            await until(lambda: counted()[2] > before + 1)
            assert one._pause == 2 * shadow.PAUSE, "twice as long each time"

        before = counted()[2]
        assert mirrored(tmp_path, work, url=away)[0] == [0, 0, 2, 10]
    assert caplog.text.count("cannot be reached") == 1


def test_the_file_is_taken_over_and_what_is_wrong_with_it_is_told_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shadow, "WATCH", 0.01)
    file = tmp_path / "shadow.json"

    async def work(one):
        url = one._to.url
        for content in ("", "{}", "{", "[1]", '{"champion": 1}', json.dumps({"champion": CHAMPION})):
            file.write_text(content)
            await until(lambda text=content: one._content == text.encode())
            offer(one, "p1")
        destination(file, url, champion="c" * 16)
        await until(lambda: b"cccc" in one._content)
        offer(one, "p1")
        file.unlink()
        await until(lambda: one._content == b"")
        offer(one, "p1")
        destination(file, url)
        await until(lambda: one._to is not None)
        offer(one, "p2")
        await until(lambda: counted()[0] > before)

    before = counted()[0]
    found, candidate = mirrored(tmp_path, work)
    assert found == [1, 0, 0, 0]
    assert [body for _, body in candidate.asked] == [{"instances": [{"id": "p2"}]}]
    assert caplog.text.count("nothing is mirrored") == 4
    assert "not JSON" in caplog.text and "url" in caplog.text


def test_the_sample_follows_from_the_ids_and_is_another_one_than_that_of_the_log(tmp_path):
    ids = [f"r{number}" for number in range(2_000)]

    async def work(one):
        for request in ids:
            offer(one, "p", request=request)
            await asyncio.sleep(0)
        await until(lambda: counted()[0] - before == len(expected))

    before, expected = counted()[0], [request for request in ids if drawn(request, 0.2, b"shadow")]
    _, candidate = mirrored(tmp_path, work, share=0.2)
    assert 330 < len(expected) < 470
    assert {headers["x-request-id"] for headers, _ in candidate.asked} == set(expected)
    both = [request for request in expected if drawn(request, 0.2)]
    assert 0.1 < len(both) / len(expected) < 0.3, "as independent draws are"


def test_what_every_protocol_asks_is_mirrored_and_what_is_mirrored_is_counted_apart():
    served = Served()
    names = ("v1", "v2", "shadow")
    before = np.array([metrics.REQUESTS[name]._value.get() for name in names])
    first, second = "/v1/models/oracle:predict", "/v2/models/oracle/infer"
    tensor = {"name": "id", "datatype": "BYTES", "shape": [1], "data": ["p2"]}
    asked = {first: {"instances": [{"id": "p1"}]}, second: {"inputs": [tensor]}}
    for path, body in asked.items():
        for headers in ({}, {MIRRORED: "1"}, {MIRRORED: "0"}):
            answer = served.post(path, json.dumps(body).encode(), {"x-request-id": "r1", **headers})
            assert answer.status_code == 200
    served.post("/v1/models/oracle:explain", b'{"instances": [{"id": "p3"}]}', {"x-request-id": "r3"})
    served.post(first, b'{"instances": [{"id": "bad"}]}')
    assert served.oracle.mirrored == [("r1", ["p1"])] * 2 + [("r1", ["p2"])] * 2
    after = np.array([metrics.REQUESTS[name]._value.get() for name in names])
    assert (after - before).tolist() == [4, 2, 2]
    failures = metrics.FAILURES["shadow", shadow.Kind.INVALID]._value.get()
    served.post(first, b'{"instances": [{"id": "bad"}]}', {MIRRORED: "1"})
    assert metrics.FAILURES["shadow", shadow.Kind.INVALID]._value.get() == failures + 1


def test_remote_calls_are_mirrored_too_and_mirrored_ones_counted_apart():
    served, (port,) = Served(), free_ports(1)
    settings = Settings.parse({"model": "m", "graph": "g", "grpc_port": port, "insecure_local": True})

    async def live():
        server = service.Server(settings, served.model)
        server.listen()
        await server._server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask = stubs.GRPCInferenceServiceStub(channel).ModelInfer
            for metadata in ((), ((MIRRORED, "1"),)):
                contents = messages.InferTensorContents(bytes_contents=[b"p1"])
                tensor = messages.ModelInferRequest.InferInputTensor(
                    name="id", datatype="BYTES", shape=[1], contents=contents
                )
                request = messages.ModelInferRequest(model_name="oracle", inputs=[tensor])
                assert (await ask(request, metadata=(("x-request-id", "r1"), *metadata))).model_name == "oracle"
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(messages.ModelInferRequest(model_name="other"), metadata=((MIRRORED, "1"),))
        await server._server.stop(None)

    names = ("grpc", "shadow")
    before = [metrics.REQUESTS[name]._value.get() for name in names]
    failed = metrics.FAILURES["shadow", shadow.Kind.NOT_FOUND]._value.get()
    asyncio.run(live())
    assert [metrics.REQUESTS[name]._value.get() - old for name, old in zip(names, before, strict=True)] == [1, 2]
    assert metrics.FAILURES["shadow", shadow.Kind.NOT_FOUND]._value.get() == failed + 1
    assert served.oracle.mirrored == [("r1", ["p1"])]
