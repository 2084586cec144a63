"""What a server survives: killed, a full disk, a damaged snapshot, a new snapshot while it is asked."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from graphmill.errors import UserError
from graphmill.serving.instance import Instance, Options
from graphmill.serving.log import NotNow, read_log
from graphmill.serving.predictor import LivePredictor
from graphmill.serving.settings import Settings
from tests.serving import free_ports

ROOM = {"room_nodes": 10_000, "room_edges": 100_000}


@pytest.fixture(scope="module")
def snapshot(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshot")
    for name in ("graph", "features"):
        shutil.copytree(tiny_run / "artifacts" / name, folder / name)
    return folder


def predictor(tiny_run, graph, state):
    given = {"model": str(tiny_run / "artifacts" / "model"), "graph": str(graph), "state": str(state)}
    return LivePredictor(Settings.parse(given | ROOM))


def event(number):
    return {
        "id": f"e{number}", "kind": "node", "type": "payment", "key": f"n{number}",
        "time": f"2025-05-{2 + number // 1_000:02}T{number // 60 % 24:02}:{number % 60:02}:00",
        "columns": {"amount": 5.0 + number % 50}, "links": {"customer_id": f"c{number % 60:03}", "terminal_id": "t1"},
    }  # fmt: skip


def scores(one, keys):
    return [answer.score for answer in one.answer([Instance(id=key) for key in keys], Options())]


def post(port, events):
    body = json.dumps({"events": events}).encode()
    url = f"http://127.0.0.1:{port}/v1/graph/events"
    with urlopen(Request(url, body, {"content-type": "application/json"}), timeout=30) as answer:
        return json.loads(answer.read())


def serve(tiny_run, graph, state, port, log):
    process = subprocess.Popen(
        [sys.executable, "-m", "graphmill.serving", "--model", str(tiny_run / "artifacts" / "model"),
         "--graph", str(graph), "--state", str(state), "--http_port", str(port), "--enable_grpc", "false",
         "--insecure_local", "--room_nodes", "10000", "--room_edges", "100000"],
        stdout=log, stderr=log,
    )  # fmt: skip
    for _ in range(1_200):
        try:
            with urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
                return process
        except (HTTPError, URLError, OSError):
            assert process.poll() is None, "the server ended"
            time.sleep(0.05)
    raise AssertionError("never ready")


@pytest.mark.slow
def test_a_killed_server_keeps_what_it_acknowledged_once(tiny_run, snapshot, tmp_path):
    state, random_, acknowledged, number = tmp_path / "state", random.Random(1), 0, 0
    with (tmp_path / "log").open("wb") as log:
        for turn in range(3):
            (port,) = free_ports(1)
            process = serve(tiny_run, snapshot, state, port, log)
            number = max(0, acknowledged - 10)  # the client cannot know what arrived: it sends the last ones again
            for _ in range(random_.randint(3, 25)):
                batch = [event(number + place) for place in range(5)]
                told = post(port, batch)
                number += 5
                acknowledged = max(acknowledged, number)
                assert told["accepted"] + told["duplicates"] == 5
            if turn == 1:  # killed while it compacts
                url = f"http://127.0.0.1:{port}/v1/graph/compact"
                compaction = subprocess.Popen(["curl", "-s", "-X", "POST", url], stdout=subprocess.DEVNULL)
                time.sleep(random_.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
            if turn == 1:
                compaction.wait()
    found = [item["id"] for _, item in read_log(state / "log", 0)]
    assert len(found) == len(set(found)), "none twice"
    assert {f"e{place}" for place in range(acknowledged)} <= set(found), "none lost"

    async def again(where, sent):
        one = predictor(tiny_run, snapshot, where)
        await one.start()
        for first in range(0, len(sent), 50):
            await one.accept(sent[first : first + 50])
        keys = [f"n{place}" for place in range(0, acknowledged, 7)]
        try:
            return one.graph().offset, scores(one, keys)
        finally:
            await one.stop()

    killed = asyncio.run(again(state, []))
    whole = asyncio.run(again(tmp_path / "other", [event(int(name[1:])) for name in found]))
    assert killed[0] == whole[0] == len(found)
    assert killed[1] == pytest.approx(whole[1], abs=1e-6)


def test_without_room_on_the_disk_answers_go_on_and_events_wait(tiny_run, snapshot, tmp_path, monkeypatch):
    async def work():
        one = predictor(tiny_run, snapshot, tmp_path / "state")
        await one.start()
        await one.accept([event(0)])
        before = scores(one, ["n0", "p00010"])

        def full(*arguments):
            raise OSError(28, "No space left on device")

        whole = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", full)
        with pytest.raises(NotNow, match="No space left on device"):
            await one.accept([event(1)])
        assert "No space left" in one.problem() and one.blocked() is None
        assert scores(one, ["n0", "p00010"]) == before
        monkeypatch.setattr(os, "fdatasync", whole)
        assert await one.accept([event(1)]) == [1]
        assert one.problem() is None
        await one.stop()

    asyncio.run(work())


def test_a_damaged_snapshot_does_not_start_and_is_named(tiny_run, snapshot, tmp_path):
    copy = tmp_path / "snapshot"
    shutil.copytree(snapshot, copy)
    file = copy / "graph" / "payment.customer_id.customer" / "indices.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")

    async def work():
        one = predictor(tiny_run, copy, tmp_path / "state")
        try:
            with pytest.raises(UserError, match="indices.npy: altered"):
                await one.start()
            assert one.blocked() is not None
        finally:
            await one.stop()

    asyncio.run(work())


def test_a_new_snapshot_is_taken_over_while_questions_are_answered(tiny_run, snapshot, tmp_path):
    graph = tmp_path / "graph"
    shutil.copytree(snapshot, graph)
    keys = [f"n{place}" for place in range(12)]

    async def work():
        one = predictor(tiny_run, graph, tmp_path / "state")
        await one.start()
        base = one.graph().snapshot
        await one.accept([event(place) for place in range(8)])
        await one.compact()
        (compacted,) = (tmp_path / "state" / "snapshots").iterdir()
        await one.accept([event(place) for place in range(8, 12)])
        before, failures, asked = scores(one, keys), [], 0
        for name in ("graph", "features"):  # what the stages would write after eight of the events
            shutil.rmtree(graph / name)
            shutil.copytree(compacted / name, graph / name)
        change = asyncio.create_task(one.reload())
        while not change.done():
            found, asked = scores(one, keys), asked + 1
            failures += [found] if found != pytest.approx(before, abs=1e-6) else []
            await asyncio.sleep(0)
        assert asked > 10 and not failures
        assert (await change)["snapshot"] != base
        assert one.graph().offset == 12
        assert scores(one, keys) == pytest.approx(before, abs=1e-6), "held ones not twice, the others kept"
        await one.stop()
        again = predictor(tiny_run, graph, tmp_path / "state")
        await again.start()
        assert scores(again, keys) == pytest.approx(before, abs=1e-6)
        await again.stop()

    asyncio.run(work())


def test_a_snapshot_that_the_model_cannot_read_is_left_alone(tiny_run, snapshot, tmp_path):
    graph = tmp_path / "graph"
    shutil.copytree(snapshot, graph)

    async def work():
        one = predictor(tiny_run, graph, tmp_path / "state")
        await one.start()
        before = scores(one, ["p00010"])
        shutil.rmtree(graph / "features")
        with pytest.raises(UserError):
            await one.reload()
        assert scores(one, ["p00010"]) == before and one.problem() is None
        await one.stop()

    asyncio.run(work())


def test_a_clock_that_goes_backwards_breaks_nothing(tiny_run, snapshot, tmp_path, monkeypatch):
    async def work():
        one = predictor(tiny_run, snapshot, tmp_path / "state")
        await one.start()
        await one.accept([event(0)])
        monkeypatch.setattr(time, "time", lambda: 0.0)
        monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
        assert one.graph().staleness == 0
        assert await one.accept([event(1), event(0)]) == [1, None]
        assert len(scores(one, ["n0", "n1"])) == 2
        await one.stop()

    asyncio.run(work())
