"""The state machine: a target and a source in memory, and a crash between any two calls."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from graphmill.deploy.params import Params as Deploy
from graphmill.errors import UserError
from graphmill.model import Model
from graphmill.registry import Version
from graphmill.registry.local import LocalRegistry
from graphmill.rollout import run, state
from graphmill.rollout.checks import check, fits
from graphmill.rollout.machine import Machine
from graphmill.rollout.observation import Observation, Seen
from graphmill.rollout.params import Params
from graphmill.rollout.state import State, Store
from graphmill.rollout.target import Revision, Status, Unreachable

CHAMPION, CANDIDATE = Revision("v0", "a" * 64, "uri/v0"), Revision("v1", "b" * 64, "uri/v1")
STEPS = [{"traffic": percent, "minutes": 1, "requests": 10} for percent in (0, 5, 25, 100)]


class Crash(Exception):
    """The process is gone."""


@dataclass
class World:
    """A service, a registry and a clock that outlive any process that changes them."""

    traffic: int | None = None
    promoted: bool = False
    there: bool = False
    annotation: str | None = None
    delay: int = 0
    """Looks at the status that a change takes."""
    left: int = 0
    problem: Status | None = None
    now: float = 1_000.0
    champion: str = "v0"
    versions: dict[str, str] = field(default_factory=lambda: {"v0": CHAMPION.digest, "v1": CANDIDATE.digest})
    seen: Observation | None = field(default_factory=Observation)
    moves: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    crash_at: int | None = None

    def call(self, name: str, after: bool = False) -> None:
        """Note a call; the process may die right before or right after its work."""
        self.calls.append(name)
        if self.crash_at == len(self.calls):
            self.crash_at = None
            raise Crash(name)


class FakeTarget:
    def __init__(self, world: World) -> None:
        self.world = world

    def _set(self, **changes: object) -> None:
        if any(getattr(self.world, key) != value for key, value in changes.items()):
            vars(self.world).update(changes)
            self.world.left = self.world.delay
        self.world.call("done")

    def start(self, champion: Revision, candidate: Revision) -> None:
        self.world.call("start")
        if not self.world.there:
            self._set(there=True, traffic=0)

    def traffic(self, percent: int) -> None:
        assert self.world.there and 0 <= percent <= 100
        self.world.call(f"traffic {percent}")
        self._set(traffic=percent)

    def promote(self) -> None:
        self.world.call("promote")
        self._set(traffic=100, promoted=True)

    def rollback(self) -> None:
        self.world.call("rollback")
        self._set(traffic=0, promoted=False, there=False)

    def status(self) -> Status:
        self.world.call("status")
        if self.world.problem is not None and self.world.there:
            return self.world.problem
        self.world.left = max(self.world.left - 1, 0)
        return Status(self.world.left == 0, "pods are starting", traffic=self.world.traffic)

    def save(self, state: str) -> None:
        self.world.call("save")
        self.world.annotation = state
        self.world.call("saved")

    def saved(self) -> str | None:
        return self.world.annotation

    def close(self) -> None: ...


class FakeSource:
    def __init__(self, world: World) -> None:
        self.world = world

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        assert (champion, candidate) == (CHAMPION.digest[:16], CANDIDATE.digest[:16])
        if self.world.seen is None:
            raise Unreachable("no answer")
        return self.world.seen


class FakeRegistry:
    def __init__(self, world: World) -> None:
        self.world = world

    def versions(self) -> list[Version]:
        return [Version(name, digest, "", "", {}) for name, digest in self.world.versions.items()]

    def aliases(self) -> dict[str, str]:
        return {"champion": self.world.champion}

    def move(self, alias: str, version: str, why: str) -> None:
        self.world.call("move")
        if self.world.champion != version:
            self.world.champion = version
            self.world.moves.append(why)
        self.world.call("moved")


def machine(world: World, home: Path, **params: object) -> Machine:
    given = Params.parse({"steps": STEPS, "poll_seconds": 1, **params})
    store = Store(home, "fraud")
    return Machine(given, FakeRegistry(world), FakeTarget(world), FakeSource(world), store, lambda: world.now, str)


def begun() -> State:
    return State("fraud", CHAMPION, CANDIDATE, began=1_000.0)


def good(judged: int) -> Observation:
    """Two models that answer alike."""
    scores = {0.25: judged, 0.5: judged}
    both = Seen(judged, 0, {0.01: judged}, scores)
    return Observation(both, both, compared=judged)


def drive(world: World, home: Path, looks: int = 200, **params: object) -> State:
    """A watcher that is started again whenever it dies, half a minute and ten requests a look."""
    judged = 0
    for _ in range(looks):
        try:
            one = machine(world, home, **params)
            state = one.state() or one.begin(begun())
            if state.ended:
                return state
            one.tick()
        except Crash:
            continue
        world.now += 30
        judged += 10
        if world.seen is not None and not world.seen.disagreed:
            world.seen = good(judged)
    raise AssertionError(f"not ended: {machine(world, home).state()}")


def phases(home: Path) -> list[tuple[str, int]]:
    return [(entry["phase"], entry["step"]) for entry in Store(home, "fraud").log()]


def test_a_good_model_goes_through_every_step(tmp_path):
    world = World(delay=2)
    assert drive(world, tmp_path).phase == "promoted"
    steps = [(phase, step) for step in range(4) for phase in ("moving", "watching")]
    assert phases(tmp_path) == [*steps, ("promoting", 3), ("promoted", 3)]
    assert (world.champion, world.traffic, world.promoted) == ("v1", 100, True)
    set_to = [call for call in world.calls if call.startswith(("traffic", "promote"))]
    assert list(dict.fromkeys(set_to)) == ["traffic 5", "traffic 25", "traffic 100", "promote"]
    assert json.loads(world.annotation)["phase"] == "promoted"


def test_a_crash_at_any_call_changes_nothing_in_the_end(tmp_path):
    calm = World(delay=1)
    drive(calm, tmp_path / "calm")
    for crash in range(1, len(calm.calls) + 1):
        world = World(delay=1, crash_at=crash)
        assert drive(world, tmp_path / str(crash)).phase == "promoted", crash
        assert (world.champion, world.traffic, world.promoted, len(world.moves)) == ("v1", 100, True, 1)


@pytest.mark.parametrize("step", range(4))
def test_a_broken_guard_rolls_back_at_every_step_also_through_crashes(tmp_path, step):
    for crash in (None, *range(1, 12)):
        world, home = World(delay=1), tmp_path / str(crash)
        while (state := machine(world, home).state()) is None or (state.step, state.phase) != (step, "watching"):
            _once(world, home)
        world.seen, world.calls, world.crash_at = replace(good(400), disagreed=380), [], crash
        state = drive(world, home)
        assert state.phase == "rolled_back" and "disagreement" in state.reason
        assert (world.champion, world.traffic, world.there) == ("v0", 0, False)


def _once(world: World, home: Path) -> None:
    one = machine(world, home)
    if one.state() is None:
        one.begin(begun())
    one.tick()
    world.now += 61
    world.seen = good((world.seen.compared if world.seen else 0) + 20)


def test_neither_time_nor_requests_alone_end_a_step(tmp_path):
    world, home = World(), tmp_path
    one = machine(world, home)
    one.begin(begun())
    assert one.tick().phase == "watching"
    world.now += 3_600
    assert one.tick().phase == "watching"  # an hour without a request
    world.seen = good(4)  # four of its own, and as many mirrored
    assert one.tick().phase == "watching"
    world.seen = good(5)
    assert (one.tick().phase, one.tick().phase) == ("moving", "watching")
    world.seen = good(500)
    assert one.tick().phase == "watching"  # requests, but no time


def test_the_line_of_a_terminal_says_what_is_being_done(tmp_path):
    one = machine(World(), tmp_path)
    told = {phase: one.progress(begun().to(phase, 1.0, step=3)) for phase in ("moving", "promoting", "rolling_back")}
    assert told == {
        "moving": "v1: to 100 %", "promoting": "v1: takes the champion's place", "rolling_back": "v1: rolling back",
    }  # fmt: skip


def test_never_ready_is_rolled_back(tmp_path):
    world = World(problem=Status(False, "CrashLoopBackOff"))
    state = drive(world, tmp_path, ready_minutes=5)
    assert state.phase == "rolled_back" and "not ready after 5" in state.reason and "CrashLoopBackOff" in state.reason


def test_a_failure_is_rolled_back_at_once(tmp_path):
    world = World(problem=Status(False, "ReconcileFailed: no such image", failed=True))
    state = drive(world, tmp_path)
    assert state.phase == "rolled_back" and state.reason == "ReconcileFailed: no such image"
    assert world.now - 1_000 <= 60


def test_one_that_stops_being_ready_is_rolled_back(tmp_path):
    world = World()
    one = machine(world, tmp_path, ready_minutes=3)
    one.begin(begun())
    one.tick()
    world.problem = Status(False, "no replica is ready")
    state = drive(world, tmp_path, ready_minutes=3)
    assert state.phase == "rolled_back" and "no replica is ready" in state.reason


def test_blind_guards_hold_and_then_roll_back(tmp_path):
    world = World()
    one = machine(world, tmp_path, blind_minutes=10)
    one.begin(begun())
    one.tick()
    world.seen, world.now = None, world.now + 9 * 60
    assert one.tick().phase == "watching"
    world.seen = good(1)
    assert one.tick().phase == "watching"
    world.seen, world.now = None, world.now + 9 * 60
    assert one.tick().phase == "watching"  # the time counts from the last answer
    world.now += 2 * 60
    assert one.tick().phase == "rolling_back"
    assert "have not answered for 11.0 min" in one.tick().reason


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_a_version_deleted_under_the_rollout(tmp_path, version):
    world = World()
    one = machine(world, tmp_path)
    one.begin(begun())
    one.tick()
    del world.versions[version]
    state = drive(world, tmp_path)
    assert state.phase == "rolled_back" and f"{version} was deleted from the registry" in state.reason


def test_traffic_that_somebody_changed_is_set_again(tmp_path):
    world = World()
    one = machine(world, tmp_path)
    one.begin(begun())
    one.tick()
    world.traffic = 50
    assert one.tick().phase == "moving"
    world.traffic = 0
    assert one.tick().phase == "watching"


def test_a_second_rollout_waits_for_the_first(tmp_path):
    world = World()
    machine(world, tmp_path).begin(begun())
    with pytest.raises(UserError, match="the rollout of v1 is moving; let it end"):
        machine(world, tmp_path).begin(replace(begun(), began=2_000.0))


def test_another_machine_goes_on_from_the_annotation(tmp_path):
    world = World()
    one = machine(world, tmp_path / "one")
    one.begin(begun())
    one.tick()
    assert machine(world, tmp_path / "other").state() == one.state()
    assert drive(world, tmp_path / "other").phase == "promoted"


def test_the_newer_of_two_states_counts(tmp_path):
    """A watcher that died between the annotation and the disk left the disk behind."""
    world = World()
    one = machine(world, tmp_path)
    state = one.begin(begun())
    world.annotation = state.to("watching", world.now).text()
    assert machine(world, tmp_path).state().phase == "watching"


def test_a_promoted_rollout_can_be_undone(tmp_path):
    world = World()
    state = drive(world, tmp_path)
    one = machine(world, tmp_path)
    one.roll_back(state, "complaints")
    assert one.tick().phase == "rolled_back"
    assert (world.champion, world.there, world.moves[-1]) == ("v0", False, "rolled back: complaints")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"champion": 1}', "not json"])
def test_a_damaged_state_is_named(tmp_path, text):
    world = World(annotation=text)
    with pytest.raises(UserError, match="the service's annotation: not the state of a rollout"):
        machine(world, tmp_path).state()
    folder = tmp_path / "fraud"
    folder.mkdir()
    (folder / "state.json").write_text(text)
    with pytest.raises(UserError, match="state.json: not the state of a rollout"):
        machine(World(), tmp_path).tick()


def test_nothing_was_begun(tmp_path):
    with pytest.raises(UserError, match="no rollout was begun"):
        machine(World(), tmp_path).tick()


def test_a_log_cut_off_by_a_crash_is_read_to_its_end(tmp_path):
    world = World()
    one = machine(world, tmp_path)
    one.begin(begun())
    with (tmp_path / "fraud" / "log.jsonl").open("a") as stream:
        stream.write('{"when": "2026')
    assert phases(tmp_path) == [("moving", 0)]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([], "the last must have traffic 100"),
        ([5, 25], "the last must have traffic 100"),
        ([25, 5, 100], "must rise"),
        ([5, 5, 100], "must rise"),
        ([-1, 100], "greater than or equal to 0"),
        ([5, 120], "less than or equal to 100"),
    ],
)
def test_steps_that_make_no_sense(steps, reason):
    with pytest.raises(UserError, match=reason):
        Params.parse({"steps": [{"traffic": percent} for percent in steps]}, "rollout")


class Full(Store):
    """A store on a disk that has no room, as long as ``full``."""

    full = False

    def write(self, state: State) -> None:
        if self.full:
            raise UserError("rollouts: cannot be written: No space left on device")
        super().write(state)


def crowded(world: World, home: Path) -> tuple[Machine, Full]:
    store = Full(home, "fraud")
    given = Params.parse({"steps": STEPS, "poll_seconds": 1})
    return Machine(
        given, FakeRegistry(world), FakeTarget(world), FakeSource(world), store, lambda: world.now, str
    ), store


def test_a_full_disk_keeps_no_rollback_from_the_target(tmp_path, caplog):
    world = World()
    one, store = crowded(world, tmp_path)
    one.begin(begun())
    assert one.tick().phase == "watching"
    saved, store.full = world.annotation, True
    world.seen = replace(good(400), disagreed=380)
    assert one.tick().phase == "rolling_back"
    with pytest.raises(UserError, match="No space left"):
        one.tick()
    assert (world.traffic, world.there) == (0, False), "it is rolled back, though nothing could be written"
    assert "it is rolled back all the same" in caplog.text
    world.seen = good(400)
    store.full = False
    world.annotation = saved  # the service's side could not be written either
    assert one.tick().phase == "rolled_back" and Store(tmp_path, "fraud").read().phase == "rolled_back"


def test_a_full_disk_does_not_end_a_watch_nor_begin_a_step(tmp_path, caplog):
    world = World()
    one, store = crowded(world, tmp_path)
    one.begin(begun())
    one.tick()
    store.full = True
    assert one.tick().phase == "watching" and "No space left" in caplog.text
    world.now, world.seen = world.now + 120, good(20)
    with pytest.raises(UserError, match="No space left"):
        one.tick()
    store.full = False
    while one.tick().phase != "watching":
        pass
    assert one.state().step == 1


def test_of_two_watchers_the_faster_counts(tmp_path):
    world = World()
    first, second = machine(world, tmp_path), machine(world, tmp_path)
    first.begin(begun())
    stale = second.state()
    first.roll_back(first.state(), "by hand")
    assert second.roll_back(stale, "later").reason == "by hand"
    assert second._keep(stale.to("watching", world.now)).phase == "rolling_back"
    assert [entry["phase"] for entry in Store(tmp_path, "fraud").log()] == ["moving", "rolling_back"]


def test_a_registry_or_a_source_that_cannot_be_read_for_a_while_ends_nothing(tmp_path, monkeypatch):
    world = World()
    one = machine(world, tmp_path, blind_minutes=5)
    one.begin(begun())
    one.tick()

    def broken(*given):
        raise UserError("damaged")

    with monkeypatch.context() as patch:
        patch.setattr(FakeRegistry, "versions", broken)
        assert one.tick().phase == "watching"
    monkeypatch.setattr(FakeSource, "observe", broken)
    assert one.tick().phase == "watching"
    world.now += 6 * 60
    assert one.tick().phase == "rolling_back", "what cannot be watched does not go on"


def test_a_rollback_does_not_wait_for_a_watcher_that_hangs(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(state, "HURRY", 0.05)
    monkeypatch.setattr(state, "PATIENCE", 0.05)
    hanging, mine = Store(tmp_path, "fraud"), Store(tmp_path, "fraud")
    with hanging.held():
        with pytest.raises(UserError, match="another process is writing"), mine.held():
            raise AssertionError("it was held")
        with mine.held(insist=True):
            assert "going on all the same" in caplog.text


def followed(tmp_path, monkeypatch, *looks):
    """What `follow` returns when the machine's looks turn out so."""
    given = Params.parse({"home": str(tmp_path), "poll_seconds": 0.001})
    one = run.Rollout(given, Deploy.parse({"home": str(tmp_path / "registry")}), tmp_path, 1)
    left = list(looks)

    def tick():
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(one.machine, "tick", tick)
    return one.follow()


