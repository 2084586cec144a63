"""The registry's two homes keep one contract: the same tests on a directory and on W&B's SDK."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphmill import artifact, registry
from graphmill.errors import UserError
from graphmill.registry import Registry
from graphmill.registry import __main__ as command
from tests.registries import EVALUATION, Local, Remote, essence, forge, make_model, process
from tests.wandb_server import Server, at_work

Place = Local | Remote


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with at_work(tmp_path_factory.mktemp("wandb")) as running:
        yield running


@pytest.fixture(params=["local", "wandb"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "local":
        return Local(tmp_path)
    monkeypatch.setenv("GRAPHMILL_CACHE", str(tmp_path / "cache"))
    running = request.getfixturevalue("server")
    return Remote(running, f"c{len(running.calls)}")


@pytest.fixture
def home(place: Place) -> Registry:
    return place.open()


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [make_model(tmp_path / f"model{number}", f"weights {number}", seed=number) for number in range(3)]


def test_an_empty_registry(home: Registry) -> None:
    assert (home.versions(), home.aliases(), home.history()) == ([], {}, [])
    with pytest.raises(UserError, match="no version or alias 'champion'; known: none"):
        home.path("champion")


def test_a_version_that_is_judged_again_has_the_newer_judgement(home: Registry, models: list[Path]) -> None:
    """Else a model that other gates let through could never be rolled out."""
    assert home.register(models[0], {**EVALUATION, "verdict": "block"}) == "v0"
    before = home.versions()[0]
    assert home.register(models[0], EVALUATION) == "v0"
    (after,) = home.versions()
    assert after.evaluation == EVALUATION and before.evaluation["verdict"] == "block"
    assert (after.digest, after.seal, after.registered_at) == (before.digest, before.seal, before.registered_at)
    home.path("v0")


def test_versions_are_copies_and_content_addressed(home: Registry, models: list[Path]) -> None:
    assert [home.register(model, EVALUATION) for model in models] == ["v0", "v1", "v2"]
    assert home.register(models[1], EVALUATION) == "v1"
    shutil.rmtree(models[1])
    kept = artifact.read(home.path("v1"), "model")
    assert (kept.path / "weights.safetensors").read_text(encoding="utf-8") == "weights 1"
    assert kept.lineage["parameters"] == {"train": {"seed": 1}}
    versions = home.versions()
    assert [version.name for version in versions] == ["v0", "v1", "v2"]
    assert versions[1].digest == kept.digest and versions[1].evaluation == EVALUATION
    assert all(version.registered_by and version.registered_at.endswith("Z") for version in versions)


def test_aliases_move_and_the_champion_leaves_a_way_back(home: Registry, place: Place, models: list[Path]) -> None:
    for model in models:
        home.register(model, EVALUATION)
    home.move("champion", "v0", "first\nline\u2028of\x85three")
    assert home.aliases() == {"champion": "v0"}
    home.move("candidate", "v1", "newer")
    home.move("champion", "candidate", "gates passed")
    home.move("champion", "v1", "again: no move")
    assert home.aliases() == {"candidate": "v1", "champion": "v1", "previous": "v0"}
    assert registry.rollback(home, "too many alarms") == ("v1", "v0")
    assert registry.rollback(home, "it was the feed") == ("v0", "v1")
    assert registry.rollback(place.open(), "it was not") == ("v1", "v0")
    assert home.aliases() == {"candidate": "v1", "champion": "v0", "previous": "v1"}
    assert home.path("previous") == home.path("v1")
    moves = [(move.alias, move.source, move.target, move.why) for move in home.history()]
    assert moves == [
        ("champion", None, "v0", "first\nline\u2028of\x85three"),
        ("candidate", None, "v1", "newer"),
        ("champion", "v0", "v1", "gates passed"),
        ("previous", None, "v0", "champion moved to v1"),
        ("champion", "v1", "v0", "too many alarms"),
        ("previous", "v0", "v1", "champion moved to v0"),
        ("champion", "v0", "v1", "it was the feed"),
        ("previous", "v1", "v0", "champion moved to v1"),
        ("champion", "v1", "v0", "it was not"),
        ("previous", "v0", "v1", "champion moved to v0"),
    ]
    assert all(move.who and move.when.endswith("Z") for move in home.history())


def test_wrong_names(home: Registry, models: list[Path]) -> None:
    home.register(models[0], EVALUATION)
    home.move("candidate", "v0", "first")
    with pytest.raises(UserError, match="no alias 'champ'; known: candidate, champion, previous"):
        home.move("champ", "v0", "why")
    with pytest.raises(UserError, match="no version or alias 'v7'; known: v0, candidate"):
        home.move("champion", "v7", "why")
    with pytest.raises(UserError, match=r"no version or alias '\.\./v0'"):
        home.path("../v0")
    with pytest.raises(UserError, match="nothing to roll back to"):
        registry.rollback(home, "why")


def test_a_forged_lineage_is_not_served(place: Place, home: Registry, models: list[Path]) -> None:
    """A directory has nothing else to give; what is fetched from a server is fetched again."""
    home.register(models[0], EVALUATION)
    folder = home.path("v0")
    for change in (forge, lambda model: (model / "lineage.json").unlink()):
        change(folder)
        if isinstance(place, Local):
            with pytest.raises(UserError, match="or not with its lineage; restore it"):
                home.path("v0")
        else:
            assert artifact.read(home.path("v0"), "model").lineage["parameters"] == {"train": {"seed": 0}}


def test_a_model_must_be_whole(home: Registry, models: list[Path]) -> None:
    (models[0] / "lineage.json").unlink()
    with pytest.raises(UserError, match=r"no lineage.json"):
        home.register(models[0], EVALUATION)
    (models[1] / "weights.safetensors").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="altered since it was written"):
        home.register(models[1], EVALUATION)
    assert home.versions() == []


@pytest.mark.slow
def test_a_crash_at_any_write_loses_nothing(place: Place, models: list[Path]) -> None:
    """The writer dies at its first write, its second, …: all is as before or as after, and trying again ends it."""
    home = place.open()
    home.register(models[0], EVALUATION)
    home.move("champion", "v0", "first")
    home.register(models[1], EVALUATION)
    place.keep()
    before = essence(home)
    for step in (lambda it: it.move("champion", "v1", "second"), lambda it: it.register(models[2], EVALUATION)):
        outcomes, count = [], 0
        while True:
            place.restore()
            with place.crash(count := count + 1) as writes:
                step(place.open())
            if len(writes) < count:
                break
            survivor = place.open()
            between = essence(survivor)
            step(survivor)
            after = essence(survivor)
            assert between in (before, after) and after != before
            outcomes.append(between == after)
            _agree(place)
        assert outcomes == sorted(outcomes) and set(outcomes) == {False, True}, "one write is the one that counts"
    for version in home.versions():
        assert artifact.read(home.path(version.name), "model").digest == version.digest


def _agree(place: Place) -> None:
    """W&B's own aliases, for those who look at its pages."""
    if isinstance(place, Remote):
        there = place.server.aliases[place.collection].items()
        shown = {alias: f"v{place.server.artifacts[owner]['index']}" for alias, owner in there if alias != "latest"}
        assert shown == place.open().aliases()


