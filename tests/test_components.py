"""One stage at a time: the component's own function, its command line, and what a user can do wrong."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import dsl

from components import STAGES
from components.__main__ import run
from graphmill import artifact
from graphmill.errors import UserError
from tests import tiny

HOME = Path(__file__).parent.parent
WRITES = {
    "ingest": "tables",
    "graph": "graph",
    "features": "features",
    "train": "model",
    "evaluate": "evaluation",
    "drift": "drift_report",
    "score": "predictions",
    "deploy": "release",
}


def command(*arguments, cwd=HOME):
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    return subprocess.run(
        [sys.executable, "-m", "components", *map(str, arguments)], cwd=cwd, env=environment, text=True,
        capture_output=True,
    )  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_leaves_a_whole_artifact_with_its_lineage(tiny_run, stage):
    name = WRITES[stage]
    found = artifact.read(tiny_run / "artifacts" / name, name)
    assert found.lineage["stage"] == stage and found.lineage["digest"] == found.digest
    inputs = {
        key for key, item in STAGES[stage].component_spec.inputs.items()
        if item.type.startswith("system.") and key != "data"
    }  # fmt: skip
    assert set(found.lineage["inputs"]) == inputs
    assert not [item.name for item in (tiny_run / "artifacts").iterdir() if item.name.startswith(".")]


def test_lineage_leads_from_the_release_back_to_the_data(tiny_run):
    release = artifact.read(tiny_run / "artifacts" / "release", "release").lineage
    assert {"tables", "graph", "features", "model", "evaluation"} <= set(release["artifacts"])
    assert release["artifacts"]["tables"]["data"], "which data"


def test_the_same_tables_give_the_same_bytes(tiny_run, tiny_data, tiny_params, tmp_path):
    for stage in ("ingest", "graph", "features"):
        run(stage, tiny_params, tiny_data, tmp_path)
        name = WRITES[stage]
        first, second = (artifact.read(root / "artifacts" / name, name) for root in (tiny_run, tmp_path))
        assert first.digest == second.digest


def test_the_command_line(tiny_run, tiny_params, tmp_path):
    for name in ("model", "evaluation"):
        shutil.copytree(tiny_run / "artifacts" / name, tmp_path / "artifacts" / name)
    done = command("deploy", "--params", tiny_params, "--root", ".", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("deploy: "), done.stderr
    assert (tmp_path / "registry").is_dir() and (tmp_path / "artifacts" / "release" / "release.json").exists()
    told = command("--help")
    assert told.returncode == 0 and all(stage in told.stdout for stage in STAGES)


def test_the_exit_status_of_drift(tiny_run, tiny_params, tmp_path):
    for name in ("model", "graph", "features"):
        shutil.copytree(tiny_run / "artifacts" / name, tmp_path / "artifacts" / name)
    given = ("drift", "--exit-code", "--params", tiny_params, "--root", ".")
    done = command(*given, cwd=tmp_path)
    state = artifact.read(tmp_path / "artifacts" / "drift_report", "drift_report").manifest["state"]
    assert done.returncode == {"alarm": 2, "error": 3}.get(state, 0), done.stdout + done.stderr
    shutil.rmtree(tmp_path / "artifacts" / "features")
    assert command(*given, cwd=tmp_path).returncode == 3, "no check at all is no alarm, and not 0 either"
    done = command("score", "--exit-code", cwd=tmp_path)
    assert done.returncode == 2 and "only stage drift" in done.stderr


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("train", {"epocs": 3}, ["train.epocs", "'epochs'"]),
        ("graph", {"threads": "many"}, ["graph.threads", "many"]),
        ("task", {"node": "payments"}, ["payments", "payment"]),
    ],
)
def test_wrong_parameters_are_told_without_a_traceback(tiny_data, tiny_run, tmp_path, section, change, words):
    params = tiny.params()
    params[section] |= change
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    stage = "ingest" if section == "task" else section
    shutil.copytree(tiny_run / "artifacts", tmp_path / "artifacts")
    before = sorted(item.name for item in (tmp_path / "artifacts").iterdir())
    done = command(stage, "--params", tmp_path / "params.yaml", "--data", tiny_data, "--root", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert sorted(item.name for item in (tmp_path / "artifacts").iterdir()) == before


def test_altered_and_missing_inputs_are_named(tiny_run, tiny_params, tmp_path):
    shutil.copytree(tiny_run / "artifacts", tmp_path / "artifacts")
    file = tmp_path / "artifacts" / "graph" / "payment.customer_id.customer" / "indices.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"payment\.customer_id\.customer/indices\.npy: altered"):
        run("train", tiny_params, tmp_path / "data", tmp_path)
    shutil.rmtree(tmp_path / "artifacts" / "features")
    shutil.copytree(tiny_run / "artifacts" / "graph", tmp_path / "artifacts" / "graph", dirs_exist_ok=True)
    with pytest.raises(UserError, match="features.json is missing"):
        run("train", tiny_params, tmp_path / "data", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a small file system needs root")
@pytest.mark.parametrize("stage", ["graph", "features", "score"])
def test_a_full_disk_is_told_and_leaves_nothing(tiny_run, tiny_params, tiny_data, tmp_path, stage):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(small)]).returncode:
        pytest.skip("no permission to mount")
    try:
        component = STAGES[stage]
        values = {
            name: dsl.Artifact(uri=str(tiny_run / "artifacts" / name))
            for name in ("tables", "graph", "features", "model")
            if name in component.component_spec.inputs
        }
        params = {"params": tiny.params()[stage], "tracking": {"mode": "off"}}
        output = {WRITES[stage]: dsl.Artifact(uri=str(small / WRITES[stage]))}
        with pytest.raises(UserError, match="(?i)no space|full"):
            component.python_func(**values, **params, **output)
        assert [item.name for item in small.iterdir()] == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


HELD = """
import sys, time
from components.__main__ import main
from graphmill import artifact

def hold(draft, kind):
    print("written", flush=True)
    time.sleep(600)

artifact._seal = hold
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ingest", "features"])
def test_a_killed_stage_runs_again_cleanly(tiny_run, tiny_data, tiny_params, tmp_path, stage):
    shutil.copytree(tiny_run / "artifacts", tmp_path / "artifacts")
    shutil.rmtree(tmp_path / "artifacts" / WRITES[stage])
    arguments = [sys.executable, "-c", HELD, stage, "--params", str(tiny_params)]
    arguments += ["--data", str(tiny_data), "--root", str(tmp_path)]
    with subprocess.Popen(arguments, cwd=HOME, stdout=subprocess.PIPE, text=True) as child:
        assert "written\n" in child.stdout, "everything but the name is there"
        child.send_signal(signal.SIGKILL)
    assert list((tmp_path / "artifacts").glob(".*"))
    assert not (tmp_path / "artifacts" / WRITES[stage]).exists(), "nothing half-written"
    run(stage, tiny_params, tiny_data, tmp_path)
    name = WRITES[stage]
    first, second = (artifact.read(root / "artifacts" / name, name) for root in (tiny_run, tmp_path))
    assert first.digest == second.digest
    assert not list((tmp_path / "artifacts").glob(".*"))
