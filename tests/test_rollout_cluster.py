"""Rollouts on KServe: the real clients against an API server of our own that plays the controller's part."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from graphmill.errors import UserError
from graphmill.registry import Version
from graphmill.rollout import cluster as door
from graphmill.rollout.machine import Machine
from graphmill.rollout.observation import Observation, Seen
from graphmill.rollout.params import Params
from graphmill.rollout.service import COVER, DIGEST, STATE, VERSION
from graphmill.rollout.state import State, Store
from graphmill.rollout.target import Revision, Target, Unreachable
from tests.cluster import LOST, NAME, NAMESPACE, Refused, World, serving

V1, V2, V3 = (
    Revision(f"v{number}", letter * 64, f"s3://m/v{number}") for number, letter in ((1, "a"), (2, "b"), (3, "c"))
)
STEPS = [{"traffic": percent, "minutes": 1, "requests": 10} for percent in (0, 5, 25, 100)]
MODES = ("knative", "standard")
both = pytest.mark.parametrize("mode", MODES)


class Crash(Exception):
    """The process is gone."""


@dataclass
class Registry:
    champion: str = "v1"
    there: dict[str, str] = field(default_factory=lambda: {item.version: item.digest for item in (V1, V2, V3)})

    def versions(self) -> list[Version]:
        return [Version(name, digest, "", "", {}) for name, digest in self.there.items()]

    def aliases(self) -> dict[str, str]:
        return {"champion": self.champion}

    def move(self, alias: str, version: str, why: str) -> None:
        self.champion = version


@dataclass
class Source:
    judged: int = 0

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        seen = Seen(self.judged, 0, {0.01: self.judged}, {0.25: self.judged, 0.5: self.judged})
        return Observation(seen, seen, compared=self.judged)


class Place:
    """A cluster, a registry and a clock that outlive whoever rolls out."""

    def __init__(self, mode: str, home: Path, world: World) -> None:
        self.mode, self.home, self.world = mode, home, world
        self.registry, self.source, self.now = Registry(), Source(), 1_000.0
        self.asked, self.crash_at = 0, 0
        self.ready_minutes = 10.0

    def target(self, **changes: Any) -> Target:
        params = Params.parse({"target": self.mode, "context": "loopback", "shadow_share": 0.2})
        return door.open(params.model_copy(update=changes), NAME, NAMESPACE)

    def machine(self) -> Machine:
        given = {"steps": STEPS, "target": self.mode, "ready_minutes": self.ready_minutes}
        store = Store(self.home, NAME)
        target = self.target()
        return Machine(Params.parse(given), self.registry, target, self.source, store, lambda: self.now, str)

    def begin(self, champion: Revision = V1, candidate: Revision = V2) -> State:
        return self.machine().begin(State(NAME, champion, candidate, began=self.now))

    def tick(self) -> State:
        """One look, by a process that has just been started; half a minute and twenty requests pass."""
        state = self.machine().tick()
        self.now += 30
        self.source.judged += 20
        return state

    def until(self, done: Callable[[State], bool], looks: int = 150) -> State:
        for _ in range(looks):
            try:
                state = self.tick()
            except (Crash, Unreachable):
                self.now += 30
                continue
            if done(state):
                return state
        raise AssertionError(f"it never came: {state}; {self.world.service['status']}")

    def end(self) -> State:
        return self.until(lambda state: state.ended)

    def watching(self, step: int) -> State:
        return self.until(lambda state: (state.phase, state.step) == ("watching", step))

    def shares(self, uri: str) -> list[float]:
        return [entry.get(uri, 0) for entry in self.world.history]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    """Makes a cluster; the kubeconfig in the home folder leads there."""
    from kubernetes.config import kube_config

    opened = []

    def make(mode: str, world: World | None = None) -> Place:
        world = world or World(mode, V1.uri)
        entered = serving(world)
        url = entered.__enter__()
        opened.append(entered)
        names = {"cluster": "here", "user": "me"}
        kubeconfig = {
            "apiVersion": "v1", "kind": "Config", "current-context": "elsewhere",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {"token": "secret"}}],
            "contexts": [{"name": "loopback", "context": names}],
        }  # fmt: skip
        file = tmp_path / f"kubeconfig{len(opened)}"
        file.write_text(yaml.safe_dump(kubeconfig))
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        return Place(mode, tmp_path / f"rollouts{len(opened)}", world)

    clients: list[Any] = []
    connected = door._connected
    monkeypatch.setattr(door, "_connected", lambda context: clients.append(connected(context)) or clients[-1])
    yield make
    for client in clients:
        client.close()
    for entered in opened:
        entered.__exit__(None, None, None)


def crashing(place: Place, monkeypatch: pytest.MonkeyPatch) -> dict[str, Place]:
    """The process dies at the `crash_at`-th half of a request: before it is sent, or after it was carried out."""
    asked, here = door.Cluster._asked, {"place": place}

    def counted(self: door.Cluster, *given: Any) -> Any:
        place = here["place"]
        place.asked += 1
        if place.crash_at == 2 * place.asked:
            raise Crash("before")
        found = asked(self, *given)
        if place.crash_at == 2 * place.asked + 1:
            raise Crash("after")
        return found

    monkeypatch.setattr(door.Cluster, "_asked", counted)
    return here


def clean(world: World, version: Revision) -> None:
    """The object as a deployment of that version would have left it."""
    spec = world.spec
    assert spec["predictor"]["model"]["storageUri"] == version.uri
    assert "canaryTrafficPercent" not in spec["predictor"] and not spec.get("canary")
    kept = world.service["metadata"]["annotations"]
    assert (kept.get(VERSION), kept.get(DIGEST)) == (version.version, version.digest)
    assert world.mirrored is None
    world.settle()
    assert world.history[-1] == {version.uri: 100}


@both
def test_a_good_candidate_goes_through_every_step(place, mode):
    here = place(mode)
    here.begin()
    seen = {}
    for step in range(4):
        here.watching(step)
        here.world.settle()
        seen[step] = here.world.history[-1].get(V2.uri, 0)
    assert seen == {0: 0, 1: 5, 2: 25, 3: 100}
    assert here.end().phase == "promoted"
    assert here.registry.champion == "v2"
    clean(here.world, V2)
    assert here.shares(LOST) == [0] * len(here.world.history)
    rising = here.shares(V2.uri)
    assert rising == sorted(rising)


@both
def test_the_candidate_is_mirrored_to_from_when_it_answers(place, mode):
    here = place(mode)
    here.begin()
    here.tick()
    assert here.world.mirrored is None  # it is starting: a mirrored request would count as its failure
    here.watching(0)
    hosts = {
        "knative": f"latest-{NAME}-predictor.{NAMESPACE}.svc.cluster.local",
        "standard": f"{NAME}-v2-predictor.{NAMESPACE}",
    }
    url = f"http://{hosts[mode]}/v1/models/{NAME}:predict"
    assert here.world.mirrored == {"champion": "a" * 16, "candidate": "b" * 16, "url": url, "share": 0.2}
    if mode == "knative":
        assert here.world.service["metadata"]["annotations"]["serving.kserve.io/enable-tag-routing"] == "true"


@both
@pytest.mark.parametrize("step", range(4))
def test_a_broken_guard_gives_the_champion_everything_back(place, mode, step):
    here = place(mode)
    here.begin()
    here.machine().roll_back(here.watching(step), "a guard broke")
    here.world.history.clear()
    assert here.end().phase == "rolled_back"
    falling = here.shares(V2.uri)
    assert falling == sorted(falling, reverse=True) and here.shares(LOST) == [0] * len(falling)
    assert here.registry.champion == "v1"
    if step < 3 or mode == "knative":
        assert falling.count(0) >= len(falling) - 3  # at once: only what was under way
    if step == 3 or mode == "knative":
        clean(here.world, V1)
    assert here.world.spec["predictor"]["model"]["storageUri"] == V1.uri and here.world.mirrored is None


@both
def test_a_promoted_version_can_be_taken_back(place, mode):
    here = place(mode)
    here.begin()
    state = here.end()
    here.world.settle()
    here.machine().roll_back(state, "complaints")
    here.world.history.clear()
    assert here.end().phase == "rolled_back"
    assert here.registry.champion == "v1" and here.shares(LOST) == [0] * len(here.world.history)
    clean(here.world, V1)


@both
def test_the_next_version_gets_nothing_at_once(place, mode):
    """Neither after a promotion nor after a rollback is anything left that would let it through."""
    here = place(mode)
    for champion, candidate, bad in ((V1, V2, False), (V2, V3, True), (V2, V1, False)):
        here.source = Source()
        here.world.history.clear()
        here.now += 1_000
        here.begin(champion, candidate)
        state = here.watching(0)
        here.world.settle()
        assert set(here.shares(candidate.uri)) == {0}
        if bad:
            here.machine().roll_back(state, "a guard broke")
        assert here.end().phase == ("rolled_back" if bad else "promoted")
        assert here.shares(LOST) == [0] * len(here.world.history)
        clean(here.world, champion if bad else candidate)


@both
def test_the_state_beside_the_service_restarts_no_pod(place, mode):
    """KServe copies the object's annotations into the pods' template; the predictor's own cover this one."""
    here = place(mode)
    here.begin()
    here.world.settle()
    controller = here.world.controller

    def starts() -> list[int]:
        if mode == "knative":
            return [len(controller.revisions)]
        return [found["starts"] for found in controller.pods.values()]

    before, target = starts(), here.target()
    for number in range(3):
        assert target.saved() is not None
        target.save(State(NAME, V1, V2, began=5.0, sequence=number).text())
        here.world.settle()
    assert starts() == before
    assert here.world.spec["predictor"]["annotations"][STATE] == COVER
    assert json.loads(here.world.service["metadata"]["annotations"][STATE])["sequence"] == 2
    assert here.world.service["metadata"]["generation"] == 2  # the cover, once


def test_pods_stay_when_a_canary_becomes_stable(place):
    here = place("standard")
    here.begin()
    here.watching(2)
    here.end()
    here.world.settle()
    assert {name: found["starts"] for name, found in here.world.controller.pods.items()} == {f"{NAME}-v2-predictor": 1}
    assert here.world.spec["predictor"]["name"] == "v2"


def sample(number: int) -> list[int]:
    """Some of the moments of a crash; all of them take a minute a mode."""
    return list(range(2, number, 7))


@both
def test_a_crash_between_any_two_requests_changes_nothing_in_the_end(place, mode, monkeypatch):
    calm = place(mode)
    counting = crashing(calm, monkeypatch)
    calm.begin()
    calm.end()
    for crash in sample(2 * calm.asked):
        here = place(mode)
        counting["place"], here.crash_at = here, crash
        while here.world.service["metadata"]["annotations"].get(STATE) is None:
            try:
                here.begin()
            except Crash:
                continue
        assert here.end().phase == "promoted", crash
        assert here.registry.champion == "v2" and here.shares(LOST) == [0] * len(here.world.history)
        clean(here.world, V2)
