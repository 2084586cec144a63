"""The stage `deploy`: who becomes champion, and what the release says."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from graphmill import artifact, deploy, lineage, registry
from graphmill.deploy import Params
from graphmill.errors import UserError
from graphmill.rollout import Params as Rollout

PASSED = {"name": "beats_features_only", "passed": True, "value": 0.1, "bound": 0.0}
FAILED = {"name": "calibrated", "passed": False, "value": 0.2, "bound": 0.05}


@pytest.fixture(autouse=True)
def still_source(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Source code that nobody edits while the tests run."""
    package = tmp_path_factory.mktemp("package")
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(lineage, "PACKAGE", package)


def make_model(folder: Path, text: str) -> Path:
    with artifact.write(folder, "model") as draft:
        (draft.folder / "weights.safetensors").write_text(text, encoding="utf-8")
        draft.lineage = lineage.record("train", {"train": {"seed": 1}}, {})
    return folder


def judge(folder: Path, model: Path, verdict: str = "pass", **changes: Any) -> Path:
    gates = [PASSED] if verdict == "pass" else [PASSED, FAILED]
    with artifact.write(folder, "evaluation") as draft:
        metrics = {"sage": {"roc_auc": 0.9}}
        draft.manifest = {"winner": "sage", "verdict": verdict, "metrics": metrics, "gates": gates, **changes}
        draft.lineage = lineage.record("evaluate", {}, {"model": artifact.read(model, "model")})
    return folder


@pytest.fixture
def params(tmp_path: Path) -> Params:
    return Params(home=str(tmp_path / "registry"))


def deployed(tmp_path: Path, params: Params, text: str, verdict: str) -> dict[str, Any]:
    model = make_model(tmp_path / "artifacts" / "model", text)
    evaluation = judge(tmp_path / "artifacts" / "evaluation", model, verdict)
    deploy.run(model, evaluation, tmp_path / "artifacts" / "release", params)
    return artifact.read(tmp_path / "artifacts" / "release", "release").manifest


