"""The prediction log: what was answered is there, whole, and never in an answer's way."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphmill.drift import served
from graphmill.errors import UserError
from graphmill.serving import record, sinks
from graphmill.serving.instance import Answer, GraphVersion, Instance
from graphmill.serving.record import Record

GRAPH = GraphVersion("snapshot", 7, 0.5)


def instance(number):
    return Instance(id=f"p{number}", columns={"b": 1.5, "a": "x"})


def answer(number):
    return Answer(id=f"p{number}", score=number / 1_000, decision=number > 500, known=number % 2 == 0, at=number)


def offer(log, *numbers, request="r"):
    log.offer(request, [instance(number) for number in numbers], [answer(number) for number in numbers], GRAPH)


def recorded(target, work, share=1.0, **more):
    """What is left of a record that ``work`` was done with."""

    async def live():
        log = Record(str(target), share, "payment", "m", **more)
        log.start()
        try:
            await work(log)
        finally:
            await log.stop()
        return log

    return asyncio.run(live())


def files(folder):
    return sorted(folder.glob("predictions-*.parquet"))


def rows(folder):
    return [row for file in files(folder) for row in pq.read_table(file).to_pylist()]


async def until(true):
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


def test_an_answer_is_there_with_all_that_it_takes_to_ask_again(tmp_path):
    async def work(log):
        offer(log, 3, 4, request="r1")

    begun = time.time()
    assert recorded(tmp_path / "new" / "log", work).dropped == 0
    first, second = rows(tmp_path / "new" / "log")
    assert begun <= first.pop("answered_at") <= time.time()
    asked = json.dumps({"columns": {"a": "x", "b": 1.5}, "id": "p3"}, separators=(",", ":"))
    assert first == {
        "request": "r1", "node": "payment", "key": "p3", "time": 3, "score": 0.003, "decision": False, "known": False,
        "model": "m", "snapshot": "snapshot", "offset": 7, "input": hashlib.sha256(asked.encode()).hexdigest(),
    }  # fmt: skip
    assert second["key"] == "p4" and second["input"] != first["input"]


def test_stage_drift_reads_what_was_recorded(tmp_path):
    async def work(log):
        offer(log, 3, 4)

    recorded(tmp_path, work)
    log = served.read(tmp_path, "payment", "m", 3, 5)
    np.testing.assert_array_equal(log.scores(["p4", "p3", "p3"], np.array([4, 3, 5])), [0.004, 0.003, np.nan])
    assert log.unreadable == []


@pytest.mark.parametrize(("name", "value"), [("ROWS", 3), ("SECONDS", 0.01)])
def test_a_file_is_written_after_so_many_rows_or_so_long(tmp_path, monkeypatch, name, value):
    monkeypatch.setattr(record, name, value)

    async def work(log):
        offer(log, 1, 2, 3)
        await until(lambda: files(tmp_path))
        offer(log, 4, 5, 6)
        await until(lambda: len(files(tmp_path)) == 2)

    recorded(tmp_path, work)
    assert [row["key"] for row in rows(tmp_path)] == ["p1", "p2", "p3", "p4", "p5", "p6"], "the oldest file first"


def test_a_file_holds_so_many_rows_at_the_most(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks.Files, "most", 4)

    async def work(log):
        offer(log, *range(10))

    recorded(tmp_path, work)
    assert [pq.read_metadata(file).num_rows for file in files(tmp_path)] == [4, 4, 2]


def test_what_cannot_be_recorded_is_counted_and_in_nobodys_way(tmp_path, caplog):
    async def work(log):
        log.offer("r", [Instance(id="p1", columns={"count": 2**70})], [answer(1)], GRAPH)
        offer(log, 2)

    assert recorded(tmp_path, work).dropped == 1
    assert [row["key"] for row in rows(tmp_path)] == ["p2"]
    assert "answers cannot be recorded" in caplog.text


def test_a_request_is_chosen_by_its_id_everywhere_alike(tmp_path):
    async def work(log):
        for number in range(2_000):
            offer(log, 1, 2, request=f"r{number}")

    for replica in ("a", "b"):
        recorded(tmp_path / replica, work, share=0.3)
    chosen = [[row["request"] for row in rows(tmp_path / replica)] for replica in ("a", "b")]
    assert chosen[0] == chosen[1], "and with all its answers"
    assert 0.25 < len(set(chosen[0])) / 2_000 < 0.35


def test_requests_without_an_id_are_chosen_one_by_one(tmp_path):
    async def work(log):
        for _ in range(2_000):
            offer(log, 1, request="")

    recorded(tmp_path, work, share=0.3)
    names = [row["request"] for row in rows(tmp_path)]
    assert 0.2 < len(names) / 2_000 < 0.4 and len(set(names)) == len(names)


def test_a_target_that_is_slower_than_the_answers_loses_the_newest(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "QUEUE", 10)
    monkeypatch.setattr(record, "ROWS", 1)
    begun, free, write = threading.Event(), threading.Event(), sinks.Files.write
    monkeypatch.setattr(sinks.Files, "write", lambda *given: (begun.set(), free.wait(60), write(*given)))

    async def work(log):
        offer(log, 0)
        await until(begun.is_set)
        for number in range(1, 15):
            offer(log, number)
        assert log.dropped == 4
        free.set()

    assert recorded(tmp_path, work).dropped == 4
    assert [row["key"] for row in rows(tmp_path)] == [f"p{number}" for number in range(11)]


def test_rows_of_a_full_disk_are_counted_and_leave_nothing_behind(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(record, "ROWS", 1)
    write = pq.write_table

    async def work(log):
        def full(table, output, **more):
            output.write(b"PAR1")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pq, "write_table", full)
        offer(log, 1, 2)
        await until(lambda: log.dropped == 2)
        assert list(tmp_path.iterdir()) == []
        monkeypatch.setattr(pq, "write_table", write)
        offer(log, 3)

    assert recorded(tmp_path, work).dropped == 2
    assert [row["key"] for row in rows(tmp_path)] == ["p3"]
    assert "2 predictions could not be recorded: [Errno 28] No space left on device" in caplog.text


def test_the_oldest_files_go_and_the_newest_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks.Files, "most", 1)

    async def work(log):
        offer(log, *range(6))

    recorded(tmp_path / "all", work)
    sizes = [file.stat().st_size for file in files(tmp_path / "all")]
    recorded(tmp_path / "some", work, keep=sum(sizes[-3:]) + 100)
    assert [row["key"] for row in rows(tmp_path / "some")] == ["p3", "p4", "p5"]
    recorded(tmp_path / "one", work, keep=0)
    assert [row["key"] for row in rows(tmp_path / "one")] == ["p5"]


def test_unfinished_files_of_dead_writers_go_and_those_of_others_stay(tmp_path):
    for name, age in (("dead", 7_200), ("alive", 60)):
        partial = tmp_path / f".predictions-{name}.parquet.partial"
        partial.write_bytes(b"PAR1")
        os.utime(partial, (time.time() - age,) * 2)
    sinks.Files(tmp_path, 0)
    assert [file.name for file in tmp_path.iterdir()] == [".predictions-alive.parquet.partial"]


WRITER = """
import sys
from pathlib import Path
from graphmill.serving.sinks import Files
files, row = Files(Path(sys.argv[1]), 10**9), ("r", "n", "k" * 100, 1, 1.0, 0.5, True, True, "m", "s", 1, "d" * 64)
while True:
    files.write([row] * 5_000)
    print("written", flush=True)
