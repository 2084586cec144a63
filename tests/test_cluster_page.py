"""The page that leads from an empty cluster to a served model, and the script that makes one in Docker."""

import re
import shlex
import shutil
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from graphmill.deploy import Params, schema, validate
from graphmill.deploy.__main__ import main as deploy
from graphmill.deploy.__main__ import objects
from graphmill.deploy.objects import Objects
from graphmill.deploy.release import home, overlays
from graphmill.params import load
from graphmill.rollout.params import Params as Rollout
from pipelines.platform import Cluster

HOME = Path(__file__).parent.parent
PAGE = (HOME / "docs" / "cluster.md").read_text()
SCRIPT = (HOME / "kind" / "up.sh").read_text()
VALUES = {"$NAMESPACE": "kubeflow", "$NAME": "payment-fraud", "$GRAPHMILL_IMAGE": f"r.example/g@sha256:{'0' * 64}"}
DIGEST = f"@sha256:{'0' * 64}"
built = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the manifests")


def commands():
    """Command lines of the page, continued ones whole."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    lines = [line for block in blocks for line in block.replace("\\\n    ", "").splitlines()]
    return [line[2:] for line in lines if line.startswith("$ ")]


def documents():
    """Objects that the page applies, with its variables filled in."""
    for text in re.findall(r"<<'?END'?\n(.*?)\nEND\n", PAGE, re.S):
        for name, value in VALUES.items():
            text = text.replace(name, value)
        yield from yaml.safe_load_all(text)


# The page


def test_every_object_of_the_page_is_what_a_cluster_takes():
    found = list(documents())
    kinds = {item["kind"] for item in found}
    assert kinds == {"ConfigMap", "GatewayClass", "Gateway", "Role", "Pod"}
    for item in found:
        problems = schema.problems(item)
        known = item["apiVersion"] != "gateway.networking.k8s.io/v1"  # no schema of its kinds is here
        assert not known or not problems, problems
        assert "$" not in str(item)


def test_the_launchers_settings_are_yaml():
    (settings,) = [item for item in documents() if item["kind"] == "ConfigMap"]
    store = yaml.safe_load(settings["data"]["providers"])["s3"]["default"]
    assert store["credentials"]["secretRef"]["secretName"] == "store"
    assert "create secret generic store" in PAGE and "--resource-name=store" in PAGE


@built
def test_the_desk_is_confined_and_mounts_the_claims_of_the_release():
    (desk,) = [item for item in documents() if item["kind"] == "Pod"]
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in desk["spec"]["volumes"]}
    found = Objects(objects(Params(name="payment-fraud")))
    assert claims <= set(found.names("PersistentVolumeClaim"))
    assert desk["spec"]["serviceAccountName"] in found.names("ServiceAccount")


@built
def test_the_role_of_the_page_may_all_that_a_release_needs():
    (role,) = [item for item in documents() if item["kind"] == "Role"]
    has = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    plurals = {"NetworkPolicy": "networkpolicies"}
    for overlay in overlays(home()):
        given = {"overlay": overlay, "image": f"r.example/s{DIGEST}", "rollout_image": f"r.example/t{DIGEST}"}
        for item in objects(Params.parse(given)):
            group = item["apiVersion"].rpartition("/")[0]
            resource = plurals.get(item["kind"], f"{item['kind'].lower()}s")
            assert {(group, resource, verb) for verb in ("get", "create", "patch")} <= has, (overlay, item["kind"])


@built
@pytest.mark.parametrize("overlay", ["dev", "staging", "production"])
def test_what_it_costs_is_what_the_manifests_ask_for(overlay):
    given = {"overlay": overlay, "image": f"r.example/s{DIGEST}", "rollout_image": f"r.example/t{DIGEST}"}
    found = Objects(objects(Params.parse(given)))
    (service,), (runtime,) = found.of("InferenceService"), found.of("ServingRuntime")
    (job,) = found.of("Job")
    asked = runtime["spec"]["containers"][0]["resources"]["requests"]
    replicas = service["spec"]["predictor"]["minReplicas"], service["spec"]["predictor"]["maxReplicas"]
    sizes = {
        item["metadata"]["name"]: item["spec"]["resources"]["requests"]["storage"]
        for item in found.of("PersistentVolumeClaim")
    }
    names = [f"graphmill-{part}" for part in ("models", "graph", "predictions") if f"graphmill-{part}" in sizes]
    storage = " + ".join(sizes[name] for name in names)
    row = f"| `{overlay}` | {replicas[0]}–{replicas[1]} | {asked['cpu']} | {asked['memory']} | {storage} |"
    assert row in PAGE
    needs = job["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert f"its Job takes {needs['cpu']} and {needs['memory']}" in PAGE


def test_what_a_step_costs_is_what_the_parameters_ask_for():
    cluster = Cluster.parse(load(HOME / "params.yaml")["cluster"], "cluster")
    every, told = cluster.place("train"), cluster.place("notify")
    assert f"takes {every.cpu_request} CPU and {every.memory_request} (section" in PAGE.replace("\n", " ")
    assert f"`notify` {told.cpu_request} and {told.memory_request}" in PAGE


def test_the_parameters_of_the_page_are_taken():
    text = re.search(r"```yaml\n(deploy:.*?)```", PAGE, re.S)[1].replace("sha256:…", f"sha256:{'0' * 64}")
    sections = yaml.safe_load(text)
    Params.parse(sections["deploy"], "deploy")
    Rollout.parse(sections["rollout"], "rollout")
    Cluster.parse(sections["cluster"], "cluster")


def test_every_command_of_ours_is_one(capsys):
    """Each is parsed by the program that it calls, which is not run."""
    verbs = set(re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(), re.M))
    ours = [one for line in commands() for one in re.split(r" && | \| |; ", line.split("  #")[0])]
    assert {word for one in ours if one.startswith("make ") for word in one.split()[1:] if "=" not in word} <= verbs
    called = [shlex.split(one.split(" -m ")[1]) for one in ours if " -m " in one and " -m pip " not in one]
    assert {words[0] for words in called} == {"pipelines", "graphmill.deploy", "graphmill.rollout", "graphmill.drift"}
    for module, *words in called:
        try:
            import_module(f"{module}.__main__")._parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{module} {words}: {capsys.readouterr().err}")


@pytest.mark.parametrize("where", ["docs/cluster.md", "kind/up.sh"])
def test_every_address_names_a_version(where):
    text = (HOME / where).read_text()
    fetched = re.findall(r"(?:-f|-k) \"?((?:https://|github\.com/)\S+?)\"?(?:\s|$)", text)
    charts = re.findall(r"oci://\S+(?:.*?)--version \"?(\S+?)\"?\s", text)
    assert fetched and len(charts) == text.count("oci://")
    numbered = r"\$[A-Z_]+|v?\d+\.\d+\.\d+"
    for address in fetched:
        assert re.search(rf"(ref=|knative-|/)({numbered})", address), address
        assert not re.search(r"latest|/main/|/master/", address), address
    assert all(re.fullmatch(numbered, version) for version in charts), charts


def pinned(name):
    return re.search(rf"^{name}=(\S+)", SCRIPT, re.M)[1]


def test_page_script_and_lock_files_name_the_same_versions():
    for name, chart in (
        ("KSERVE", "kserve-resources"),
        ("ENVOY_GATEWAY", "gateway-helm"),
        ("PROMETHEUS", "kube-prometheus-stack"),
    ):
        assert set(re.findall(rf"{chart} --version (\S+)", PAGE)) == {pinned(name)}
    assert set(re.findall(r"\?ref=([\d.]+)", PAGE)) == {pinned("KUBEFLOW")}
    assert set(re.findall(r"cert-manager/releases/download/([^/]+)/", PAGE)) == {pinned("CERT_MANAGER")}
    locked = (HOME / "requirements.lock").read_text() + (HOME / "requirements-serve.lock").read_text()
    assert f"\nkfp=={pinned('KUBEFLOW')}\n" in locked and f"\nkserve=={pinned('KSERVE')[1:]}\n" in locked
    assert re.fullmatch(r"kindest/node:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", pinned("NODE"))


@built
def test_prepare_prints_what_the_first_run_needs(tmp_path, capsys):
    params = tmp_path / "params.yaml"
    params.write_text("deploy: {name: fraud, namespace: profile}\n")
    assert deploy(["prepare", "--params", str(params)]) == 0
    found = validate.read(capsys.readouterr().out, "prepare")
    assert {item["metadata"]["namespace"] for item in found} == {"profile"}
    assert {(item["kind"], item["metadata"]["name"]) for item in found} == {
        *(("ServiceAccount", f"fraud-{account}") for account in ("pipeline", "predictor", "rollout")),
        *((kind, f"fraud-{account}") for kind in ("Role", "RoleBinding") for account in ("pipeline", "rollout")),
        *(("PersistentVolumeClaim", f"fraud-{claim}") for claim in ("models", "graph")),
    }
    assert not [problem for item in found for problem in schema.problems(item)]
    bound = [subject for item in found for subject in item.get("subjects", [])]
    assert bound and all(subject["namespace"] == "profile" for subject in bound)
    params.write_text("deploy: {overlay: moon}\n")
    assert deploy(["prepare", "--params", str(params)]) == 2
    assert "moon" in capsys.readouterr().err


# The cluster in Docker

FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$(basename "$0") $*" in
    "kind get clusters") cat "$CLUSTERS" ;;
    "kind create "*) echo graphmill >> "$CLUSTERS" ;;
    "docker info") exit "${DOCKER:-0}" ;;
    "docker image inspect"*) exit "${IMAGES:-1}" ;;
    *) [ -z "${BREAK:-}" ] || case "$*" in *"$BREAK"*) exit 1 ;; esac ;;
esac
"""
TOOLS = ("docker", "kind", "kubectl", "helm", "git")


