"""Events from a Redis Stream: each is in the log once, whatever stops in between."""

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from contextlib import asynccontextmanager

import orjson
import pytest
import redis

from graphmill.errors import UserError
from graphmill.serving import stream as module
from graphmill.serving.log import Log, NotNow, read_log
from graphmill.serving.stream import Stream, ended
from tests.serving import free_ports

NAME, GROUP = "events", "replica-0"

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


class Server:
    """A Redis that keeps what it was told before it answers; it can be killed and started again."""

    def __init__(self, folder):
        self.folder, (self.port,) = folder, free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        kept = ["--dir", self.folder, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", *kept]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while True:
            try:
                with redis.Redis(port=self.port) as client:
                    client.ping()
                return
            except redis.RedisError:
                assert self.process.poll() is None
                time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path)
    yield one
    one.kill()


@pytest.fixture
def client(server):
    with redis.Redis(port=server.port) as one:
        yield one


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "SHORTEST", 0.02)
    monkeypatch.setattr(module, "LONGEST", 0.1)
    monkeypatch.setattr(module, "BLOCK", 50)


def event(number):
    return {"id": f"e{number}", "kind": "label", "key": f"k{number}", "value": True}


def put(client, *numbers):
    for number in numbers:
        client.xadd(NAME, {"event": orjson.dumps(event(number))})


def pending(client):
    return client.xpending(NAME, GROUP)["pending"]


async def until(true):
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def reading(server, accept):
    """A stream that is being read."""
    stream = Stream(server.url, NAME, GROUP)
    task = asyncio.create_task(stream.run(accept))
    try:
        yield stream
        assert not task.done()
    finally:
        await ended(task)


class Into:
    """Takes events into a log; what it is told to refuse it does."""

    def __init__(self, folder, **refused):
        self.log, self.refused, self.batches = Log.open(folder / "log"), refused, []

    async def __call__(self, events):
        self.batches.append([item["id"] for item in events])
        wrong = {place: self.refused[item["id"]] for place, item in enumerate(events) if item["id"] in self.refused}
        await self.log.append([item for place, item in enumerate(events) if place not in wrong])
        return wrong


def held(folder):
    return [item["id"] for _, item in read_log(folder / "log", 0)]


def test_what_is_added_is_read_by_each_group_in_its_order(server, client, tmp_path):
    async def work():
        into = Into(tmp_path)
        async with reading(server, into) as stream:
            added = await stream.add([event(1), event(2)])
            assert added == [entry.decode() for entry, _ in client.xrange(NAME)]
            await stream.add([event(3)])
            await until(lambda: into.log.end == 3 and pending(client) == 0 and stream.caught_up)
            assert stream.problem is None and stream.refused == 0
        await into.log.close()

    asyncio.run(work())
    assert held(tmp_path) == ["e1", "e2", "e3"]
    assert client.xlen(NAME) == 3, "the others' groups read it too"


def test_it_has_caught_up_when_all_that_was_there_is_durable(server, client, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 10)
    put(client, *range(35))

    async def work():
        into, seen = Into(tmp_path), []

        async def accept(events):
            seen.append((stream.caught_up, client.xinfo_groups(NAME)[0]["lag"]))
            return await into(events)

        async with reading(server, accept) as stream:
            await until(lambda: stream.caught_up)
            assert into.log.end == 35 and client.xinfo_groups(NAME)[0]["lag"] == 0
        await into.log.close()
        return seen

    assert asyncio.run(work()) == [(False, 25), (False, 15), (False, 5), (False, 0)]


def test_what_was_durable_but_not_acknowledged_comes_again_and_changes_nothing(server, client, tmp_path):
    put(client, 1, 2)

    async def work():
        into = Into(tmp_path)
        durable = asyncio.Event()

        async def crash(events):
            await into(events)
            durable.set()
            await asyncio.Event().wait()  # the process ends here, between the disk and the word to Redis

        async with reading(server, crash):
            await durable.wait()
        assert pending(client) == 2
        put(client, 3)
        async with reading(server, into):
            await until(lambda: pending(client) == 0 and into.log.end == 3)
        await into.log.close()
        return into.batches

    assert asyncio.run(work()) == [["e1", "e2"], ["e1", "e2"], ["e3"]]
    assert held(tmp_path) == ["e1", "e2", "e3"]


def test_entries_that_are_wrong_are_put_aside_with_the_reason(server, client, tmp_path):
    put(client, 1)
    client.xadd(NAME, {"event": b"{not json"})
    client.xadd(NAME, {"event": b"[1]", "reason": b"mine"})
    client.xadd(NAME, {"other": b"x"})
    client.xadd(NAME, {"event": b"\xff\xfe"})
    put(client, 2, 3)

    async def work():
        into = Into(tmp_path, e2="no column 'x'")
        async with reading(server, into) as stream:
            await until(lambda: into.log.end == 2 and pending(client) == 0 and stream.refused == 5)
            assert stream.problem is None
        await into.log.close()

    asyncio.run(work())
    assert held(tmp_path) == ["e1", "e3"]
    aside = [fields for _, fields in client.xrange(f"{NAME}:refused")]
    reasons = [fields[b"reason"].decode() for fields in aside]
    assert [reason.split(":")[0] for reason in reasons] == [
        "its field 'event' is not JSON",
        "its field 'event' is not a JSON object",
        "it has no field 'event'",
        "its field 'event' is not JSON",
        "no column 'x'",
    ]
    assert orjson.loads(aside[-1][b"event"]) == event(2)
    assert aside[-1][b"entry"] in dict(client.xrange(NAME))


