"""Training on several machines: the TrainJob that is made, what is said of it, and every way in which it can end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from kfp import dsl
from kubernetes.config import kube_config
from torch.distributed.elastic.rendezvous import utils as rendezvous

from components import STAGES, trainjob
from components.trainjob import door, follow, stage
from graphmill import artifact, shared, train
from graphmill.errors import UserError
from pipelines import trainjob as rendered
from pipelines.platform import Cluster
from tests import tiny, trainer_server
from tests.trainer_server import Refused, Step, World, pod

HOME = Path(__file__).parent.parent
GIVEN = """
every: {cpu_request: 1, memory_request: 2Gi, node_selector: {pool: work}, retries: 1}
claims: {shared: big}
image_pull_secrets: [pull]
distributed:
  nodes: 2
  restarts: 0
  deadline: 3600
  labels: {kueue.x-k8s.io/queue-name: team}
  node:
    memory_limit: 64Gi
    accelerator: nvidia.com/gpu
    accelerator_count: 4
    tolerations: [{key: gpu, operator: Exists, effect: NoExecute, seconds: 60}]
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(follow, "INTERVAL", 0.001)
    for name in ("KUBERNETES_SERVICE_HOST", "KFP_POD_NAME", "KFP_POD_UID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    found = World()
    with trainer_server.serving(found, tmp_path / "kubeconfig"):
        yield found


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A shared volume, and the paths at which a step finds word of its inputs there."""
    root = tmp_path / "volume"
    monkeypatch.setenv(shared.VARIABLE, str(root))
    monkeypatch.setenv(trainjob.VARIABLE, rendered.template(Cluster.parse(yaml.safe_load(GIVEN), "cluster"), str(root)))
    for name in ("graph", "features"):
        shared.point(tmp_path / "step" / name, root / "run" / name)
    return root


def fetch(tmp_path, **given):
    params = train.Params.parse(tiny.params()["train"] | given, "train")
    trainjob.run(tmp_path / "step" / "graph", tmp_path / "step" / "features", tmp_path / "step" / "model", params)


def trained(job):
    """What the machines do: a model at the place that the job's arguments name."""
    with artifact.write(job["spec"]["trainer"]["args"][2], "model") as draft:
        (draft.folder / "weights").write_text("1 2 3")


def test_the_job_is_the_section(tmp_path):
    cluster = Cluster.parse(yaml.safe_load(GIVEN), "cluster")
    spec = json.loads(rendered.template(cluster, "/mnt/shared"))["spec"]
    assert spec["runtimeRef"]["name"] == "torch-distributed" and spec["activeDeadlineSeconds"] == 3600
    assert spec["trainer"]["numNodes"] == 2
    assert spec["trainer"]["resourcesPerNode"] == {
        "requests": {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "4"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "4"},
    }
    (patch,) = spec["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pods = job["template"]["spec"]["template"]["spec"]
    assert job["name"] == pods["containers"][0]["name"] == "node"
    assert pods["volumes"][0] == {"name": "shared", "persistentVolumeClaim": {"claimName": "big"}}
    assert pods["containers"][0]["volumeMounts"][0] == {"name": "shared", "mountPath": "/mnt/shared"}
    assert pods["nodeSelector"] == {"pool": "work"} and pods["imagePullSecrets"] == [{"name": "pull"}]
    taint = {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    assert pods["tolerations"] == [taint]


def test_machines_without_a_common_volume_are_refused():
    with pytest.raises(UserError, match="claims.shared"):
        Cluster.parse({"distributed": {"nodes": 2}}, "cluster")


def test_a_job_is_followed_to_its_model(world, volume, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KFP_POD_NAME", "training-1")
    monkeypatch.setenv("KFP_POD_UID", "1-2-3")
    world.done = trained
    world.logs = {"pod-0": "noise\ntrain: sage wins\n[torchrun] bye\n"}
    world.steps = [
        Step(),
        Step([pod(0, "Pending", waiting="ImagePullBackOff"), pod(1)]),
        Step([pod(0), pod(1)]),
        Step([pod(0), pod(1)]),
        Step([pod(0, "Succeeded", ended=0), pod(1, "Succeeded", ended=0)], "Complete"),
    ]
    fetch(tmp_path, processes=3)
    (job,) = world.created
    name = job["metadata"]["name"]
    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}
    assert job["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "training-1", "uid": "1-2-3"}
    ]
    trainer = job["spec"]["trainer"]
    assert trainer["command"][-1] == "graphmill.train.rank" and trainer["numProcPerNode"] == 3
    assert trainer["args"][:2] == [str(volume / "run" / "graph"), str(volume / "run" / "features")]
    assert world.deleted == [name] and set(world.selectors) == {f"jobset.sigs.k8s.io/jobset-name={name}"}
    assert (artifact.read(tmp_path / "step" / "model", "model").path / "weights").read_text() == "1 2 3"
    assert not list((volume / stage.FOLDER).iterdir()), "what was fetched does not stay on the volume"
    assert capsys.readouterr().out.splitlines() == [
        f"train: TrainJob {name} in fraud: 2 nodes",
        "train: pods: none yet",
        "train: pods: 1 Pending, 1 Running; ImagePullBackOff: no such image",
        "train: pods: 2 Running",
        "train: Complete; pods: 2 Succeeded",
        "train: sage wins",
    ]


def test_all_processes_are_told_how_many_they_are(world, volume, tmp_path):
    seen = []

    def done(job):
        seen.append(json.loads(Path(job["spec"]["trainer"]["args"][3]).read_text())["processes"])
        trained(job)

    world.done, world.steps = done, [Step(condition="Complete")]
    fetch(tmp_path, processes=3)
    assert seen == [6]


def test_the_machine_that_failed_first_is_told(world, volume, tmp_path):
    world.logs = {"pod-0": "train: process 0 lost another one: gloo\n", "pod-1": "x\n" * 99 + "MemoryError: no room\n"}
    world.steps = [
        Step([pod(0), pod(1)]),
        Step([pod(0, restarts=1, before=1, at=3), pod(1)]),  # restarted already; the one at fault not yet seen
        Step([pod(0, restarts=1, before=1, at=3), pod(1, ended=1, at=4)]),
    ]
    world.logs["pod-0/previous"] = world.logs["pod-0"]
    with pytest.raises(UserError, match="node 1 first: pod pod-1, Error, exit status 1") as caught:
        fetch(tmp_path)
    assert str(caught.value).endswith("MemoryError: no room")
    assert str(caught.value).count("x\n") == follow.LINES - 1
    assert len(world.deleted) == 1 and not (tmp_path / "step" / "model").exists()


def test_machines_that_only_lost_one_are_told_after_a_while(world, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "GRACE", 0.05)
    world.logs = {"pod-0": "train: process 0 lost another one: gloo\n"}
    world.steps = [Step([pod(0, ended=1)])]
    with pytest.raises(UserError, match="lost another one"):
        fetch(tmp_path)


def test_restarts_are_put_up_with_as_far_as_asked_for(world, volume, tmp_path, monkeypatch):
    template = json.loads(rendered.template(Cluster.parse(yaml.safe_load(GIVEN), "cluster"), str(volume)))
    monkeypatch.setenv(trainjob.VARIABLE, json.dumps(template | {"restarts": 1}))
    world.logs = {"pod-0": "second\n", "pod-0/previous": "first\n"}
    world.done = trained
    world.steps = [Step([pod(0, restarts=1, before=1)]), Step(condition="Complete")]
    fetch(tmp_path)
    world.steps = [Step([pod(0, restarts=1, before=1)]), Step([pod(0, restarts=1, before=1, ended=137)])]
    with pytest.raises(UserError, match="exit status 137.*\nsecond"):
        fetch(tmp_path, seed=1)


def test_a_job_that_fails_by_itself_says_why(world, volume, tmp_path):
    world.steps = [Step(condition="Failed")]
    with pytest.raises(UserError, match=r"failed \(JobsFailed: told\); no pod of it has ended with an error"):
        fetch(tmp_path)
    assert world.deleted


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        (Refused(404, None), "install Kubeflow Trainer 2.2"),
        (Refused(403, 'trainjobs is forbidden: User "x" cannot create'), "manifests/components/trainjob"),
        (Refused(403, 'admission webhook "v" denied the request: no runtime'), "must fit its runtime"),
        (Refused(400, 'strict decoding error: unknown field "spec.runtimePatches"'), "be 2.2 or newer"),
        (Refused(404, 'namespaces "fraud" not found', name="fraud"), 'namespaces "fraud" not found'),
    ],
)
def test_refusals_are_told_with_what_to_do(world, volume, tmp_path, refused, told):
    world.refuse = lambda verb, count: refused if verb == "create" else None
    with pytest.raises(UserError, match=told):
        fetch(tmp_path)


def test_what_a_killed_run_left_goes_first_and_silence_is_outlived(world, volume, tmp_path):
    world.job = {"metadata": {"name": "left"}}
    world.refuse = lambda verb, count: (
        Refused(503, "busy") if count == 1 and verb in ("create", "get", "list") else None
    )
    world.done, world.steps = trained, [Step([pod(0)]), Step(condition="Complete")]
    fetch(tmp_path)
    assert len(world.created) == 1 and len(world.deleted) == 2


def test_a_job_that_a_quota_holds_is_told_in_time(world, volume, tmp_path, monkeypatch):
    template = json.loads(rendered.template(Cluster.parse(yaml.safe_load(GIVEN), "cluster"), str(volume)))
    assert template["starting"] is None, "a queue may hold a job for days"
    monkeypatch.setenv(trainjob.VARIABLE, json.dumps(template | {"starting": 0.1}))
    world.steps = [Step([pod(0)])]  # the second machine never comes
    told = r"has not begun for 0 seconds \(pods: 1 Running\); `kubectl -n fraud get events`"
    with pytest.raises(UserError, match=told):
        fetch(tmp_path)
    assert world.deleted
    world.done = trained
    again = [Step([pod(0), pod(1, "Pending")])] * 200  # what has begun is not asked again
    world.steps = [Step(), Step([pod(0), pod(1)]), *again, Step(condition="Complete")]
    fetch(tmp_path)


def test_files_of_runs_that_never_succeeded_go_when_they_are_old(world, volume, tmp_path):
    home = volume / stage.FOLDER
    long_ago = time.time() - stage.KEPT - 60
    for name in ("train-old", "train-resumed", "train-waiting"):
        checkpoints = home / name / ".model.checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "split_0.pt").write_text("half")
        for path in (checkpoints / "split_0.pt", checkpoints, home / name):
            os.utime(path, (long_ago, long_ago))
    os.utime(home / "train-resumed" / ".model.checkpoints" / "split_0.pt")  # written to an hour ago
    world.others = {"train-waiting"}  # its job is in a queue
    world.done, world.steps = trained, [Step(condition="Complete")]
    fetch(tmp_path)
    assert sorted(item.name for item in home.iterdir()) == ["train-resumed", "train-waiting"]


def test_the_first_machine_waits_for_the_last_as_long_as_the_processes_do(world, volume, tmp_path):
    world.done, world.steps = trained, [Step(condition="Complete")]
    fetch(tmp_path, process_timeout=2_400)
    command = world.created[0]["spec"]["trainer"]["command"]
    assert command[command.index("torch.distributed.run") + 1] == "--rdzv-conf=timeout=2400"
    (given,) = [part for part in command if part.startswith("--rdzv-conf")]
    assert int(rendezvous._parse_rendezvous_config(given.partition("=")[2])["timeout"]) == 2_400, "as torchrun reads it"


def test_silence_for_too_long_and_a_deleted_job_are_told(world, volume, tmp_path, monkeypatch):
    world.steps = [Step([pod(0)])]
    world.refuse = lambda verb, count: Refused(404, "gone", name="gone") if verb == "get" and count > 2 else None
    with pytest.raises(UserError, match="deleted by somebody"):
        fetch(tmp_path)
    monkeypatch.setattr(follow, "PATIENCE", 0.05)
    world.refuse = lambda verb, count: Refused(503, "busy") if verb == "get" else None
    with pytest.raises(UserError, match="no word of TrainJob"):
        fetch(tmp_path)


def test_a_terminated_pod_deletes_its_job(world, volume, tmp_path):
    world.steps = [Step([pod(0)])]
    main, usual = threading.main_thread().ident, signal.getsignal(signal.SIGTERM)
    world.refuse = lambda verb, count: (
        signal.pthread_kill(main, signal.SIGTERM) if (verb, count) == ("get", 3) else None
    )
    with pytest.raises(SystemExit) as caught:
        fetch(tmp_path)
    assert caught.value.code == 143 and len(world.deleted) == 1
    assert signal.getsignal(signal.SIGTERM) == usual


def test_inputs_that_the_machines_cannot_see_are_refused(world, volume, tmp_path):
    params = train.Params.parse(tiny.params()["train"], "train")
    with pytest.raises(UserError, match="not on the volume"):
        trainjob.run(tmp_path / "graph", tmp_path / "step" / "features", tmp_path / "model", params)
    assert not world.created


def test_the_stage_trains_by_a_job_where_it_is_told_of_one(volume, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(trainjob, "run", lambda *given: asked.append(given))
    artifacts = {name: dsl.Artifact(uri=str(tmp_path / name)) for name in ("graph", "features", "model")}
    STAGES["train"].python_func(**artifacts, params={"processes": 2.0}, tracking={})
    ((graph, features, model, params),) = asked
    assert (graph, features, model) == tuple(str(tmp_path / name) for name in ("graph", "features", "model"))
    assert params.processes == 2


@pytest.mark.parametrize("code", ["from components.trainjob import run", "from components import workflow"])
def test_a_step_can_import_what_its_function_asks_for(code):
    """Kubeflow starts steps with this variable, and kfp then lacks what compiles."""
    environment = os.environ | {"_KFP_RUNTIME": "true", "PYTHONPATH": str(HOME)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd="/", text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    golden = (HOME / "tests" / "golden" / "training.yaml").read_text()
    assert "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main" in " ".join(golden.split())


def test_without_a_cluster_there_is_no_job(volume, tmp_path, monkeypatch):
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "missing"))
    with pytest.raises(UserError, match="no way to a cluster"):
        door.Door()
