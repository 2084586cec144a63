"""The doctor: the real Kubernetes client against an API server on loopback, each check both ways."""

import json
import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml
from kubernetes.config import kube_config

from automation.__main__ import main
from automation.doctor import examine
from automation.doctor.door import Door
from automation.doctor.wanted import Wanted
from graphmill.params import load
from pipelines.platform import Cluster
from tests import kube_server
from tests.kube_server import World

HOME = Path(__file__).parent.parent
DIGEST = f"@sha256:{'0' * 64}"
IMAGE = f"registry.example/team/graphmill-stage:1{DIGEST}"
PLACE, NAME = "kubeflow", "payment-fraud"
SECRETS = [
    {"name": "wandb", "keys": {"api-key": "WANDB_API_KEY"}},
    {"name": "github", "keys": {"token": "GITHUB_TOKEN"}, "stages": ["notify"], "optional": True},
]
CLUSTER = {
    "secrets": SECRETS,
    "service_account": f"{NAME}-pipeline",
    "image_pull_secrets": ["registry"],
    "report": {"to": ["github"], "repository": "team/fraud"},
    "claims": {"shared": "big"},
}
DEPLOY = {
    "name": NAME,
    "namespace": PLACE,
    "home": "wandb://team/fraud/model",
    "image": f"registry.example/team/graphmill-serve{DIGEST}",
    "rollout_image": IMAGE,
}
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the manifests")


def given(tmp_path, cluster=CLUSTER, **deploy):
    """A params file."""
    sections = load(HOME / "params.yaml") | {"cluster": cluster, "deploy": DEPLOY | deploy}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(sections))
    return file


@cache
def standard(folder):
    return Wanted.here(given(folder), {"GRAPHMILL_IMAGE": IMAGE})


@cache
def knative(folder):
    """The overlay `dev` in the other mode."""
    manifests = folder / "manifests"
    shutil.copytree(HOME / "manifests", manifests)
    file = manifests / "overlays" / "dev" / "kustomization.yaml"
    file.write_text(file.read_text().replace("canary-standard", "canary-knative"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHMILL_MANIFESTS", str(manifests))
        return Wanted.here(given(folder), {"GRAPHMILL_IMAGE": IMAGE})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture
def wanted(folder):
    return standard(folder)


def deployment(image):
    return {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}, "status": {"availableReplicas": 1}}


def healthy(wanted):
    """A cluster that has everything."""
    world = World(kinds={version: set(kinds) for version, kinds in wanted.kinds().items()})
    world.kinds |= {"argoproj.io/v1alpha1": {"Workflow"}, "kubeflow.org/v1beta1": {"ScheduledWorkflow"}}
    world.kinds |= {"gateway.networking.k8s.io/v1": {"Gateway", "HTTPRoute"}}
    world.kinds |= {"serving.knative.dev/v1": {"Service", "Revision"}}
    world.put("namespaces", PLACE)
    world.put("deployments", "ml-pipeline", PLACE, "apps/v1", **deployment("ghcr.io/kubeflow/kfp-api-server:2.17.0"))
    world.put("services", "ml-pipeline", PLACE)
    world.put("secrets", "mlpipeline-minio-artifact", PLACE, data={})
    manager = deployment("kserve/kserve-controller:v0.21.0")
    world.put("deployments", "kserve-controller-manager", "kserve", "apps/v1", **manager)
    settings = {"ingress": json.dumps({"enableGatewayApi": True}), "service": '{"serviceClusterIPNone": false}'}
    world.put("configmaps", "inferenceservice-config", "kserve", data=settings)
    ready = {"conditions": [{"type": "Programmed", "status": "True"}]}
    world.put("gateways", "kserve-ingress-gateway", "kserve", "gateway.networking.k8s.io/v1", status=ready)
    world.put("deployments", "controller", "knative-serving", "apps/v1")
    world.objects[kube_server.path("deployments", "controller", "knative-serving", "apps/v1")]["metadata"] |= {
        "labels": {"app.kubernetes.io/version": "1.21.1"}
    }
    features = ("securitycontext", "persistent-volume-claim", "volumes-emptydir", "init-containers")
    enabled = {f"kubernetes.podspec-{name}": "enabled" for name in features}
    world.put("configmaps", "config-features", "knative-serving", data=enabled)
    for account in wanted.accounts():
        world.put("serviceaccounts", account, PLACE, imagePullSecrets=[{"name": "registry"}])
    for secret, key in (("wandb", "api-key"), ("github", "token"), (f"{NAME}-serving", "token")):
        world.put("secrets", secret, PLACE, data={key: "c2VjcmV0LXZhbHVl"})
    world.put("secrets", "registry", PLACE, type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "e30="})
    for (place, claim), modes in wanted.claims().items():
        claimed = {"accessModes": sorted(modes) or ["ReadWriteMany"]}
        world.put("persistentvolumeclaims", claim, place, spec=claimed, status={"phase": "Bound"})
    return world


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """Makes the kubeconfig lead to a world."""
    opened = []

    def to(world, token=kube_server.TOKEN):
        server = kube_server.serving(world)
        url = server.__enter__()
        opened.append(server)
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(kube_server.kubeconfig(url, token)))
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        return url

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    yield to
    for server in opened:
        server.__exit__(None, None, None)


