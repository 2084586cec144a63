"""Section `cluster` on the compiled pipelines: what each pod gets, mounts and is told, and what is refused."""

from pathlib import Path

import pytest
import yaml
from kfp import dsl

from graphmill.errors import UserError
from pipelines import NAMES, child, compile, placement
from pipelines.platform import Cluster
from pipelines.training import training

HOME = Path(__file__).parent.parent
GIVEN = """
every:
  cpu_request: 1
  memory_request: 2Gi
  node_selector: {pool: work}
stages:
  train:
    memory_request: 16Gi
    cpu_limit: 500m
    accelerator: nvidia.com/gpu
    accelerator_count: 2
    node_selector: {pool: gpu, zone: a}
    tolerations: [{key: gpu, value: "yes", effect: NoSchedule}, {operator: Exists, effect: NoExecute, seconds: 60}]
    retries: 3
    backoff: 10s
  ingest: {retries: 0}
secrets:
  - {name: wandb, keys: {api-key: WANDB_API_KEY}}
  - {name: source, keys: {id: AWS_ACCESS_KEY_ID, secret: AWS_SECRET_ACCESS_KEY}, stages: [ingest], optional: true}
  - {name: chat, keys: {url: GRAPHMILL_WEBHOOK}, stages: [notify]}
claims: {shared: big}
image_pull_secrets: [pull]
report: {to: [webhook], link: "https://kubeflow.example/#/runs/details/{run}"}
"""


def traced():
    """The training pipeline, traced anew."""
    function = training.pipeline_func
    return dsl.pipeline(name="training", description=training.description)(function)


def documents(pipeline):
    specification, platform = yaml.safe_load_all(compile.text(pipeline))
    return specification, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def tasks(specification):
    parts = [specification["root"], *specification["components"].values()]
    return {name: task for part in parts for name, task in part.get("dag", {}).get("tasks", {}).items()}


def golden(name):
    return list(yaml.safe_load_all((HOME / "tests" / "golden" / f"{name}.yaml").read_text()))


