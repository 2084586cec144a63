"""Tracking: what W&B is told, in every mode and in every outage, read back from the run's own files."""

import json
import os
import shutil
import socket
import struct
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from components.__main__ import run
from graphmill import artifact
from graphmill.errors import UserError
from graphmill.tracking import __main__ as command_line
from graphmill.tracking import content, kept, new_group, places, processes, tracked
from tests import tiny, tracking_server
from tests.tracking_server import KEY

STAGES = {"ingest": "tables", "train": "model", "evaluate": "evaluation", "drift": "drift_report", "deploy": "release"}
ALL = slice(None)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No key, no home directory, no setting of the machine's own."""
    clean(monkeypatch, tmp_path)


def clean(monkeypatch, folder):
    for name in [name for name in os.environ if name.startswith(("WANDB_", "DVC_", "GRAPHMILL_RUN", "KFP_"))]:
        monkeypatch.delenv(name)
    (folder / "home").mkdir()
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.chdir(folder)


def record(folder, stage, kind, **section):
    with tracked(stage, folder / "artifacts" / kind, {"patience": 900.0} | section):
        pass


@pytest.fixture(scope="module")
def offline(tiny_run, tmp_path_factory):
    """One offline run a stage, by stage, as folders. Read only."""
    home = tmp_path_factory.mktemp("offline")
    with pytest.MonkeyPatch.context() as patch:
        clean(patch, home)
        patch.setenv("WANDB_API_KEY", KEY)  # it must stand in no file
        patch.setenv(places.RUN_VARIABLE, "one-run")
        for stage, kind in STAGES.items():
            record(tiny_run, stage, kind, mode="offline", project="fraud", entity="team")
        assert not list((home / "home").iterdir()), "nothing goes into the home directory"
    return {item.facts["stage"]: item.folder for item in kept.runs(home / "runs")}


def records(folder):
    """The records of a run's file: LevelDB's log format around W&B's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("run-*.wandb")
    data, place, whole = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place < len(data):
        if (rest := 32768 - place % 32768) < 7:
            place += rest
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


class Read:
    """What a run's file says."""

    def __init__(self, folder):
        self.run, self.config, self.summary, self.history = None, {}, {}, []
        self.artifacts, self.exit, self.kinds = {}, None, set()
        for item in records(folder):
            kind = item.WhichOneof("record_type")
            self.kinds.add(kind)
            getattr(self, f"_{kind}", lambda value: None)(getattr(item, kind))

    def _run(self, value):
        self.run = value
        self.config |= {item.key: json.loads(item.value_json) for item in value.config.update}

    def _config(self, value):
        self.config |= {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in value.update}

    def _summary(self, value):
        for item in value.update:
            self.summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)

    def _history(self, value):
        self.history.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in value.item})

    def _artifact(self, value):
        self.artifacts[value.name] = value

    def _exit(self, value):
        self.exit = value.exit_code


def media(folder, shown, name):
    """The file of a table or a report that a run shows."""
    return (folder / "files" / shown[f"{name}/path"]).read_text()


def test_a_stage_is_one_finished_run_with_its_parameters_and_inputs_by_digest(offline, tiny_run):
    for stage, kind in STAGES.items():
        found, lineage = Read(offline[stage]), artifact.read(tiny_run / "artifacts" / kind, kind).lineage
        about = found.run
        assert (about.project, about.entity, about.run_group, about.job_type) == ("fraud", "team", "one-run", stage)
        assert about.display_name == f"{stage}-{lineage['digest'][:8]}" and found.exit == 0
        assert found.config["stage"] == stage and found.config["parameters"] == lineage["parameters"]
        assert {key: found.config[key] for key in ("inputs", "data", "code")} == {
            key: lineage[key] for key in ("inputs", "data", "code")
        }
        assert "stats" not in found.kinds and "output_raw" not in found.kinds, "nothing is gathered behind our back"
    assert Read(offline["ingest"]).config["data"] and Read(offline["train"]).config["inputs"].keys() == {
        "graph",
        "features",
    }