@pytest.fixture
def ask(connect):
    """Everything that is found in a world, by its check."""

    def of(world, wanted):
        connect(world)
        door = Door()
        try:
            return list(examine(door, wanted))
        finally:
            door.close()

    return of


def not_ok(found):
    return [(one.check, one.state, one.told, one.mend) for one in found if one.state != "ok"]


@pytest.mark.parametrize("mode", [standard, knative])
def test_a_cluster_that_has_everything_is_well(folder, ask, mode):
    wanted = mode(folder)
    world = healthy(wanted)
    found = ask(world, wanted)
    assert not not_ok(found)
    assert {one.check for one in found} >= {
        "API server",
        "Kubeflow Pipelines",
        "KServe",
        "traffic",
        "volumes",
        "rights",
    }
    methods = {method for method, path in world.calls if not path.startswith(kube_server.REVIEWS)}
    assert methods == {"GET"}, "it asks, and changes nothing"


def test_an_empty_cluster_lacks_everything_and_is_told_how_to_mend_it(wanted, ask):
    found = ask(World(), wanted)
    missing = {one.check for one in found if one.state == "missing"}
    assert missing == {
        *("Kubeflow Pipelines", "object store", "KServe", "kinds", "namespace", "accounts", "secrets", "volumes"),
    }
    assert all(one.mend for one in found if one.state != "ok")


def gone(plural, name, namespace="", version="v1"):
    return lambda world: world.objects.pop(kube_server.path(plural, name, namespace, version))


def changed(plural, name, namespace="", version="v1", **content):
    return lambda world: world.put(plural, name, namespace, version, **content)


def unknown(version):
    return lambda world: world.kinds.pop(version)


def kserve(image):
    return changed("deployments", "kserve-controller-manager", "kserve", "apps/v1", **deployment(image))


def kfp(image):
    return changed("deployments", "ml-pipeline", PLACE, "apps/v1", **deployment(image))


def idle(plural, name, namespace):
    return lambda world: world.objects[kube_server.path(plural, name, namespace, "apps/v1")].pop("status")


def claim(modes=("ReadWriteOnce",), phase="Bound", name=f"{NAME}-models"):
    content = {"spec": {"accessModes": list(modes)}, "status": {"phase": phase}}
    return changed("persistentvolumeclaims", name, PLACE, **content)


def settings(**sections):
    data = {name: json.dumps(section) for name, section in sections.items()}
    return changed("configmaps", "inferenceservice-config", "kserve", data=data)


def launcher(providers):
    return changed("configmaps", "kfp-launcher", PLACE, data={"providers": providers})


def denied(*rights):
    return lambda world: world.denied.update(rights)


def forbidden(*ends):
    return lambda world: world.forbidden.update(ends)