def test_writers_at_once_lose_nothing(place: Place, tmp_path: Path) -> None:
    shared = make_model(tmp_path / "shared", "shared")
    words = []
    for number in range(2):
        own = make_model(tmp_path / f"own{number}", f"own {number}")
        more = ("register", str(own), "move", "champion", "-", f"{number}", "move", "candidate", "-", f"{number}")
        words.append(("register", str(shared), "move", "champion", "-", f"{number} shared", *more))
    processes = [process(place.name, *each) for each in words]
    told = [each.communicate(timeout=120)[1] for each in processes]
    assert [each.returncode for each in processes] == [0, 0], told
    home = place.open()
    names = [version.name for version in home.versions()]
    # at W&B two writers at once may upload the same content twice; the second of them is not shown
    twice = [["v0", "v2", "v3"], ["v0", "v1", "v3"]] if place.name.startswith("wandb:") else []
    assert names in [["v0", "v1", "v2"], *twice]
    assert len({version.digest for version in home.versions()}) == 3
    for alias in registry.ALIASES:
        moves = [move for move in home.history() if move.alias == alias]
        assert [move.source for move in moves] == [None, *(move.target for move in moves[:-1])]
    reasons = {move.why for move in home.history()}
    assert {"by 0", "by 1"} <= reasons and reasons & {"by 0 shared", "by 1 shared"}
    _agree(place)