def test_metrics_curves_slices_and_the_report_of_an_evaluation(offline, tiny_run):
    found, folder = Read(offline["evaluate"]), tiny_run / "artifacts" / "evaluation"
    judged = json.loads((folder / "evaluation.json").read_bytes())
    figures = judged["metrics"][judged["winner"]]
    assert found.summary["average_precision"] == figures["average_precision"]
    assert found.summary["metrics/sage/roc_auc"] == judged["metrics"]["sage"]["roc_auc"]
    assert found.summary["verdict"] == judged["verdict"] and found.summary["seconds"] >= 0
    (shown,) = found.history
    assert shown["report/_type"] == "html-file"
    assert media(offline["evaluate"], shown, "report") == (folder / "report.html").read_text()
    worst = json.loads(media(offline["evaluate"], shown, "worst_slices"))
    values = [row[worst["columns"].index("average_precision")] for row in worst["data"]]
    known = [item["figures"]["average_precision"] for item in judged["slices"]]
    assert values == sorted(value for value in known if value is not None)[: len(values)] and values
    for name, (x, y) in {
        "roc": ("false_positive_rate", "true_positive_rate"),
        "calibration": ("predicted", "observed"),
    }.items():
        points = json.loads(media(offline["evaluate"], shown, f"{name}_table"))
        written = content.read_csv(folder / "curves" / f"{name}.csv")
        assert [row[points["columns"].index(x)] for row in points["data"]] == [row[x] for row in written]
        assert y in points["columns"]
    charts = {key.split("/")[2] for key in found.config if key.startswith("_wandb/visualize/")}
    assert charts == {"roc", "precision_recall", "calibration"}


def test_the_learning_curve_and_the_model_with_its_lineage(offline, tiny_run):
    found, folder = Read(offline["train"]), tiny_run / "artifacts" / "model"
    written = content.read_csv(folder / "learning_curve.csv")
    curve = [row for row in found.history if "learning_curve/loss" in row]
    told = [
        {key.removeprefix("learning_curve/"): value for key, value in row.items() if key[0] != "_"} for row in curve
    ]
    assert told == written
    model, lineage = found.artifacts["model"], artifact.read(folder, "model").lineage
    metadata = json.loads(model.metadata)
    assert model.type == "model" and set(model.aliases) == {"latest", lineage["digest"][:16]}
    assert metadata["digest"] == lineage["digest"] and metadata["inputs"] == lineage["inputs"]
    names = {entry.path for entry in model.manifest.contents}
    assert names == {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_of_all_else_only_the_manifest_and_the_lineage_leave(offline):
    for stage in ("ingest", "evaluate", "drift", "deploy"):
        found = Read(offline[stage]).artifacts[STAGES[stage]]
        assert {entry.path for entry in found.manifest.contents} == {f"{STAGES[stage]}.json", "lineage.json"}


def test_the_other_stages_tell_their_figures(offline):
    assert Read(offline["ingest"]).summary["tables/payments/rows"] == 900
    release = Read(offline["deploy"]).summary
    assert release["version"] == "v0" and release["aliases/candidate"] == "v0"
    drift = Read(offline["drift"])
    assert drift.summary["decision"] in ("ok", "watch", "retrain", "page") and "report/path" in drift.history[0]


def test_no_key_and_no_machine_stands_in_the_files(offline):
    for folder in offline.values():
        for file in folder.rglob("*"):
            assert not file.is_file() or KEY.encode() not in file.read_bytes(), file
        names = {file.name for file in (folder / "files").rglob("*")}
        assert not names & {
            "wandb-metadata.json",
            "requirements.txt",
            "output.log",
            "diff.patch",
            "conda-environment.yaml",
        }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("https://user:token@host/data", "https://host/data"),
        ("sftp://user:p@ss@host/data", "sftp://host/data"),
        ("s3://bucket/ann@example.org", "s3://bucket/ann@example.org"),
        ("s3://bucket/key?X-Amz-Signature=abc", "s3://bucket/key"),
        ("payments-*.parquet?", "payments-*.parquet?"),
        ({"a": ["https://t@h/x"], "b": 3}, {"a": ["https://h/x"], "b": 3}),
    ],
)
def test_addresses_lose_their_secrets(given, told):
    assert content.without_secrets(given) == told


