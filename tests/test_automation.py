"""What the workflows' steps do: on GitHub, with DVC, on a cluster's results."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from automation import __main__ as command
from automation import cluster, comment, data, dispatch, drift, kubeconfig, outputs, page, pointer, promote, propose
from automation import release as releases
from automation import report as reports
from automation.carry import carry
from automation.github import GitHub
from automation.report import _curves, _flat
from automation.retrain import Retraining, _line, _overridden
from automation.store import opened
from graphmill import artifact
from graphmill.errors import UserError
from tests import github_server, tiny

HOME = Path(__file__).parent.parent
SHA = "a" * 40
HEAD = {"HEAD_REPOSITORY": "someone/graphmill", "HEAD_BRANCH": "better", "HEAD_SHA": SHA}
RUN = "https://github.com/team/graphmill/actions/runs/7"
REPORT = {
    "metrics": [
        {"name": "sage.average_precision", "before": 0.5, "after": 0.625},
        {"name": "sage.recall", "before": 0.25, "after": 0.5},
        {"name": "winner", "before": "sage", "after": "sage"},
    ],
    "params": [{"name": "train.epochs", "before": 15, "after": 3}],
    "curves": {"roc": {"before": None, "after": [0.0, 0.5, 1.0]}},
    "note": "",
}


@pytest.fixture
def server():
    with github_server.serving() as found:
        yield found


@pytest.fixture
def github(server):
    return GitHub(github_server.REPOSITORY, github_server.TOKEN, server.url, pause=0.001)


@pytest.fixture
def report(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(json.dumps(REPORT))
    return file


def made(changes):
    return {**REPORT, **changes}


# --- GitHub


def test_the_environment_names_the_repository():
    with pytest.raises(UserError, match="owner/name"):
        GitHub.here({"GITHUB_REPOSITORY": "../x", "GITHUB_TOKEN": "t"})
    with pytest.raises(UserError, match="GITHUB_TOKEN"):
        GitHub.here({"GITHUB_REPOSITORY": "a/b"})
    assert GitHub.here({"GITHUB_REPOSITORY": "a/b", "GITHUB_TOKEN": "t"}).url == "https://api.github.com"


def test_a_fault_that_passes_is_asked_again_but_nothing_is_created_twice(server, github):
    server.faults = [502, 503]
    assert github.get("")["default_branch"] == "main"
    assert len(server.calls) == 3
    server.faults = [502]
    with pytest.raises(UserError, match="502 .*a fault"):
        github.send("POST", "/dispatches", {"event_type": "drift"})
    assert server.events == []
    server.faults = [429]
    github.send("POST", "/dispatches", {"event_type": "drift"})
    assert len(server.events) == 1


def test_what_github_refuses_is_told(server):
    with pytest.raises(UserError, match="401 .*Bad credentials"):
        GitHub(github_server.REPOSITORY, "wrong", server.url).get("")
    with pytest.raises(UserError, match="no answer"):
        GitHub("a/b", "t", "http://127.0.0.1:1", pause=0.001).get("")


def test_lists_are_read_to_their_end(server, github):
    server.comments[3] = [{"id": number, "user": {"type": "User"}, "body": ""} for number in range(250)]
    assert len(github.pages("/issues/3/comments")) == 250


# --- the comment


def test_the_report_goes_to_the_pull_request_whose_head_was_measured(server, github, report):
    server.pull(1, "better", "b" * 40, "someone/graphmill")  # has moved on
    server.pull(2, "better", SHA, "someone/other")  # another fork of theirs
    server.pull(3, "better", SHA, None)  # a fork that is gone
    server.pull(4, "better", SHA, "someone/graphmill")
    comment.post(report, github, {**HEAD, "RUN_URL": RUN})
    assert list(server.comments) == [4]
    (written,) = server.comments[4]
    assert "| `sage.average_precision` | 0.5 | 0.625 | +0.125 |" in written["body"]
    assert RUN in written["body"]


def test_there_is_one_comment_and_it_is_renewed(server, github, report):
    server.pull(4, "better", SHA, "someone/graphmill")
    server.comments[4] = [
        {"id": 5, "user": {"type": "User"}, "body": page.MARK + " I can write the mark too"},
        {"id": 6, "user": {"type": "Bot"}, "body": "another bot's"},
    ]
    for value in (0.625, 0.75):
        changed = made({"metrics": [{"name": "sage.average_precision", "before": 0.5, "after": value}]})
        report.write_text(json.dumps(changed))
        comment.post(report, github, HEAD)
    theirs, other, mine = server.comments[4]
    assert "too" in theirs["body"] and other["body"] == "another bot's" and "0.75" in mine["body"]


def test_without_a_pull_request_or_a_report_nothing_is_said(server, github, report, capsys):
    comment.post(report, github, HEAD)
    comment.post(report.with_name("none.json"), github, HEAD)
    assert not server.comments and capsys.readouterr().out.count("nothing is said") == 2
    with pytest.raises(UserError, match="HEAD_SHA: not set"):
        comment.post(report, github, {**HEAD, "HEAD_SHA": ""})
    server.pull(4, "better", SHA, "someone/graphmill")
    with pytest.raises(UserError, match="no address"):
        comment.post(report, github, {**HEAD, "RUN_URL": "https://x.example/) @all"})


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": [{"name": "[click](https://evil.example)", "before": 0, "after": 1}]},
        {"metrics": [{"name": "a\n## heading", "before": 0, "after": 1}]},
        {"metrics": "no list of rows"},
        {"params": [{"before": 1}]},
        {"curves": {"roc\n```": {"before": None, "after": [0.0]}}},
        {"curves": {"roc": {"before": None, "after": ["0] \n click"]}}},
        {"curves": {"roc": {"before": None, "after": [float("nan")]}}},
        {"note": "see https://evil.example"},
    ],
)
def test_a_report_of_another_form_is_refused(server, github, report, changes):
    report.write_text(json.dumps(made(changes)))
    server.pull(4, "better", SHA, "someone/graphmill")
    with pytest.raises(UserError, match="is no report"):
        comment.post(report, github, HEAD)
    assert not server.comments


def test_files_that_are_no_report_are_refused(tmp_path):
    for text in ("", "[1]", "[" * 100_000, '{"metrics": []}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(UserError, match="is no report"):
            page.read(tmp_path / "report.json")
    (tmp_path / "report.json").write_text(" " * (page.BYTES + 1))
    with pytest.raises(UserError, match="bytes"):
        page.read(tmp_path / "report.json")


def test_values_cannot_leave_their_cell(report):
    evil = "`</details> @team | [x](http://y) ![z](//a) <!-- \n\n # " + "x" * 2_000
    rows = [{"name": f"www.evil.example{number} @all", "before": evil, "after": [evil]} for number in range(100)]
    report.write_text(json.dumps(made({"params": rows})))
    text = page.render(page.read(report))
    (cells,) = {line.count("|") for line in text.splitlines() if line.startswith("| `www")}
    assert cells == 5 and "| and 40 more | | | |" in text
    outside = "".join(text.replace("```", "").split("`")[::2])  # of code, in which nothing is a link or a mention
    assert text.count("`") % 2 == 0 and len(text) < 65_536
    for part in ("@", "www", "http", "](", "![", "evil"):
        assert part not in outside, part


def test_the_page_tells_what_changed(report):
    text = page.render(page.read(report))
    assert text.startswith(page.MARK)
    leading, folded = text.split("<details><summary>more metrics", 1)
    assert "average_precision" in leading and "recall" not in leading and "sage.recall" in folded
    assert "| `train.epochs` | 15 | 3 | -12 |" in folded and "`winner`" not in text
    assert text.count("    line [0, 0.5, 1]") == 2, "without a base one line stands for both: colours go by order"


def test_curves_are_those_of_the_winner(tiny_run):
    manifest = json.loads((tiny_run / "artifacts/evaluation/evaluation.json").read_bytes())
    found = _curves(tiny_run)
    assert set(found) == {"roc", "precision_recall"} and all(len(line) == 21 for line in found.values())
    area = sum(found["roc"]) / 21  # the mean height is about the area
    assert area == pytest.approx(manifest["metrics"][manifest["winner"]]["roc_auc"], abs=0.1)
    assert dict(_flat({"sage": {"roc_auc": 1.0}, "winner": "sage"})) == {"sage.roc_auc": 1.0, "winner": "sage"}


def test_data_that_need_credentials_are_no_failure_of_a_change(tmp_path, monkeypatch, capsys):
    def refused(*command_line):
        raise UserError(f"{command_line[0]}: no credentials")

    monkeypatch.setattr(reports, "run", refused)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text("of an earlier run")
    reports.measure("main", tmp_path / "report")
    assert "no credentials" in capsys.readouterr().out and not (tmp_path / "report").exists()


def test_a_base_that_cannot_be_measured_is_told_in_the_report(tmp_path, monkeypatch, tiny_run):
    def fails(tree):
        raise UserError("its stages are of another time")

    shown = {
        "": {"data": {"artifacts/evaluation/metrics.json": {"data": {"sage": {"roc_auc": 0.9}, "winner": "sage"}}}}
    }
    monkeypatch.setattr(reports, "run", lambda *line, **_: json.dumps(shown) if "show" in line else SHA)
    monkeypatch.setattr(reports, "_worktree", lambda revision: nullcontext(tmp_path))
    monkeypatch.setattr(reports, "_committed", fails)
    monkeypatch.chdir(tiny_run)
    reports.measure("main", tmp_path / "report")
    text = page.render(page.read(tmp_path / "report" / "report.json"))
    assert f"The base {SHA[:12]} could not be measured" in text and "| `sage.roc_auc` | – | 0.9 |" in text


# --- proposals and events


def test_a_proposal_is_one_pull_request_that_is_renewed(server, github):
    server.files["main", "dvc.lock"] = b"old"
    first = propose.propose(github, "dvc.lock", b"new", "retrain/lock", ("Retrained: v1", RUN))
    server.branches["main"] = "3" * 40
    second = propose.propose(github, "dvc.lock", b"newer", "retrain/lock", ("Retrained: v2", RUN))
    assert first == second == 1 and len(server.pulls) == 1
    assert server.pulls[0]["title"] == "Retrained: v2" and server.pulls[0]["base"] == "main"
    assert server.files["retrain/lock", "dvc.lock"] == b"newer" and server.files["main", "dvc.lock"] == b"old"


def test_a_new_file_is_proposed_and_the_same_one_is_not(server, github, capsys):
    assert propose.propose(github, "dvc.lock", b"first", "retrain/lock", ("t", "")) == 1
    server.files["main", "dvc.lock"] = b"first"
    assert propose.propose(github, "dvc.lock", b"first", "retrain/lock", ("t", "")) is None
    assert "has dvc.lock so" in capsys.readouterr().out
    with pytest.raises(UserError, match="bytes"):
        propose.propose(github, "dvc.lock", b"x" * 1_000_001, "retrain/lock", ("t", ""))


def test_what_is_proposed_as_data_dvc_is_one():
    pointer.check((HOME / "data.dvc").read_bytes())
    good = b"outs:\n- md5: " + b"a" * 32 + b".dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: data\n"
    pointer.check(good)
    for bad in (
        b"",
        b"x",
        good + b"  cmd: rm\n",
        good.replace(b"path: data", b"path: ../x"),
        good + good[6:],
        good * 9,
    ):
        with pytest.raises(UserError, match="data.dvc"):
            pointer.check(bad)


def test_events_carry_words(server, github):
    dispatch.dispatch(github, "drift", {"reason": "x" * 900})
    assert server.events == [{"event_type": "drift", "client_payload": {"reason": "x" * 500}}]
    with pytest.raises(UserError, match="no workflow waits"):
        dispatch.body("deploy", {})
    with pytest.raises(UserError, match="names of small letters"):
        dispatch.body("drift", {"A-b": "1"})


def test_drift_is_answered_once(server, github, capsys):
    drift.answer_to("retrain", False, "run-1", github)
    assert server.events[0]["client_payload"] == {"reason": "drift: run run-1", "run": "run-1"}
    drift.answer_to("retrain", True, "run-2", github)
    for word in drift.QUIET:
        drift.answer_to(word, False, "run-3", github)
    assert len(server.events) == 1
    for word in ("page", "", "unknown"):
        with pytest.raises(UserError, match="run-4"):
            drift.answer_to(word, False, "run-4", github)


def test_a_check_for_drift_trains_nothing():
    stages = drift.upstream(file=HOME / "dvc.yaml")
    assert stages[0] == "ingest" and stages[-1] == "drift" and not {"train", "evaluate", "deploy"} & set(stages)
    assert drift.upstream("graph", HOME / "dvc.yaml") == ["ingest", "graph"]


def test_the_comments_job_needs_nothing_installed(tmp_path):
    """Its modules import the standard library only."""
    modules = "comment, dispatch, github, page, pointer, propose, data, drift, summary, __main__"
    code = f"import sys; sys.modules['yaml'] = sys.modules['numpy'] = None\nfrom automation import {modules}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=HOME, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    )
    assert done.returncode == 0


# --- data


def git(folder, *arguments):
    variables = os.environ | {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, env=variables, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose change touches data.dvc."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "data.dvc").write_text("one")
    git(tmp_path, "add", "data.dvc")
    git(tmp_path, "commit", "--quiet", "--message=first")
    git(tmp_path, "checkout", "--quiet", "-b", "change")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_the_schedule_changes_the_data(repository):
    ours = {
        "GITHUB_REPOSITORY": "team/x",
        "HEAD_REPOSITORY": "team/x",
        "HEAD_BRANCH": "change",
        "DATA_SOURCE": "s3://b",
    }
    data.guard("main", ours)
    (repository / "data.dvc").write_text("two")
    git(repository, "commit", "--quiet", "--all", "--message=second")
    with pytest.raises(UserError, match="ingest/data"):
        data.guard("main", ours)
    data.guard("main", ours | {"HEAD_BRANCH": data.BRANCH})
    data.guard("main", ours | {"DATA_SOURCE": ""})  # set up by hand
    for stranger in ({"HEAD_BRANCH": data.BRANCH}, {"DATA_SOURCE": ""}):
        with pytest.raises(UserError):
            data.guard("main", ours | stranger | {"HEAD_REPOSITORY": "someone/x"})


@pytest.mark.slow
def test_data_are_fetched_checked_stored_and_not_rewritten(tmp_path, monkeypatch, tiny_data, tiny_params):
    """With real DVC: what ingest refuses changes nothing, and what changed behind its back is told."""
    home, source, store = tmp_path / "home", tmp_path / "source", tmp_path / "store"
    for folder in (home, store):
        folder.mkdir()
    shutil.copytree(tiny_data, source)
    monkeypatch.chdir(home)
    monkeypatch.setenv("PYTHONPATH", str(HOME))
    git(home, "init", "--quiet", "--initial-branch=main")
    subprocess.run(["dvc", "init", "--quiet"], check=True, capture_output=True)
    shutil.copy(tiny_params, home / "params.yaml")
    data.remote(f"file://{store}")
    assert data.fetch(f"file://{source}")
    git(home, "add", ".")
    git(home, "commit", "--quiet", "--message=data")
    assert any(store.rglob("*.dir")), "the tables are in the store before anybody is asked to merge"
    data.intact()
    pointer.check((home / "data.dvc").read_bytes())

    before = (home / "data.dvc").read_bytes()
    frames = tiny.tables()
    frames["payments"] = frames["payments"].drop(columns="amount")
    shutil.rmtree(source)
    tiny.write(source, frames)
    with pytest.raises(UserError, match="refuses the tables"):
        data.fetch(f"file://{source}")
    assert (home / "data.dvc").read_bytes() == before
    with pytest.raises(UserError, match="not what data.dvc says"):
        data.intact()
    seeded = before.decode() + "  remote: seed\n"
    (home / ".dvc" / "config").write_text("['remote \"seed\"']\n    url = seed\n")
    (home / "data.dvc").write_text(seeded)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(UserError, match="remote 'seed' of data.dvc is .*which ends with this job"):
        data.fetch(f"file://{source}")
    assert (home / "data.dvc").read_text() == seeded
    (home / "data.dvc").write_text("outs: []\n")
    with pytest.raises(UserError, match="not as committed"):
        data.intact()


def test_sources_and_remotes_of_unknown_kinds_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wrong in ("", "data", "ftp://x/y", "s3://", "--delete://x"):
        with pytest.raises(UserError, match="must begin with"):
            data.fetch(wrong)
        with pytest.raises(UserError, match="must begin with"):
            data.remote(wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        data.fetch(f"file://{tmp_path / 'empty'}")
    with pytest.raises(UserError, match="cannot be read"):
        data.fetch(f"file://{tmp_path / 'none'}")


# --- runs


def test_an_order_is_what_the_job_says():
    order = cluster.Order.here(
        {
            "PIPELINE": "training", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "2", "KFP_PIPELINE_ROOT": "s3://b/r",
            "OVERRIDES": "\n train.epochs=5\n\ndata=s3://b/data\n", "DATA_REVISION": SHA, "TIMEOUT": "60",
            "GITHUB_SHA": SHA,
        }
    )  # fmt: skip
    assert order.command() == [
        *("submit", "--name=training-7-2", f"--data-revision={SHA}", "--pipeline-root=s3://b/r", "--timeout=60"),
        f"--parameter=revision={SHA}",
        *("--parameter=train.epochs=5", "--parameter=data=s3://b/data", "--", "training"),
    ]
    assert cluster.Order.here({"PIPELINE": "scoring"}).command() == ["submit", "--", "scoring"]
    with pytest.raises(UserError, match="PIPELINE must be"):
        cluster.Order.here({"PIPELINE": "training; rm"})
    for wrong in ("--host=http://evil.example", "epochs", "train epochs=5"):
        with pytest.raises(UserError, match="section.key=value"):
            cluster.overrides(wrong)


@pytest.mark.parametrize(
    ("tasks", "decision"),
    [
        (["Drift", "Train"], "retrain"),
        (["Drift", "Keep: page"], "page"),
        (["Drift", "Keep: ok"], "ok"),
        ([], "unknown"),
    ],
)
def test_what_a_run_on_the_cluster_did_is_told_to_later_jobs(tmp_path, monkeypatch, tasks, decision):
    told = {
        "run": "id", "name": "monitoring-7-1", "state": "SUCCEEDED", "link": "https://kfp.example/#/id",
        "tasks": [{"task": task, "state": "SUCCEEDED"} for task in tasks] + [{"task": "score", "state": "SKIPPED"}],
        "decision": None if decision == "unknown" else decision,
    }  # fmt: skip
    monkeypatch.setattr(cluster, "show", lambda *command: 0)
    monkeypatch.setattr(cluster, "run", lambda *command: json.dumps(told))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    cluster.submit(cluster.Order("monitoring", "monitoring-7-1"))
    found = (tmp_path / "output").read_text().splitlines()
    assert found == ["run=id", f"trained={str(decision == 'retrain').lower()}", f"decision={decision}"]


def test_a_run_that_fails_fails_the_job(monkeypatch):
    monkeypatch.setattr(cluster, "show", lambda *command: 1)
    with pytest.raises(UserError, match="failed or was cancelled"):
        cluster.submit(cluster.Order("training", "training-7-1"))
    monkeypatch.setenv("PIPELINE", "training")
    assert command.main(["submit"], os.environ) == 1
    assert command.main(["submit"], {}) == 1


def test_the_artifacts_of_a_run_come_home_whole(tmp_path, monkeypatch, tiny_run):
    commands = []
    monkeypatch.setattr(outputs, "run", lambda *command: commands.append(command) or "")
    shutil.copy(HOME / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root" / "training" / "run-id"
    for task, name in (("train", "model"), ("evaluate", "evaluation")):
        shutil.copytree(tiny_run / "artifacts" / name, root / task / "0a1b" / name)
    assert set(outputs.collect(f"file://{tmp_path}/root", "run-id")) == {"train", "evaluate"}
    assert (tmp_path / "artifacts" / "model" / "model.json").is_file()
    assert commands[0][:4] == ("dvc", "commit", "--quiet", "--force")
    with pytest.raises(UserError, match="nothing of run other"):
        outputs.collect(f"file://{tmp_path}/root", "other")
    with pytest.raises(UserError, match="RUN must be the id of a run, not ''"):
        outputs.collect(f"file://{tmp_path}/root", "")  # any run's would match
    (root / "evaluate" / "0a1b" / "evaluation" / "metrics.json").write_text("{}")
    before = (tmp_path / "artifacts" / "evaluation" / "metrics.json").read_bytes()
    with pytest.raises(UserError, match="metrics.json"):
        outputs.collect(f"file://{tmp_path}/root", "run-id")
    assert (tmp_path / "artifacts" / "evaluation" / "metrics.json").read_bytes() == before


def test_a_store_that_nothing_here_speaks_to_is_told(monkeypatch):
    def lacking(url):
        raise ImportError("Install s3fs to access S3")

    with pytest.raises(UserError, match="elsewhere://b/x: nothing here speaks"):
        opened("elsewhere://b/x")
    monkeypatch.setattr("fsspec.core.url_to_fs", lacking)
    with pytest.raises(UserError, match="s3://b/x: nothing here speaks to such a store; `python -m pip install s3fs`"):
        opened("s3://b/x")


def test_a_retraining_refuses_what_it_could_not_record():
    with pytest.raises(UserError, match="--engine pipeline"):
        Retraining(overrides=["train.epochs=1"])
    with pytest.raises(UserError, match="must be one of"):
        Retraining(engine="make")
    sections = {"train": {"epochs": 15}, "ingest": {}}
    assert _overridden(sections, ["train.epochs=3", "train.model.kind=gat"]) == {
        "train": {"epochs": 3, "model": {"kind": "gat"}}, "ingest": {},
    }  # fmt: skip
    assert sections["train"] == {"epochs": 15}
    for wrong in ("tarin.epochs=1", "train=1", "train.epochs.x=1"):
        with pytest.raises(UserError):
            _overridden(sections, [wrong])


def test_a_retraining_refuses_a_registry_that_ends_with_the_runner(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(HOME / "params.yaml", tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(UserError, match="every model would be the first"):
        Retraining()._prepare()


def test_a_retraining_tells_what_came_of_it(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(HOME)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    work = Retraining(engine="pipeline", root=tiny_run, reason="a test")
    work._judge()
    work._carry()
    release = json.loads((tiny_run / "artifacts/release/release.json").read_bytes())
    told = (tmp_path / "output").read_text().splitlines()
    assert told[:2] == [f"version={release['version']}", f"verdict={release['verdict']}"]
    carried = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert carried["client_payload"]["reason"] == "a test" and len(carried["client_payload"]["revision"]) == 40
    titles = [title for title, _ in work.steps()]
    assert len(titles) == 7 and "outputs to the remote" not in titles, "a trial is not recorded"
    assert [title for title, _ in Retraining().steps()].count("still nobody changed the data") == 1


@pytest.mark.parametrize(
    ("verdict", "due", "words"),
    [("block", False, "blocked by calibration"), ("pass", True, "waits for its rollout"), ("pass", False, "champion")],
)
def test_the_last_line_is_clear(verdict, due, words):
    made = {"name": "fraud", "version": "v2", "verdict": verdict, "rollout_due": due}
    assert words in _line(made, "calibration" if verdict == "block" else "")


# --- promotions


def test_a_stage_has_its_own_registry_and_images(tmp_path, monkeypatch):
    sections = yaml.safe_load((HOME / "params.yaml").read_text())
    image = "registry.example/serve@sha256:" + "0" * 64
    found = promote.Promotion("staging", "wandb://team/p/staging", image, image).sections(sections)
    assert found["deploy"]["overlay"] == "staging" and found["deploy"]["rollout_image"] == image
    assert found["evaluate"]["registry"] == found["deploy"]["home"] == "wandb://team/p/staging"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="DEPLOY_HOME"):
        promote.Promotion("staging").sections(sections)
    with pytest.raises(UserError, match="STAGE must be"):
        promote.Promotion.here({"STAGE": "prod"})


def test_a_model_is_carried_whole_to_where_the_cluster_reads_it(tmp_path, tiny_run, capsys):
    model, target = tiny_run / "artifacts" / "model", tmp_path / "store" / "v1"
    (target / "profile").mkdir(parents=True)
    (target / "weights.safetensors").write_text("half of an earlier try")
    carry(model, f"file://{target}")
    assert artifact.read(target, "model").digest == artifact.read(model, "model").digest
    carry(model, f"file://{target}")
    carry(model, "pvc://fraud-models/v1")
    out = capsys.readouterr().out
    assert "is there" in out and "on a claim" in out


KUBECTL = """#!/bin/sh
printf '%s\\n' "$*" >> {log}
case "$*" in
    *"get job"*) cat {state} ;;
    *logs*) echo "rollout: v1 at 100 %" ;;
