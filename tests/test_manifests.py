"""The manifests: every overlay is what a cluster takes, and what it would not take is found."""

import copy
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from graphmill.deploy import Params, rules, validate
from graphmill.deploy.__main__ import main, rendered
from graphmill.deploy.objects import Objects
from graphmill.deploy.release import Release, home, mode_of, overlays
from graphmill.errors import UserError
from graphmill.registry import Version
from graphmill.rollout import Params as Rollout
from graphmill.rollout.local import Local
from graphmill.rollout.state import State, Store
from graphmill.rollout.target import Revision, Unreachable
from graphmill.serving.settings import parse

HOME = Path(__file__).parent.parent
OVERLAYS = ["dev", "production", "staging"]
DIGEST = "sha256:" + "ab" * 32
Documents = list[dict[str, Any]]

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl, which builds them, is not installed")


@cache
def _text(overlay: str) -> str:
    return rendered(home() / "overlays" / overlay)


def built(overlay: str) -> Documents:
    return validate.read(_text(overlay), overlay)


def one(documents: Documents, kind: str, name: str | None = None) -> dict[str, Any]:
    found = [item for item in documents if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    assert len(found) == 1, [item["metadata"]["name"] for item in found]
    return found[0]


def test_the_overlays_are_there() -> None:
    assert overlays(home()) == OVERLAYS
    assert {mode_of(home(), overlay) for overlay in OVERLAYS} == {"standard"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_cluster_takes_every_overlay(overlay: str) -> None:
    assert validate.problems(built(overlay)) == []


def varied(tmp_path: Path, components: list[str]) -> Documents:
    """Overlay `dev` with other components."""
    shutil.copytree(home(), tmp_path / "manifests")
    file = tmp_path / "manifests" / "overlays" / "dev" / "kustomization.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["components"] = [f"../../components/{name}" for name in components]
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return validate.read(rendered(file.parent), "dev")


@pytest.mark.parametrize("mode", ["standard", "knative"])
def test_a_cluster_takes_every_component(tmp_path: Path, mode: str) -> None:
    documents = varied(tmp_path, [f"canary-{mode}", "logger", "redis", "gpu", "trainjob"])
    assert validate.problems(documents) == []
    arguments = one(documents, "ServingRuntime")["spec"]["containers"][0]["args"]
    settings = parse([text.replace("{{.Name}}", "fraud") for text in arguments])
    assert (settings.engine, settings.model_name, str(settings.state)) == ("onnx", "fraud", "/var/lib/graphmill/state")
    assert settings.prediction_log == "/var/lib/graphmill/predictions" and settings.stream_group == "$(POD_NAME)"
    job = yaml.safe_load(one(documents, "ConfigMap", config(documents))["data"]["params.yaml"])
    assert Rollout.parse(job["rollout"], "rollout").target == mode


def test_the_pipeline_may_make_train_jobs_where_asked_for(tmp_path: Path) -> None:
    before, after = (
        one(documents, "Role", "graphmill-model-pipeline")["rules"]
        for documents in (built("dev"), varied(tmp_path, ["canary-standard", "trainjob"]))
    )
    added = [(rule["resources"], rule["verbs"]) for rule in after if rule not in before]
    assert added == [(["trainjobs"], ["create", "get", "delete"]), (["pods"], ["list"]), (["pods/log"], ["get"])]


def test_the_runtime_that_has_a_gpu_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from graphmill.serving.engines.onnx import _providers

    assert _providers() == ["CPUExecutionProvider"], "the one that is installed here has none"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "X"])
    assert _providers() == [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]


def config(documents: Documents) -> str:
    """The ConfigMap that the rollout's job reads."""
    volumes = one(documents, "Job")["spec"]["template"]["spec"]["volumes"]
    (name,) = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    return str(name)


def test_knative_gets_nothing_that_it_refuses(tmp_path: Path) -> None:
    documents = varied(tmp_path, ["canary-knative"])
    container = one(documents, "ServingRuntime")["spec"]["containers"][0]
    assert "lifecycle" not in container and container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    service = one(documents, "InferenceService")
    assert not set(rules.NOT_IN_KNATIVE) & service["spec"]["predictor"].keys()
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Knative"


