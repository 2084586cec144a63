"""Several processes that train together: the steps of one, whoever has how many examples; and the ends of them."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from graphmill import artifact, train
from graphmill.errors import UserError
from graphmill.train import launch, rank
from graphmill.train.checkpoint import Checkpoints
from graphmill.train.ranks import ALONE, Ranks
from tests import rank_gradients, tiny

HOME = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """Processes that a test starts import this code, and take warnings for errors."""
    monkeypatch.setenv("PYTHONPATH", str(HOME))
    monkeypatch.setenv("PYTHONWARNINGS", "error::UserWarning")


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 7, 12])
def test_shares_are_the_batch_and_their_weighted_mean_is_its_mean(count, size):
    places = np.random.default_rng(0).permutation(100)[:size]
    value = np.random.default_rng(1).normal(size=100)
    shares = [Ranks(number, count).share(places) for number in range(count)]
    counted = np.concatenate([chosen for chosen, factor in shares if factor])
    assert sorted(counted) == sorted(places)
    assert all(len(chosen) for chosen, _ in shares), "everybody takes part"
    mean = sum(value[chosen].mean() * factor for chosen, factor in shares) / count
    assert mean == pytest.approx(value[places].mean(), abs=1e-12)
    own = np.concatenate([Ranks(number, count).own(size) for number in range(count)])
    assert sorted(own) == list(range(size))


def test_alone_nothing_is_shared():
    places, numbers = np.arange(5), np.arange(5.0)
    chosen, factor = ALONE.share(places)
    assert (chosen == places).all() and factor == 1.0
    assert ALONE.joined(numbers, 5) is numbers and ALONE.agreed(places) is places and ALONE.total(2.0) == 2.0


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one_and_a_death_is_noticed(tiny_run, tmp_path):
    inputs = [str(tiny_run / "artifacts" / name) for name in ("graph", "features")]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tests.rank_gradients"]
    done = subprocess.run(
        [sys.executable, *command, *inputs, str(tmp_path / "two.npz")], cwd=HOME, text=True, capture_output=True
    )
    assert done.returncode != 0 and "Signal 9 (SIGKILL)" in done.stderr
    assert (tmp_path / "two.lost").read_text() == "True", done.stderr
    two, one = dict(np.load(tmp_path / "two.npz")), rank_gradients.gradients(*inputs, ALONE)
    assert two.keys() == one.keys() and len(one) > 50, "who has no part in a batch has no gradient, in both"
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.slow
def test_two_processes_train_what_one_does(tiny_run, tmp_path):
    given = tiny.params()["train"] | {"epochs": 30, "patience": 4}
    given["model"] |= {"dropout": 0.0}
    inputs = [tiny_run / "artifacts" / name for name in ("graph", "features")]
    for name, count in (("one", 1), ("two", 2)):
        train.run(*inputs, tmp_path / name, train.Params.parse(given | {"processes": count}, "train"))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["one", "two"], "checkpoints are cleared at the end"
    one, two = (artifact.read(tmp_path / name, "model") for name in ("one", "two"))
    curves = [pd.read_csv(found.path / "learning_curve.csv") for found in (one, two)]
    assert len(curves[0]) == len(curves[1]) < 30, "both stop at the same epoch"
    np.testing.assert_allclose(curves[1]["loss"][:3], curves[0]["loss"][:3], atol=1e-6)
    np.testing.assert_allclose(curves[1]["loss"], curves[0]["loss"], atol=1e-4)
    for name in ("features_only", "neighbour_trees"):
        assert (two.path / f"{name}_0.txt").read_bytes() == (one.path / f"{name}_0.txt").read_bytes()
    assert two.manifest["parameters"]["processes"] == 2 and two.manifest["winner"] == one.manifest["winner"]


@pytest.mark.parametrize(
    ("failures", "kind", "told"),
    [
        ([(rank.LEFT, 1, "DistNetworkError: gone"), (-9, 0, "")], UserError, "process 1 of 2 was killed"),
        ([(rank.LEFT, 1, "DistNetworkError: gone"), (-11, 0, "")], UserError, "process 1 of 2 was ended by SIGSEGV"),
        ([(rank.MISTAKE, 1, "UserError: lower: it"), (rank.LEFT, 1, "")], UserError, "^lower: it$"),
        ([(rank.LEFT, 1, "Left: train: process 0 lost one"), (-9, 31, "")], UserError, "process 0 .* them hung"),
        ([(-15, 1, ""), (-9, 2, ""), (rank.LEFT, 1, "Left: gone")], UserError, "process 1 of 2 was killed"),
        ([(1, 2, "ValueError: b"), (1, 1, "KeyError: a")], RuntimeError, "process 1 of 2 .*KeyError: a"),
    ],
)
def test_the_failure_that_others_followed_from_is_told(tmp_path, failures, kind, told):
    found = {}
    for number, (exitcode, timestamp, message) in enumerate(failures):
        file = tmp_path / f"{number}.json"
        if message:  # who was killed leaves no word
            extra = {"timestamp": str(timestamp), "py_callstack": "…"}
            file.write_text(json.dumps({"message": {"message": message, "extraInfo": extra}}))
        found[number] = ProcessFailure(number, 1, exitcode, str(file))
        found[number].timestamp = timestamp
    with pytest.raises(kind, match=told):
        raise launch.told(ChildFailedError("train", found), 2)


def test_losing_another_process_is_no_failure_of_its_own():
    assert rank.lost(distributed.DistNetworkError("gone"))
    assert rank.lost(RuntimeError("[…/gloo/transport/tcp/pair.cc:553] Connection closed by peer"))
    assert rank.lost(RuntimeError("Application timeout caused pair closure")), "one hangs"
    assert not rank.lost(RuntimeError("out of memory"))
    assert not rank.lost(UserError("/data/igloo/graph: no graph here")), "a mistake is told as one"


def test_processes_wait_for_each_other_as_long_as_asked(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    asked = []
    monkeypatch.setattr(distributed, "init_process_group", lambda kind, timeout: asked.append((kind, timeout)))
    assert Ranks.join(cuda=False, patience=90) == Ranks(1, 2, 1)
    assert asked == [("gloo", timedelta(seconds=90))]


def test_a_runtime_that_does_not_tell_torchrun_of_all_nodes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    file = tmp_path / "params.json"
    file.write_text(artifact.to_json({"processes": 4}))
    with pytest.raises(UserError, match="4 processes are to train, and 1 are there"):
        rank._train("graph", "features", "model", str(file))


def test_more_processes_than_gpus_are_refused(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match="process 1 of this machine has no GPU, there are 1"):
        Ranks.join(cuda=True, patience=1)


def test_only_the_leader_writes_checkpoints(tmp_path):
    Checkpoints(tmp_path / "model", {}, Ranks(1, 2)).save("split_0", {})
    assert not list(tmp_path.iterdir())
    Checkpoints(tmp_path / "model", {}).save("split_0", {"epoch": 1})
    assert Checkpoints(tmp_path / "model", {}).load("split_0") == {"epoch": 1}
    shutil.rmtree(tmp_path / ".model.checkpoints")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_checkpoint_that_a_crash_left_torn_is_told_and_begun_anew(tmp_path, capsys, share):
    checkpoints = Checkpoints(tmp_path / "model", {})
    checkpoints.save("split_0", {"epoch": 1})
    file = checkpoints.folder / "split_0.pt"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert checkpoints.load("split_0") is None
    assert "split_0 begins anew" in capsys.readouterr().out
    checkpoints.save("split_0", {"epoch": 2})
    assert checkpoints.load("split_0") == {"epoch": 2}