def test_the_verdict_decides(tmp_path: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    first = deployed(tmp_path, params, "first", "pass")
    assert (first["version"], first["champion"]) == ("v0", True)
    assert first["aliases"] == {"candidate": "v0", "champion": "v0"}
    blocked = deployed(tmp_path, params, "second", "block")
    assert (blocked["version"], blocked["champion"], blocked["verdict"]) == ("v1", False, "block")
    assert blocked["aliases"] == {"candidate": "v1", "champion": "v0"}
    third = deployed(tmp_path, params, "third", "pass")
    assert third["aliases"] == {"candidate": "v2", "champion": "v0"}, "it waits for a rollout"
    assert capsys.readouterr().out.splitlines() == [
        "deploy: sage is version v0 (candidate, champion), gates passed",
        "deploy: sage is version v1 (candidate), blocked by calibrated; champion stays v0",
        "deploy: sage is version v2 (candidate), gates passed; champion stays v0; next: `make rollout`, on a cluster "
        "`python -m graphmill.rollout start`",
    ]
    why = [move.why for move in registry.open(params.home).history() if move.alias == "champion"]
    assert why == ["gates passed: beats_features_only"]


def test_a_block_without_a_champion(tmp_path: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    assert deployed(tmp_path, params, "first", "block")["aliases"] == {"candidate": "v0"}
    assert capsys.readouterr().out == "deploy: sage is version v0 (candidate), blocked by calibrated\n"


def test_again_changes_nothing(tmp_path: Path, params: Params) -> None:
    deployed(tmp_path, params, "first", "pass")
    release = tmp_path / "artifacts" / "release"
    before = {file: file.read_bytes() for file in release.rglob("*") if file.is_file()}
    history = registry.open(params.home).history()
    deployed(tmp_path, params, "first", "pass")
    assert {file: file.read_bytes() for file in release.rglob("*") if file.is_file()} == before
    assert registry.open(params.home).history() == history


def test_the_registry_has_model_lineage_and_judgement(tmp_path: Path, params: Params) -> None:
    release = deployed(tmp_path, params, "first", "pass")
    home = registry.open(params.home)
    kept = artifact.read(home.path("champion"), "model")
    assert kept.digest == release["digest"]
    assert kept.lineage["stage"] == "train"
    assert home.versions()[0].evaluation["gates"] == [PASSED]
    upstream = artifact.read(tmp_path / "artifacts" / "release", "release").lineage["artifacts"]
    assert sorted(upstream) == ["evaluation", "model"]


def test_wrong_evaluations(tmp_path: Path, params: Params) -> None:
    model = make_model(tmp_path / "model", "one")
    other = make_model(tmp_path / "other", "two")
    release = tmp_path / "release"
    with pytest.raises(UserError, match="judged another model"):
        deploy.run(model, judge(tmp_path / "evaluation", other), release, params)
    with pytest.raises(UserError, match="verdict 'maybe' in evaluation.json"):
        deploy.run(model, judge(tmp_path / "evaluation", model, "maybe"), release, params)
    (tmp_path / "evaluation" / "evaluation.json").unlink()
    with pytest.raises(UserError, match="no evaluation here"):
        deploy.run(model, tmp_path / "evaluation", release, params)
    assert not release.exists()
    assert not Path(params.home).exists()


def test_nothing_half_written(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path / "model", "one")
    evaluation = judge(tmp_path / "evaluation", model)

    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device", str(arguments[1]))

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", full)
        patch.setattr("shutil.copy2", full)
        with pytest.raises(UserError, match="registry cannot be written: .*No space left on device"):
            deploy.run(model, evaluation, tmp_path / "release", params)
    assert registry.open(params.home).versions() == []
    assert list((tmp_path / "registry" / "versions").iterdir()) == []
    assert not (tmp_path / "release").exists()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="a file, where the registry's directory should be"):
        deploy.run(model, evaluation, tmp_path / "release", Params(home=str(tmp_path / "file")))
    assert not (tmp_path / "release").exists()


def released(tmp_path: Path, name: str) -> Any:
    text = (tmp_path / "artifacts" / "release" / name).read_text(encoding="utf-8")
    assert "&id" not in text, "anchors are not for readers"
    return yaml.safe_load(text)


def values(patch: list[dict[str, Any]]) -> dict[str, Any]:
    return {operation["path"]: operation["value"] for operation in patch}


def test_the_release_serves_the_champion_until_a_rollout(tmp_path: Path, params: Params) -> None:
    first = deployed(tmp_path, params, "first", "pass")
    kustomization = released(tmp_path, "kustomization.yaml")
    assert kustomization["resources"] == ["manifests/overlays/dev"]
    assert kustomization["namespace"] == "graphmill-dev"
    assert "$patch: delete" in kustomization["patches"][1]["patch"], "nothing to roll out"
    second = deployed(tmp_path, params, "second", "pass")
    assert (second["serves"], second["rollout_due"]) == ("v0", True)
    service = values(released(tmp_path, "service.yaml"))
    for place in ("/metadata", "/spec/predictor"):
        assert service[f"{place}/annotations/graphmill~1model-version"] == "v0"
        assert service[f"{place}/annotations/graphmill~1model-digest"] == first["digest"]
    assert service["/spec/predictor/model/storageUri"] == "pvc://graphmill-models/registry/versions/v0/model"
    job = values(released(tmp_path, "rollout.yaml"))
    assert job["/metadata/name"] == "graphmill-rollout-v1" and job["/spec/suspend"] is False
    assert "--candidate=v1" in job.values()


def test_at_once_serves_the_new_version(tmp_path: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    deployed(tmp_path, params, "first", "pass")
    at_once = params.model_copy(update={"promote": "at_once", "storage_uri": "s3://models/{name}/{version}"})
    third = deployed(tmp_path, at_once, "second", "pass")
    assert third["aliases"] == {"candidate": "v1", "champion": "v1", "previous": "v0"}
    assert (third["serves"], third["rollout_due"]) == ("v1", False)
    assert values(released(tmp_path, "service.yaml"))["/spec/predictor/model/storageUri"] == "s3://models/graphmill/v1"
    assert "port: 443" in released(tmp_path, "kustomization.yaml")["patches"][2]["patch"], "the pod fetches it"
    assert capsys.readouterr().out.splitlines()[-1] == "deploy: sage is version v1 (candidate, champion), gates passed"


def test_what_is_blocked_is_not_served(tmp_path: Path, params: Params) -> None:
    assert deployed(tmp_path, params, "first", "block")["serves"] is None
    assert not (tmp_path / "artifacts" / "release" / "kustomization.yaml").exists()
    deployed(tmp_path, params, "second", "pass")
    third = deployed(tmp_path, params, "third", "block")
    assert (third["serves"], third["rollout_due"]) == ("v1", False)
    assert not (tmp_path / "artifacts" / "release" / "rollout.yaml").exists()


def test_the_release_is_for_one_name_and_its_images(tmp_path: Path, params: Params) -> None:
    digest = "sha256:" + "a" * 64
    changes = {
        "name": "fraud", "namespace": "money", "overlay": "production", "image": f"r.example:5000/serve:1.0@{digest}",
        "rollout_image": f"r.example:5000/stage@{digest}",
    }  # fmt: skip
    deployed(tmp_path, params.model_copy(update=changes), "first", "pass")
    folder = tmp_path / "artifacts" / "release"
    assert not [file for file in folder.rglob("*.yaml") if "graphmill-model" in file.read_text(encoding="utf-8")]
    assert sorted(item.name for item in (folder / "manifests" / "overlays").iterdir()) == ["production"]
    kustomization = released(tmp_path, "kustomization.yaml")
    assert kustomization["images"] == [
        {"name": "graphmill-serve", "newName": "r.example:5000/serve", "digest": digest},
        {"name": "graphmill-stage", "newName": "r.example:5000/stage", "digest": digest},
    ]
    assert kustomization["namespace"] == "money"
    assert released(tmp_path, "params.yaml")["deploy"]["name"] == "fraud"
    assert released(tmp_path, "params.yaml")["rollout"]["target"] == "standard"


def test_an_overlay_that_does_not_fit(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path / "model", "one")
    given = (model, judge(tmp_path / "evaluation", model), tmp_path / "release")
    with pytest.raises(UserError, match="no overlay 'prodution'.*did you mean 'production'"):
        deploy.run(*given, params.model_copy(update={"overlay": "prodution"}))
    with pytest.raises(UserError, match="rollout.target is knative, but overlay dev has the component canary-standard"):
        deploy.run(*given, params, Rollout(target="knative"))
    monkeypatch.setenv("GRAPHMILL_MANIFESTS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere: no manifests here; set GRAPHMILL_MANIFESTS"):
        deploy.run(*given, params)
    assert not (tmp_path / "release").exists()
    assert registry.open(params.home).aliases() == {}, "no alias moves for a release that is not there"


def test_a_model_of_another_graph_is_refused(tmp_path: Path, params: Params) -> None:
    """What it was made of is not what stands beside it."""
    for text in ("one", "two"):
        with artifact.write(tmp_path / "graph", "graph") as draft:
            (draft.folder / "counts").write_text(text, encoding="utf-8")
            draft.lineage = lineage.record("graph", {}, {})
        if text == "one":
            with artifact.write(tmp_path / "model", "model") as draft:
                draft.lineage = lineage.record("train", {}, {"graph": artifact.read(tmp_path / "graph", "graph")})
    evaluation = judge(tmp_path / "evaluation", tmp_path / "model")
    with pytest.raises(UserError, match="its lineage does not verify: artifact graph: .*train it again"):
        deploy.run(tmp_path / "model", evaluation, tmp_path / "release", params)
    assert not Path(params.home).exists()


PINNED = {"image": "serve@sha256:" + "0" * 64, "rollout_image": "stage@sha256:" + "0" * 64}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "Fraud"}, "deploy.name: must be a DNS label"),
        ({"name": "7fraud"}, "deploy.name: must begin with a letter"),
        ({"name": "f" * 47}, "deploy.name: must begin with a letter and have at most 46"),
        ({"namespace": "a_b"}, "deploy.namespace: must be a DNS label"),
        ({"overlay": "../etc"}, "deploy.overlay: must be a DNS label"),
        ({"image": "has space"}, "deploy.image: must be an image reference"),
        ({"image": "serve@sha256:0"}, "deploy.image: must be an image reference"),
        (
            {**PINNED, "overlay": "production", "image": "serve:1"},
            "deploy.image: 'serve:1' has no digest; overlay prod",
        ),
        ({**PINNED, "overlay": "staging", "rollout_image": "stage:1"}, "deploy.rollout_image: 'stage:1' has no digest"),
        ({"storage_uri": "s3://models"}, r"deploy.storage_uri: needs \{version\} or \{digest\}"),
        ({"storage_uri": "s3://{verison}/{version}"}, r"unknown \{verison\}"),
        ({"storage_uri": "s3://{version"}, "deploy.storage_uri"),
        ({"storage_uri": "/models/{version}"}, "must begin with one of pvc://"),
        ({"promote": "now"}, "deploy.promote: must be 'rollout' or 'at_once'"),
        ({"replica": 1}, "deploy.replica: unknown parameter"),
    ],
)
def test_wrong_params(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Params.parse(values, "deploy")


def test_the_namespace_is_the_overlays_unless_given() -> None:
    assert Params.parse({}, "deploy").namespace == "graphmill-dev"
    assert Params.parse({**PINNED, "overlay": "production"}, "deploy").namespace == "graphmill-production"
    assert Params.parse({**PINNED, "overlay": "production", "namespace": "money"}, "deploy").namespace == "money"


def test_gates_passed_beside_another_champion_do_not_count(tmp_path: Path, params: Params) -> None:
    """Nobody has compared them: the champion changed after `evaluate`, or `evaluate` looked into another home."""
    gate = {**PASSED, "name": "not_worse_than_champion"}
    home, at_once = registry.open(params.home), params.model_copy(update={"promote": "at_once"})
    deployed(tmp_path, params, "first", "pass")
    other = home.register(make_model(tmp_path / "other", "other"), {})
    model, digest = make_model(tmp_path / "model", "second"), home.versions()[0].digest
    place, release = tmp_path / "judged", tmp_path / "release"
    judge(place, model, gates=[gate], champion={"version": "v0", "digest": digest})
    home.move("champion", other, "meanwhile")
    with pytest.raises(UserError, match="judged beside champion v0, and the champion in .* is v1; run `evaluate`"):
        deploy.run(model, place, release, at_once)
    judge(place, model, gates=[gate], champion=None)
    with pytest.raises(UserError, match="judged beside no champion, and the champion in .* is v1"):
        deploy.run(model, place, release, at_once)
    assert (len(home.versions()), home.aliases()["champion"], release.exists()) == (2, "v1", False)
    home.move("champion", "v0", "back")
    judge(place, model, gates=[gate], champion={"version": "v7", "digest": digest})
    for _ in range(2):  # the second time it is the champion itself
        deploy.run(model, place, release, at_once)
    assert home.aliases()["champion"] == "v2"


def test_a_champion_that_is_gone(tmp_path: Path, params: Params) -> None:
    deployed(tmp_path, params, "first", "pass")
    shutil.rmtree(tmp_path / "registry" / "versions" / "v0")
    with pytest.raises(UserError, match="champion is v0, which is gone"):
        deployed(tmp_path, params, "second", "pass")