def test_what_differs_between_the_overlays() -> None:
    services = {overlay: one(built(overlay), "InferenceService") for overlay in OVERLAYS}
    replicas = {
        overlay: (service["spec"]["predictor"]["minReplicas"], service["spec"]["predictor"]["maxReplicas"])
        for overlay, service in services.items()
    }
    assert replicas == {"dev": (1, 1), "staging": (2, 3), "production": (3, 12)}
    containers = {
        overlay: one(built(overlay), "ServingRuntime")["spec"]["containers"][0]["resources"] for overlay in OVERLAYS
    }
    assert containers["staging"] == containers["production"], "what is measured on a pod there holds here"
    for overlay, service in services.items():
        images = {} if overlay == "dev" else {"image": f"s@{DIGEST}", "rollout_image": f"s@{DIGEST}"}
        given = Params.parse({"overlay": overlay, **images}, "deploy")
        assert service["metadata"]["namespace"] == given.namespace


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_and_rights_are_as_small_as_can_be(overlay: str) -> None:
    documents = built(overlay)
    containers = list(Objects(documents).containers())
    assert [where.partition(" ")[0] for where, _ in containers] == ["Job", "InferenceService"]
    for _, container in containers:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and context["runAsNonRoot"] and "privileged" not in context
        assert not context["allowPrivilegeEscalation"] and context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    tokens = {where: pod.get("automountServiceAccountToken") for where, pod in Objects(documents).pods()}
    assert tokens == {"Job graphmill-model-rollout": True, "InferenceService graphmill-model": False}
    pipeline = one(documents, "ServiceAccount", "graphmill-model-pipeline")
    assert pipeline["automountServiceAccountToken"], "Kubeflow's pods do not ask for it, and Argo's executor needs it"
    rollout = one(documents, "Role", "graphmill-model-rollout")["rules"]
    assert {(tuple(rule["resources"]), tuple(rule["resourceNames"]), tuple(rule["verbs"])) for rule in rollout} == {
        (("inferenceservices",), ("graphmill-model",), ("get", "patch")),
        (("configmaps",), ("graphmill-model-shadow",), ("get", "patch")),
        (("httproutes",), ("graphmill-model-predictor",), ("get",)),
    }
    for binding in (item for item in documents if item["kind"] == "RoleBinding"):
        assert [subject["namespace"] for subject in binding["subjects"]] == [f"graphmill-{overlay}"]


def test_an_apply_leaves_a_rollout_alone() -> None:
    """What the rollout writes is not in the manifests, so that nothing of it is taken back."""
    for overlay in OVERLAYS:
        service, shadow = (
            one(built(overlay), kind, name)
            for kind, name in (("InferenceService", None), ("ConfigMap", "graphmill-model-shadow"))
        )
        assert "canary" not in service["spec"] and "canaryTrafficPercent" not in service["spec"]["predictor"]
        assert "graphmill/rollout" not in service["metadata"]["annotations"]
        assert service["spec"]["predictor"]["annotations"]["graphmill/rollout"] == "on the InferenceService"
        assert "data" not in shadow
        assert one(built(overlay), "Job")["spec"]["suspend"] is True, "an overlay alone starts nothing"


# --- what is caught


def service(documents: Documents) -> dict[str, Any]:
    return one(documents, "InferenceService")


def predictor(documents: Documents) -> dict[str, Any]:
    found: dict[str, Any] = service(documents)["spec"]["predictor"]
    return found


def container(documents: Documents) -> dict[str, Any]:
    found: dict[str, Any] = one(documents, "ServingRuntime")["spec"]["containers"][0]
    return found


