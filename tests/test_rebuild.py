"""Making a version again: for real, in a git repository with a template of four small stages."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from graphmill import artifact, registry
from graphmill.lineage import __main__ as command
from graphmill.lineage import data, scratch
from graphmill.lineage.compare import differences

HOME = Path(__file__).parent.parent
OWN = ("__init__.py", "artifact.py", "shared.py", "errors.py", "lineage/__init__.py", "lineage/repository.py")
"""What the small template has of the real package: enough to write artifacts with their lineage."""

STAGES = """
import argparse, pathlib, time
import numpy as np, yaml
from safetensors.numpy import save_file
from graphmill import artifact, lineage, work

INPUTS = {"ingest": (), "graph": ("tables",), "features": ("tables", "graph"), "train": ("graph", "features")}
NAMES = {"ingest": "tables", "train": "model"}
parser = argparse.ArgumentParser()
parser.add_argument("stage")
for name in ("params", "data", "root"):
    parser.add_argument("--" + name, type=pathlib.Path)
given = parser.parse_args()
home, name = given.root / "artifacts", NAMES.get(given.stage, given.stage)
numbers = yaml.safe_load(given.params.read_text())[given.stage]
inputs = {kind: artifact.read(home / kind, kind) for kind in INPUTS[given.stage]}
read = lineage.data_digest(given.data) if given.stage == "ingest" else None
work.wait(given.stage)
with artifact.write(home / name, name) as draft:
    if given.stage == "train":
        first = work.learn(numbers["seed"])
        save_file({"bias": np.zeros(2, np.float32), "weight": first}, draft.folder / "weights.safetensors")
        text = inputs["features"].path.joinpath("content.txt").read_text()
        (draft.folder / "neighbour_trees_0.txt").write_text("tree\\nleaf_value=0.5 0.25\\n" + text)
    else:
        text = "".join(item.read_text() for item in sorted(given.data.glob("*.csv"))) if read else ""
        text += "".join(item.path.joinpath("content.txt").read_text() for item in inputs.values())
        (draft.folder / "content.txt").write_text(f"{text}{given.stage} {numbers}\\n")
    draft.lineage = lineage.record(given.stage, {given.stage: numbers}, inputs, read)
print(given.stage, "done")
"""

WORK = """
import numpy as np

def learn(seed):
    return np.random.default_rng(seed).normal(0, FACTOR, 4).astype(np.float32)

def wait(stage):
    pass