esac
"""


@pytest.mark.parametrize(("ended", "words"), [("Complete", "is rolled out"), ("Failed", None)])
def test_the_rollouts_job_decides(tmp_path, monkeypatch, ended, words):
    log, state = tmp_path / "log", tmp_path / "state"
    (tmp_path / "kubectl").write_text(KUBECTL.format(log=log, state=state))
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts/release").mkdir(parents=True)
    (tmp_path / "artifacts/release/kustomization.yaml").write_text("namespace: graphmill-staging\n")
    state.write_text(json.dumps({"status": {"conditions": [{"type": ended, "status": "True"}]}}))
    made = {"name": "fraud", "version": "v1", "rollout_due": True}
    if words:
        assert promote._follow(made, promote.Promotion("staging", pause=0)) == words
        assert promote._follow(made | {"rollout_due": False}, promote.Promotion("staging")) == "serves"
        assert "wait inferenceservice/fraud" in log.read_text()
    else:
        with pytest.raises(UserError, match="taken back"):
            promote._follow(made, promote.Promotion("staging", pause=0))
    assert "-n graphmill-staging get job/fraud-rollout-v1" in log.read_text().replace(" --output=json", "")
    assert promote._ended({"conditions": [{"type": "Suspended", "status": "True"}]}) == ""


def test_a_kubeconfig_is_written_once_and_for_its_owner(tmp_path):
    file = tmp_path / ".kube" / "config"
    kubeconfig.write({"KUBECONFIG_DATA": "apiVersion: v1", "KUBECONFIG": str(file)})
    assert file.read_text() == "apiVersion: v1" and file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UserError, match="stays as it is"):
        kubeconfig.write({"KUBECONFIG_DATA": "other", "KUBECONFIG": str(file)})
    with pytest.raises(UserError, match="no way into a cluster"):
        kubeconfig.write({"KUBE_CLUSTER": "c"})
    with pytest.raises(UserError, match="are names"):
        kubeconfig.write({"KUBE_CLUSTER": "--kubeconfig=x", "AWS_ROLE": "r"})


# --- releases


def test_a_release_is_of_its_source_and_has_notes(tmp_path):
    with pytest.raises(UserError, match="tag v"):
        releases.publish("v9.9.9", [])
    log = "# Changelog\n\n## Unreleased\n\n- not yet\n\n## 0.2.0 (today)\n\n### Added\n\n- this\n\n## 0.1.0\n\n- that\n"
    assert releases.notes("0.2.0", log) == "### Added\n\n- this\n"
    assert releases.notes("0.1.0", log) == "- that\n"
    with pytest.raises(UserError, match="no section"):
        releases.notes("0.3.0", log)


def test_the_command_line_tells_mistakes(capsys, tmp_path):
    assert command.main(["comment"], {}) == 2
    assert "GITHUB_REPOSITORY" in capsys.readouterr().err
    assert command.main(["propose", str(tmp_path / "dvc.lock"), "--branch=b", "--title=t"], {}) == 0
    assert "nothing to propose" in capsys.readouterr().out
    assert command.main(["remote"], {}) == command.main(["outputs"], {}) == 0
