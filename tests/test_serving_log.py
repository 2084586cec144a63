"""The write-ahead log: what was acknowledged is there, once, whatever happened in between."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmill.errors import UserError
from graphmill.serving import segment
from graphmill.serving.log import Log, NotNow, read_log


def event(number, **more):
    return {"id": f"e{number}", "kind": "label", "key": f"k{number}", "value": True} | more


def run(work):
    return asyncio.run(work)


async def appended(folder, *batches, **options):
    log = Log.open(folder, **options)
    try:
        return [await log.append(batch) for batch in batches]
    finally:
        await log.close()


def held(folder):
    return [item["id"] for _, item in read_log(folder, 0)]


def test_what_is_appended_is_read_in_its_order(tmp_path):
    offsets = run(appended(tmp_path, [event(1), event(2)], [event(3)]))
    assert offsets == [[0, 1], [2]]
    assert list(read_log(tmp_path, 1)) == [(1, event(2)), (2, event(3))]
    assert list(read_log(tmp_path, 0, 1)) == [(0, event(1))]


def test_an_event_is_kept_once_however_often_it_is_sent(tmp_path):
    assert run(appended(tmp_path, [event(1), event(1), event(2)], [event(2, value=False)])) == [[0, None, 1], [None]]
    assert run(appended(tmp_path, [event(1), event(3)])) == [[None, 2]], "after a restart too"
    assert held(tmp_path) == ["e1", "e2", "e3"]


def test_so_many_newest_events_are_recognised(tmp_path):
    batches = [[event(1)], [event(2)], [event(1)], [event(1)]]
    assert run(appended(tmp_path, *batches, remember=1)) == [[0], [1], [2], [None]]
    assert run(appended(tmp_path, [event(1), event(2)], remember=1)) == [[None, 3]], "after a restart too"
    assert run(appended(tmp_path, [event(1), event(2)], remember=10)) == [[None, None]]


def test_appends_that_wait_share_a_sync_and_keep_their_order(tmp_path, monkeypatch):
    syncs = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda handle: (time.sleep(0.01), syncs.append(1), sync(handle)))

    async def work():
        log = Log.open(tmp_path)
        seen = []
        log.on_commit = lambda first, events: seen.append((first, [item["id"] for item in events]))
        told = await asyncio.gather(*(log.append([event(number), event(number % 7)]) for number in range(100)))
        await log.close()
        return seen, told

    seen, told = run(work())
    assert len(syncs) < 10
    assert [offset for pair in told for offset in pair if offset is not None] == list(range(100))
    assert [first for first, _ in seen] == sorted({first for first, _ in seen})
    assert [name for _, names in seen for name in names] == held(tmp_path)


def test_a_commit_is_told_before_its_sender_is_answered(tmp_path):
    async def work():
        log, seen = Log.open(tmp_path), []
        log.on_commit = lambda first, events: seen.append(first)
        await log.append([event(1)])
        assert seen == [0] and log.end == 1
        await log.close()

    run(work())


def test_segments_follow_each_other_and_old_ones_are_trimmed(tmp_path):
    batches = [[event(number * 10 + place, note="x" * 50) for place in range(10)] for number in range(20)]
    run(appended(tmp_path, *batches, segment_bytes=2_000))
    files = sorted(tmp_path.glob("*.log"))
    assert len(files) > 5 and len(held(tmp_path)) == 200

    async def work():
        log = Log.open(tmp_path, remember=50, segment_bytes=2_000)
        log.trim(180)
        assert 100 < log.first <= 150 and log.end == 200, "so many are remembered"
        assert [offset for offset, _ in log.read(0)] == list(range(log.first, 200))
        assert await log.append([event(199), event(160), event(200)]) == [None, None, 200]
        await log.close()

    run(work())


def test_an_unfinished_write_is_cut_off_wherever_it_ends(tmp_path):
    run(appended(tmp_path, [event(1), event(2)], [event(3)]))
    (file,) = tmp_path.glob("*.log")
    content = file.read_bytes()
    ends = [record.end for record in segment.records(file)]
    for size in range(segment.HEADER.size, len(content)):
        file.write_bytes(content[:size])
        left = sum(end <= size for end in ends)
        assert held(tmp_path) == ["e1", "e2", "e3"][:left]
        run(appended(tmp_path))
        assert file.stat().st_size == max([segment.HEADER.size, *ends[:left]]), "what is unfinished is gone"
    assert run(appended(tmp_path, [event(3), event(4)])) == [[2, 3]]
    assert held(tmp_path) == ["e1", "e2", "e3", "e4"]


def test_a_torn_record_of_the_wrong_content_is_cut_off(tmp_path, caplog):
    run(appended(tmp_path, [event(1)], [event(2)]))
    (file,) = tmp_path.glob("*.log")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    assert run(appended(tmp_path, [event(2)])) == [[1]]
    assert "unfinished write were cut off" in caplog.text


def test_damage_before_the_end_is_named_and_nothing_skipped(tmp_path):
    run(appended(tmp_path, [event(1)], [event(2)], [event(3)]))
    (file,) = tmp_path.glob("*.log")
    content, state = file.read_bytes(), random.Random(5)
    begins = [segment.HEADER.size] + [record.end for record in segment.records(file)]
    flags = {begin + 3 for begin in begins}  # the highest bit of a length is no part of it
    for offset in (0, 1):
        for place in range(begins[offset], begins[offset + 1]):
            damaged = bytearray(content)
            damaged[place] ^= 1 << state.randrange(7 if place in flags else 8)
            file.write_bytes(damaged)
            with pytest.raises(
                UserError, match=rf"\.log: damaged at byte {begins[offset]} \(event {offset}\); restore"
            ):
                Log.open(tmp_path)
            with pytest.raises(UserError, match="damaged"):
                held(tmp_path)
    file.write_bytes(content)
    assert held(tmp_path) == ["e1", "e2", "e3"], "nothing was altered by opening it"


def test_zeros_that_a_crash_leaves_at_the_end_are_cut_off(tmp_path):
    run(appended(tmp_path, [event(1)]))
    (file,) = tmp_path.glob("*.log")
    file.write_bytes(file.read_bytes() + bytes(4_096))
    assert held(tmp_path) == ["e1"]
    assert run(appended(tmp_path, [event(2)])) == [[1]]
    assert held(tmp_path) == ["e1", "e2"]


def test_a_hole_in_the_last_write_is_unfinished_and_in_an_earlier_one_damage(tmp_path):
    run(appended(tmp_path, [event(0)], [event(number, note="x" * 100) for number in range(1, 30)]))
    (file,) = tmp_path.glob("*.log")
    content = bytearray(file.read_bytes())
    content[1_024:2_048] = bytes(1_024)  # blocks reach a disk in any order
    file.write_bytes(content)
    kept = held(tmp_path)
    assert 1 < len(kept) < 10 and kept == [f"e{number}" for number in range(len(kept))]
    acknowledged = bytearray(content + segment.packed([b'{"id":"e30"}']))
    file.write_bytes(acknowledged)
    with pytest.raises(UserError, match="damaged at byte"):
        held(tmp_path)


def test_a_missing_segment_is_told(tmp_path):
    run(appended(tmp_path, *[[event(number, note="x" * 50)] for number in range(60)], segment_bytes=1_000))
    sorted(tmp_path.glob("*.log"))[2].unlink()
    with pytest.raises(UserError, match="are missing behind .*; restore"):
        Log.open(tmp_path)
    with pytest.raises(UserError, match="are missing"):
        held(tmp_path)


def test_one_server_writes_a_log(tmp_path):
    async def work():
        log = Log.open(tmp_path)
        with pytest.raises(UserError, match="another server writes this log"):
            Log.open(tmp_path)
        await log.close()
        await Log.open(tmp_path).close()

    run(work())


@pytest.mark.parametrize("where", ["write", "fdatasync"])
def test_a_full_disk_refuses_events_and_loses_none(tmp_path, monkeypatch, where):
    async def work():
        log = Log.open(tmp_path)
        await log.append([event(1)])
        whole = getattr(os, where)

        def full(*arguments):
            if where == "write" and len(arguments[1]) > 8:
                whole(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, where, full)
        with pytest.raises(NotNow, match="No space left on device; make room on its disk"):
            await log.append([event(2)])
        assert "No space" in log.problem and log.end == 1
        assert [offset for offset, _ in log.read(0)] == [0]
        monkeypatch.setattr(os, where, whole)
        assert await log.append([event(2), event(3)]) == [1, 2]
        assert log.problem is None
        await log.close()

    run(work())
    assert held(tmp_path) == ["e1", "e2", "e3"]
    assert run(appended(tmp_path, [event(4)])) == [[3]]


def failing(number, text):
    def fail(*arguments):
        raise OSError(number, text)

    return fail


def test_a_failed_write_that_cannot_be_cut_off_is_not_read(tmp_path, monkeypatch):
    async def work():
        log = Log.open(tmp_path)
        await log.append([event(1)])
        with monkeypatch.context() as broken, pytest.raises(NotNow, match="Input/output error; look at its disk"):
            broken.setattr(os, "fdatasync", failing(5, "Input/output error"))
            broken.setattr(os, "ftruncate", failing(5, "Input/output error"))
            await log.append([event(2), event(3)])
        assert [item["id"] for _, item in log.read(0)] == ["e1"]
        assert await log.append([event(4)]) == [1]
        await log.close()

    run(work())
    assert held(tmp_path) == ["e1", "e4"]
    assert run(appended(tmp_path, [event(2)])) == [[2]]


def test_a_disk_that_has_room_again_is_noticed_without_events(tmp_path, monkeypatch):
    monkeypatch.setattr("graphmill.serving.log.AGAIN", 0.01)

    async def work():
        log = Log.open(tmp_path)
        await log.append([event(1)])
        with monkeypatch.context() as full:
            full.setattr(os, "fdatasync", failing(28, "No space left on device"))
            for item in (event(2), event(1)):  # one that is known does not make the disk well
                with pytest.raises(NotNow):
                    await log.append([item])
            await asyncio.sleep(0.05)
            assert log.problem is not None
        while log.problem is not None:
            await asyncio.sleep(0.01)
        assert await log.append([event(2)]) == [1]
        await log.close()

    run(work())
    assert held(tmp_path) == ["e1", "e2"]


def test_who_waits_hears_of_what_could_not_be_taken_up(tmp_path):
    async def work():
        log = Log.open(tmp_path)
        taken = []

        def take(first, events):
            taken.append(first)
            if first == 0:
                raise RuntimeError("no such column")

        log.on_commit = take
        with pytest.raises(RuntimeError, match="no such column"):
            await log.append([event(1)])
        assert await log.append([event(1), event(2)]) == [None, 1], "it is in the log nevertheless"
        assert taken == [0, 1]
        await log.close()
        with pytest.raises(NotNow, match="the log is closed"):
            await log.append([event(3)])

    run(work())
    assert held(tmp_path) == ["e1", "e2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_small_disk_that_fills(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")

    async def work():
        log, ballast, kept = Log.open(tmp_path / "log"), tmp_path / "ballast", 0
        ballast.write_bytes(bytes(16_384))
        with pytest.raises(NotNow, match="No space left on device; make room on its disk"):
            while True:
                kept += len(await log.append([event(kept + place, note="x" * 500) for place in range(5)]))
        assert log.end == kept == len(list(log.read(0))) > 20
        ballast.unlink()
        assert await log.append([event(kept)]) == [kept] and log.problem is None
        await log.close()
        assert held(tmp_path / "log") == [f"e{number}" for number in range(kept + 1)]

    try:
        run(work())
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_is_really_full(tmp_path):
    script = """
