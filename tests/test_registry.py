"""The registry: versions never change, aliases move with a reason, and a crash loses nothing."""

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphmill import artifact, lineage, registry
from graphmill.errors import UserError
from graphmill.registry import Registry, storage
from graphmill.registry import __main__ as command

EVALUATION = {
    "winner": "sage",
    "verdict": "pass",
    "metrics": {"sage": {"roc_auc": 0.9}},
    "gates": [{"name": "beats_features_only", "passed": True, "value": 0.1, "bound": 0.0}],
}


def make_model(folder: Path, text: str) -> Path:
    with artifact.write(folder, "model") as draft:
        (draft.folder / "profile").mkdir()
        (draft.folder / "weights.safetensors").write_text(text, encoding="utf-8")
        (draft.folder / "profile" / "profile.json").write_text("{}", encoding="utf-8")
        draft.lineage = lineage.record("train", {"train": {"seed": 1}}, {})
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Registry:
    return registry.open(tmp_path / "registry")


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [make_model(tmp_path / f"model{number}", f"weights {number}") for number in range(3)]


def test_an_empty_registry_makes_nothing(home: Registry, tmp_path: Path) -> None:
    assert (home.versions(), home.aliases(), home.history()) == ([], {}, [])
    with pytest.raises(UserError, match="no version or alias 'champion'; known: none"):
        home.path("champion")
    assert not (tmp_path / "registry").exists()


def test_versions_are_copies_and_content_addressed(home: Registry, models: list[Path]) -> None:
    assert [home.register(model, EVALUATION) for model in models] == ["v0", "v1", "v2"]
    assert home.register(models[1], {**EVALUATION, "verdict": "block"}) == "v1"
    shutil.rmtree(models[1])
    kept = artifact.read(home.path("v1"), "model")
    assert (kept.path / "weights.safetensors").read_text(encoding="utf-8") == "weights 1"
    assert kept.lineage["parameters"] == {"train": {"seed": 1}}
    assert [(version.name, version.evaluation["verdict"]) for version in home.versions()] == [
        ("v0", "pass"),
        ("v1", "pass"),
        ("v2", "pass"),
    ]
    assert home.versions()[1].digest == kept.digest


def test_aliases_move_and_the_champion_leaves_a_way_back(home: Registry, models: list[Path]) -> None:
    for model in models:
        home.register(model, EVALUATION)
    home.move("champion", "v0", "first")
    assert home.aliases() == {"champion": "v0"}
    home.move("candidate", "v1", "newer")
    home.move("champion", "candidate", "gates passed")
    home.move("champion", "v1", "again: no move")
    assert home.aliases() == {"candidate": "v1", "champion": "v1", "previous": "v0"}
    assert registry.rollback(home, "too many alarms") == ("v1", "v0")
    assert home.aliases() == {"candidate": "v1", "champion": "v0", "previous": "v1"}
    moves = [(move.alias, move.source, move.target, move.why) for move in home.history()]
    assert moves == [
        ("champion", None, "v0", "first"),
        ("candidate", None, "v1", "newer"),
        ("champion", "v0", "v1", "gates passed"),
        ("previous", None, "v0", "champion moved to v1"),
        ("champion", "v1", "v0", "too many alarms"),
        ("previous", "v0", "v1", "champion moved to v0"),
    ]
    assert all(move.who and move.when.endswith("Z") for move in home.history())


def test_history_is_json_lines(home: Registry, models: list[Path], tmp_path: Path) -> None:
    home.register(models[0], EVALUATION)
    home.move("champion", "v0", "first\nline")
    (line,) = (tmp_path / "registry" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line).keys() == {"alias", "from", "to", "who", "when", "why"}


def test_wrong_names(home: Registry, models: list[Path], tmp_path: Path) -> None:
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
    with pytest.raises(UserError, match="a registry's home is a directory here"):
        registry.open("wandb://team/models")


