"""A rollout on one machine, for real: predictors, the front and watchers are processes, and any of them is killed."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from graphmill.registry.local import LocalRegistry
from graphmill.rollout import local
from graphmill.rollout.__main__ import main
from graphmill.rollout.load import asked
from graphmill.rollout.processes import Processes
from graphmill.rollout.state import Store
from tests import rolling
from tests.serving import free_ports

pytestmark = pytest.mark.slow
QUICK = ((0, 20), (20, 20), (50, 20), (100, 20))
SHADOW = ((0, 400), (100, 400))
ROOT = str(rolling.Path(__file__).parent.parent)


class Place:
    """A world and its one service; `run` is the command line."""

    def __init__(self, root):
        self.root, self.port = root, free_ports(1)[0]
        self.home, self.store = LocalRegistry(root / "registry"), Store(root / "rollouts", "tiny")
        self.processes = Processes((root / "rollouts" / "tiny" / "local").resolve())

    def run(self, command, *arguments, steps=QUICK, port=None):
        given = ("--params", str(rolling.params(self.root, *steps)), "--graph", str(self.root / "artifacts"))
        return main([command, *given, "--port", str(port or self.port), *arguments])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self):
        return self.store.read()

    def running(self):
        """Ids of every process of this world."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                told = process.cmdline()
                if any(str(self.root) in one for one in told) and process.pid != os.getpid():
                    found[process.pid] = told
        return found

    def pid(self, start):
        """The process of a role that begins so."""
        entries = json.loads((self.store.folder / "local" / "processes.json").read_text())
        return next(entry["pid"] for role, entry in entries.items() if role.startswith(start))

    def counts(self):
        return httpx.get(f"{self.url}/rollout", trust_env=False, timeout=60).json()["counts"]

    def asked(self, rate=40):
        """Questions to the front."""
        return asked(self.root / "artifacts", f"{self.url}/v1/models/tiny:predict", rate)

    @contextmanager
    def watcher(self, command, *arguments, **more):
        """The command in a process of its own, which is killed at the end."""
        process = multiprocessing.get_context("fork").Process(target=self.run, args=(command, *arguments), kwargs=more)
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()
            process.close()

    def until(self, true, seconds=300):
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, (self.state, [self.processes.tail(r) for r in self.processes.roles()])
            time.sleep(0.02)

    def stands(self, phase, step):
        return self.state is not None and (self.state.phase, self.state.step) == (phase, step)