def test_an_error_ends_only_the_first_look(tmp_path, monkeypatch, caplog):
    watching, done = begun().to("watching", 1.0), begun().to("promoted", 2.0)
    with pytest.raises(UserError, match="no permission"):
        followed(tmp_path, monkeypatch, UserError("no permission"))
    late = [watching, UserError("no permission"), UserError("no permission"), Unreachable("away"), done]
    assert followed(tmp_path, monkeypatch, *late) == done
    assert caplog.text.count("no permission; trying again") == 1 and "away; trying again" in caplog.text
    assert followed(tmp_path, monkeypatch, Unreachable("away"), done) == done
    monkeypatch.setattr(Machine, "owing", True)
    assert followed(tmp_path, monkeypatch, UserError("no room"), done) == done, "nobody else knows of the rollback"


def registered(run_folder, tmp_path, evaluation=None):
    home = LocalRegistry(tmp_path / "registry")
    home.register(run_folder / "artifacts" / "model", evaluation or {"verdict": "pass", "gates": []})
    return home


def test_a_candidate_is_looked_at_before_it_runs(tiny_run, tmp_path):
    home = registered(tiny_run, tmp_path)
    assert check(home, "v0", tiny_run / "artifacts").name == "v0"
    with pytest.raises(UserError, match="no version or alias 'candidate'"):
        check(home, "candidate", None)
    file = tmp_path / "registry" / "versions" / "v0" / "model" / "features.json"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"features\.json: altered"):
        check(home, "v0", None)


def test_a_blocked_candidate_is_refused(tiny_run, tmp_path):
    gates = [{"name": "calibrated", "passed": False}, {"name": "small", "passed": True}]
    home = registered(tiny_run, tmp_path, {"verdict": "block", "gates": gates})
    with pytest.raises(UserError, match="v0: blocked by calibrated; only what passed is rolled out"):
        check(home, "v0", None)


def test_a_candidate_that_needs_more_than_the_graph_has_is_refused(tiny_run, tmp_path):
    """The served graph calls a column of the payments otherwise."""
    model = Model.open(tiny_run / "artifacts" / "model")
    fits("v1", model, tiny_run / "artifacts")
    for name in ("graph", "features"):
        shutil.copytree(tiny_run / "artifacts" / name, tmp_path / name)
    file = tmp_path / "features" / "features.json"
    manifest = json.loads(file.read_text())
    (amount,) = [column for column in manifest["columns"]["payment"] if column["name"] == "amount"]
    amount["name"] = "sum"
    file.write_text(json.dumps(manifest))
    (tmp_path / "features" / "lineage.json").unlink()
    with pytest.raises(UserError, match=r"v1: it was trained on what the graph .* does not have: payment\.amount;"):
        fits("v1", model, tmp_path)
