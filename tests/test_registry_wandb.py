"""The registry at W&B: what is its own. The SDK is the real one, the server a stand-in on loopback."""

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphmill import artifact, deploy, evaluate, registry
from graphmill.errors import UserError
from graphmill.registry import Registry, wandb_client
from graphmill.serving.source import find
from pipelines import local
from tests.registries import EVALUATION, Remote, essence, make_model, process
from tests.wandb_server import Fault, Server, at_work


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with at_work(tmp_path_factory.mktemp("wandb")) as running:
        yield running


@pytest.fixture
def place(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    monkeypatch.setenv("GRAPHMILL_CACHE", str(tmp_path / "cache"))
    yield Remote(server, f"c{len(server.calls)}")
    server.fault = lambda operation, count: Fault()


@pytest.fixture
def home(place: Remote) -> Registry:
    return place.open()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model", "weights")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wandb://team/models", "not a registry's home at W&B; give wandb://ENTITY/PROJECT/COLLECTION"),
        ("wandb://team/models/a/b", "not a registry's home"),
        ("wandb://team/models/a b", "not a registry's home"),
        ("wandb:/team/models/a", "no registry can be there"),
        ("s3://bucket/registry", "no registry can be there; give a directory or wandb://"),
        ("wandb://team/wandb-registry-model/a", "takes links only"),
    ],
)
def test_homes_that_are_none(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        registry.open(name)


def test_same_bytes_are_the_same_version_for_wandb_too(server: Server, tmp_path: Path) -> None:
    """What its server tells versions apart by is a digest of names and contents, known offline."""
    import wandb

    digests = []
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        version = wandb.Artifact(name, "model")
        version.add_dir(str(make_model(tmp_path / name, text)), policy="immutable", skip_cache=True)
        digests.append(version.digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_offline_says_so_and_asks_nothing(
    place: Remote, home: Registry, model: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    asked = len(place.server.calls)
    for call in (
        home.versions,
        home.aliases,
        home.history,
        lambda: home.register(model, EVALUATION),
        lambda: home.move("champion", "v0", "first"),
        lambda: home.path("champion"),
        lambda: registry.rollback(home, "why"),
    ):
        with pytest.raises(UserError, match=f"needs W&B's server, and WANDB_MODE is {mode}; unset it, or use a dir"):
            call()
    assert len(place.server.calls) == asked


@pytest.mark.parametrize(
    ("key", "said"), [(None, "No API key configured"), ("f" * 40, "not logged in"), ("short", "must have 40")]
)
def test_keys_that_are_none(home: Registry, monkeypatch: pytest.MonkeyPatch, key: str | None, said: str) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(UserError, match=f"{said}.*; the API key was not accepted; set WANDB_API_KEY, or run `wandb l"):
        home.versions()


def test_an_absent_team_is_a_mistake_and_an_absent_project_an_empty_registry(home: Registry, model: Path) -> None:
    for call in (registry.open("wandb://taem/payments/fraud").versions,):
        with pytest.raises(UserError, match="no such entity or project.*this key's entities: someone, team"):
            call()
    assert registry.open("wandb://team/none/fraud").versions() == []


@pytest.mark.slow
def test_faults_that_pass_are_waited_out(place: Remote, home: Registry, model: Path) -> None:
    """An answer that is lost after the work was done makes no second version either."""
    seen: list[str] = []
    faults = {"CreateArtifact": Fault(500), "PUT": Fault(-1), "CommitArtifact": Fault(-1, done=True)}

    def fault(operation: str, _: int) -> Fault:
        seen.append(operation)
        return faults.get(operation, Fault()) if seen.count(operation) == 1 else Fault()

    place.server.fault = fault
    assert home.register(model, EVALUATION) == "v0"
    assert [version.name for version in home.versions()] == ["v0"]
    assert all(seen.count(operation) >= 2 for operation in faults)


@pytest.mark.parametrize(
    ("operation", "status", "said"),
    [
        ("ProjectArtifacts", 403, "cannot read: permission denied; the API key may not do that; ask"),
        ("ProjectArtifacts", 500, "cannot read: no answer within 1 s; the server does not answer as it should"),
        ("UpsertBucket", 404, "cannot write: .*not found.*; no such entity or project"),
        ("CreateArtifact", 401, "cannot write: .*401.*; the API key was not accepted"),
        ("CommitArtifact", 403, "cannot write: .*403.*; the API key may not do that"),
        ("CommitArtifact", 429, "cannot write: .*; wait a minute and do it again|cannot write: .*; W&B asks for fewer"),
        ("PUT", -1, "cannot write: .*; the server does not answer as it should; try again when it does"),
    ],
)
def test_faults_that_stay_change_nothing(
    place: Remote, model: Path, monkeypatch: pytest.MonkeyPatch, operation: str, status: int, said: str
) -> None:
    monkeypatch.setattr(wandb_client, "RETRIES", 1)
    home = place.open()
    before = essence(home)
    if operation == "ProjectArtifacts":
        monkeypatch.setattr(wandb_client, "TIMEOUT", 1)
    place.server.fault = lambda name, count: Fault(status) if name == operation else Fault()
    with pytest.raises(UserError, match=said):
        place.open().register(model, EVALUATION)
    place.server.fault = lambda name, count: Fault()
    assert essence(home) == before


def test_wandbs_own_aliases_follow_later_when_they_cannot_at_once(
    place: Remote, home: Registry, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.register(model, EVALUATION)
    place.server.fault = lambda name, count: Fault(403) if name == "AddAliases" else Fault()
    with caplog.at_level(logging.WARNING, "graphmill"):
        home.move("champion", "v0", "first")
    assert "champion is v0, and W&B's own aliases follow with the next move" in caplog.text
    assert home.aliases() == {"champion": "v0"} and "champion" not in place.server.aliases[place.collection]
    place.server.fault = lambda name, count: Fault()
    home.move("champion", "v0", "again")
    assert "champion" in place.server.aliases[place.collection] and len(home.history()) == 1


def test_an_alias_moved_in_wandbs_pages_is_no_move(place: Remote, home: Registry, model: Path, tmp_path: Path) -> None:
    home.register(model, EVALUATION)
    home.register(make_model(tmp_path / "other", "other"), EVALUATION)
    home.move("champion", "v0", "first")
    first, second = (item["id"] for item in place.server.collection(place.collection))
    place.server.aliases[place.collection]["champion"] = second
    assert home.resolve("champion") == "v0"
    home.move("champion", "v0", "as it was")
    assert place.server.aliases[place.collection]["champion"] == first


def test_a_process_killed_while_it_commits(place: Remote, home: Registry, model: Path) -> None:
    """`kill -9` of the writer leaves the SDK's uploading process behind: what it still does is the same move."""
    home.register(model, EVALUATION)
    writer = process(place.name, "move", "champion", "v0", "0")

    def fault(operation: str, _: int) -> Fault:
        if operation == "CommitArtifact" and writer.poll() is None:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            return Fault(-1)
        return Fault()

    place.server.fault = fault
    writer.communicate(timeout=120)
    assert writer.returncode == -signal.SIGKILL
    assert home.aliases() in ({}, {"champion": "v0"})
    home.move("champion", "v0", "again")
    assert [(move.source, move.target) for move in home.history()] == [(None, "v0")]


def test_what_was_altered_is_refused_or_fetched_again(place: Remote, home: Registry, model: Path) -> None:
    home.register(model, EVALUATION)
    folder = home.path("v0")
    asked = place.server.calls.count("GET")
    assert home.path("v0") == folder and place.server.calls.count("GET") == asked, "it is in the cache"
    (folder / "weights.safetensors").write_text("x", encoding="utf-8")
    assert (home.path("v0") / "weights.safetensors").read_text(encoding="utf-8") == "weights"
    shutil.rmtree(os.environ["GRAPHMILL_CACHE"])
    (stored,) = place.server.collection(place.collection)
    place.server.files[stored["files"]["weights.safetensors"]] = b"x"
    with pytest.raises(UserError, match="version v0 is not to be had: .*"):
        home.path("v0")
    assert [item.name for item in folder.parent.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written(home: Registry, model: Path, tmp_path: Path, monkeypatch) -> None:
    home.register(model, EVALUATION)
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("GRAPHMILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be written: Not a directory.*another folder in GRAPHMILL_CACHE"):
        home.path("v0")


def test_a_version_that_is_gone(place: Remote, home: Registry, model: Path, tmp_path: Path) -> None:
    home.register(model, EVALUATION)
    home.move("champion", "v0", "first")
    (stored,) = place.server.collection(place.collection)
    del place.server.artifacts[stored["id"]]
    with pytest.raises(UserError, match="champion is v0, which is gone"):
        home.path("champion")
    assert home.register(make_model(tmp_path / "other", "other"), EVALUATION) == "v1"


def test_versions_that_others_put_there(place: Remote, home: Registry, model: Path, tmp_path: Path) -> None:
    """What no registry wrote does not count; what it wrote and somebody damaged is named."""
    home.register(model, EVALUATION)
    (stored,) = place.server.collection(place.collection)
    said, stored["metadata"] = stored["metadata"], '{"by": "hand"}'
    assert home.versions() == []
    with pytest.raises(UserError, match="has this model already, put there by something else"):
        home.register(model, EVALUATION)
    stored["metadata"] = said.replace('"evaluation"', '"judgement"')
    with pytest.raises(UserError, match=f"{place.collection}:v0: its metadata is damaged"):
        home.versions()
    stored["metadata"] = said
    home.move("champion", "v0", "first")
    (move,) = place.server.collection(f"{place.collection}-history")
    move["metadata"] = "{}"
    with pytest.raises(UserError, match="history:v0 is damaged; restore its metadata from its move.json"):
        home.aliases()


def test_of_two_versions_with_one_content_the_first_counts(place: Remote, home: Registry, model: Path) -> None:
    """Two writers may upload the same weights with other lineages at once: W&B sees two contents, we see one."""
    home.register(model, EVALUATION)
    (stored,) = place.server.collection(place.collection)
    place.server.artifacts["twin"] = {**stored, "id": "twin", "index": 1, "digest": "other"}
    assert [version.name for version in home.versions()] == ["v0"]
    assert home.register(model, EVALUATION) == "v0"


def test_many_versions_come_by_pages(
    place: Remote, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = place.open()
    home.register(model, EVALUATION)
    (stored,) = place.server.collection(place.collection)
    for number in range(1, 12):
        metadata = stored["metadata"].replace(artifact.read(model, "model").digest, f"{number:064x}")
        place.server.artifacts[f"n{number}"] = {**stored, "id": f"n{number}", "index": number, "metadata": metadata}
    monkeypatch.setattr(wandb_client, "PAGE", 5)
    asked = place.server.calls.count("ProjectArtifacts")
    assert [version.name for version in home.versions()] == [f"v{number}" for number in range(12)]
    assert place.server.calls.count("ProjectArtifacts") == asked + 3


def test_a_registered_model_leaves_nothing_here(home: Registry, model: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    home.register(model, EVALUATION)
    home.move("champion", "v0", "first")
    assert list((tmp_path / "work").iterdir()) == [] and list((tmp_path / "temporary").iterdir()) == []


def test_stages_and_the_predictor_take_this_home(place: Remote, tiny_run: Path, tmp_path: Path) -> None:
    made = tiny_run / "artifacts"
    params = deploy.Params(home=place.name)
    deploy.run(made / "model", made / "evaluation", tmp_path / "release", params)
    assert artifact.read(tmp_path / "release", "release").manifest["aliases"] == place.open().aliases()
    model, version = find("candidate", place.name)
    assert version == "v0" and model.artifact.digest == artifact.read(made / "model", "model").digest
    assert local._model("v0", tmp_path, {"deploy": {"home": place.name}}) == place.open().path("v0").resolve()
    judge = evaluate.Params(registry=place.name, bootstrap=20)
    evaluate.run(model.artifact.path, made / "graph", made / "features", tmp_path / "evaluation", judge)
    champion = "champion" in place.open().aliases()
    assert ("champion" in artifact.read(tmp_path / "evaluation", "evaluation").lineage["inputs"]) == champion