def knative(documents: Documents) -> None:
    service(documents)["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"


def canary(documents: Documents, **changes: Any) -> dict[str, Any]:
    model = {**predictor(documents)["model"], "name": "", "storageUri": "pvc://graphmill-model-models/v1"}
    found = {"trafficPercent": 5, "predictor": {"name": "v1", "minReplicas": 1, "model": model}, **changes}
    service(documents)["spec"].setdefault("canary", []).append(found)
    return found


def pop(where: Callable[[Documents], dict[str, Any]], key: str) -> Callable[[Documents], Any]:
    return lambda documents: where(documents).pop(key)


def put(where: Callable[[Documents], dict[str, Any]], **changes: Any) -> Callable[[Documents], Any]:
    return lambda documents: where(documents).update(changes)


def rename(documents: Documents) -> None:
    service(documents)["metadata"]["name"] = "n" * 60


def same_names(documents: Documents) -> None:
    canary(documents)
    canary(documents)


CAUGHT: list[tuple[Callable[[Documents], Any], str]] = [
    (put(predictor, canaryTrafficPercnt=5), "Additional properties are not allowed ('canaryTrafficPercnt'"),
    (put(predictor, scaleTarget="70"), "spec.predictor.scaleTarget: '70' is not of type 'integer'"),
    (put(container, runAsNonRooot=True), "ServingRuntime graphmill-model: spec.containers.0: Additional properties"),
    (lambda documents: one(documents, "PodDisruptionBudget")["spec"].update(maxUnavailble=1), "'maxUnavailble'"),
    (lambda documents: one(documents, "PodMonitor")["spec"].pop("selector"), "'selector' is a required property"),
    (lambda documents: one(documents, "Job").update(apiVersion="batch/v7"), "no schema for this kind is known"),
    (rename, "a Service's name at most 63; shorten it"),
    (lambda documents: service(documents)["metadata"].pop("annotations"), "deploymentMode must be Standard or Knative"),
    (put(predictor, minReplicas=3), "minReplicas 3 and maxReplicas 1 are no range"),
    (put(predictor, canaryTrafficPercent=120), "canaryTrafficPercent: 120 is not between 0 and 100"),
    (put(predictor, canaryTrafficPercent=20), "canaryTrafficPercent: ignored in mode Standard"),
    (lambda documents: canary(documents, trafficPercent=-1), "trafficPercent: -1 is not between 0 and 100"),
    (lambda documents: (canary(documents), knative(documents)), "spec.canary: needs the annotation"),
    (lambda documents: canary(documents)["predictor"]["model"].pop("name"), 'write `name: ""`'),
    (lambda documents: canary(documents)["predictor"].pop("name"), "every predictor needs a name"),
    (same_names, "the name v1 is used twice"),
    (lambda documents: canary(documents)["predictor"].update(maxReplicas=3), "maxReplicas: a canary does not have it"),
    (lambda documents: canary(documents)["predictor"].update(minReplicas=3), "more than the stable predictor's 1"),
    (lambda documents: [canary(documents, trafficPercent=60) for _ in range(2)], "add up to 120 %"),
    (lambda documents: (canary(documents), predictor(documents).pop("model")), "needs a stable predictor with a model"),
    (lambda documents: predictor(documents)["model"].update(env=[{"name": "PYTHONPATH"}]), "PYTHONPATH is not allowed"),
    (knative, "terminationGracePeriodSeconds: Knative does not take it"),
    (knative, "Knative takes no lifecycle and one port only"),
    (knative, "ports: Knative does not take the name 'http'"),
    (pop(container, "readinessProbe"), "readinessProbe must ask /v2/models/{{.Name}}/ready, not None"),
    (lambda documents: container(documents)["livenessProbe"]["httpGet"].update(port=9000), "asks port 9000"),
    (lambda documents: container(documents)["startupProbe"]["httpGet"].update(path="/v2"), "startupProbe must ask"),
    (pop(container, "lifecycle"), "no preStop"),
    (put(predictor, terminationGracePeriodSeconds=60), "terminationGracePeriodSeconds must be above 60"),
    (pop(container, "resources"), "resources.limits.memory is missing"),
    (lambda documents: container(documents)["securityContext"].pop("readOnlyRootFilesystem"), "must be True, not None"),
    (lambda documents: container(documents)["securityContext"].update(privileged=True), "privileged must not be set"),
    (lambda documents: (knative(documents), container(documents)["securityContext"].update(privileged=False)),
     "privileged: Knative before 1.17 does not take it"),
    (lambda documents: predictor(documents)["securityContext"].update(runAsUser=0), "a runAsUser other than 0"),
    (put(predictor, serviceAccountName="nobody"), "no ServiceAccount 'nobody' here"),
    (put(predictor, serviceAccountName="graphmill-model-pipeline"), "automountServiceAccountToken must be false"),
    (lambda documents: container(documents)["args"].append("--modle=x"), "unknown argument '--modle=x'"),
    (lambda documents: container(documents)["args"].append("--http_port=8090"), "--http_port=8090 is no port"),
    (lambda documents: container(documents)["volumeMounts"].append({"name": "x", "mountPath": "/x"}), "is no volume"),
    (lambda documents: documents.remove(one(documents, "PersistentVolumeClaim", "graphmill-model-models")),
     "storageUri: no PersistentVolumeClaim graphmill-model-models here"),
    (lambda documents: predictor(documents)["model"].update(runtime="other"), "no ServingRuntime 'other' here"),
    (lambda documents: predictor(documents)["model"].update(protocolVersion="v3"), "its runtime does not speak v3"),
    (lambda documents: one(documents, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(portNumber=9091),
     "port 9091 is not the predictor's"),
    (lambda documents: documents.remove(one(documents, "PodDisruptionBudget")), "PodDisruptionBudget: none selects"),
    (lambda documents: one(documents, "Role", "graphmill-model-rollout")["rules"][0].pop("resourceNames"),
     "inferenceservices: get, patch need resourceNames"),
    (lambda documents: one(documents, "Role", "graphmill-model-rollout")["rules"][0].update(verbs=["*"]), "no wild"),
    (lambda documents: one(documents, "Role", "graphmill-model-pipeline").update(kind="ClusterRole"), "whole cluster"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "message"), CAUGHT)
def test_what_a_cluster_would_refuse_is_found(
    break_it: Callable[[Documents], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "PROMTOOL", "not-installed")
    documents = copy.deepcopy(built("dev"))
    break_it(documents)
    assert message in "\n".join(validate.problems(documents))


def test_a_canary_as_the_rollout_writes_it_is_taken() -> None:
    documents = copy.deepcopy(built("production"))
    canary(documents)
    assert validate.problems(documents) == []


# --- the release


def version(name: str) -> Version:
    return Version(name, name[-1] * 64, "ann", "2025-01-01T00:00:00Z", {})


def release(folder: Path, candidate: str | None, **changes: Any) -> Documents:
    images = {"image": f"r.example/serve@{DIGEST}", "rollout_image": f"r.example/stage@{DIGEST}"}
    params = Params.parse({"name": "payment-fraud", "overlay": "production", **images, **changes}, "deploy")
    waiting = None if candidate is None else version(candidate)
    folder.mkdir()
    Release(params, Rollout(), version("v2"), waiting).write(folder)
    return validate.read(rendered(folder), "release")


def test_a_cluster_takes_the_release(tmp_path: Path) -> None:
    documents = release(tmp_path / "release", "v3", namespace="money")
    assert validate.problems(documents) == []
    assert "graphmill-model" not in json.dumps(documents)
    assert {item["metadata"]["namespace"] for item in documents} == {"money"}
    found = service(documents)
    assert found["metadata"]["annotations"]["graphmill/model-version"] == "v2", "the champion stays until the rollout"
    assert found["spec"]["predictor"]["annotations"] == {
        "graphmill/rollout": "on the InferenceService", "graphmill/model-version": "v2",
        "graphmill/model-digest": "2" * 64,
    }  # fmt: skip
    assert predictor(documents)["model"]["storageUri"] == "pvc://payment-fraud-models/registry/versions/v2/model"
    assert container(documents)["image"] == f"r.example/serve@{DIGEST}"
    job = one(documents, "Job")
    assert (job["metadata"]["name"], job["spec"]["suspend"]) == ("payment-fraud-rollout-v3", False)
    (work,) = job["spec"]["template"]["spec"]["containers"]
    assert work["image"] == f"r.example/stage@{DIGEST}"
    params = yaml.safe_load(one(documents, "ConfigMap", config(documents))["data"]["params.yaml"])
    assert Params.parse(params["deploy"], "deploy").name == "payment-fraud"
    assert Rollout.parse(params["rollout"], "rollout") == Rollout(target="standard")


def test_the_jobs_command_is_the_rollouts(tmp_path: Path) -> None:
    from graphmill.rollout.job import _parser

    (work,) = one(release(tmp_path / "release", "v3"), "Job")["spec"]["template"]["spec"]["containers"]
    assert work["command"] == ["python", "-m", "graphmill.rollout.job"]
    given = _parser().parse_args(work["args"])
    assert given.candidate == "v3"
    mounts = [mount["mountPath"] for mount in work["volumeMounts"]]
    assert str(given.graph) in mounts and str(given.params.parent) in mounts and work["workingDir"] in mounts


def test_a_job_whose_pod_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphmill.rollout import job

    asked: list[list[str]] = []
    command = SimpleNamespace(main=lambda arguments: asked.append(arguments) or 0)
    monkeypatch.setitem(sys.modules, "graphmill.rollout.__main__", command)
    params = {"deploy": {"name": "fraud"}, "rollout": {"home": str(tmp_path / "rollouts")}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    given = [f"--params={tmp_path / 'params.yaml'}", "--candidate=v1"]
    revisions = [Revision(name, name[-1] * 64, "pvc://m") for name in ("v0", "v1")]
    store, open_one = Store(tmp_path / "rollouts", "fraud"), State("fraud", *revisions, began=1.0)
    for state in (None, open_one, open_one.to("promoted", 2.0)):
        if state is not None:
            store.write(state)
        assert job.main(given) == 0
    assert job.main([given[0], "--candidate=v2"]) == 0, "another version's rollout is not its own"
    assert [arguments[0] for arguments in asked] == ["start", "resume", "start", "start"]
    assert asked[0][-1] == "--candidate=v1" and "--candidate=v1" not in asked[1]
    (tmp_path / "rollouts" / "fraud" / "state.json").write_text("{", encoding="utf-8")
    assert job.main(given) == 2
    shutil.rmtree(tmp_path / "rollouts")
    monkeypatch.setattr(Local, "saved", lambda self: open_one.text())
    assert job.main(given) == 0 and asked[-1][0] == "resume", "killed before its own folder had it"

    def away(self: Local) -> str:
        raise Unreachable("the API server did not answer")

    monkeypatch.setattr(Local, "saved", away)
    assert job.main(given) == 3, "neither rolled back nor a mistake: the next pod tries again"


def test_the_job_ends_for_what_would_end_the_same() -> None:
    first, second = one(built("dev"), "Job")["spec"]["podFailurePolicy"]["rules"]
    assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert (second["action"], second["onExitCodes"]["values"]) == ("FailJob", [1, 2])


def test_a_release_without_a_candidate_has_no_job(tmp_path: Path) -> None:
    documents = release(tmp_path / "release", None)
    assert validate.problems(documents) == []
    assert not [item for item in documents if item["kind"] == "Job"]


def test_a_model_elsewhere_may_be_fetched(tmp_path: Path) -> None:
    inside, outside = release(tmp_path / "a", None), release(tmp_path / "b", None, storage_uri="s3://m/{version}")
    egress = [one(item, "NetworkPolicy", "payment-fraud")["spec"]["egress"] for item in (inside, outside)]
    assert {"ports": [{"port": 443, "protocol": "TCP"}]} not in egress[0]
    assert {"ports": [{"port": 443, "protocol": "TCP"}]} in egress[1]
    assert validate.problems(outside) == []


# --- the command


def test_the_command_builds_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--output", str(tmp_path / "built")]) == 0
    assert sorted(file.name for file in (tmp_path / "built").iterdir()) == [f"{name}.yaml" for name in OVERLAYS]
    assert main(["validate", str(tmp_path / "built" / "dev.yaml")]) == 0
    assert "objects, nothing wrong" in capsys.readouterr().out
    text = (tmp_path / "built" / "dev.yaml").read_text(encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(text.replace("preStop", "preStopp"), encoding="utf-8")
    assert main(["validate", str(tmp_path / "bad.yaml")]) == 1
    assert "'preStopp' was unexpected" in capsys.readouterr().err


def test_what_is_no_manifest_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, words in (("a: [", "not readable as YAML"), ("- 1", "document 1 is no object"), ("", "no objects in it")):
        (tmp_path / "file.yaml").write_text(text, encoding="utf-8")
        assert main(["validate", str(tmp_path / "file.yaml")]) == 2
        assert words in capsys.readouterr().err
    assert main(["validate", str(tmp_path / "nowhere.yaml")]) == 2
    assert "nowhere.yaml: cannot be read: No such file" in capsys.readouterr().err
    shutil.copytree(home(), tmp_path / "manifests")
    (tmp_path / "manifests" / "base" / "access.yaml").unlink()
    monkeypatch.setenv("GRAPHMILL_MANIFESTS", str(tmp_path / "manifests"))
    assert main(["build", "--output", str(tmp_path / "built")]) == 2
    assert "access.yaml" in capsys.readouterr().err
    monkeypatch.setattr("graphmill.deploy.__main__.KUBECTL", "not-installed")
    assert main(["build", "--output", str(tmp_path / "built")]) == 0
    assert "kubectl is not installed here: nothing is built" in capsys.readouterr().out


def test_an_overlay_says_its_mode(tmp_path: Path) -> None:
    shutil.copytree(home(), tmp_path / "manifests")
    file = tmp_path / "manifests" / "overlays" / "dev" / "kustomization.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("canary-standard", "gpu"), encoding="utf-8")
    with pytest.raises(UserError, match="give one of the components canary-standard and canary-knative; there are 0"):
        mode_of(tmp_path / "manifests", "dev")


# --- the alerts


def alerts() -> dict[str, Any]:
    (group,) = one(built("production"), "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_every_alert_says_what_to_do() -> None:
    text = (HOME / "docs" / "alerts.md").read_text(encoding="utf-8")
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
        assert f"\n## {name}\n" in text
        assert rule["labels"]["severity"] in ("critical", "warning")


def questions() -> list[str]:
    """What the runbook asks Prometheus."""
    text = (HOME / "docs" / "alerts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^    (\S.*)$", text, re.M) + re.findall(r"`(graphmill_\w+\{[^`]*\}[^`]*)`", text)
    return [block for block in blocks if "graphmill_" in block]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian's package prometheus) is not installed")
def test_prometheus_parses_what_the_runbook_asks(tmp_path: Path) -> None:
    rules = [{"record": f"asked:{place}", "expr": text} for place, text in enumerate(questions())]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "runbook", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", "rules.json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and len(rules) >= 4, done.stdout + done.stderr


def test_the_runbook_names_metrics_that_there_are_and_commands_that_parse() -> None:
    text = (HOME / "docs" / "alerts.md").read_text(encoding="utf-8")
    told = "".join(file.read_text(encoding="utf-8") for file in (HOME / "graphmill").rglob("*.py"))
    for name in set(re.findall(r"graphmill_(?:drift_)?(\w+)", text)):
        stem = re.sub(r"_(total|bucket)$", "", name)
        assert stem in told, name
    for module, words in set(re.findall(r"`python -m (graphmill\.\w+) ([^`]*)`", text)):
        given = shlex.split(words.replace("…", "why").replace("CHECK", "3f2a"))
        parser = importlib.import_module(f"{module}.__main__")._parser()
        parser.parse_args(given)


WHO = 'namespace="money", service="fraud", instance="{}"'
STEPS = 210
"""Samples of every series, two minutes apart: seven hours."""


def series(name: str, values: str, instance: str = "a", more: str = "") -> dict[str, str]:
    return {"series": f"{name}{{{WHO.format(instance)}{more}}}", "values": values}


def steady(step: float) -> str:
    return f"0+{step}x{STEPS}"


def checked(values: str = f"1x{STEPS}") -> dict[str, str]:
    """A drift check's metric, as a gateway in another namespace tells it."""
    return {
        "series": 'graphmill_drift_last_check_timestamp_seconds{namespace="watch", service="fraud"}',
        "values": values,
    }


def succeeded(moment: float) -> dict[str, str]:
    return series("graphmill_drift_last_success_timestamp_seconds", f"{moment}x{STEPS}")


V1 = ', protocol="v1"'
BUCKETS = ((0.1, 50), (0.25, 97), (1.0, 100))
FIRES: list[tuple[str, list[dict[str, str]], bool]] = [
    ("GraphmillFailures", [series("graphmill_requests_total", steady(100), more=V1),
     series("graphmill_failures_total", steady(2), more=f'{V1}, reason="late"')], True),
    ("GraphmillFailures", [series("graphmill_requests_total", steady(100), more=V1),
     series("graphmill_failures_total", steady(50), more=f'{V1}, reason="invalid"')], False),
    ("GraphmillSlow", [series("graphmill_request_seconds_bucket", steady(n), more=f'{V1}, le="{le}"')
     for le, n in (*BUCKETS, ("+Inf", 100))], True),
    ("GraphmillSlow", [series("graphmill_request_seconds_bucket", steady(n), more=f'{V1}, le="{le}"')
     for le, n in ((0.1, 50), (0.25, 100), ("+Inf", 100))], False),
    ("GraphmillNotReady", [series("graphmill_ready", f"1x{STEPS - 60} 0x60")], True),
    ("GraphmillNotReady", [series("graphmill_ready", f"1x{STEPS - 60}")], True),
    ("GraphmillNotReady", [series("graphmill_ready", f"0x{STEPS}"), series("graphmill_ready", f"1x{STEPS}", "b")],
     False),
    ("GraphmillGraphStale", [series("graphmill_graph_staleness_seconds", f"180000x{STEPS}")], True),
    ("GraphmillGraphStale", [series("graphmill_graph_staleness_seconds", f"3600x{STEPS}")], False),
    ("GraphmillPredictionsLost", [series("graphmill_predictions_lost", steady(3))], True),
    ("GraphmillPredictionsLost", [series("graphmill_predictions_lost", f"7x{STEPS}")], False),
    ("GraphmillEventsRefused", [series("graphmill_stream_entries_refused", steady(1))], True),
    ("GraphmillRolloutStuck", [series("graphmill_model", f"1x{STEPS}", name, f', model="{name}"') for name in "ab"],
     True),
    ("GraphmillRolloutStuck", [series("graphmill_model", f"1x{STEPS}", name, ', model="m"') for name in "ab"], False),
    ("GraphmillDriftAbsent", [series("graphmill_ready", f"1x{STEPS}")], True),
    ("GraphmillDriftAbsent", [series("graphmill_ready", f"1x{STEPS}"), checked()], False),
    ("GraphmillDriftAbsent", [series("graphmill_ready", f"1x{STEPS}"), checked("1x60")], False),
    ("GraphmillDriftStale", [checked(), succeeded(0), series("graphmill_drift_period_seconds", f"3600x{STEPS}")], True),
    ("GraphmillDriftStale", [checked(), succeeded(0), series("graphmill_drift_period_seconds", f"86400x{STEPS}")],
     False),
    ("GraphmillDriftStale", [checked(), succeeded(0)], False),
    ("GraphmillDriftStale", [checked(), succeeded(-8 * 86_400)], False),
    ("GraphmillDriftStale", [checked(), succeeded(-15 * 86_400)], True),
    ("GraphmillDriftPage", [series("graphmill_drift_decision", f"1x{STEPS}", more=', decision="page"')], True),
    ("GraphmillDriftPage", [series("graphmill_drift_decision", f"1x{STEPS}", more=', decision="retrain"')], False),
    ("GraphmillDriftAlarm", [series("graphmill_drift_state", f"1x{STEPS}", more=', state="alarm"')], True),
    ("GraphmillDriftAlarm", [series("graphmill_drift_state", f"1x{STEPS}", more=', state="warn"'),
     series("graphmill_drift_state", f"0x{STEPS}", more=', state="alarm"')], False),
    ("GraphmillDriftLabels", [series("graphmill_drift_decision", f"1x{STEPS}", more=', decision="request_labels"')],
     True),
    ("GraphmillDriftLabels", [series("graphmill_drift_decision", f"0x{STEPS}", more=', decision="request_labels"')],
     False),
]  # fmt: skip


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian's package prometheus) is not installed")
def test_alerts_fire_on_what_they_are_for_and_on_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps(one(built("production"), "PrometheusRule")["spec"]))
    assert {name for name, _, fires in FIRES if fires} == set(alerts())
    tests = []
    for name, given, fires in FIRES:
        query = f'count(ALERTS{{alertname="{name}", alertstate="firing", service="fraud"}})'
        samples = [{"labels": "{}", "value": 1}] if fires else []
        expected = [{"expr": query, "eval_time": f"{2 * STEPS - 2}m", "exp_samples": samples}]
        tests.append({"interval": "2m", "input_series": given, "promql_expr_test": expected})
    content = {"rule_files": ["rules.json"], "evaluation_interval": "2m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian's package prometheus) is not installed")
def test_an_alert_that_prometheus_cannot_read_is_found() -> None:
    documents = copy.deepcopy(built("dev"))
    one(documents, "PrometheusRule")["spec"]["groups"][0]["rules"][0]["expr"] = "sum by (service (x)"
    (problem,) = validate.problems(documents)
    assert problem.startswith("PrometheusRule graphmill-model: ") and "parse error" in problem