def test_what_was_altered_is_refused(home: Registry, models: list[Path], tmp_path: Path) -> None:
    home.register(models[0], EVALUATION)
    home.register(models[1], EVALUATION)
    home.move("champion", "v0", "first")
    (home.path("v0") / "weights.safetensors").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="weights.safetensors: altered"):
        home.path("champion")
    with pytest.raises(UserError, match="weights.safetensors: altered"):
        home.register(models[0], EVALUATION)
    versions = tmp_path / "registry" / "versions"
    shutil.rmtree(versions / "v0")
    with pytest.raises(UserError, match="champion is v0, which is gone"):
        home.path("champion")
    assert home.register(models[2], EVALUATION) == "v2"
    shutil.rmtree(versions / "v1" / "model")
    shutil.copytree(models[0], versions / "v1" / "model")
    with pytest.raises(UserError, match="v1: not the model that was registered"):
        home.path("v1")
    (versions / "v1" / "version.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="version.json: missing or damaged"):
        home.versions()
    with (tmp_path / "registry" / "history.jsonl").open("a") as stream:
        stream.write('{"alias": "cha')
    with pytest.raises(UserError, match="history.jsonl: line 2 is damaged"):
        home.aliases()


def test_a_deleted_version_is_not_named_again(home: Registry, models: list[Path], tmp_path: Path) -> None:
    home.register(models[0], EVALUATION)
    home.move("candidate", "v0", "first")
    shutil.rmtree(tmp_path / "registry" / "versions" / "v0")
    assert home.register(models[1], EVALUATION) == "v1"


def test_a_model_must_be_whole(home: Registry, models: list[Path], tmp_path: Path) -> None:
    (models[0] / "lineage.json").unlink()
    with pytest.raises(UserError, match=r"no lineage.json"):
        home.register(models[0], EVALUATION)
    (models[1] / "weights.safetensors").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="altered since it was written"):
        home.register(models[1], EVALUATION)
    assert not (tmp_path / "registry").exists()


