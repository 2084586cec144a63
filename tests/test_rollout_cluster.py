"""Rollouts on KServe: the real clients against an API server of our own that plays the controller's part."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
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
from graphmill.rollout.state import State, Store, newest
from graphmill.rollout.target import Revision, Target, Unreachable
from tests.cluster import LOST, NAME, NAMESPACE, Refused, World, merged, serving

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

    clients: dict[str, Any] = {}
    connected = door.connected

    def once(context: str | None) -> Any:
        key = kube_config.KUBE_CONFIG_DEFAULT_LOCATION
        return clients.setdefault(key, None) or clients.update({key: connected(context)}) or clients[key]

    monkeypatch.setattr(door, "connected", once)
    yield make
    for client in clients.values():
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
    assert falling.count(0) >= len(falling) - 3  # at once, from 100 % too: only what was under way
    if mode == "knative":
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


@both
@pytest.mark.parametrize("undone", [False, True])
def test_a_crash_between_any_two_requests_changes_nothing_in_the_end(place, mode, undone, monkeypatch):
    """A part of the moments; all of them together take minutes."""
    calm = place(mode)
    counting = crashing(calm, monkeypatch)
    _through(calm, undone)
    for crash in range(2, 2 * calm.asked, 29):
        here = place(mode)
        counting["place"], here.crash_at = here, crash
        _through(here, undone)
        assert here.shares(LOST) == [0] * len(here.world.history)
        clean(here.world, V1 if undone else V2)
        assert here.registry.champion == ("v1" if undone else "v2"), crash


def _through(here: Place, undone: bool) -> None:
    """To the end, and back again, by a process that is started again whenever it dies."""
    while here.world.service["metadata"]["annotations"].get(STATE) is None:
        with suppress(Crash):
            here.begin()
    state = here.end()
    while undone and state.phase == "promoted":
        with suppress(Crash):
            state = here.machine().roll_back(state, "complaints")
            state = here.end()
        state = newest(here.machine().state(), state)
    if not state.ended:
        here.end()


@both
@pytest.mark.parametrize("percent", [-1, 101])
def test_percentages_that_kserve_would_take_and_fail_later(place, mode, percent):
    here = place(mode)
    here.begin()
    here.watching(0)
    here.world.calls.clear()
    with pytest.raises(UserError, match=f"{percent}.*must be from 0 to 100"):
        here.target().traffic(percent)
    assert not [call for call in here.world.calls if not call.startswith("get")]


@both
def test_a_candidate_that_never_gets_ready(place, mode):
    """`Ready` stays true from the old revision all the while."""
    here = place(mode)
    here.world.broken[V2.uri] = "Deploying"
    here.begin()
    state = here.end()
    assert state.phase == "rolled_back" and "not ready after 10.5 min" in state.reason
    assert set(here.shares(V2.uri)) == {0} and here.world.mirrored is None
    here.world.broken.clear()
    clean(here.world, V1) if mode == "knative" else None
    assert here.world.spec["predictor"]["model"]["storageUri"] == V1.uri and not here.world.spec.get("canary")


@pytest.mark.parametrize(("mode", "reason"), [("knative", "RevisionFailed"), ("standard", "FailedCreate")])
def test_a_candidate_that_fails_is_rolled_back_at_once(place, mode, reason):
    here = place(mode)
    here.world.broken[V2.uri], here.world.lag = reason, 3
    here.begin()
    state = here.end()
    assert state.phase == "rolled_back" and reason in state.reason and here.now < 1_000 + 600
    assert "canaryTrafficPercent" not in here.world.spec["predictor"] and not here.world.spec.get("canary")
    assert set(here.shares(V2.uri)) == {0}
    here.world.settle()
    assert here.world.history[-1] == {V1.uri: 100}


def test_a_percentage_that_the_controller_cannot_carry_out(place):
    """Written by somebody else: the CRD takes it."""
    here = place("knative")
    here.begin()
    here.watching(1)
    here.world.edit({"spec": {"predictor": {"canaryTrafficPercent": 150}}})
    state = here.end()
    assert state.phase == "rolled_back" and "ReconcileFailed: validation failed: expected 0 <= 150" in state.reason
    clean(here.world, V1)


def test_each_call_of_a_rollback_takes_one_safe_step(place):
    """However often it is called before the controller has acted on the last one."""
    here = place("knative")
    here.begin()
    here.end()
    here.world.settle()
    here.world.lag = 99
    for uri, percent in ((V2.uri, 0), (V1.uri, 0), (V1.uri, None)):
        target = here.target()
        for _ in range(3):
            target.rollback()
            asked = here.world.spec["predictor"]
            assert (asked["model"]["storageUri"], asked.get("canaryTrafficPercent")) == (uri, percent)
        here.world.settle()
    assert here.world.history[-1] == {V1.uri: 100}


def test_the_champion_takes_the_stable_place_when_it_answers(place):
    here = place("standard")
    here.begin()
    here.end()
    here.world.settle()
    here.world.lag, target = 99, here.target()
    for _ in range(3):
        target.rollback()
        assert here.world.spec["predictor"]["model"]["storageUri"] == V2.uri
        assert [item["trafficPercent"] for item in here.world.spec["canary"]] == [100]
    here.world.settle()
    target.rollback()
    assert here.world.spec["predictor"]["model"]["storageUri"] == V1.uri and here.world.spec["canary"] == []


@both
def test_a_rollout_in_one_step_waits_for_the_candidate(place, mode, monkeypatch):
    monkeypatch.setattr("tests.test_rollout_cluster.STEPS", [{"traffic": 100, "minutes": 1, "requests": 10}])
    here = place(mode)
    here.begin()
    assert here.end().phase == "promoted" and here.shares(LOST) == [0] * len(here.world.history)
    clean(here.world, V2)


def test_the_third_revision_fails_but_the_champion_has_the_traffic(place, caplog):
    here = place("knative")
    here.begin()
    state = here.watching(2)
    here.world.broken[V1.uri] = "RevisionFailed"
    here.machine().roll_back(state, "a guard broke")
    assert here.end().phase == "rolled_back"
    here.world.settle()
    assert here.world.history[-1] == {V1.uri: 100}
    assert "canaryTrafficPercent stays at 0" in caplog.text
    here.world.broken.clear()
    here.now += 1_000
    here.begin(V1, V3)  # what stayed does not hinder the next one
    assert here.end().phase == "promoted"
    clean(here.world, V3)


@pytest.mark.parametrize("starts", [True, False])
def test_no_revision_of_the_champion_to_go_back_to(place, caplog, starts):
    """Promoted, and then another revision of the candidate: it becomes the previous one, or it never gets ready."""
    here = place("knative")
    here.begin()
    state = here.end()
    if not starts:
        here.world.broken[V2.uri] = "Deploying"
    here.world.edit({"metadata": {"annotations": {"somebody": "else"}}})
    here.world.settle()
    here.machine().roll_back(state, "complaints")
    assert here.end().phase == "rolled_back"
    assert "no revision of v1 to go back to" in caplog.text
    clean(here.world, V1)


def test_traffic_of_a_revision_of_neither_version(place):
    here = place("knative")
    here.begin()
    here.watching(1)
    here.world.edit({"spec": {"predictor": {"model": {"storageUri": V3.uri}}}})
    here.world.settle()
    status = here.target().status()
    assert status.failed and "runs neither version, but s3://m/v3" in status.reason
    here.machine().roll_back(here.machine().state(), "somebody deployed")
    with pytest.raises(UserError, match="storageUri is s3://m/v3, not s3://m/v1 or s3://m/v2"):
        here.tick()


def test_the_generation_of_the_child_goes_its_own_way(place):
    """An update of the ServingRuntime makes a new generation of the Knative Service only."""
    here = place("knative")
    for here.world.drift in (-2, 3):
        here.world.service.pop("status")
        here.world.settle()
    here.begin()
    assert here.end().phase == "promoted"


@both
def test_what_has_not_been_carried_out_is_not_ready(place, mode):
    here = place(mode)
    here.begin()
    here.watching(1)
    here.world.lag = 3
    target = here.target()
    target.saved()
    target.traffic(25)
    assert (target.status().ready, target.status().traffic) == (False, 5)
    here.world.settle()
    assert (target.status().ready, target.status().traffic) == (True, 25)


def test_ready_is_the_newest_revision_and_of_the_right_model(place):
    here = place("knative")
    here.begin()
    here.watching(1)
    here.world.broken[V2.uri] = "Deploying"
    here.world.edit({"metadata": {"annotations": {"somebody": "else"}}})
    here.world.settle()
    status = here.target().status()
    assert not status.ready and "00004 is not ready" in status.reason  # 00003 has the candidate's traffic still
    here = place("knative")
    here.world.edit(predicting(canaryTrafficPercent=0))
    here.world.settle()
    here.begin()
    here.world.settle()
    here.world.lag, target = 99, here.target()
    target.start(V1, V2)
    assert "no revision of s3://m/v2 has been made" in target.status().reason  # all else is as it is to be


@both
def test_an_api_server_that_is_gone_for_a_while(place, mode):
    here = place(mode)
    here.begin()
    here.watching(1)
    here.world.down = 3
    for _ in range(3):
        with pytest.raises(
            Unreachable, match=r"the API server did not get inferenceservices payment-fraud .*\(no answer\)"
        ):
            here.machine().tick()
    assert here.end().phase == "promoted"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_by_itself(place, status):
    here = place("knative")
    here.world.refuse = lambda verb, plural, name: Refused(status, "etcdserver: leader changed")
    with pytest.raises(Unreachable, match=f"{status}.*leader changed"):
        here.target().saved()


FORBIDDEN = 'inferenceservices.serving.kserve.io "payment-fraud" is forbidden: User "job" cannot patch resource'


@both
def test_no_permission_names_the_verb_and_the_resource(place, mode):
    here = place(mode)
    here.world.refuse = lambda verb, plural, name: Refused(403, FORBIDDEN) if verb == "patch" else None
    text = f"may not patch inferenceservices {NAME} in namespace {NAMESPACE}: {FORBIDDEN}; bind the rollout's Role"
    with pytest.raises(UserError, match=text):
        here.begin()
    here.world.refuse = lambda verb, plural, name: Refused(401, "Unauthorized")
    with pytest.raises(UserError, match="does not know who asks to get inferenceservices .*log in again"):
        here.begin()


def test_what_a_webhook_says_is_told_whole(place):
    here = place("knative")
    told = 'admission webhook "policy.example" denied the request: images must be signed'
    here.world.refuse = lambda verb, plural, name: Refused(403, told) if verb == "patch" else None
    with pytest.raises(UserError, match=f"the cluster refuses to patch inferenceservices .*: {told}$"):
        here.begin()


def test_what_is_not_there(place):
    here = place("standard")
    here.world.namespaces.clear()
    with pytest.raises(UserError, match=f"there is no namespace {NAMESPACE} in this cluster"):
        here.target().saved()
    here.world.namespaces.add(NAMESPACE)
    kept = here.world.objects.pop(("inferenceservices", NAME))
    with pytest.raises(
        UserError, match=f"there is no inferenceservices {NAME} in namespace {NAMESPACE}: deploy the first"
    ):
        here.target().saved()
    here.world.objects["inferenceservices", NAME] = kept
    here.world.kinds.clear()
    with pytest.raises(UserError, match="this cluster knows no inferenceservices: install KServe"):
        here.target().saved()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (("configmaps", f"{NAME}-shadow"), f"there is no configmaps {NAME}-shadow .*kubectl create configmap"),
        (("httproutes", f"{NAME}-predictor"), "there is no HTTPRoute .*enableGatewayApi: true"),
    ],
)
def test_what_a_rollout_needs_beside_the_service(place, kind, text):
    here = place("standard")
    here.begin()
    del here.world.objects[kind]
    with pytest.raises(UserError, match=text):
        here.tick()
    assert not here.world.spec.get("canary")


def test_another_writer_of_something_else_is_no_matter(place):
    here = place("knative")
    here.begin()
    here.watching(1)
    here.world.meanwhile = lambda: here.world.edit({"metadata": {"labels": {"team": "risk"}}})
    here.target().traffic(25)
    assert here.world.spec["predictor"]["canaryTrafficPercent"] == 25
    assert here.world.service["metadata"]["labels"] == {"team": "risk"}


def test_another_writer_of_our_fields_is_named(place):
    here = place("knative")
    here.begin()
    here.watching(1)
    here.world.meanwhile = lambda: here.world.edit({"spec": {"predictor": {"canaryTrafficPercent": 50}}}, "argocd")
    with pytest.raises(UserError, match="argocd changed spec.predictor.canaryTrafficPercent from 5 to 50"):
        here.target().traffic(25)
    assert here.world.spec["predictor"]["canaryTrafficPercent"] == 50


def test_a_writer_who_never_stops(place):
    here = place("knative")
    here.begin()
    count = iter(range(100))

    def edit() -> None:
        here.world.edit({"metadata": {"labels": {"count": str(next(count))}}})
        here.world.meanwhile = edit

    here.world.meanwhile = edit
    with pytest.raises(Unreachable, match="written by others 5 times"):
        here.tick()


@both
def test_a_rollback_from_another_machine_is_followed(place, mode):
    """It was asked for between this watcher's read and its write."""
    here = place(mode)
    here.begin()
    here.watching(1)
    one, other = here.machine(), here.machine()
    state = one.state()
    other.roll_back(state, "complaints")
    with pytest.raises(Unreachable, match="another process went on with this rollout"):
        one._target.save(state.to("moving", here.now, step=2).text())
    assert here.end().phase == "rolled_back"


