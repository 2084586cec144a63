"""The registry in a directory: what is its own; tests/test_registry_contract.py has what both homes do."""

import contextlib
import errno
import json
import multiprocessing
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphmill import registry
from graphmill.errors import UserError
from graphmill.registry import Registry, storage
from graphmill.registry import __main__ as command
from graphmill.registry.local import LocalRegistry
from tests.registries import EVALUATION, Killed, essence, make_model


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


def test_history_is_json_lines(home: Registry, models: list[Path], tmp_path: Path) -> None:
    home.register(models[0], EVALUATION)
    home.move("champion", "v0", "first\nline")
    (line,) = (tmp_path / "registry" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line).keys() == {"alias", "from", "to", "who", "when", "why"}


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


def test_the_usual_home_is_the_one_of_params(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    registry.open("registry").register(models[0], EVALUATION)
    registry.open("elsewhere").register(models[1], EVALUATION)
    shown = {}
    for name, text in (("none", None), ("empty", "deploy: {}"), ("given", "deploy: {home: elsewhere}")):
        if text is not None:
            (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
        assert command.main(["list", "--json"]) == 0
        (version,) = json.loads(capsys.readouterr().out)
        shown[name] = version["digest"]
    first, second = (item.versions()[0].digest for item in map(registry.open, ("registry", "elsewhere")))
    assert shown == {"none": first, "empty": first, "given": second}
    assert registry.open("registry", tmp_path).versions() == registry.open("registry").versions()


def test_a_real_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        home = registry.open(disk / "registry")
        home.register(make_model(tmp_path / "small", "x"), EVALUATION)
        home.move("champion", "v0", "first")
        before = essence(home)
        with pytest.raises(UserError, match="cannot be written: .*No space left on device"):
            home.register(make_model(tmp_path / "large", "x" * 100_000), EVALUATION)
        assert essence(home) == before and home.path("champion").is_dir()
        (disk / "rest").write_bytes(b"")
        with contextlib.suppress(OSError), (disk / "rest").open("wb", buffering=0) as stream:
            while stream.write(b"x" * 4096):
                pass
        home.register(make_model(tmp_path / "small", "x"), EVALUATION)  # is there: nothing is written
        with pytest.raises(UserError, match="No space left on device"):
            home.move("candidate", "v0", "y" * 5000)
        assert essence(home) == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("file", ["history.jsonl", "versions"])
def test_what_cannot_be_read_is_named(
    home: Registry, models: list[Path], tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder where a file should be and a file where a folder should be: neither is an empty registry."""
    home.register(models[0], EVALUATION)
    home.move("champion", "v0", "first")
    place = tmp_path / "registry" / file
    place.rename(tmp_path / "aside")
    place.touch() if file == "versions" else place.mkdir()
    for words in (["list"], ["show", "v0"], ["promote", "v0", "--why", "again"]):
        assert command.main([*words, "--home", str(tmp_path / "registry")]) == 2, words
        assert re.search(f"registry cannot be read: .* a directory .*{file}", capsys.readouterr().err), words
    assert command.main(["list", "--home", str(models[0] / "model.json" / "registry")]) == 2
    assert "cannot be read: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"[]",
        b"",
        b'{"alias": "champion", "from": null, "to": "v0"}',
        b'{"alias": "king", "from": null, "to": "v0", "who": "ann", "when": "now", "why": "so"}',
        b'{"alias": "champion", "from": null, "to": "latest", "who": "ann", "when": "now", "why": "so"}',
        b'{"alias": "champion", "from": null, "to": 7, "who": "ann", "when": "now", "why": "so"}',
    ],
)
def test_a_line_that_is_no_move(home: Registry, models: list[Path], tmp_path: Path, line: bytes) -> None:
    home.register(models[0], EVALUATION)
    home.move("candidate", "v0", "first")
    with (tmp_path / "registry" / "history.jsonl").open("ab") as stream:
        stream.write(line + b"\n")
    for ask in (home.history, home.aliases, lambda: home.register(models[1], EVALUATION)):
        with pytest.raises(UserError, match="history.jsonl: line 2 is damaged; restore the file from a backup"):
            ask()


def test_a_record_that_is_none(home: Registry, models: list[Path], tmp_path: Path) -> None:
    home.register(models[0], EVALUATION)
    record = tmp_path / "registry" / "versions" / "v0" / "version.json"
    listed = {**json.loads(record.read_bytes()), "evaluation": ["sage"]}
    for content in ({}, [], listed):
        record.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(UserError, match="version.json: missing or damaged"):
            home.versions()


def test_nobody_goes_back_to_an_altered_version(home: Registry, models: list[Path], tmp_path: Path) -> None:
    for model in models[:2]:
        home.move("champion", home.register(model, EVALUATION), "better")
    (home.path("v0") / "weights.safetensors").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="weights.safetensors: altered"):
        registry.rollback(home, "alarms")
    shutil.rmtree(tmp_path / "registry" / "versions" / "v0")
    with pytest.raises(UserError, match="previous is v0, which is gone"):
        registry.rollback(home, "alarms")
    assert home.aliases() == {"champion": "v1", "previous": "v0"}


def test_what_was_verified_is_promoted(
    home: Registry, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer moves the alias between the verification and the move."""
    home.move("candidate", home.register(models[0], EVALUATION), "new")
    home.register(models[1], EVALUATION)
    path = LocalRegistry.path

    def slowly(self: LocalRegistry, name: str) -> Path:
        found = path(self, name)
        self.move("candidate", "v1", "newer")
        return found

    monkeypatch.setattr(LocalRegistry, "path", slowly)
    assert command.main(["promote", "candidate", "--why", "good", "--home", str(tmp_path / "registry")]) == 0
    assert home.aliases() == {"candidate": "v1", "champion": "v0"}