def test_home_is_a_file(tmp_path: Path, models: list[Path]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="file: a file, where"):
        registry.open(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        registry.open(tmp_path / "file" / "registry").register(models[0], EVALUATION)


class Killed(BaseException):
    """Stands for a process that ends at once: nothing that handles errors handles it."""


def essence(home: Registry) -> tuple[Any, ...]:
    """What a crash must not tear, without the times that differ between two tries."""
    moves = [(move.alias, move.source, move.target) for move in home.history()]
    return [version.digest for version in home.versions()], home.aliases(), moves


@pytest.mark.parametrize("error", [Killed(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
@pytest.mark.parametrize("function", ["rename", "replace", "fsync"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_crash_leaves_before_or_after(
    home: Registry,
    models: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    function: str,
    count: int,
) -> None:
    home.register(models[0], EVALUATION)
    home.register(models[1], EVALUATION)
    home.move("champion", "v0", "first")
    steps: list[Callable[[], object]] = [
        lambda: home.register(models[2], EVALUATION),
        lambda: home.move("champion", "v1", "second"),
    ]
    for step in steps:
        before = essence(home)
        with monkeypatch.context() as patch:
            fail_at(patch, function, count, error)
            try:
                step()
            except (Killed, UserError) as raised:
                assert isinstance(raised, Killed) or "No space left" in str(raised)
        between = essence(home)
        for version in home.versions():
            home.path(version.name)
        step()
        assert between in (before, essence(home))
    assert home.aliases() == {"champion": "v1", "previous": "v0"}
    assert [version.name for version in home.versions()] == ["v0", "v1", "v2"]


def fail_at(patch: pytest.MonkeyPatch, function: str, count: int, error: BaseException) -> None:
    """Let the ``count``-th call of ``os.<function>`` raise."""
    real, calls = getattr(os, function), iter(range(1, 1000))

    def failing(*arguments: Any) -> Any:
        if next(calls) == count:
            raise error
        return real(*arguments)

    patch.setattr(os, function, failing)


@pytest.mark.parametrize("after", [True, False])
def test_killed_around_the_replacement(
    home: Registry, models: list[Path], monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """`kill -9` runs no clean-up either: what it leaves lying about does not count and is cleared."""
    home.register(models[0], EVALUATION)
    home.register(models[1], EVALUATION)
    home.move("champion", "v0", "first")
    process = multiprocessing.get_context("fork").Process(target=die_moving, args=(home, after))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    expected = {"champion": "v1", "previous": "v0"} if after else {"champion": "v0"}
    assert home.aliases() == expected
    home.move("champion", "v1", "again")
    assert home.aliases() == {"champion": "v1", "previous": "v0"}
    assert len(home.history()) == 3


def die_moving(home: Registry, after: bool) -> None:
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if after:
            real(source, target)
        os._exit(9)

    os.replace = replace  # type: ignore[assignment]
    home.move("champion", "v1", "second")


def test_killed_while_copying(home: Registry, models: list[Path], tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=die_registering, args=(home, models[0]))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert (tmp_path / "registry" / "versions" / ".v0.partial").exists()
    assert home.versions() == []
    assert home.register(models[1], EVALUATION) == "v0"
    assert [item.name for item in (tmp_path / "registry" / "versions").iterdir()] == ["v0"]


def die_registering(home: Registry, model: Path) -> None:
    os.rename = lambda *_: os._exit(9)
    home.register(model, EVALUATION)


def test_writers_at_once_lose_nothing(home: Registry, tmp_path: Path) -> None:
    make_model(tmp_path / "shared", "shared")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_much, args=(home, tmp_path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    assert [version.name for version in home.versions()] == [f"v{number}" for number in range(13)]
    assert len({version.digest for version in home.versions()}) == 13
    moves = [move for move in home.history() if move.alias == "candidate"]
    assert [move.source for move in moves[1:]] == [move.target for move in moves[:-1]]
    assert len(moves) == 12


def write_much(home: Registry, folder: Path, number: int) -> None:
    home.register(folder / "shared", EVALUATION)
    for turn in range(3):
        model = make_model(folder / f"of{number}" / str(turn), f"{number} {turn}")
        home.move("candidate", home.register(model, EVALUATION), f"{number} {turn}")


def test_a_stuck_writer_is_named(tmp_path: Path) -> None:
    with storage.locked(tmp_path / ".lock"):
        with pytest.raises(UserError, match="another process is writing"):
            with storage.locked(tmp_path / ".lock", patience=0.05):
                pass


def test_nobody_has_a_name_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert storage.who() == "unknown"


def test_command_line(home: Registry, models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--home", str(tmp_path / "registry")]
    assert command.main(["list", *place]) == 0
    assert "nothing is registered here yet" in capsys.readouterr().out
    home.register(models[0], EVALUATION)
    home.register(models[1], {**EVALUATION, "winner": "[mlp]"})
    assert command.main(["promote", "v0", "--why", "first", *place]) == 0
    assert capsys.readouterr().out == "champion: nothing → v0\n"
    assert command.main(["promote", "v1", "--why", "better", *place]) == 0
    assert command.main(["list", *place]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in shown[2:4]] == [["v0", "previous"], ["v1", "champion"]]
    assert "[mlp]" in shown[3]
    assert command.main(["show", "champion", *place]) == 0
    shown_one = capsys.readouterr().out
    for expected in ("v1", "beats_features_only", "roc_auc", "champion: v0 → v1", "better"):
        assert expected in shown_one
    assert command.main(["rollback", "--why", "alarms", *place]) == 0
    assert capsys.readouterr().out == "champion: v1 → v0\n"
    assert command.main(["show", "v9", *place]) == 2
    assert "known: v0, v1, champion, previous" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["promote", "v0", *place])