def predicting(**fields: Any) -> dict[str, Any]:
    return {"spec": {"predictor": fields}}


OTHER = predicting(model={"storageUri": "s3://x"})
UNMARKED = {"metadata": {"annotations": {"serving.kserve.io/deploymentMode": None}}}
FOREIGN = {
    "spec": {"canary": [{"trafficPercent": 1, "predictor": {"name": "v9", "model": {"name": "", "modelFormat": {}}}}]}
}


@pytest.mark.parametrize(
    ("mode", "edit", "text"),
    [
        ("knative", predicting(canaryTrafficPercent=30), "canaryTrafficPercent is 30: .*set it to 100"),
        ("knative", OTHER, "storageUri is s3://x, not the champion"),
        ("knative", predicting(model=None), "storageUri is missing"),
        ("standard", OTHER, "storageUri is s3://x, not the champion"),
        ("standard", predicting(canaryTrafficPercent=100), "canaryTrafficPercent is ignored in mode Standard"),
        ("standard", UNMARKED, "'Standard' on the object"),
        ("standard", FOREIGN, "spec.canary has v9, which this rollout does not know"),
    ],
)
def test_a_service_that_is_not_as_it_should_be(place, mode, edit, text):
    here = place(mode)
    here.world.write("inferenceservices", NAME, merged(here.world.service, edit))
    here.world.stale = here.world.lag = 99  # whatever the controller would make of it
    before = json.dumps(here.world.spec)
    here.begin()
    with pytest.raises(UserError, match=text):
        here.tick()
    after = json.loads(json.dumps(here.world.spec))
    del after["predictor"]["annotations"]
    assert after == json.loads(before)


