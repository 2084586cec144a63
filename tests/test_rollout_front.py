"""What a local rollout stands on: the front that splits, the processes that are found again, and their metrics."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from graphmill.errors import UserError
from graphmill.rollout import scrape
from graphmill.rollout.front import Front
from graphmill.rollout.processes import Processes, check_port
from graphmill.rollout.split import STATE, Backend, Split
from graphmill.rollout.tally import Tallies, Tally
from tests.serving import free_ports

PREDICT = "/v1/models/tiny:predict"


class Predictor:
    """Says who it is; what it was asked stands in ``asked``."""

    def __init__(self, name):
        self.name, self.status, self.asked, self.cut = name, 200, [], False

    async def answer(self, request):
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.asked.append((request.method, request.raw_path, headers, await request.read()))
        if self.cut:
            request.transport.abort()
        headers = {"x-who": self.name, "content-encoding": "gzip", "connection": "keep-alive"}
        return web.Response(status=self.status, body=b"packed", headers=headers)

    @asynccontextmanager
    async def running(self):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(application, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


class World:
    """A front with two predictors behind it."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_ports(1)[0]
        self.champion, self.candidate = Predictor("champion"), Predictor("candidate")

    def tell(self, percent, began=1.0, **urls):
        self.urls = {**getattr(self, "urls", {}), **urls}
        sides = [Backend(side, side * 8, "m", self.urls[side]) for side in ("champion", "candidate")]
        Split(*sides, began=began, percent=percent).write(self.folder)

    async def ask(self, identifier=None, path=PREDICT, method="POST", **more):
        headers = more.pop("headers", {}) | ({"x-request-id": identifier} if identifier else {})
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, headers=headers, **more) as answer:
            return answer.status, answer.headers, await answer.read()

    async def state(self):
        return json.loads((await self.ask(path=STATE, method="GET"))[2])

    async def until(self, percent):
        async with asyncio.timeout(30):
            while (await self.state())["percent"] != percent:
                await asyncio.sleep(0.01)


def fronted(tmp_path, work, percent=50, **more):
    """``work`` with a running world."""
    world = World(tmp_path)

    async def live():
        session = aiohttp.ClientSession(auto_decompress=False)
        async with world.champion.running() as first, world.candidate.running() as second, session as world.session:
            world.tell(percent, champion=first, candidate=second, **more)
            serving = asyncio.create_task(Front(tmp_path).serve(world.port))
            async with asyncio.timeout(30):
                while True:
                    try:
                        await world.until(percent)
                        break
                    except aiohttp.ClientConnectionError:
                        assert not serving.done()
                        await asyncio.sleep(0.01)
            await work(world)
            os.kill(os.getpid(), signal.SIGTERM)
            await serving

    asyncio.run(live())
    return world


def test_everything_is_passed_through_as_it_is(tmp_path):
    async def work(world):
        headers = {"content-encoding": "gzip", "authorization": "Bearer t", "x-graphmill-shadow": "1", "x-a": "b"}
        world.champion.status = 418
        status, told, body = await world.ask("r1", f"{PREDICT}?a=%20b", data=b"\x1f\x8bsent", headers=headers)
        assert (status, told["x-who"], told["content-encoding"], body) == (418, "champion", "gzip", b"packed")
        method, path, headers, body = world.champion.asked[0]
        assert (method, path, body) == ("POST", f"{PREDICT}?a=%20b", b"\x1f\x8bsent")
        assert (headers["x-request-id"], headers["authorization"], headers["x-a"]) == ("r1", "Bearer t", "b")
        assert "x-graphmill-shadow" not in headers, "nobody outside decides what counts as mirrored"
        await world.ask("not an id", "/v1/graph", "GET")
        assert world.champion.asked[1][:2] == ("GET", "/v1/graph")
        assert len(world.champion.asked[1][2]["x-request-id"]) == 32

    fronted(tmp_path, work, percent=0)


def test_the_split_follows_from_the_ids_and_grows_with_the_share(tmp_path):
    async def work(world):
        took = {}
        for percent in (0, 20, 60, 100):
            world.tell(percent)
            await world.until(percent)
            told = [(await world.ask(f"r{number}"))[1]["x-who"] for number in range(80)]
            assert told == [(await world.ask(f"r{number}"))[1]["x-who"] for number in range(80)], "a retry"
            took[percent] = {number for number, who in enumerate(told) if who == "candidate"}
        assert len(took[0]) == 0 < len(took[20]) < len(took[60]) < len(took[100]) == 80
        assert took[20] < took[60] and 0.1 < len(took[20]) / 80 < 0.3 and 0.5 < len(took[60]) / 80 < 0.7
        assert (await world.ask("r", "/v2", "GET"))[1]["x-who"] == "candidate", "who has all has the rest too"
        infer, explain = "/v2/models/tiny/infer", "/v1/models/tiny:explain"
        world.tell(20)
        await world.until(20)
        for path, whose in ((infer, "candidate"), (explain, "candidate"), ("/v1/graph/events", "champion")):
            assert (await world.ask(f"r{min(took[20])}", path))[1]["x-who"] == whose

    fronted(tmp_path, work, percent=0)