@cache
def tag():
    from components.image import TAG

    return TAG


@pytest.fixture
def machine(tmp_path):
    """A machine whose tools write down what they were asked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).write_text(FAKE)
        (tools / name).chmod(0o755)
    for name in ("sh", "dirname", "basename", "cat", "grep"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "python").write_text(f"#!/bin/sh\necho {tag()}\n")
    (tools / "python").chmod(0o755)
    (tmp_path / "clusters").touch()
    (tmp_path / "log").touch()

    def run(script, **variables):
        log = tmp_path / "log"
        log.write_text("")
        given = {"PATH": str(tools), "LOG": str(log), "CLUSTERS": str(tmp_path / "clusters"), **variables}
        done = subprocess.run(
            ["sh", str(HOME / "kind" / script)], env=given, capture_output=True, text=True, check=False
        )
        return done, log.read_text().splitlines()

    run.tools = tools
    return run


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_is_not_there_is_one_line(machine, tool):
    (machine.tools / tool).unlink()
    done, log = machine("up.sh")
    assert (done.returncode, done.stdout, log) == (2, "", [])
    assert done.stderr == f"make kind: {tool} is not installed here\n"


def test_an_engine_that_does_not_answer_is_one_line(machine):
    done, log = machine("up.sh", DOCKER="1")
    assert done.returncode == 2 and log == ["docker info"]
    assert done.stderr.count("\n") == 1 and "no Docker engine answers" in done.stderr


def test_the_cluster_is_made_once_and_no_other_is_touched(machine):
    done, log = machine("up.sh")
    assert done.returncode == 0, done.stderr
    created = [line for line in log if line.startswith("kind create")]
    assert created == [f"kind create cluster --name graphmill --image {pinned('NODE')} --wait 5m"]
    asked = [line for line in log if line.startswith(("kubectl", "helm"))]
    assert all("context kind-graphmill" in line for line in asked)
    order = ["cert-manager.yaml", "kube-prometheus-stack", "gateway-helm", "kserve-crd", "kserve-resources", "?ref="]
    places = [next(place for place, line in enumerate(asked) if word in line) for word in order]
    assert places == sorted(places)
    again, second = machine("up.sh")
    assert again.returncode == 0
    assert [line for line in second if line.startswith(("kubectl", "helm"))] == asked
    assert not [line for line in second if line.startswith("kind create")]


def test_a_step_that_fails_ends_it_and_the_next_call_goes_on(machine):
    done, log = machine("up.sh", BREAK="gateway-helm")
    assert done.returncode and "gateway-helm" in log[-1]
    again, log = machine("up.sh")
    assert again.returncode == 0 and not [line for line in log if line.startswith("kind create")]


def test_images_that_were_built_are_loaded(machine):
    done, log = machine("up.sh", IMAGES="0")
    loaded = [line for line in log if line.startswith("kind load")]
    assert loaded == [
        f"kind load docker-image graphmill-{kind}:{tag()} --name graphmill" for kind in ("stage", "serve")
    ]
    done, log = machine("up.sh")
    assert "make images" in done.stdout and not [line for line in log if line.startswith("kind load")]


def test_down_removes_that_cluster(machine):
    done, log = machine("down.sh")
    assert (done.returncode, log) == (0, ["kind delete cluster --name graphmill"])
    (machine.tools / "kind").unlink()
    done, log = machine("down.sh")
    assert (done.returncode, log, done.stderr) == (2, [], "make kind-down: kind is not installed here\n")


def test_the_way_in_is_the_one_that_kserve_is_told():
    kinds = {item["kind"]: item for item in yaml.safe_load_all((HOME / "kind" / "gateway.yaml").read_text())}
    gateway, proxy = kinds["Gateway"]["metadata"], kinds["EnvoyProxy"]["metadata"]
    assert f"kserveGateway={gateway['namespace']}/{gateway['name']}" in SCRIPT
    assert kinds["Gateway"]["spec"]["gatewayClassName"] == kinds["GatewayClass"]["metadata"]["name"]
    parameters = kinds["GatewayClass"]["spec"]["parametersRef"]
    assert (parameters["name"], parameters["namespace"]) == (proxy["name"], proxy["namespace"])


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", ["up.sh", "down.sh"])
def test_the_scripts_are_well_written(script):
    done = subprocess.run(["shellcheck", str(HOME / "kind" / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