def test_the_wrong_mode_and_the_first_revision(place):
    here = place("knative", World("standard", V1.uri))
    here.begin()
    with pytest.raises(UserError, match="its mode is Standard, which ignores canaryTrafficPercent"):
        here.tick()
    first = World("knative", V1.uri)
    first.service.pop("status")
    first.stale = first.lag = 99
    here = place("knative", first)
    here.begin()
    with pytest.raises(UserError, match="no revision has been rolled out yet"):
        here.tick()


@pytest.mark.parametrize("first", [0, 5])
def test_a_champion_that_is_not_rolled_out_itself(place, monkeypatch, first):
    """Its newest revision is not ready: the rest of the traffic would go to the one before."""
    monkeypatch.setattr("tests.test_rollout_cluster.STEPS", [{"traffic": first, "minutes": 1}, {"traffic": 100}])
    here = place("knative")
    here.world.broken[V1.uri] = "Deploying"
    here.world.edit({"metadata": {"annotations": {"somebody": "else"}}})
    here.begin()
    state = here.end()
    assert state.phase == "rolled_back" and "champion's newest revision" in state.reason
    assert "00003 is not rolled out" in state.reason
    assert set(here.shares(V1.uri)) == {100} and here.world.spec["predictor"]["model"]["storageUri"] == V1.uri