@pytest.mark.parametrize("away", [True, False])
def test_who_meets_a_candidate_that_is_away_gets_the_champions_answer(tmp_path, away):
    async def work(world):
        world.candidate.cut = True
        if away:
            world.tell(100, candidate=f"http://127.0.0.1:{taken.getsockname()[1]}", began=2.0)
            async with asyncio.timeout(30):
                while (await world.state())["counts"]["began"] != 2.0:
                    await asyncio.sleep(0.01)
        for number in range(5):
            assert (await world.ask(f"r{number}"))[1]["x-who"] == "champion"
        counts = (await world.state())["counts"]
        assert (counts["candidate"]["requests"], counts["candidate"]["failures"]) == (5, 5)
        assert (counts["champion"]["requests"], counts["champion"]["failures"]) == (5, 0)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        fronted(tmp_path, work, percent=100)


def test_failures_that_are_the_models_are_counted_and_what_was_counted_outlives_the_front(tmp_path):
    async def work(world):
        for status in (200, 400, 413, 429, 500, 503, 504):
            world.champion.status = status
            assert (await world.ask())[0] == status
        counts = (await world.state())["counts"]["champion"]
        assert (counts["requests"], counts["failures"], sum(counts["latency"])) == (7, 4, 7)

    async def again(world):
        assert (await world.state())["counts"]["champion"]["requests"] == 7
        world.tell(0, began=0.0)
        async with asyncio.timeout(30):
            while (await world.state())["counts"]["began"]:
                await asyncio.sleep(0.01)
        await world.ask()
        assert (await world.state())["counts"]["champion"]["requests"] == 0, "not before both are ready"

    fronted(tmp_path, work, percent=0)
    fronted(tmp_path, again, percent=0)


def test_a_split_that_cannot_be_read_changes_nothing(tmp_path, caplog):
    async def work(world):
        (tmp_path / "split.json").write_text("{")
        async with asyncio.timeout(30):
            while "the split stays as it is" not in caplog.text:
                await asyncio.sleep(0.01)
        assert (await world.ask("r"))[1]["x-who"] == "candidate"

    fronted(tmp_path, work, percent=100)


def test_counts_survive_as_json():
    found = Tallies(5.0, Tally(2, 1), Tally())
    found.champion.answered(200, 0.003)
    kept = json.dumps({"began": 5.0, "champion": vars(found.champion), "candidate": vars(found.candidate)})
    assert Tallies.parse(kept) == found
    seen = found.champion.seen({1.0: 3})
    assert (seen.requests, seen.failures, seen.latency[0.0033], seen.scores) == (3, 1, 1, {1.0: 3})
    assert Tally().seen({}).latency == {}


def test_what_metrics_say_since_an_earlier_look():
    before = {"graphmill_score_bucket 0.5": 3.0, "graphmill_score_bucket 1.0": 4.0, "graphmill_score_bucket +Inf": 4.0}
    now = {"graphmill_score_bucket 0.5": 5.0, "graphmill_score_bucket 1.0": 9.0, "graphmill_score_bucket +Inf": 9.0}
    assert scrape.scores(scrape.since(before, now)) == {0.5: 2, 1.0: 3}
    assert scrape.scores(scrape.since(now, before)) == {0.5: 3, 1.0: 1}, "a process that began anew counts from nothing"
    assert scrape.scores(scrape.since(now, now)) == {}
    assert scrape.value({"graphmill_shadow_compared_total b": 2.0}, "graphmill_shadow_compared_total", "b") == 2


SLEEP = [sys.executable, "-c", "import time; print('asleep', flush=True); time.sleep(600)"]


def test_a_process_is_found_again_and_stopped(tmp_path):
    first, command = Processes(tmp_path), [*SLEEP, str(tmp_path)]
    first.start("one", command)
    try:
        second = Processes(tmp_path)
        assert second.roles() == ["one"] and second.alive("one") and second.command("one") == command
    finally:
        Processes(tmp_path).stop("one")
    assert not first.alive("one") and first.roles() == []
    first.stop("one")


def test_a_reused_id_is_never_taken_for_ours(tmp_path):
    stranger = subprocess.Popen(SLEEP, stdout=subprocess.PIPE)
    try:
        stranger.stdout.readline()
        entry = {"command": [*SLEEP, str(tmp_path)], "pid": stranger.pid}
        (tmp_path / "processes.json").write_text(json.dumps({"one": entry}))
        processes = Processes(tmp_path)
        assert not processes.alive("one")
        processes.stop("one")
        assert stranger.poll() is None and processes.roles() == []
    finally:
        stranger.kill()
        stranger.stdout.close()
        stranger.wait()


def test_a_process_whose_id_was_not_written_down_any_more_is_found(tmp_path):
    """The command died between starting it and writing down which one it is."""
    command = [*SLEEP, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        (tmp_path / "processes.json").write_text(json.dumps({"one": {"command": command, "pid": None}}))
        assert Processes(tmp_path).alive("one")
        Processes(tmp_path).stop("one")
        process.wait(60)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_what_a_process_said_last_is_shown(tmp_path):
    processes = Processes(tmp_path)
    processes.start("one", [sys.executable, "-c", "import sys; sys.exit('no such model')", str(tmp_path)])
    for _ in range(6_000):
        if not processes.alive("one"):
            break
        signal.sigtimedwait([], 0.01)
    assert not processes.alive("one") and processes.roles() == ["one"]
    assert processes.tail("one").endswith("one.log ends with:\nno such model")
    assert "is not there" in processes.tail("two")


@pytest.mark.parametrize("content", ["{", "[]", '{"one": {}}', '{"one": 1}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "processes.json").write_text(content)
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(UserError, match=r"processes\.json: damaged"):
        Processes(tmp_path).roles()
    with pytest.raises(UserError, match=r"split\.json: damaged"):
        Split.read(tmp_path)


def test_a_free_port_is_free():
    check_port(free_ports(1)[0])
