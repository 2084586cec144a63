"""Whole pipelines: what is compiled, and what runs through ``kfp.local``, on both sides of every branch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import yaml

from graphmill import artifact
from graphmill.drift.decision import Answer
from graphmill.drift.record import Record
from pipelines import NAMES
from tests import tiny

HOME = Path(__file__).parent.parent
ARTIFACTS = ("tables", "graph", "features", "model", "evaluation", "release")
IMAGE = "graphmill-stage@sha256:" + 64 * "0"


def python(*arguments, cwd=HOME, **variables):
    environment = os.environ | {"PYTHONPATH": str(HOME), "PYTHONWARNINGS": "error::UserWarning"} | variables
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=cwd, env=environment, text=True, capture_output=True
    )


def compiled(folder):
    found = {}
    for name in NAMES:
        document, platform = yaml.safe_load_all((folder / f"{name}.yaml").read_text())
        document.pop("sdkVersion")
        found[name] = document, platform
    return found


def test_compiled_pipelines_equal_the_goldens(tmp_path):
    for seed in ("1", "2"):
        done = python(
            "pipelines", "compile", "--output", tmp_path / seed,
            PYTHONHASHSEED=seed, GRAPHMILL_IMAGE=IMAGE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert [file.read_bytes() for file in sorted((tmp_path / "1").iterdir())] == [
        file.read_bytes() for file in sorted((tmp_path / "2").iterdir())
    ]
    assert compiled(tmp_path / "1") == compiled(HOME / "tests" / "golden"), "run `make golden` and review the change"


def test_a_mistake_in_the_cluster_section_is_told_when_compiling(tmp_path):
    (tmp_path / "params.yaml").write_text("cluster: {every: {memory: 4Gi}}")
    output = tmp_path / "compiled"
    done = python("pipelines", "compile", "--output", output, GRAPHMILL_PARAMS=str(tmp_path / "params.yaml"))
    assert done.returncode == 2 and "Traceback" not in done.stderr and not output.exists()
    assert done.stderr.startswith("cluster.every.memory: unknown parameter")


@pytest.mark.parametrize("answer", get_args(Answer))
def test_every_decision_has_a_branch_of_its_own_that_says_which(answer):
    document, _ = yaml.safe_load_all((HOME / "tests" / "golden" / "monitoring.yaml").read_text())
    components = document["components"]
    (branches,) = (part for name, part in components.items() if name.startswith("comp-condition-branches"))
    taken = []
    for branch in branches["dag"]["tasks"].values():
        condition = branch["triggerPolicy"]["condition"].replace("!(", "not (").replace("&&", "and")
        condition = condition.replace("inputs.parameter_values['pipelinechannel--drift-Output']", "answer")
        if eval(condition, {"answer": answer}):
            tasks = components[branch["componentRef"]["name"]]["dag"]["tasks"]
            taken.append([task["taskInfo"]["name"] for task in tasks.values()])
    (titles,) = taken
    trains = any(title.startswith("Train: ") for title in titles)
    assert trains if answer == "retrain" else titles == [f"Keep: {answer}"]


@pytest.mark.parametrize("name", NAMES)
def test_compiled_pipelines_keep_to_what_runs_everywhere(name):
    document, _ = yaml.safe_load_all((HOME / "tests" / "golden" / f"{name}.yaml").read_text())
    for executor in document["deploymentSpec"]["executors"].values():
        if "container" not in executor:
            continue
        command = " ".join(executor["container"]["command"])
        assert executor["container"]["image"] == IMAGE
        assert "pip install" not in command
    for component in document["components"].values():
        for task in component.get("dag", {}).get("tasks", {}).values():
            condition = task.get("triggerPolicy", {}).get("condition")
            # kfp.local skips a condition on a named output without a word
            assert condition is None or "-Output'" in condition


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_data, tiny_params):
    """A run of the training pipeline through kfp.local, and what it printed last."""
    root = tmp_path_factory.mktemp("kfp")
    done = python("pipelines", "run", "training", "--params", tiny_params, "--data", tiny_data, "--root", root)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr
    return root, json.loads(done.stdout.splitlines()[-1])


def test_training_prints_what_it_came_to(trained):
    _, result = trained
    assert result["pipeline"] == "training" and result["winner"] in result["metrics"]
    assert set(result["metrics"]) == {"sage", "features_only", "neighbour_trees"}
    for figures in result["metrics"].values():
        assert 0 <= figures["roc_auc"] <= 1 and 0 <= figures["average_precision"] <= 1
    assert all(set(gate) >= {"name", "passed", "value", "bound"} for gate in result["gates"]) and result["gates"]
    assert set(result["seconds"]) == {"ingest", "graph", "features", "train", "evaluate", "deploy"}


def test_both_roads_give_the_same_bytes(trained, tiny_run):
    """The components called one by one, as `dvc repro` does, and the same through Kubeflow's runner."""
    root, _ = trained
    for name in ARTIFACTS:
        here, there = (artifact.read(place / "artifacts" / name, name) for place in (tiny_run, root))
        assert here.digest == there.digest, name
    assert not [item for item in root.iterdir() if item.name.startswith(".run")]


