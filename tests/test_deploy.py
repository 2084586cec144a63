"""The stage `deploy`: who becomes champion, and what the cluster is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from graphmill import artifact, deploy, lineage, registry
from graphmill.deploy import Params
from graphmill.errors import UserError

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
    assert third["aliases"] == {"candidate": "v2", "champion": "v2", "previous": "v0"}
    assert capsys.readouterr().out.splitlines() == [
        "deploy: sage is version v0 (candidate, champion), gates passed",
        "deploy: sage is version v1 (candidate), blocked by calibrated; champion stays v0",
        "deploy: sage is version v2 (candidate, champion), gates passed",
    ]
    why = [move.why for move in registry.open(params.home).history() if move.alias == "champion"]
    assert why == ["gates passed: beats_features_only"] * 2


def test_a_block_without_a_champion(tmp_path: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    assert deployed(tmp_path, params, "first", "block")["aliases"] == {"candidate": "v0"}
    assert capsys.readouterr().out == "deploy: sage is version v0 (candidate), blocked by calibrated\n"


def test_again_changes_nothing(tmp_path: Path, params: Params) -> None:
    deployed(tmp_path, params, "first", "pass")
    release = tmp_path / "artifacts" / "release"
    before = {file.name: file.read_bytes() for file in release.iterdir()}
    history = registry.open(params.home).history()
    deployed(tmp_path, params, "first", "pass")
    assert {file.name: file.read_bytes() for file in release.iterdir()} == before
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


def manifest(tmp_path: Path, name: str) -> dict[str, Any]:
    text = (tmp_path / "artifacts" / "release" / name).read_text(encoding="utf-8")
    assert "&id" not in text, "anchors are not for readers"
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_inference_service(tmp_path: Path, params: Params) -> None:
    given = params.model_copy(update={"name": "fraud", "storage_uri": "s3://models/{name}/{version}"})
    release = deployed(tmp_path, given, "first", "pass")
    service = manifest(tmp_path, "inference_service.yaml")
    assert list(service) == ["apiVersion", "kind", "metadata", "spec"]
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    assert (metadata["name"], metadata["namespace"]) == ("fraud", "default")
    assert metadata["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert metadata["annotations"]["graphmill/model-version"] == "v0"
    assert metadata["annotations"]["graphmill/model-digest"] == f"sha256:{release['digest']}"
    assert predictor["model"]["storageUri"] == "s3://models/fraud/v0"
    assert predictor["model"]["runtime"] == manifest(tmp_path, "serving_runtime.yaml")["metadata"]["name"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 6)
    assert predictor["automountServiceAccountToken"] is False
    assert predictor["securityContext"]["runAsNonRoot"] is True
    assert predictor["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert predictor["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == {
        "serving.kserve.io/inferenceservice": "fraud"
    }


def test_serving_runtime(tmp_path: Path, params: Params) -> None:
    deployed(tmp_path, params.model_copy(update={"image": "r.example/serve@sha256:0"}), "first", "pass")
    runtime = manifest(tmp_path, "serving_runtime.yaml")
    assert (runtime["apiVersion"], runtime["kind"]) == ("serving.kserve.io/v1alpha1", "ServingRuntime")
    predictor = manifest(tmp_path, "inference_service.yaml")["spec"]["predictor"]
    formats = [item["name"] for item in runtime["spec"]["supportedModelFormats"]]
    assert predictor["model"]["modelFormat"]["name"] in formats
    assert predictor["model"]["protocolVersion"] in runtime["spec"]["protocolVersions"]
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    assert container["image"] == "r.example/serve@sha256:0"
    assert container["command"] + container["args"][:1] == [
        "python",
        "-m",
        "graphmill.serving",
        "--model=/mnt/models",
    ]
    confined = container["securityContext"]
    assert confined["readOnlyRootFilesystem"] and confined["runAsNonRoot"]
    assert not confined["allowPrivilegeEscalation"] and confined["capabilities"] == {"drop": ["ALL"]}
    assert confined["seccompProfile"] == {"type": "RuntimeDefault"}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v2/models/{{.Name}}/ready", "port": 8080}
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
    volumes = [volume["name"] for volume in runtime["spec"]["volumes"]]
    assert [mount["name"] for mount in container["volumeMounts"]] == volumes
    assert "v0" not in (tmp_path / "artifacts" / "release" / "serving_runtime.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "Fraud"}, "deploy.name: must be a DNS label"),
        ({"name": "7fraud"}, "deploy.name: must begin with a letter"),
        ({"name": "f" * 54}, "deploy.name: must begin with a letter and have at most 53"),
        ({"namespace": "a_b"}, "deploy.namespace: must be a DNS label"),
        ({"image": "has space"}, "deploy.image: must be an image reference"),
        ({"storage_uri": "s3://models"}, r"deploy.storage_uri: needs \{version\} or \{digest\}"),
        ({"storage_uri": "s3://{verison}/{version}"}, r"unknown \{verison\}"),
        ({"storage_uri": "s3://{version"}, "deploy.storage_uri"),
        ({"storage_uri": "/models/{version}"}, "must begin with one of pvc://"),
        ({"resources": {"cpu": "two"}}, "deploy.resources.cpu: 'two' is not a quantity"),
        ({"resources": {"cpu": 4}}, "cpu_limit 2 is below cpu 4"),
        ({"minimum_replicas": 7}, "maximum_replicas is below minimum_replicas"),
        ({"replica": 1}, "deploy.replica: unknown parameter"),
    ],
)
def test_wrong_params(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Params.parse(values, "deploy")


def test_params_as_kubeflow_sends_them() -> None:
    given = {"minimum_replicas": 3.0, "resources": {"cpu": 1.0, "cpu_limit": 1.5, "memory": "512Mi"}}
    params = Params.parse(given, "deploy")
    assert (params.minimum_replicas, params.resources.cpu, params.resources.cpu_limit) == (3, "1", "1.5")