import asyncio, json, resource, signal, sys
from graphmill.serving.log import Log, NotNow
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
async def work():
    log, kept = Log.open(sys.argv[1]), 0
    try:
        while True:
            kept += len(await log.append([{"id": f"e{kept + place}", "kind": "label"} for place in range(7)]))
    except NotNow:
        print(kept, len(list(log.read(0))))
    await log.close()
asyncio.run(work())
"""
    told = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    kept, read = map(int, told.stdout.split())
    assert kept == read == len(held(tmp_path)) > 20


WRITER = """
import asyncio, json, sys
from graphmill.serving.log import Log
async def work():
    log = Log.open(sys.argv[1], segment_bytes=20_000)
    first = int(sys.argv[2])
    async def one(number):
        batch = [{"id": f"{number}-{place}", "kind": "label", "note": "x" * (number % 90)} for place in range(3)]
        await log.append(batch)
        print(number, flush=True)
    number = first
    while True:
        await asyncio.gather(*(one(number + place) for place in range(4)))
        number += 4
asyncio.run(work())
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path):
    state, acknowledged, number = random.Random(3), set(), 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(number)], stdout=subprocess.PIPE, text=True
        )
        wanted = state.randint(1, 120)
        for line in writer.stdout:
            acknowledged.add(int(line))
            wanted -= 1
            if wanted == 0:
                break
        time.sleep(state.random() * 0.02)
        writer.send_signal(signal.SIGKILL)
        acknowledged.update(int(line) for line in writer.stdout.read().split())
        writer.stdout.close()
        writer.wait()
        number = max(0, max(acknowledged) - 8)  # the client sends the last ones again: it cannot know
    found = held(tmp_path)
    assert len(found) == len(set(found)), "none twice"
    assert {f"{one}-{place}" for one in acknowledged for place in range(3)} <= set(found)
    offsets = [offset for offset, _ in read_log(tmp_path, 0)]
    assert offsets == list(range(len(offsets)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=4), max_size=4))
def test_whatever_is_sent_is_there_once_in_the_order_of_its_first_time(tmp_path_factory, lives):
    folder = tmp_path_factory.mktemp("log")
    first_time = dict.fromkeys(number for life in lives for batch in life for number in batch)
    for life in lives:
        run(appended(folder, *[[event(number) for number in batch] for batch in life], segment_bytes=300))
    assert held(folder) == [f"e{number}" for number in first_time]