def test_off_records_nothing_and_imports_nothing(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "run", lambda *a, **k: pytest.fail("a process was started"))
    record(tiny_run, "train", "model", mode="off")
    for name, value in (("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            record(tiny_run, "train", "model")
    assert not (tmp_path / "runs").exists()
    assert "wandb" not in sys.modules or "wandb.proto" in sys.modules, "only the reader of these tests imports it"


def test_a_stage_runs_with_its_section_and_a_wrong_one_is_told_first(
    tiny_run, tiny_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(processes, "run", lambda verb, patience, home, **request: (0, [json.dumps(request)]))
    (tmp_path / "artifacts").symlink_to(tiny_run / "artifacts")
    params = tmp_path / "params.yaml"
    root = tmp_path / "root"
    (root / "artifacts").mkdir(parents=True)
    (root / "artifacts" / "tables").symlink_to(tiny_run / "artifacts" / "tables")
    params.write_text(yaml.safe_dump(tiny.params() | {"tracking": {"mode": "offline", "project": "p"}}))
    run("graph", params, tiny_data, root)
    told = json.loads(capsys.readouterr().out.splitlines()[-1].removeprefix("graph: "))
    assert told["mode"] == "offline" and told["params"]["project"] == "p" and told["seconds"] > 0
    assert told["output"] == str(root / "artifacts" / "graph")
    params.write_text(yaml.safe_dump(tiny.params() | {"tracking": {"mode": "onlin"}}))
    before = (root / "artifacts" / "graph" / "graph.json").stat().st_mtime_ns
    with pytest.raises(UserError, match=r"tracking\.mode"):
        run("graph", params, tiny_data, root)
    assert (root / "artifacts" / "graph" / "graph.json").stat().st_mtime_ns == before


def test_a_failed_stage_is_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "run", lambda *a, **k: pytest.fail("a process was started"))
    with pytest.raises(RuntimeError, match="the work"), tracked("train", tmp_path / "model", {}):
        raise RuntimeError("the work")


@pytest.mark.parametrize("trouble", [OSError("no memory"), RuntimeError("odd")])
def test_trouble_with_the_recorder_is_no_trouble_of_the_stage(tiny_run, monkeypatch, capsys, trouble):
    def broken(*arguments, **request):
        raise trouble

    monkeypatch.setattr(processes, "run", broken)
    record(tiny_run, "train", "model")
    assert f"train: not recorded: {trouble}" in capsys.readouterr().out


def test_a_recorder_that_fails_says_why(tmp_path, capsys):
    record(tmp_path, "train", "model", mode="offline")
    assert "train: not recorded: " in (told := capsys.readouterr().out) and "no artifact to record" in told


def test_a_process_that_hangs_is_ended_in_time_with_all_it_started(tmp_path, monkeypatch):
    """Its service is in a session of its own, as W&B's is, and holds its output open."""
    monkeypatch.setattr(processes, "CHILD", "tests.tracking_hangs")
    monkeypatch.setattr(processes, "GRACE", 0.5)
    status, lines = processes.run("record", 5.0, tmp_path)
    assert status == processes.LATE
    gone = [int(line) for line in lines]
    waiting = time.monotonic() + 60
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in gone):
        assert time.monotonic() < waiting
        time.sleep(0.05)
    assert len(gone) == 2


def test_how_stages_belong_together(monkeypatch):
    assert places.group("artifacts/model").endswith(f"-{os.getpgrp()}")
    run_id = "0fd5b4a4-5fc7-4c3f-9d55-0d4bc1a9a1f0"
    output = f"/minio/mlpipeline/v2/artifacts/training/{run_id}/train/5b1f5c8e-6f8f-4c60-9d8e-1b8c3c6a8f11/model"
    assert run_id not in places.group(output), "only Kubeflow's paths hold a run's id"
    monkeypatch.setenv("KFP_POD_NAME", "training-x7k2p-system-container-impl-1")
    assert places.group(output) == run_id and places.group("/no/id/model")
    for name, value in (("DVC_EXP_NAME", "lossy-cart"), (places.RUN_VARIABLE, "mine"), ("WANDB_RUN_GROUP", "theirs")):
        monkeypatch.setenv(name, value)
        assert places.group(output) == value
    assert new_group("training") != new_group("training")


def test_where_files_go_and_what_is_handed_on(tmp_path, monkeypatch):
    assert places.folder() == tmp_path / "runs"
    monkeypatch.setenv("KFP_POD_NAME", "pod")
    assert not places.folder().is_relative_to(tmp_path) or places.folder().parent == Path(
        os.environ.get("TMPDIR", "/tmp")
    )
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("WANDB_RUN_ID", "one")
    monkeypatch.setenv("WANDB_TAGS", "a,b")
    handed = places.environment(places.folder())
    assert places.folder() == tmp_path / "mine" and handed["WANDB_DIR"] == str(tmp_path / "mine")
    assert handed["WANDB_TAGS"] == "a,b" and "WANDB_RUN_ID" not in handed, "every stage is a run of its own"


@pytest.mark.parametrize(
    ("chosen", "told", "counts"),
    [("auto", "", "auto"), ("auto", "offline", "offline"), ("auto", "online", "auto"), ("offline", "online", "offline"),
     ("off", "online", "off"), ("auto", "disabled", "off")],
)  # fmt: skip
def test_wandb_mode_can_only_record_less(monkeypatch, chosen, told, counts):
    monkeypatch.setenv("WANDB_MODE", told)
    assert places.mode(chosen) == counts


@pytest.fixture
def server(monkeypatch):
    with tracking_server.running() as found:
        monkeypatch.setenv("WANDB_BASE_URL", found.url)
        yield found


def test_without_a_key_nothing_is_asked(server, tiny_run, tmp_path, capsys):
    record(tiny_run, "graph", "graph")
    assert server.calls == [] and [item.state for item in kept.runs(tmp_path / "runs")] == ["waiting"]
    assert capsys.readouterr().out.startswith("graph: recorded in ")
    assert command_line.main(["sync"]) == 2 and "nothing can be sent without a key" in capsys.readouterr().err
    (tmp_path / "home" / ".netrc").write_text(
        f"machine {server.url.removeprefix('http://')} login user password {KEY}\n"
    )
    assert command_line.main(["sync"]) == 0, "netrc has a key too"


@pytest.mark.slow
def test_online_every_stage_uses_what_the_earlier_ones_logged(server, tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    for stage in ("ingest", "graph", "train"):
        record(tiny_run, stage, {"ingest": "tables", "graph": "graph", "train": "model"}[stage])
    told = capsys.readouterr().out.splitlines()
    assert all("sent to" in line for line in told) and "does not have its input features" in told[2]
    stages = {name: one["jobType"] for name, one in server.runs.items()}
    assert [(stages[name], used) for name, used in server.used] == [("graph", "tables"), ("train", "graph")]
    train = next(one for one in server.runs.values() if one["jobType"] == "train")
    written = content.read_csv(tiny_run / "artifacts" / "model" / "learning_curve.csv")
    assert [row["learning_curve/loss"] for row in train["history"].values() if "learning_curve/loss" in row] == [
        row["loss"] for row in written
    ]
    assert (
        train["exit"] == 0
        and train["project"] == "mine"
        and train["config"]["inputs"]["value"].keys() == {"graph", "features"}
    )
    digest = artifact.read(tiny_run / "artifacts" / "model", "model").digest
    model = server.named("model", digest[:16])
    assert model["metadata"]["digest"] == digest
    weights = (tiny_run / "artifacts" / "model" / "weights.safetensors").read_bytes()
    assert server.files[model["files"]["weights.safetensors"]] == weights
    assert [item.state for item in kept.runs(tmp_path / "runs")] == ["sent"] * 3
    assert not list((tmp_path / "runs").rglob("staged")), "what is sent needs no second copy"
    assert command_line.main(["list"]) == 0 and capsys.readouterr().out.count("sent") == 3


def test_an_outage_ends_no_stage_and_the_run_is_sent_later(server, tiny_run, tmp_path, monkeypatch, capsys):
    """Nobody listens; then the server never answers; then it refuses a part for good; then all is well."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        record(tiny_run, "deploy", "release")
    assert "not sent: W&B does not answer within 5 s" in capsys.readouterr().out
    (item,) = kept.runs(tmp_path / "runs")
    assert Read(item.folder).exit == 0 and item.state == "waiting", "the run is whole"

    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    server.fault = lambda operation: "hang" if operation == "Upload" else ""
    assert command_line.main(["sync", "--patience", "8"]) == 1
    assert "not sent" in capsys.readouterr().out
    server.closing.set()

    server.fault = lambda operation: "403" if operation == "Upload" else ""
    assert command_line.main(["sync"]) == 1
    assert list(item.folder.glob("*.synced")), "W&B's own command takes it for sent"
    assert "not sent whole" in capsys.readouterr().out and item.state == "waiting"

    server.fault = lambda operation: ""
    assert command_line.main(["sync"]) == 0 and "1 sent, 0 not sent" in capsys.readouterr().out
    assert server.named("release", item.facts["digest"][:16]) and item.state == "sent"
    assert Read(item.folder).summary["version"] == server.runs[item.facts["run"]]["summary"]["version"]
    calls = len(server.calls)
    assert command_line.main(["sync"]) == 0 and len(server.calls) == calls, "nothing is sent twice"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "where"),
    [
        ("hang", "Viewer"),
        ("500", "Viewer"),
        ("401", "Viewer"),
        ("reset", "FileStream"),
        ("500", "UpsertBucket"),
        ("500", "ArtifactMembershipByName"),
    ],
)
def test_a_server_that_fails_anywhere_loses_nothing(server, offline, tmp_path, monkeypatch, capsys, fault, where):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    folder = tmp_path / "runs" / "wandb" / offline["deploy"].name
    shutil.copytree(offline["deploy"], folder)
    server.fault = lambda operation: fault if operation == where else ""
    assert command_line.main(["sync", "--patience", "8"]) == 1 and "not " in capsys.readouterr().out
    (item,) = kept.runs(tmp_path / "runs")
    assert item.state == "waiting" and Read(folder).exit == 0
    server.fault = lambda operation: ""
    server.closing.set()
    assert command_line.main(["sync"]) == 0 and item.state == "sent"


def test_the_command_line(tmp_path, capsys):
    assert command_line.main(["list", "--folder", str(tmp_path)]) == 0 and "no runs" in capsys.readouterr().out
    assert (
        command_line.main(["sync", "--folder", str(tmp_path / "no")]) == 2
        and "no such folder" in capsys.readouterr().err
    )
    unfinished = tmp_path / "wandb" / "offline-run-20250102_030405-abc"
    unfinished.mkdir(parents=True)
    assert command_line.main(["list", "--folder", str(tmp_path)]) == 0
    assert "2025-01-02 03:04:05" in (told := capsys.readouterr().out) and "unfinished" in told
    assert command_line.main(["sync", "--folder", str(tmp_path)]) == 0 and "1 unfinished" in capsys.readouterr().out