@pytest.fixture(scope="module")
def place(tiny_run, tmp_path_factory):
    one = Place(rolling.world(tmp_path_factory.mktemp("rollout"), tiny_run))
    try:
        yield one
    finally:
        for role in one.processes.roles():
            one.processes.stop(role)
        assert one.running() == {}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The predictors import this checkout, and may be told to misbehave."""
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setattr(local, "SERVING", (sys.executable, "-m", "tests.rolling"))


def test_a_good_version_becomes_the_champion_and_can_be_taken_back(place, capsys):
    assert place.run("start", "--candidate", "v1", "--rate", "40") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "tiny: v1 beside v0: to shadow" and told[-1] == "tiny: v1 is the champion"
    phases = [(entry["phase"], entry["step"]) for entry in place.store.log()]
    steps = [(phase, step) for step in range(4) for phase in ("moving", "watching")]
    assert phases == [*steps, ("promoting", 3), ("promoted", 3)]
    assert place.home.aliases() == {"champion": "v1", "previous": "v0"}
    counts = place.counts()
    assert counts["champion"]["failures"] == counts["candidate"]["failures"] == 0
    assert min(counts[side]["requests"] for side in counts if side != "began") >= 20
    answer = httpx.post(
        f"{place.url}/v1/models/tiny:predict", json={"instances": [{"id": "p00001"}]}, trust_env=False, timeout=60
    ).json()
    assert answer["model"]["version"] == place.home.versions()[1].digest[:16]
    assert place.run("status") == 0
    shown = capsys.readouterr().out
    assert "v1 is the champion" in shown and "disagreement" in shown and "promoted" in shown
    assert place.run("rollback", "--why", "complaints") == 0
    assert place.home.aliases()["champion"] == "v0" and place.state.phase == "rolled_back"
    assert [role[:2] for role in place.processes.roles()] == ["v0", "fr"]
    assert place.run("start", "--candidate", "v1") == 2
    assert "v1 was rolled back at" in capsys.readouterr().err
    assert place.run("rollback", "--why", "again") == 2


@pytest.mark.parametrize(
    ("version", "fault", "guard"),
    [("v2", "error", "error_rate"), ("v3", "slow", "error_rate"), ("v4", None, "disagreement")],
)
def test_a_bad_version_is_rolled_back_within_500_of_its_requests(place, monkeypatch, version, fault, guard):
    monkeypatch.setenv("FAULTY", json.dumps({version: fault}))
    assert place.run("start", "--candidate", version, "--rate", "40", steps=SHADOW) == 1
    entry = place.store.log()[-1]
    assert entry["phase"] == "rolled_back" and f"{guard}: " in entry["reason"]
    seen = entry["seen"]
    assert seen["candidate"]["requests"] + seen["compared"] + seen["mirrored_failures"] <= 500
    assert place.home.aliases()["champion"] == "v0"
    assert [role[:2] for role in place.processes.roles()] == ["v0", "fr"], "the bad one is gone"


def test_a_version_that_cannot_be_served_is_rolled_back_with_its_own_words(place, monkeypatch):
    monkeypatch.setenv("FAULTY", '{"v2": "dies"}')
    assert place.run("start", "--candidate", "v2", "--again") == 1
    assert "the process of v2 has ended" in place.state.reason
    assert "this version cannot be loaded" in place.state.reason


def test_killed_watchers_and_a_killed_front_change_nothing_in_the_end(place):
    """Every life of a watcher ends with SIGKILL in another phase, until one is left alone."""
    stops = [("moving", 0), ("watching", 0), ("moving", 1), ("watching", 1), ("watching", 2), ("moving", 3)]
    command = ("start", "--candidate", "v2", "--again")
    with place.asked():
        for phase, step in stops:
            with place.watcher(*command, steps=((0, 15), (20, 15), (50, 15), (100, 15))):
                place.until(lambda at=(phase, step): _reached(place, *at))
            command = ("resume",)
            if phase == "watching" and step == 1:
                front = place.pid("front")
                os.kill(front, signal.SIGKILL)
        assert place.run("resume", steps=((0, 15), (20, 15), (50, 15), (100, 15))) == 0
    assert place.pid("front") != front and place.home.aliases()["champion"] == "v2"
    assert [move.why for move in place.home.history()].count("rolled out beside v0, no guard broke") == 2
    assert len(place.running()) == 3
    with place.watcher("rollback", "--why", "a test"):
        place.until(lambda: place.state.phase in ("rolling_back", "rolled_back"))
    assert place.run("resume") == 1
    assert place.home.aliases()["champion"] == "v0"


def _reached(place, phase, step):
    order = ("moving", "watching", "promoting", "rolling_back", "promoted", "rolled_back")
    state = place.state
    return (
        state is not None
        and not state.ended
        and (state.step, order.index(state.phase))
        >= (
            step,
            order.index(phase),
        )
    )


def test_a_killed_candidate_is_rolled_back_and_no_client_hears_of_it(place):
    statuses = []
    with place.watcher("start", "--candidate", "v3", "--again", "--rate", "20", steps=((50, 10**6), (100, 1))):
        place.until(lambda: place.stands("watching", 0) and place.state.candidate.version == "v3")
        os.kill(place.pid("v3"), signal.SIGKILL)
        with httpx.Client(trust_env=False, timeout=60) as client:
            for number in range(40):
                given = {"json": {"instances": [{"id": f"p{number:05}"}]}, "headers": {"x-request-id": f"r{number}"}}
                statuses.append(client.post(f"{place.url}/v1/models/tiny:predict", **given).status_code)
        place.until(lambda: place.state.ended)
    assert statuses == [200] * 40
    assert place.state.phase == "rolled_back" and "the process of v3 has ended" in place.state.reason


def test_stop_ends_a_rollout_and_leaves_no_process(place, capsys):
    with place.watcher("start", "--candidate", "v3", "--again", "--rate", "20", steps=((0, 10**6), (100, 1))) as other:
        place.until(lambda: place.stands("watching", 0) and place.state.candidate.version == "v3")
        assert place.run("stop") == 0
        other.join(120)
    assert place.running() == {}
    assert (place.state.phase, place.state.reason) == ("rolled_back", "stopped")
    assert place.run("stop") == 0, "twice is no mistake"


def test_a_port_that_is_taken_is_told_before_anything_begins(place, capsys):
    before = place.state
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        assert place.run("start", "--candidate", "v3", "--again", port=port) == 2
    assert f"port {port}: Address already in use" in capsys.readouterr().err
    assert place.state == before and place.running() == {}