"""


def test_a_killed_writer_leaves_whole_files_alone(tmp_path):
    told = 0
    for pause in (0.0, 0.003, 0.006):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3):
            writer.stdout.readline()
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        told += 3 + len(writer.stdout.read().split())
        writer.stdout.close()
        writer.wait()
    assert [pq.read_table(file).num_rows for file in files(tmp_path)] == [5_000] * len(files(tmp_path))
    assert told <= len(files(tmp_path)) <= told + 3, "one may be there that it had no time to tell"


@contextmanager
def receiver(*statuses):
    """A server that answers so, then 202; what was posted stands in ``got``."""
    got, left = [], list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(left.pop(0) if left else 202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_answers_are_posted_as_cloud_events(monkeypatch):
    monkeypatch.setattr(sinks.Posted, "most", 2)

    async def work(log):
        numpys = Answer(id="p3", score=np.float64(0.5), decision=np.bool_(True), known=np.bool_(True), at=np.int64(3))
        offer(log, 1, 2)
        log.offer("r", [instance(3)], [numpys], GRAPH)

    with receiver() as (url, got):
        assert recorded(url, work).dropped == 0
    (headers, first), (others, second) = got
    assert headers["ce-specversion"] == "1.0" and headers["ce-type"] == "io.graphmill.prediction"
    assert headers["content-type"] == "application/json" and headers["ce-source"] and headers["ce-time"]
    assert headers["ce-id"] != others["ce-id"]
    assert [row["key"] for row in first + second] == ["p1", "p2", "p3"]
    assert set(first[0]) == set(sinks.PREDICTIONS.schema.names) and second[0]["score"] == 0.5


def test_a_receiver_that_stumbles_is_asked_again_under_the_same_id(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    async def work(log):
        offer(log, 1)

    with receiver(503, 429) as (url, got):
        assert recorded(url, work).dropped == 0
    assert len(got) == 3 and len({headers["ce-id"] for headers, _ in got}) == 1


@pytest.mark.parametrize(("statuses", "tries"), [((400,), 1), ((503, 503, 503), 3)])
def test_what_is_refused_is_counted_and_what_is_behind_it_waits(monkeypatch, statuses, tries):
    monkeypatch.setattr(sinks.Posted, "most", 1)
    monkeypatch.setattr(record, "ROWS", 2)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    async def work(log):
        offer(log, 1, 2)
        await until(lambda: log.dropped == 1)
        assert len(got) == tries

    with receiver(*statuses) as (url, got):
        assert recorded(url, work).dropped == 1
    assert [body[0]["key"] for _, body in got] == ["p1"] * tries + ["p2"]


def test_a_target_that_is_none_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for target, words in (
        ("s3://bucket/log", "give a folder, or a URL of http or https"),
        (f"{tmp_path}/file/log", "Not a directory"),
    ):
        with pytest.raises(UserError, match=words):
            Record(target, 1.0, "payment", "m")