FACTOR = 1.0
"""

PARAMS = {"ingest": {"revision": None, "repository": None}, "graph": {}, "features": {"scale": 2}, "train": {"seed": 3}}


def git(folder, *arguments):
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder, why):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", why)
    return git(folder, "rev-parse", "HEAD")


def change(checkout, **parts):
    """Other code (`learn`, `wait`), parameters or data, committed."""
    if "work" in parts:
        (checkout / "graphmill" / "work.py").write_text(parts["work"])
    if "seed" in parts:
        (checkout / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"train": {"seed": parts["seed"]}}))
    if "data" in parts:
        (checkout / "data" / "payments.csv").write_text(parts["data"])
    return commit(checkout, "a change")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A repository with the small template, its data in git, and a registry with the version made from it."""
    checkout = tmp_path_factory.mktemp("template") / "checkout"
    for name in OWN:
        (checkout / "graphmill" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOME / "graphmill" / name, checkout / "graphmill" / name)
    (checkout / "graphmill" / "work.py").write_text(WORK)
    (checkout / "components").mkdir()
    (checkout / "components" / "__main__.py").write_text(STAGES)
    (checkout / ".gitignore").write_text("__pycache__\n/artifacts\n")
    (checkout / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (checkout / "data").mkdir()
    (checkout / "data" / "payments.csv").write_text("a,b\n1,2\n")
    git(checkout, "init", "-q")
    commit(checkout, "the template")
    make(checkout)
    return checkout


@pytest.fixture
def checkout(template, tmp_path):
    """A copy of it that a test may change, with a folder for temporary ones."""
    (tmp_path / "scratch").mkdir()
    return Path(shutil.copytree(template, tmp_path / "checkout"))


def make(checkout):
    """Run every stage with the checkout's code; returns the model."""
    for stage in ("ingest", "graph", "features", "train"):
        paths = ["--params", "params.yaml", "--data", "data", "--root", "."]
        subprocess.run(
            [sys.executable, "-m", "components", stage, *paths], cwd=checkout, check=True, env=environment(checkout)
        )
    return checkout / "artifacts" / "model"


def environment(checkout):
    return {**os.environ, "PYTHONPATH": str(checkout)}


def rebuild(checkout, model=None, *more):
    place = checkout.parent / "scratch"
    name = str(model or checkout / "artifacts" / "model")
    return command.main(["rebuild", name, "--repository", str(checkout), "--scratch", str(place), *more])


def nothing_left(checkout):
    return not list((checkout.parent / "scratch").iterdir()) and git(checkout, "worktree", "list").count("\n") == 0


def test_the_same_bytes(checkout, capfd):
    digest = artifact.read(checkout / "artifacts" / "model", "model").digest
    assert rebuild(checkout) == 0
    told = capfd.readouterr()
    assert f"bit-identical: weights, trees and the whole model, digest {digest}" in told.out
    assert [line.split()[0] for line in told.out.splitlines() if " same " in line] == [
        "tables", "graph", "features", "model",
    ]  # fmt: skip
    assert told.err == "" and nothing_left(checkout)


def test_code_parameters_and_data_of_the_version_not_those_of_today(checkout, tmp_path, capfd):
    """All three were changed since; a version of the registry is taken, and the code of each stage is its own."""
    home = registry.open(tmp_path / "registry")
    home.move("champion", home.register(checkout / "artifacts" / "model", {}), "a test")
    change(checkout, work=WORK.replace("FACTOR = 1.0", "FACTOR = 2.0"), seed=4, data="a,b\n1,3\n")
    later = change(checkout, work=WORK.replace("FACTOR = 1.0", "FACTOR = 3.0"))
    assert rebuild(checkout, "champion", "--registry", str(tmp_path / "registry")) == 0
    assert "v0: bit-identical" in capfd.readouterr().out
    # train anew, on features that older code made: two revisions in one lineage
    subprocess.run(
        [sys.executable, "-m", "components", "train", "--params", "params.yaml", "--root", "."],
        cwd=checkout, check=True, env=environment(checkout),
    )  # fmt: skip
    assert rebuild(checkout) == 0
    told = capfd.readouterr().out
    assert f"train, code of {later[:12]}" in told and f"ingest, code of {later[:12]}" not in told
    assert nothing_left(checkout)


def test_what_is_not_deterministic_is_named(checkout, capfd):
    drawn = WORK.replace("np.random.default_rng(seed)", "np.random.default_rng()")
    change(checkout, work=drawn)
    make(checkout)
    assert rebuild(checkout) == 1
    told = capfd.readouterr().out
    assert "not identical: weights.safetensors: tensor weight: 4 of 4 values differ, by " in told
    assert "the first artifact that differs is model, of stage train" in told
    assert nothing_left(checkout)


def test_what_cannot_be_rebuilt_is_refused(checkout, tmp_path, capfd):
    model = checkout / "artifacts" / "model"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(elsewhere, "init", "-q")
    commands = [(tmp_path, "not in a git repository"), (elsewhere, "is not in the repository at")]
    for place, reason in commands:
        assert command.main(["rebuild", str(model), "--repository", str(place)]) == 2
        assert reason in capfd.readouterr().err
    (elsewhere / "other.csv").write_text("a\n")
    assert rebuild(checkout, None, "--data", str(elsewhere)) == 2
    assert "other data than the version was made from" in capfd.readouterr().err
    assert rebuild(checkout, checkout / "artifacts" / "graph") == 2
    assert "no model here" in capfd.readouterr().err
    assert rebuild(checkout, None, "--scratch", str(tmp_path / "nowhere")) == 2
    assert "cannot be rebuilt here" in capfd.readouterr().err
    (checkout / "graphmill" / "work.py").write_text(WORK + "# not committed\n")
    make(checkout)
    assert rebuild(checkout) == 2
    assert "stage ingest ran with files that were modified" in capfd.readouterr().err
    assert nothing_left(checkout)


def test_a_revision_that_is_not_what_ran(checkout, monkeypatch, capfd):
    """An image that names the wrong revision, and one that names none."""
    (checkout / ".gitignore").write_text("__pycache__\n/artifacts\n/graphmill\n")
    git(checkout, "rm", "-rq", "--cached", "graphmill")
    wrong = commit(checkout, "without the package: it is installed elsewhere")
    monkeypatch.setenv("GRAPHMILL_REVISION", wrong)
    make(checkout)
    assert rebuild(checkout) == 2
    assert "has other source than the lineage names" in capfd.readouterr().err
    monkeypatch.delenv("GRAPHMILL_REVISION")
    make(checkout)
    assert rebuild(checkout) == 2
    assert "no git revision was known" in capfd.readouterr().err


def test_a_stage_that_fails(checkout, capfd):
    needs = "    if stage == 'graph' and not Path('ok').exists(): raise OSError"
    (checkout / ".gitignore").write_text("__pycache__\n/artifacts\n/ok\n")
    change(checkout, work="from pathlib import Path\n" + WORK.replace("    pass", needs))
    (checkout / "ok").touch()  # which is not in git
    make(checkout)
    assert rebuild(checkout) == 2
    told = capfd.readouterr()
    assert "stage graph of revision" in told.err and "exit status 1" in told.err and "OSError" in told.err
    assert nothing_left(checkout)


def test_a_killed_run_leaves_nothing_behind(checkout):
    """Ended by a signal it tidies up itself; killed, the next run does, but not while a child still works there."""
    go, begun = checkout.parent / "go", checkout.parent / "begun"
    waits = f"    while stage == 'graph' and not Path({str(go)!r}).exists() and time.time() < {time.time() + 300}:"
    held = f"{waits}\n        Path({str(begun)!r}).touch()\n        time.sleep(0.01)"
    change(checkout, work="import time\nfrom pathlib import Path\n" + WORK.replace("    pass", held))
    go.touch()
    make(checkout)
    go.unlink()
    place = checkout.parent / "scratch"
    line = [sys.executable, "-m", "graphmill.lineage", "rebuild", str(checkout / "artifacts" / "model"),
            "--repository", str(checkout), "--scratch", str(place)]  # fmt: skip

    def run():
        """Started, and waited for until its second stage runs."""
        process = subprocess.Popen(line, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun.unlink(missing_ok=True)
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.01)
        return process

    stopped = run()
    stopped.send_signal(signal.SIGTERM)
    _, errors = stopped.communicate(timeout=60)
    assert (stopped.returncode, errors) == (130, "rebuild: stopped; nothing was left behind\n")
    assert nothing_left(checkout)
    killed = run()
    killed.kill()
    (left,) = place.iterdir()
    scratch._prune(checkout, place)
    assert left.exists()  # its child still works there, with the lock
    go.touch()
    killed.communicate()  # ends when the child has closed its end, too
    deadline = time.monotonic() + 60
    while left.exists() and time.monotonic() < deadline:
        scratch._prune(checkout, place)
    assert nothing_left(checkout)


def test_kept_on_demand(checkout, capfd):
    assert rebuild(checkout, None, "--keep") == 0
    (kept,) = (checkout.parent / "scratch").iterdir()
    assert f"{kept} is kept" in capfd.readouterr().out
    assert artifact.read(kept / "run" / "artifacts" / "model", "model")
    scratch._prune(checkout, kept.parent)
    assert kept.exists()


@pytest.mark.slow
def test_data_of_the_revision_from_dvc(checkout, capfd, monkeypatch):
    """From the checkout's cache, from the remote when that is empty, and a clear word when it is nowhere."""
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")

    local = checkout / ".dvc"
    local.mkdir()
    remote = checkout.parent / "remote"
    (local / "config").write_text("")
    (local / "config.local").write_text(f"[core]\n    remote = place\n['remote \"place\"']\n    url = {remote}\n")
    (local / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    git(checkout, "rm", "-rq", "--cached", "data")
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "data"], cwd=checkout, check=True)
    shutil.copytree(local / "cache", remote)
    commit(checkout, "data goes to dvc")
    make(checkout)
    (checkout / "data" / "payments.csv").write_text("other,data\n")
    shutil.rmtree(local / "cache")
    assert rebuild(checkout) == 0  # from the remote, which fills the cache
    shutil.rmtree(remote)
    assert rebuild(checkout) == 0
    capfd.readouterr()
    failed = subprocess.CompletedProcess([], 1, "", "no such remote")
    monkeypatch.setattr(data, "_dvc", lambda *_: failed)
    assert rebuild(checkout) == 2
    assert "dvc cannot fetch data.dvc of the revision: no such remote; give the folder" in capfd.readouterr().err
    git(checkout, "rm", "-q", "data.dvc")
    commit(checkout, "no data at all")
    make(checkout)
    assert rebuild(checkout) == 2
    assert "no data.dvc at the revision" in capfd.readouterr().err
    assert nothing_left(checkout)