def test_a_percentage_left_at_100_lets_nothing_through(place):
    here = place("knative")
    here.world.edit({"spec": {"predictor": {"canaryTrafficPercent": 100}}})
    here.world.settle()
    here.world.history.clear()
    here.begin()
    here.watching(0)
    assert set(here.shares(V2.uri)) == {0}
    assert here.end().phase == "promoted"
    clean(here.world, V2)


def test_a_version_whose_name_cannot_be_a_service(place):
    here = place("standard")
    long = Revision("v" * 60, V2.digest, V2.uri)
    here.begin(V1, long)
    here.registry.there[long.version] = long.digest
    with pytest.raises(UserError, match="must be a DNS label of at most 63"):
        here.tick()


@both
def test_what_is_sent_is_what_kserves_own_client_reads(place, mode):
    from kserve import KServeClient
    from kubernetes.config import kube_config

    here = place(mode)
    here.begin()
    here.watching(1)
    client = KServeClient(config_file=kube_config.KUBE_CONFIG_DEFAULT_LOCATION, context="loopback")
    found = client.get(NAME, namespace=NAMESPACE)
    if mode == "knative":
        assert found["spec"]["predictor"]["canaryTrafficPercent"] == 5
    else:
        entry = found["spec"]["canary"][0]
        assert (entry["trafficPercent"], entry["predictor"]["name"], entry["predictor"]["minReplicas"]) == (5, "v2", 1)
        assert entry["predictor"]["model"]["name"] == "" and entry["predictor"]["model"]["runtime"] == "graphmill"
    client.api_instance.api_client.close()


def test_there_is_no_way_to_a_cluster(tmp_path, monkeypatch):
    from kubernetes.config import kube_config

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(UserError, match="no way to a cluster: .*set KUBECONFIG"):
        door.Cluster(NAME, NAMESPACE)
    with pytest.raises(UserError, match="no way to a cluster"):
        door.Cluster(NAME, NAMESPACE, "nowhere")