BROKEN = {
    "an old server": (lambda world: setattr(world, "version", "v1.29.3-eks"), "API server", "missing", "1.32 or newer"),
    "a server without a version": (lambda world: setattr(world, "version", ""), "API server", "warning", "1.32"),
    "no Argo": (unknown("argoproj.io/v1alpha1"), "Kubeflow Pipelines", "missing", "does not know Workflow"),
    "no server of Kubeflow": (
        gone("services", "ml-pipeline", PLACE), "Kubeflow Pipelines", "missing", "docs/cluster.md#2",
    ),
    "an old Kubeflow": (kfp("ghcr.io/x/api:2.4.1"), "Kubeflow Pipelines", "missing", "2.4.1; .* compiled for 2.17"),
    "a Kubeflow by digest": (kfp(f"ghcr.io/x/api{DIGEST}"), "Kubeflow Pipelines", "warning", "not tell its version"),
    "a Kubeflow that is down": (
        idle("deployments", "ml-pipeline", PLACE), "Kubeflow Pipelines", "missing", "does not serve",
    ),
    "no key of the store": (
        gone("secrets", "mlpipeline-minio-artifact", PLACE), "object store", "missing", "docs/cluster.md#3",
    ),
    "a key of the store that its pods may not read": (
        denied(f"{NAME}-pipeline get secrets mlpipeline-minio-artifact"), "object store", "missing", "may not read",
    ),
    "a store of one's own without its key": (
        launcher("credentials: {secretRef: {secretName: store}}"), "object store", "missing", "no Secret store in",
    ),
    "no KServe": (
        gone("deployments", "kserve-controller-manager", "kserve", "apps/v1"), "KServe", "missing", "docs/cluster.md#4",
    ),
    "an old KServe": (kserve("kserve/kserve-controller:v0.20.0"), "KServe", "missing", "v0.20.0: .* need 0.21"),
    "a KServe by digest": (kserve(f"r.example:5000/controller{DIGEST}"), "KServe", "warning", "not tell its version"),
    "a KServe that is down": (
        idle("deployments", "kserve-controller-manager", "kserve"), "KServe", "missing", "does not work",
    ),
    "no Gateway API": (unknown("gateway.networking.k8s.io/v1"), "traffic", "missing", "gateway.networking.k8s.io"),
    "Gateway API is off": (settings(service={}), "traffic", "missing", "enableGatewayApi is not true"),
    "Services without an address": (
        settings(ingress={"enableGatewayApi": True}, service={"serviceClusterIPNone": True}),
        "traffic", "missing", "serviceClusterIPNone",
    ),
    "settings that are none": (
        changed("configmaps", "inferenceservice-config", "kserve", data={"ingress": "{"}),
        "traffic", "missing", "enableGatewayApi",
    ),
    "another Gateway": (
        settings(ingress={"enableGatewayApi": True, "kserveIngressGateway": "edge/front"}),
        "traffic", "missing", "no Gateway edge/front",
    ),
    "a Gateway that waits": (
        changed("gateways", "kserve-ingress-gateway", "kserve", "gateway.networking.k8s.io/v1"),
        "traffic", "warning", "kubectl -n kserve describe gateway",
    ),
    "no operator of Prometheus": (
        unknown("monitoring.coreos.com/v1"), "kinds", "missing", "PodMonitor, PrometheusRule: install the Prometheus",
    ),
    "no runtimes": (unknown("serving.kserve.io/v1alpha1"), "kinds", "missing", "has no ServingRuntime: install KServe"),
    "no namespace": (gone("namespaces", PLACE), "namespace", "missing", "kubectl create namespace kubeflow"),
    "several users": (
        lambda world: world.objects[kube_server.path("deployments", "ml-pipeline", PLACE, "apps/v1")]["spec"][
            "template"
        ]["spec"]["containers"][0].update(env=[{"name": "MULTIUSER", "value": "true"}]),
        "runs", "missing", "KFP_NAMESPACE",
    ),
    "no account": (
        gone("serviceaccounts", f"{NAME}-rollout", PLACE), "accounts", "missing", f"{NAME}-rollout .*deploy prepare",
    ),
    "an account that pulls nothing": (
        changed("serviceaccounts", f"{NAME}-predictor", PLACE), "accounts", "warning",
        'patch serviceaccount payment-fraud-predictor -p .*"registry"',
    ),
    "rights to apply": (denied("create jobs", "patch jobs"), "rights", "missing", "may not create/patch jobs"),
    "rights to look": (denied("get pods/log"), "rights", "warning", "may not get pods/log"),
    "an account's rights": (
        denied(f"{NAME}-rollout patch inferenceservices {NAME}"), "accounts' rights", "missing",
        f"{NAME}-rollout may not patch inferenceservices {NAME}: python -m graphmill.deploy prepare",
    ),
    "nobody may ask for others": (
        forbidden("localsubjectaccessreviews"), "accounts' rights", "warning", "kubectl auth can-i --list",
    ),
    "no secret": (
        gone("secrets", "wandb", PLACE), "secrets", "missing",
        "kubectl -n kubeflow create secret generic wandb --from-literal=api-key=…",
    ),
    "a secret without its key": (
        changed("secrets", "wandb", PLACE, data={"key": "eA=="}),
        "secrets", "missing", "wandb .* lacks api-key: .*patch secret wandb",
    ),
    "an optional secret": (gone("secrets", "github", PLACE), "secrets", "warning", "Secret github"),
    "no secret to pull with": (gone("secrets", "registry", PLACE), "secrets", "missing", "secret docker-registry"),
    "a secret of another type": (
        changed("secrets", "registry", PLACE, type="Opaque"), "secrets", "missing", "not to pull images with",
    ),
    "a secret that may not be read": (forbidden("/secrets/wandb"), "secrets", "warning", "may not look at .*wandb"),
    "no claim, and no class": (
        gone("persistentvolumeclaims", f"{NAME}-graph", PLACE),
        "volumes", "missing", f"no PersistentVolumeClaim {NAME}-graph .*deploy prepare",
    ),
    "a claim of the wrong mode": (
        claim(["ReadWriteOnce"], name="big"), "volumes", "missing", "Bound, ReadWriteOnce, and not ReadWriteMany",
    ),
    "a claim that waits": (claim(phase="Pending"), "volumes", "warning", "waits for its first pod"),
    "a claim without its volume": (claim(phase="Lost"), "volumes", "missing", "its volume is gone"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_missing_is_told_with_what_mends_it(wanted, ask, name):
    break_it, check, state, told = BROKEN[name]
    world = healthy(wanted)
    break_it(world)
    found = [one for one in not_ok(ask(world, wanted)) if one[0] == check]
    assert found and found[0][1] == state, found
    assert any(re.search(told, f"{one[2]}: {one[3]}") for one in found), found


@pytest.mark.parametrize(
    ("break_it", "state", "told"),
    [
        (unknown("serving.knative.dev/v1"), "missing", "serving.knative.dev/v1"),
        (changed("deployments", "controller", "knative-serving", "apps/v1"), "warning", "not tell its version"),
        (
            lambda world: world.put("configmaps", "config-features", "knative-serving", data=None),
            "warning", "patch configmap config-features",
        ),
        (
            changed(
                "configmaps", "config-features", "knative-serving",
                data={"kubernetes.podspec-persistent-volume-claim": "disabled"},
            ),
            "missing", "persistent-volume-claim is disabled",
        ),
    ],
)  # fmt: skip
def test_the_mode_knative_needs_knative(folder, ask, break_it, state, told):
    wanted = knative(folder)
    world = healthy(wanted)
    break_it(world)
    found = [one for one in not_ok(ask(world, wanted)) if one[0] == "traffic"]
    assert any(one[1] == state and re.search(told, f"{one[2]}: {one[3]}") for one in found), found


def test_an_old_kserve_is_only_a_warning_without_canaries_of_its_own(folder, ask):
    wanted = knative(folder)
    world = healthy(wanted)
    kserve("kserve/kserve-controller:v0.18.0")(world)
    assert [one[:2] for one in not_ok(ask(world, wanted))] == [("KServe", "warning")]


def test_the_controller_is_not_the_proxy_beside_it(wanted, ask):
    world = healthy(wanted)
    containers = [{"name": "proxy", "image": "r.example/proxy:v0.1"}, {"name": "manager", "image": "k/c:v0.21.1"}]
    content = {"spec": {"template": {"spec": {"containers": containers}}}, "status": {"availableReplicas": 1}}
    changed("deployments", "kserve-controller-manager", "kserve", "apps/v1", **content)(world)
    assert [one.told for one in ask(world, wanted) if one.check == "KServe"] == ["KServe v0.21.1 in namespace kserve"]


@pytest.mark.parametrize(
    ("provisioner", "state"),
    [
        ("rancher.io/local-path", "missing"),
        ("efs.csi.aws.com", "ok"),
        ("storage.example", "warning"),
        (None, "missing"),
    ],
)
def test_a_claim_that_is_missing_asks_for_a_class_that_can_make_it(wanted, ask, provisioner, state):
    world = healthy(wanted)
    gone("persistentvolumeclaims", "big", PLACE)(world)
    marked = {"name": "usual", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    items = [{"metadata": marked, "provisioner": provisioner}] if provisioner else [{"metadata": {"name": "other"}}]
    world.objects["/apis/storage.k8s.io/v1/storageclasses"] = {"items": items}
    found = [one for one in ask(world, wanted) if one.check == "volumes" and "StorageClass" in one.told]
    assert [one.state for one in found] == [state]
    assert "usual" in found[0].told if provisioner else "other" in found[0].told


def test_a_store_that_knows_the_account_needs_no_key(wanted, ask):
    world = healthy(wanted)
    launcher("s3: {default: {credentials: {fromEnv: true}}}")(world)
    gone("secrets", "mlpipeline-minio-artifact", PLACE)(world)
    assert not [one for one in not_ok(ask(world, wanted)) if one[0] == "object store"]


def test_images_are_asked_for_by_digest_and_from_a_registry(wanted, ask):
    world = healthy(wanted)
    loose = replace(wanted, image="", deploy=wanted.deploy.model_copy(update={"image": "graphmill-serve:1"}))
    assert [one[0:2] for one in not_ok(ask(world, loose))] == [("images", "warning")] * 2
    tagged = replace(wanted, image="localhost:5001/graphmill-stage:1")
    (found,) = not_ok(ask(world, tagged))
    assert "has no digest" in found[2]


def test_runs_in_another_namespace_cannot_share_claims(folder, wanted, ask):
    elsewhere = replace(wanted, deploy=wanted.deploy.model_copy(update={"namespace": "fraud"}))
    found = [one for one in not_ok(ask(healthy(wanted), elsewhere)) if one[0] == "runs"]
    assert found[0][1] == "missing" and "deploy.namespace: kubeflow" in found[0][3]
    apart = replace(elsewhere, cluster=Cluster.parse({"claims": {"models": "", "graph": ""}}))
    assert not [one for one in not_ok(ask(healthy(wanted), apart)) if one[0] == "runs"]


def test_what_is_asked_for_needs_a_secret_that_gives_it(wanted, ask):
    without = replace(wanted, cluster=wanted.cluster.model_copy(update={"secrets": ()}))
    told = [one[2] for one in not_ok(ask(healthy(wanted), without)) if one[0] == "secrets"]
    assert told == [
        "deploy.home needs WANDB_API_KEY, which no Secret of cluster.secrets gives",
        "cluster.report needs GITHUB_TOKEN, which no Secret of cluster.secrets gives",
    ]


SEVERAL = {"nodes": 2, "runtime": "torch-distributed", "runtime_kind": "ClusterTrainingRuntime"}
TRAINER = "trainer.kubeflow.org/v1alpha1"


def trainers(world):
    world.kinds[TRAINER] = {"TrainJob"}
    world.put("clustertrainingruntimes", "torch-distributed", "", TRAINER)


def nothing(world):
    pass


@pytest.mark.parametrize(
    ("change", "distributed", "state", "told"),
    [
        (nothing, SEVERAL, "missing", "knows no TrainJob of trainer.kubeflow.org/v1alpha1: install it"),
        (trainers, SEVERAL, "ok", "may make TrainJobs"),
        (trainers, SEVERAL | {"runtime": "mine"}, "missing", "no ClusterTrainingRuntime mine"),
        (trainers, SEVERAL | {"runtime_kind": "TrainingRuntime"}, "missing", "no TrainingRuntime torch-distributed"),
        (nothing, SEVERAL | {"nodes": 1}, None, ""),
        (nothing, {}, None, ""),
    ],
)
def test_several_machines_need_kubeflow_trainer(wanted, ask, change, distributed, state, told):
    world = healthy(wanted)
    change(world)
    found = [one for one in ask(world, replace(wanted, distributed=distributed)) if one.check == "several machines"]
    assert bool(found) == (state is not None)
    assert not found or any(one.state == state and told in f"{one.told}: {one.mend}" for one in found), found


@pytest.mark.parametrize(
    ("change", "account", "state", "told"),
    [
        (denied(f"{NAME}-pipeline delete trainjobs"), f"{NAME}-pipeline", "missing", "may not delete trainjobs"),
        (forbidden("localsubjectaccessreviews"), f"{NAME}-pipeline", "warning", "kubectl auth can-i create trainjobs"),
        (nothing, None, "warning", "set cluster.service_account"),
    ],
)
def test_whoever_trains_on_several_machines_may_make_the_job(wanted, ask, change, account, state, told):
    world = healthy(wanted)
    trainers(world)
    change(world)
    cluster = wanted.cluster.model_copy(update={"service_account": account})
    found = ask(world, replace(wanted, cluster=cluster, distributed=SEVERAL))
    rights = [one for one in found if one.check == "several machines"][-1]
    assert rights.state == state and told in f"{rights.told}: {rights.mend}"


def test_an_account_of_ones_own_needs_the_same_rights(wanted, ask):
    named = replace(wanted, cluster=wanted.cluster.model_copy(update={"service_account": "trainer"}))
    world = healthy(wanted)
    world.put("serviceaccounts", "trainer", PLACE)
    world.denied.add("trainer create workflowtaskresults")
    (found,) = not_ok(ask(world, named))
    assert found[:3] == ("accounts' rights", "missing", "trainer may not create workflowtaskresults")


# The command


@pytest.fixture
def command(tmp_path, capsys):
    def run(*arguments, **deploy):
        file = given(tmp_path, **deploy)
        status = main(["doctor", "--params", str(file), *arguments], {"GRAPHMILL_IMAGE": IMAGE})
        return status, *capsys.readouterr()

    return run


def test_the_table_has_a_line_a_finding_and_no_value_of_a_secret(wanted, connect, command):
    world = healthy(wanted)
    connect(world)
    status, out, err = command()
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert re.fullmatch(r"doctor: 0 missing, 0 warning, \d+ ok", lines[-1])
    assert "secret-value" not in out and "c2VjcmV0" not in out
    gone("secrets", "wandb", PLACE)(world)
    status, out, _ = command()
    assert status == 1
    assert any(
        line.startswith("missing  secrets") and "create secret generic wandb" in line for line in out.splitlines()
    )


def test_the_page_shows_what_it_prints(wanted, connect, command):
    world = healthy(wanted)
    gone("deployments", "kserve-controller-manager", "kserve", "apps/v1")(world)
    gone("secrets", "wandb", PLACE)(world)
    connect(world)
    _, out, _ = command()
    shown = re.search(r"\n…\n(.*?)```", (HOME / "docs" / "cluster.md").read_text(), re.S)[1].splitlines()
    assert len(shown) == 3 and set(shown) <= set(out.splitlines()), out.splitlines()[-1]


def test_programs_are_told_in_json(wanted, connect, command):
    world = healthy(wanted)
    world.version = ""
    connect(world)
    status, out, _ = command("--json")
    found = json.loads(out)
    assert status == 0, "a warning is none of our refusals"
    assert found[0]["state"] == "warning"
    assert set(found[0]) == {"check", "state", "told", "mend"}


def test_a_server_that_is_not_there_is_one_line(connect, command):
    connect(World())
    status, out, err = command("--context", "nowhere")
    assert (status, out) == (2, "")
    assert re.fullmatch(r"doctor: no answer from the API server http://127.0.0.1:1: .*refused.*\n", err)


def test_a_refused_token_is_one_line(connect, command):
    connect(World(), token="yesterday's")
    status, out, err = command()
    assert (status, out) == (2, "")
    assert "does not know who asks (401); log in again" in err and err.count("\n") == 1
    assert "yesterday" not in err


def test_a_server_that_breaks_is_one_line(wanted, connect, command):
    world = healthy(wanted)
    world.broken["/deployments/ml-pipeline"] = 503
    connect(world)
    status, _, err = command()
    assert status == 2 and "answers 503" in err and err.count("\n") == 1


def test_no_kubeconfig_and_no_such_context_are_one_line(tmp_path, connect, command, monkeypatch):
    connect(World())
    status, _, err = command("--context", "elsewhere")
    assert status == 2 and "elsewhere" in err and err.count("\n") == 1
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    status, _, err = command()
    assert status == 2 and "no way to a cluster" in err and err.count("\n") == 1


def test_wrong_parameters_and_no_kubectl_are_told_before_anything_is_asked(command, monkeypatch):
    status, _, err = command(overlay="moon")
    assert status == 2 and "deploy.overlay" in err
    monkeypatch.setenv("PATH", "")
    status, _, err = command()
    assert status == 2 and "kubectl is not installed here" in err


def test_pages_and_places_that_mend_are_there():
    headings = re.findall(r"^#+ (.+)$", (HOME / "docs" / "cluster.md").read_text(), re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    code = "".join(file.read_text() for file in (HOME / "automation" / "doctor").glob("*.py"))
    named = re.findall(r"docs/cluster\.md#([\w-]+)", code)
    assert named and set(named) <= anchors