def test_differences_say_by_how_much(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        save_file({"a": np.ones(3, np.float32), "b": np.zeros(2, np.float32)}, folder / "weights.safetensors")
        for name, text in (("t_0.txt", "tree\nleaf_value=0.5 1e-3\n"), ("model.json", "{}"), ("network.onnx", "abcd")):
            (folder / name).write_text(text)
    assert differences(old, new) == []
    save_file({"a": np.ones(3, np.float32), "b": np.array([0, 0.25], np.float32)}, new / "weights.safetensors")
    (new / "t_0.txt").write_text("tree\nleaf_value=0.5 2e-3\n")
    (new / "network.onnx").write_text("abXd!")
    (new / "more.csv").write_text("")
    found = {item.file: item.how for item in differences(old, new)}
    assert list(found) == ["weights.safetensors", "t_0.txt", "more.csv", "network.onnx"]
    assert found["weights.safetensors"] == "tensor b: 1 of 2 values differ, by 0.25 at the most"
    assert "line 2 was 'leaf_value=0.5 1e-3'" in found["t_0.txt"] and "numbers by 0.001" in found["t_0.txt"]
    assert found["network.onnx"] == "1 of 4 bytes differ, the first at 2; 4 bytes, now 5"
    assert found["more.csv"] == "only in the new one"
    save_file({"a": np.ones(3, np.float32), "c": np.zeros(2, np.float32)}, new / "weights.safetensors")
    assert differences(old, new)[0].how == "tensors only in one of them: b, c"
