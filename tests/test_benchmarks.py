"""Benchmarks end in one line of JSON with a ratio; no time is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import drift_features
from benchmarks.__main__ import NAMES
from benchmarks.load import PROTOCOLS

HOME = Path(__file__).parent.parent
TOLD_APART = ("serving", "guards", "concept", "policy", "drift")
"""Benchmarks without one ratio to a peer."""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=HOME, text=True, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in TOLD_APART])
def test_a_small_benchmark_ends_in_json(name):
    done = run(name, "--small")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["name"] == name and found["what"]
    assert found["cpu"][found["ours"]] > 0 and found["wall"][found["peer"]] > 0
    assert found["ratio"] == pytest.approx(found["cpu"][found["peer"]] / found["cpu"][found["ours"]], abs=0.006)
    assert found["ours"] in done.stdout and "times ours" in done.stdout


@pytest.mark.slow
def test_the_load_test_ends_in_json():
    done = run("serving", "--small")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    quiet = found["without_events"]
    assert found["name"] == "serving" and found["what"]
    assert found["ratio"] == pytest.approx(quiet["ours v1 1"]["p50"] / quiet["floor v1 1"]["p50"], abs=0.006)
    per_core = quiet["ours v1 32"]["per_core"] / quiet["unbatched v1 32"]["per_core"]
    assert found["throughput_ratio"] == pytest.approx(per_core, abs=0.006)
    protocols = {f"ours {protocol} {many}" for protocol in PROTOCOLS for many in (1, 8, 32)}
    assert protocols <= set(quiet) and found["events_per_second"] > 0
    assert all(row["p50"] <= row["p99"] for row in quiet.values())


@pytest.mark.slow
def test_the_guards_end_in_json():
    done = run("guards", "--small")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["name"] == "guards" and found["what"] and found["cpu"]["guards"] > 0
    assert found["false_alarm_rate"] == found["alarms"]["good"]["guards"]["rate"] <= 0.2
    assert found["alarms"]["at the bounds"]["threshold"]["rate"] > found["alarms"]["at the bounds"]["guards"]["rate"]
    assert "Infinity" not in done.stdout.splitlines()[-1]
    late = [one for kind in found["delays"].values() for one in kind.values() if one["p95"] is not None]
    assert late and all(one["median"] <= one["p95"] for one in late)
    assert found["requests_to_roll_back"] <= 500


@pytest.mark.slow
def test_drift_found_and_not_found_end_in_json():
    """The whole of it takes many minutes: one world without drift and one with."""
    quiet, loud = (drift_features.NULL["10,000 rows, natural 0.01"], drift_features.DRIFT["0.2 in 1 of 50"])
    false = drift_features.summary(quiet[0], 6, quiet[1], drift=False)
    found = drift_features.summary(loud[0], 6, loud[1], drift=True)
    assert false["rate"] < 0.15 and false["KS and Holm"] > 0.8, "rows are not what varies"
    assert found["rate"] > 0.8 and found["share"] == 0 and found["named"] == 1


def test_help_lists_them_and_another_name_is_refused():
    told = run("--help")
    assert told.returncode == 0 and all(name in told.stdout for name in NAMES)
    wrong = run("speed")
    assert wrong.returncode == 2 and "choose from" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.slow
def test_the_estimate_and_the_audit_end_in_json():
    done = run("concept", "--small")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["name"] == "concept" and found["what"] and found["cpu"]["gap"] > 0
    assert found["estimated_accuracy_error"] < 0.02 < found["frozen_accuracy_error"]
    assert found["ratio"] == pytest.approx(found["peer_accuracy_error"] / found["estimated_accuracy_error"], abs=0.006)
    assert found["audit_power"] >= 0.9 > 0.3 >= found["audit_false_alarm_rate"]