def test_an_entry_deleted_after_it_was_read_is_acknowledged_and_not_put_aside(server, client, tmp_path):
    put(client, 1, 2)
    client.xgroup_create(NAME, GROUP, id="0")
    client.xreadgroup(GROUP, "server", {NAME: ">"})
    client.xdel(NAME, client.xrange(NAME)[0][0])

    async def work():
        into = Into(tmp_path)
        async with reading(server, into) as stream:
            await until(lambda: pending(client) == 0)
            assert stream.refused == 0
        await into.log.close()

    asyncio.run(work())
    assert held(tmp_path) == ["e2"]


@pytest.mark.parametrize("error", [NotNow("the disk is full"), RuntimeError("no such column")])
def test_events_that_cannot_be_taken_now_are_not_acknowledged_and_come_again(server, client, tmp_path, error):
    put(client, 1, 2)

    async def work():
        into, broken = Into(tmp_path), [True]

        async def accept(events):
            if broken[0]:
                raise error
            return await into(events)

        async with reading(server, accept) as stream:
            await until(lambda: stream.problem is not None)
            assert str(error) in stream.problem and not stream.caught_up
            assert pending(client) == 2
            broken[0] = False
            await until(lambda: stream.problem is None)
            assert stream.caught_up and pending(client) == 0
        await into.log.close()

    asyncio.run(work())
    assert held(tmp_path) == ["e1", "e2"]


def test_redis_killed_and_started_again_loses_nothing(server, client, tmp_path):
    async def work():
        into = Into(tmp_path)
        async with reading(server, into) as stream:
            sent = 0
            for _ in range(3):
                for _ in range(20):
                    await stream.add([event(sent)])
                    sent += 1
                server.kill()
                with pytest.raises(NotNow, match="takes no events now"):
                    await stream.add([event(sent)])
                await until(lambda: stream.problem is not None)
                assert "cannot be read" in stream.problem
                await asyncio.to_thread(server.start)
                await until(lambda: stream.problem is None)
            await until(lambda: into.log.end == sent and pending(client) == 0)
        await into.log.close()
        return sent

    assert asyncio.run(work()) == 60
    assert held(tmp_path) == [f"e{number}" for number in range(60)]


def test_a_stream_that_vanished_is_read_again_when_it_is_back(server, client, tmp_path):
    async def work():
        into = Into(tmp_path)
        async with reading(server, into) as stream:
            await stream.add([event(1)])
            await until(lambda: into.log.end == 1)
            client.flushall()
            put(client, 1, 2)  # whoever has the events fills it again
            await until(lambda: into.log.end == 2 and stream.problem is None and pending(client) == 0)
        await into.log.close()

    asyncio.run(work())
    assert held(tmp_path) == ["e1", "e2"]


def test_a_server_that_refuses_is_told_and_asked_again(server, client, tmp_path):
    client.set(NAME, "a text")

    async def work():
        into = Into(tmp_path)
        async with reading(server, into) as stream:
            await until(lambda: stream.problem is not None)
            assert "WRONGTYPE" in stream.problem and not stream.caught_up
            client.delete(NAME)
            put(client, 1)
            await until(lambda: into.log.end == 1 and stream.problem is None)
        await into.log.close()

    asyncio.run(work())


def test_it_starts_before_redis_does(tmp_path):
    (port,) = free_ports(1)

    async def work():
        stream = Stream(f"redis://127.0.0.1:{port}", NAME, GROUP)
        task = asyncio.create_task(stream.run(Into(tmp_path)))
        await until(lambda: stream.problem is not None)
        assert "cannot be read" in stream.problem and not stream.caught_up
        await ended(task)
        assert task.cancelled()

    asyncio.run(work())


def test_a_server_that_answers_nonsense_is_told(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        async def work():
            stream = Stream(f"redis://127.0.0.1:{other.getsockname()[1]}", NAME, GROUP)
            loop = asyncio.get_running_loop()
            task = asyncio.create_task(stream.run(Into(tmp_path)))
            accepted, _ = await loop.run_in_executor(None, other.accept)
            with accepted:
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await until(lambda: stream.problem is not None)
            await ended(task)

        asyncio.run(work())


def test_a_url_that_is_none_is_told():
    with pytest.raises(UserError, match="the stream's URL is none of Redis") as told:
        Stream("localhost:6379?password=secret", NAME, GROUP)
    assert "secret" not in str(told.value)