@pytest.mark.slow
@pytest.mark.parametrize("drifted", [True, False])
def test_monitoring_takes_either_branch(trained, tmp_path, drifted):
    """A last month of other amounts at one terminal is drift; the same month as the others is not."""
    root, _ = trained
    frames = tiny.tables()
    late = frames["payments"]["paid_at"] >= pd.Timestamp("2025-04-01")
    if drifted:
        frames["payments"].loc[late, "amount"] *= 100
        frames["payments"].loc[late, "terminal_id"] = "t7"
    data, model = tiny.write(tmp_path / "data", frames), root / "artifacts" / "model"
    params = tiny.params()
    at_once = {"alarms": 1, "checks": 1, "wait_for_labels": False, "least_labels": 0, "least_edges": 0}
    params["drift"] = {"policy": at_once}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(params))
    given = ("--params", file, "--data", data, "--root", tmp_path, "--model", model)
    done = python("pipelines", "run", "monitoring", *given)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    left = {item.name for item in (tmp_path / "artifacts").iterdir()}
    assert {"predictions", "drift_report"} <= left and ("release" in left) == drifted, (result, left)
    assert (result["decision"] == "retrain") == drifted and set(result["seconds"]) >= {"score", "drift"}
    kept = "drift: the model is kept" in done.stdout
    if drifted:
        assert result["triggers"] == ["drift"] and result["blocked_by"] == [] and not kept
        assert result["version"] == "v0" and result["gates"] and result["winner"] in result["metrics"]
    else:
        assert kept and "version" not in result and "evaluate" not in result["seconds"]
    assert len(Record(tmp_path / "drift_history").checks()) == 1


@pytest.mark.slow
def test_scoring_needs_no_label_and_uses_the_champion_or_the_model_named(trained, tiny_params, tmp_path):
    root, _ = trained
    model = root / "artifacts" / "model"
    frames = tiny.tables()
    frames["payments"]["is_fraud"] = pd.array([pd.NA] * len(frames["payments"]), dtype="boolean")
    tiny_data = tiny.write(tmp_path / "data", frames)
    arguments = ("--params", tiny_params, "--data", tiny_data, "--root", tmp_path)
    done = python("pipelines", "run", "scoring", *arguments, "--model", model)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr
    assert artifact.read(tmp_path / "artifacts" / "predictions", "predictions").manifest["rows"] == 900
    missing = python("pipelines", "run", "scoring", *arguments)
    assert missing.returncode == 2 and "champion" in missing.stderr and "Traceback" not in missing.stderr


def test_wrong_input_is_told_in_words(tiny_data, tiny_params, tmp_path):
    params = tiny.params()
    params["train"]["epoch"] = 3
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(params))
    done = python("pipelines", "run", "training", "--params", file, "--data", tiny_data, "--root", tmp_path)
    assert done.returncode == 2 and "train.epoch" in done.stderr and "'epochs'" in done.stderr
    done = python(
        "pipelines", "run", "training", "--params", tiny_params, "--data", tmp_path / "no", "--root", tmp_path
    )
    assert done.returncode == 2 and "no such data folder" in done.stderr
    (tmp_path / "data").mkdir()
    arguments = ("--params", tiny_params, "--data", tmp_path / "data", "--root", tmp_path, "--verbose")
    done = python("pipelines", "run", "training", *arguments)
    assert done.returncode == 2 and "customers" in done.stderr and "Traceback" not in done.stderr
    assert "notify: training failed" in done.stdout, "the end is told whatever it was"
    assert done.stdout.count("Executing task") == 3, "the data, ingest once, notify: a mistake is not tried again"


def test_the_local_runner_still_skips_bare_conditions_on_named_outputs(tmp_path):
    """Canary: while this holds, a component that feeds a condition returns one unnamed value."""
    script = tmp_path / "canary.py"
    script.write_text(CANARY)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists(), "kfp.local was mended: the rule can be dropped"


CANARY = """
from typing import NamedTuple
from kfp import dsl, local

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def decide() -> NamedTuple("Answer", [("word", str)]):
    return ("go",)

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def act():
    open("ran", "w").close()

@dsl.pipeline(name="canary")
def canary():
    with dsl.If(decide().outputs["word"] == "go"):
        act()

local.init(local.SubprocessRunner(use_venv=False), pipeline_root="outputs")
canary()
"""