@pytest.fixture(scope="module")
def placed():
    """What everything in the section makes of the training pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "CLUSTER", Cluster.parse(yaml.safe_load(GIVEN), "cluster"))
        return documents(traced())


def test_resources_are_those_of_every_stage_and_its_own(placed):
    containers = {
        name.removeprefix("exec-"): executor["container"]
        for name, executor in placed[0]["deploymentSpec"]["executors"].items()
        if "container" in executor
    }
    graph, train = containers["graph"]["resources"], containers["train"]["resources"]
    assert (graph["resourceCpuRequest"], graph["resourceMemoryRequest"]) == ("1", "2Gi") and "accelerator" not in graph
    assert (train["resourceCpuRequest"], train["resourceCpuLimit"]) == ("1", "500m")
    assert train["resourceMemoryRequest"] == "16Gi"
    assert (
        train["accelerator"] | {} == train["accelerator"] and train["accelerator"]["resourceType"] == "nvidia.com/gpu"
    )
    assert train["accelerator"]["resourceCount"] == "2"


def test_nodes_are_chosen(placed):
    pods = placed[1]
    assert pods["exec-train"]["nodeSelector"]["labels"] == {"pool": "gpu", "zone": "a"}
    assert pods["exec-graph"]["nodeSelector"]["labels"] == {"pool": "work"} and "tolerations" not in pods["exec-graph"]
    assert pods["exec-train"]["tolerations"] == [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "60"},
    ]


def test_secrets_reach_whom_they_are_for_and_are_no_parameters(placed):
    specification, pods = placed
    secrets = {
        name.removeprefix("exec-"): [item["secretName"] for item in pod.get("secretAsEnv", [])]
        for name, pod in pods.items()
    }
    assert secrets["train"] == secrets["graph"] == ["wandb"]
    assert secrets["ingest"] == ["wandb", "source"] and secrets["notify"] == ["wandb", "chat"]
    source = pods["exec-ingest"]["secretAsEnv"][1]
    assert source["optional"] and {item["envVar"] for item in source["keyToEnv"]} == {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    }  # fmt: skip
    assert all(word not in yaml.safe_dump(specification["root"]) for word in ("WANDB_API_KEY", "GRAPHMILL_WEBHOOK"))
    assert pods["exec-graph"]["imagePullSecret"][0]["secretName"] == "pull"


def test_retries_wait_longer_each_time_and_are_for_what_asks_outside(placed):
    found = {name: task["retryPolicy"] for name, task in tasks(placed[0]).items() if "retryPolicy" in task}
    assert set(found) == {"train", "deploy", "publish"}, "ingest: 0 was given"
    assert found["train"] == {
        "maxRetryCount": 3, "backoffDuration": "10s", "backoffFactor": 2.0, "backoffMaxDuration": "600s",
    }  # fmt: skip
    assert found["deploy"]["maxRetryCount"] == 2 and found["deploy"]["backoffDuration"] == "30s"


def test_claims_are_mounted_where_stages_look_and_each_once(placed):
    mounted = {
        name.removeprefix("exec-"): {item["constant"]: item["mountPath"] for item in pod.get("pvcMount", [])}
        for name, pod in placed[1].items()
    }
    registry = {"payment-fraud-models": "/home/graphmill"}
    assert mounted["deploy"] == mounted["evaluate"] == registry | {"big": "/mnt/shared"}
    assert mounted["train"] == {"big": "/mnt/shared"} and mounted["notify"] == {}
    assert mounted["publish"] == registry | {"big": "/mnt/shared", "payment-fraud-graph": "/mnt/graph"}
    for pod in placed[1].values():
        names = [item["constant"] for item in pod.get("pvcMount", [])]
        assert len(names) == len(set(names)), "Kubeflow names the volume after its claim"


def test_several_machines_train_by_a_job(monkeypatch):
    given = yaml.safe_load(GIVEN)
    given["distributed"] = {"nodes": 2}
    monkeypatch.setattr(placement, "CLUSTER", Cluster.parse(given, "cluster"))
    specification, pods = documents(traced())
    executors = specification["deploymentSpec"]["executors"]
    told = {item["name"]: item["value"] for item in executors["exec-train"]["container"]["env"]}
    job = yaml.safe_load(told["GRAPHMILL_TRAINJOB"])["spec"]
    assert job["trainer"]["numNodes"] == 2 and job["trainer"]["resourcesPerNode"]["requests"]["memory"] == "2Gi"
    assert "emptyDirMounts" not in pods["exec-train"]
    assert "GRAPHMILL_TRAINJOB" not in str(executors["exec-graph"])


def test_gpus_of_one_machine_get_memory_to_talk_through(placed):
    assert placed[1]["exec-train"]["emptyDirMounts"] == [
        {"volumeName": "memory", "mountPath": "/dev/shm", "medium": "Memory"}
    ]
    assert all("emptyDirMounts" not in pod for name, pod in placed[1].items() if name != "exec-train")


def test_steps_are_told_of_the_mounts(placed):
    told = {
        name.removeprefix("exec-"): {item["name"]: item["value"] for item in executor["container"].get("env", [])}
        for name, executor in placed[0]["deploymentSpec"]["executors"].items()
        if "container" in executor
    }
    assert told["train"] == {"GRAPHMILL_SHARED": "/mnt/shared"} and told["notify"] == {}
    assert told["publish"]["GRAPHMILL_MODELS"] == "/home/graphmill" and told["publish"]["HOME"] == "/tmp"
    assert told["publish"]["GRAPHMILL_SNAPSHOT"] == "/mnt/graph"


def test_the_end_is_reported_whatever_happened(placed):
    task = placed[0]["root"]["dag"]["tasks"]["notify"]
    assert task["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    values = task["inputs"]["parameters"]
    assert values["report"]["runtimeValue"]["constant"]["to"] == ["webhook"]
    assert values["revision"] == {"componentInputParameter": "revision"}
    assert values["status"]["taskFinalStatus"]["producerTask"] == "exit-handler-1"


@pytest.mark.parametrize(("pinned", "cached"), [(True, {"graph", "features", "train"}), (False, set())])
def test_the_cache_is_for_stages_without_side_effects_in_an_image_that_cannot_change(monkeypatch, pinned, cached):
    monkeypatch.setattr(placement, "PINNED", pinned)
    found = tasks(documents(traced())[0])
    assert {
        name for name, task in found.items()
        if task.get("cachingOptions", {}).get("enableCache") and name != "importer"
    } == cached  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_pages_show_words(name):
    specification, _ = golden(name)
    information = specification["pipelineInfo"]
    assert information["displayName"] and information["description"]
    for parameter, described in specification["root"]["inputDefinitions"]["parameters"].items():
        assert described.get("description") and "defaultValue" in described, parameter
    for task, described in tasks(specification).items():
        if task in placement.TITLES and task != "keep":  # which says for which decision
            assert described["taskInfo"]["name"] == placement.TITLES[task]


def test_a_run_here_has_neither_retries_nor_mounts():
    pipeline = traced()
    child.here(pipeline)
    specification, _ = documents(pipeline)
    assert not [name for name, task in tasks(specification).items() if "retryPolicy" in task]
    containers = [executor.get("container", {}) for executor in specification["deploymentSpec"]["executors"].values()]
    assert not [container for container in containers if "env" in container]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"stages": {"trian": {}}}, ["cluster.stages.trian", "train"]),
        ({"every": {"memory_request": "4 GB"}}, ["cluster.every.memory_request", "4 GB"]),
        ({"every": {"cpu_request": "two"}}, ["cluster.every.cpu_request"]),
        ({"every": {"gpu": 1}}, ["cluster.every.gpu", "unknown parameter"]),
        ({"every": {"tolerations": [{"value": "x"}]}}, ["cluster.every.tolerations.0", "key"]),
        ({"secrets": [{"name": "wandb"}]}, ["cluster.secrets.0.keys", "missing"]),
        ({"secrets": [{"name": "wandb", "keys": {"k": "A-B"}}]}, ["cluster.secrets.0.keys"]),
        ({"claims": {"models": "Big Disk"}}, ["cluster.claims.models", "Big Disk"]),
        ({"report": {"to": ["github"]}}, ["cluster.report", "repository"]),
        ({"report": {"to": ["mail"]}}, ["cluster.report.to", "github"]),
        ({"report": {"link": "kubeflow.example"}}, ["cluster.report.link", "{run}"]),
        ({"service_account": "a b"}, ["cluster.service_account"]),
    ],
)
def test_wrong_parameters_are_told_with_their_path(section, words):
    with pytest.raises(UserError) as caught:
        Cluster.parse(section, "cluster")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("home", "models", "word"),
    [("registry", "", "cluster.claims.models"), ("/srv/registry", "{name}-models", "deploy.home")],
)
def test_a_registry_that_would_go_with_its_pod_is_refused(monkeypatch, home, models, word):
    monkeypatch.setattr(placement, "CLUSTER", Cluster.parse({"claims": {"models": models}}, "cluster"))
    monkeypatch.setattr(placement, "DEPLOY", placement.Deploy(home=home))
    with pytest.raises(UserError, match=word):
        placement.check()
    monkeypatch.setattr(placement, "DEPLOY", placement.Deploy(home="wandb://team/project/models"))
    placement.check()