def test_a_full_disk(place: Place, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = place.open()
    home.register(models[0], EVALUATION)
    before = essence(home)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        with pytest.raises(UserError, match="No space left on device"):
            home.register(models[1], EVALUATION)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(UserError, match="No space left on device"):
            home.move("champion", "v0", "first")
    assert essence(home) == before
    assert home.register(models[1], EVALUATION) == "v1"


def test_command_line(place: Place, models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    where, home = ["--home", place.name], place.open()
    assert command.main(["list", *where]) == 0
    assert "nothing is registered here yet" in capsys.readouterr().out
    home.register(models[0], EVALUATION)
    home.register(models[1], {**EVALUATION, "winner": "[mlp]"})
    assert command.main(["promote", "v0", "--why", "first", *where]) == 0
    assert capsys.readouterr().out == "champion: nothing → v0\n"
    assert command.main(["promote", "v1", "--why", "better", *where]) == 0
    assert command.main(["list", *where]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in shown[2:4]] == [["v0", "previous"], ["v1", "champion"]]
    assert "[mlp]" in shown[3]
    assert command.main(["show", "champion", *where]) == 0
    shown_one = capsys.readouterr().out
    for expected in ("v1", "beats_features_only", "roc_auc", "champion: v0 → v1", "better"):
        assert expected in shown_one
    assert command.main(["rollback", "--why", "alarms", *where]) == 0
    assert capsys.readouterr().out == "champion: v1 → v0\n"
    assert command.main(["show", "v9", *where]) == 2
    assert "known: v0, v1, champion, previous" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["promote", "v0", *where])


def test_json(place: Place, models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    where, home = ["--home", place.name], place.open()
    home.register(models[0], EVALUATION)
    home.move("champion", "v0", "first")
    assert command.main(["list", "--json", *where]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["name"] == "v0" and listed["aliases"] == ["champion"] and listed["evaluation"] == EVALUATION
    assert command.main(["show", "v0", "--json", *where]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["lineage"]["parameters"] == {"train": {"seed": 0}} and Path(shown["folder"]).is_dir()
    assert [(move["from"], move["to"], move["why"]) for move in shown["moves"]] == [(None, "v0", "first")]


def test_diff(place: Place, models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    where, home = ["--home", place.name], place.open()
    gate = {"name": "calibrated", "passed": False, "value": 0.2, "bound": 0.1}
    home.register(models[0], EVALUATION)
    home.register(models[1], {**EVALUATION, "metrics": {"sage": {"roc_auc": 0.925}}, "gates": [gate]})
    home.move("champion", "v0", "first")
    assert command.main(["diff", "champion", "v1", *where]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["what", "v0", "v1", "change"]
    assert ["metric", "sage.roc_auc", "0.9", "0.925", "+0.025"] in rows
    assert ["parameter", "train.seed", "0", "1", "+1"] in rows
    assert [row[:2] for row in rows[1:]] == [
        ["metric", "sage.roc_auc"],
        ["gate", "beats_features_only"],
        ["gate", "calibrated"],
        ["parameter", "train.seed"],
        ["artifact", "model"],
    ]
    assert command.main(["diff", "v0", "v1", "--json", "--all", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["before"], told["after"]) == ("v0", "v1")
    verdict = {"section": "judged", "name": "verdict", "before": "pass", "after": "pass"}
    assert verdict in told["rows"] and {"code", "package"} <= {row["section"] for row in told["rows"]}
    assert command.main(["diff", "v1", "v1", *where]) == 0
    assert capsys.readouterr().out == "v1 and v1: nothing differs\n"
