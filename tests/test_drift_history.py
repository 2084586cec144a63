"""The history of checks, and profiles that are merged."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from graphmill.clock import ALWAYS
from graphmill.drift import compare, features, history, integrity, predictions, profile
from graphmill.drift.baseline import Past
from graphmill.drift.params import Params
from graphmill.drift.scopes import Scope
from graphmill.drift.source import Period
from graphmill.errors import UserError
from graphmill.features.columns import Field
from tests.drift_schemas import problems

REFERENCE: dict[str, Any] = {
    "version": 2,
    "timed": True,
    "clock": "step",
    "period": 10,
    "columns": {"node a": {f"x{place}": {"deviation": 1.0, "mean": 0.0} for place in range(12)}},
}


QUIET = {"DVC_NO_ANALYTICS": "1"}
CHECK = {"version": 2, "state": "ok", "acknowledged": None}


def snapshot(end: int, means: Any) -> dict[str, Any]:
    columns = {
        f"x{place}": {"rows": 100_000, "missing": 0, "mean": float(mean), "deviation": 1.0, "quantiles": []}
        for place, mean in enumerate(means)
    }
    return {"version": 2, "start": end - 10, "end": end, "columns": {"node a": columns}}


def quiet(count: int, seed: int = 0) -> list[dict[str, Any]]:
    state = np.random.default_rng(seed)
    return [snapshot(10 * place, state.normal(0, 0.03, 12)) for place in range(1, count + 1)]


def state_of(newest: dict[str, Any], past: Past) -> str:
    items = compare.items(newest, past, Params())
    return str(compare.families(items, {}, Params())["feature"]["state"])


# ----- the history


def test_checks_follow_the_models_own_past(tmp_path: Path) -> None:
    own, later = quiet(14)[:12], quiet(14)[12:]
    for found in [*later, snapshot(135, np.zeros(12))]:
        history.record(tmp_path / "h", REFERENCE, found, "ok")
    other = {**REFERENCE, "period": 20}
    history.record(tmp_path / "h", other, snapshot(150, np.zeros(12)), "ok")
    past = history.joined(Past(REFERENCE, own), tmp_path / "h", Period(140, 150))
    assert [profile["end"] for profile in past.history] == [*range(10, 141, 10)], "135 overlaps 140, which is newer"
    assert past.trained == 12 and past.usual == past.history
    assert history.joined(Past(REFERENCE, own), tmp_path / "none", Period(140, 150)).history == own
    assert history.joined(Past(REFERENCE, own), None, Period(115, 125)).history == own[:11]


def test_the_same_period_again_is_one_check(tmp_path: Path) -> None:
    one, other = snapshot(130, np.zeros(12)), snapshot(130, np.ones(12))
    history.record(tmp_path, REFERENCE, one, "alarm")
    history.acknowledge(tmp_path, "the new market", by="ann")
    file = history.record(tmp_path, REFERENCE, one, "alarm")
    assert json.loads(file.read_bytes())["acknowledged"]["by"] == "ann"
    before = file.read_bytes()
    assert history.record(tmp_path, REFERENCE, one, "alarm").read_bytes() == before
    history.record(tmp_path, REFERENCE, other, "alarm")
    assert json.loads(file.read_bytes())["acknowledged"] is None, "other data must be acknowledged again"
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_what_alarmed_counts_when_somebody_says_so(tmp_path: Path) -> None:
    own = quiet(20)
    level = np.zeros(12)
    level[5] = 0.5
    state = np.random.default_rng(1)
    for end in range(210, 330, 10):
        history.record(tmp_path, REFERENCE, snapshot(end, level + state.normal(0, 0.03, 12)), "alarm")
    newest = snapshot(330, level)
    before = history.joined(Past(REFERENCE, own), tmp_path, Period(320, 330))
    assert len(before.usual) == 20 and state_of(newest, before) == "alarm"
    with pytest.raises(UserError, match="needs a reason"):
        history.acknowledge(tmp_path, " ")
    with pytest.raises(UserError, match=r"ends at \[7\]"):
        history.acknowledge(tmp_path, "why", ends=[210, 7])
    assert [check.profile["end"] for check in history.acknowledge(tmp_path, "moved", ends=[210])] == [210]
    assert len(history.acknowledge(tmp_path, "moved", by="bob")) == 11
    with pytest.raises(UserError, match="no period waits"):
        history.acknowledge(tmp_path, "moved")
    after = history.joined(Past(REFERENCE, []), tmp_path, Period(320, 330))
    assert len(after.usual) == 12 and state_of(newest, after) == "ok"


def test_slow_drift_is_seen_beside_the_training(tmp_path: Path) -> None:
    own, state, level = quiet(20), np.random.default_rng(2), np.zeros(12)
    for place in range(40):
        level[3] += 0.01
        history.record(tmp_path, REFERENCE, snapshot(210 + 10 * place, level + state.normal(0, 0.03, 12)), "ok")
    past = history.joined(Past(REFERENCE, own), tmp_path, Period(600, 610))
    loud = [item for item in compare.items(snapshot(610, level), past, Params()) if item.state != "ok"]
    assert [(item.name, item.statistic, item.state) for item in loud] == [("node a: x3", "mean", "alarm")]
    assert (loud[0].chart, loud[0].against) == ("level", "frozen"), "each step was too small to be seen"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"version": 99, "profile": {}}', "profile version 99, this version reads"),
        ('{"version": 2, "state": "ok", "acknowledged": null, "profile": {"end": "x", "start": 1}}', "not a check"),
        ('{"version": 2, "state": 5, "acknowledged": null, "profile": {"end": 130, "start": 120}}', "not a check"),
        ('{"version": 2, "state": "ok", "acknowledged": "x", "profile": {"end": 130, "start": 120}}', "not a check"),
        (json.dumps({**CHECK, "profile": {"end": 130, "start": 120, "columns": 3}}), "damaged"),
        (json.dumps({**CHECK, "profile": {"end": 130, "start": 120, "predictions": None}}), "damaged"),
    ],
)
def test_a_check_that_cannot_be_read_is_told_and_never_ok(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / f"130-{history.identity(REFERENCE)}.json").write_text(content)
    past = history.joined(Past(REFERENCE, quiet(20)), tmp_path, Period(200, 210))
    assert len(past.left_out) == 1 and told in past.left_out[0]
    assert state_of(snapshot(210, np.zeros(12)), past) == "warn"


def test_a_check_of_which_a_part_failed_is_a_past_once_acknowledged() -> None:
    graph: Any = SimpleNamespace(as_of=220, nodes={}, relations={})
    source: Any = SimpleNamespace(graph=graph, relations=[], times={})
    newest = snapshot(220, np.zeros(12)) | {"structure": {"nodes a": {"rows": 3}}, "predictions": {"examples": 0}}
    failed = snapshot(210, np.zeros(12))  # neither structure nor predictions
    assert integrity.check(source, newest, [failed], {**REFERENCE, "node_types": [], "relations": []}) == []


def _record(folder: Path, number: int) -> None:
    for end in range(10, 110, 10):
        history.record(folder, REFERENCE, snapshot(end, np.full(12, number)), "ok")


def test_two_runs_at_once_leave_whole_files(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=_record, args=(tmp_path / "h", number)) for number in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    past = history.joined(Past(REFERENCE, []), tmp_path / "h", Period(100, 110))
    assert len(past.history) == 10 and not past.left_out
    assert [file.name for file in (tmp_path / "h").iterdir() if not file.name.endswith(".json")] == []


def test_a_run_that_was_killed_leaves_the_check_that_was_there(tmp_path: Path, monkeypatch: Any) -> None:
    file = history.record(tmp_path, REFERENCE, snapshot(10, np.zeros(12)), "ok")
    before = file.read_bytes()
    (tmp_path / f".{file.name}.partial").write_text('{"version": 2, "sta')
    past = history.joined(Past(REFERENCE, []), tmp_path, Period(10, 20))
    assert len(past.history) == 1 and file.read_bytes() == before

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history, "replace_text", full)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        history.record(tmp_path, REFERENCE, snapshot(10, np.ones(12)), "ok")
    assert file.read_bytes() == before


def test_under_dvc_the_history_grows_and_comes_back_whole(tmp_path: Path) -> None:
    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env={**os.environ, **QUIET})

    for name in (".gitignore", ".dvcignore"):
        shutil.copy(Path(__file__).parent.parent / name, tmp_path)
    run("git", "init")
    run(sys.executable, "-m", "dvc", "init")
    checks = tmp_path / "drift_history" / "checks"
    for end in (10, 20):
        history.record(checks, REFERENCE, snapshot(end, np.zeros(12)), "ok")
        run(sys.executable, "-m", "dvc", "add", "drift_history")
    ignored = subprocess.run(["git", "check-ignore", "drift_history", "drift_history.dvc"], cwd=tmp_path, stdout=-1)
    assert ignored.stdout.split() == [b"drift_history"], "git has the version, DVC the files"
    shutil.rmtree(tmp_path / "drift_history")
    run(sys.executable, "-m", "dvc", "checkout")
    past = history.joined(Past(REFERENCE, []), checks, Period(20, 30))
    assert [profile["end"] for profile in past.history] == [10, 20]
    assert [file.name for file in (tmp_path / "drift_history").iterdir()] == ["checks"], "locks are no part of it"


def test_snapshots_without_time_make_a_past_of_their_own(tmp_path: Path) -> None:
    reference = {**REFERENCE, "timed": False, "period": 0}
    for end in range(11, 15):
        profile = {**snapshot(end, np.zeros(12)), "start": ALWAYS}
        history.record(tmp_path, reference, profile, "ok")
    own = [{**snapshot(10, np.zeros(12)), "start": ALWAYS}]
    past = history.joined(Past(reference, own), tmp_path, Period(ALWAYS, 14))
    assert [profile["end"] for profile in past.history] == [10, 11, 12, 13], "the snapshot itself is no past of it"


# ----- what is new or gone


def test_new_types_and_what_ran_dry_are_told() -> None:
    reference = {**REFERENCE, "node_types": ["a"], "relations": ["a.r.a"]}
    newest = snapshot(210, np.zeros(12)) | {"node_types": ["a", "b"], "relations": ["a.r.a", "a.s.b"]}
    newest["columns"]["node a"]["x0"] |= {"rows": 0, "missing": 0, "mean": None, "deviation": None}
    items = compare.items(newest, Past(reference, quiet(20)), Params())
    told = {(item.name, item.statistic) for item in items if item.state == "warn"}
    assert told == {("b", "new node type"), ("a.s.b", "new edge type"), ("node a: x0", "no value")}


def test_a_first_new_category_is_told_however_rare() -> None:
    def shape(end: int, unseen: int) -> dict[str, Any]:
        column = {"rows": 10_000, "missing": 0, "counts": {"de": 9_000}, "other": 1_000, "unseen": unseen}
        return {"start": end - 10, "end": end, "columns": {"node a": {"c": column}}}

    reference = {**REFERENCE, "columns": {"node a": {"c": {}}}}
    usual = [shape(10 * place, 0) for place in range(1, 21)]
    assert state_of(shape(210, 0), Past(reference, usual)) == "ok"
    assert state_of(shape(210, 3), Past(reference, usual)) == "warn"
    assert state_of(shape(210, 3), Past(reference, [*usual[:-1], shape(200, 2)])) == "ok", "new ones do come"


# ----- merging

WIDTH = 3


def scope(values: np.ndarray) -> Scope:
    fields = [Field(name="n", kind="numeric"), Field(name="b", kind="boolean")]
    fields.append(Field(name="c", kind="category", vocabulary=["de", "fr", "it", "uk"]))
    return Scope("node x", fields, values, np.zeros(len(values), np.int64), len(values), True)


ROW = st.tuples(
    st.one_of(st.just(np.nan), st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([0.0, 1.0, np.nan]),
    st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]),
)


@given(st.lists(ROW, max_size=40), st.lists(ROW, max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_summary_of_two_parts_is_that_of_both(one: list[Any], two: list[Any]) -> None:
    parts = [np.array(part, np.float32).reshape(-1, WIDTH) for part in (one, two)]
    state = np.random.default_rng(0)
    known = np.stack([state.normal(0, 100, 500), state.integers(0, 2, 500), state.integers(0, 3, 500)], axis=1)
    frozen = features.freeze(iter([scope(known.astype(np.float32))]))["node x"]
    first, second = (features.summarise(scope(part), frozen, 5) for part in parts)
    whole = features.summarise(scope(np.concatenate(parts)), frozen, 5)
    for name, how in frozen.items():
        found = features.merge(first[name], second[name], how)
        exact = {key for key in whole[name] if key not in ("mean", "deviation", "quantiles")}
        assert {key: found[key] for key in exact} == {key: whole[name][key] for key in exact}
        for moment in {"mean", "deviation"} & set(found):
            size = max(abs(whole[name]["mean"] or 0), whole[name]["deviation"] or 0, 1e-6)
            assert found[moment] == pytest.approx(whole[name][moment], abs=1e-4 * size) or found[moment] is None


def test_the_profile_of_two_parts_has_what_adds_up_and_nothing_else() -> None:
    state, how = np.random.default_rng(2), {"histogram": True, "threshold": 0.5}
    known = np.stack([state.normal(0, 1, 500), state.integers(0, 2, 500), state.integers(0, 3, 500)], axis=1)
    reference = {"columns": {"node x": features.freeze(iter([scope(known.astype(np.float32))]))["node x"]}}
    reference["scores"] = features.freeze_number(state.random(500)) | how

    def of(rows: np.ndarray, scores: np.ndarray, name: str) -> dict[str, Any]:
        slices = {name: {"rows": len(scores), "missing": 0.0, "mean": float(scores.mean()), "deviation": 0.0}}
        slices[name]["above"] = float(np.mean(scores >= 0.5))
        whole = predictions.summary(scores, reference["scores"])
        return {
            "version": 2, "start": 0, "end": 5, "node_types": ["x"], "relations": [], "untimed": [],
            "unknown": [f"node x: {name}"], "rows": {"node x": len(rows)}, "structure": {"nodes x": {"rows": 1}},
            "columns": {"node x": features.summarise(scope(rows), reference["columns"]["node x"], 0)},
            "predictions": {"examples": len(scores), "scores": whole, "slices": slices},
        }  # fmt: skip

    rows, scores = known.astype(np.float32), state.random(500)
    one, two = of(rows[:100], scores[:100], "a=1"), of(rows[100:], scores[100:], "a=2")
    found, whole = profile.merge(one, two, reference), of(rows, scores, "a=1")
    assert "structure" not in found, "parts share nodes"
    assert found["rows"] == whole["rows"] and found["unknown"] == ["node x: a=1", "node x: a=2"]
    assert found["columns"]["node x"]["n"]["histogram"] == whole["columns"]["node x"]["n"]["histogram"]
    assert found["columns"]["node x"]["c"] == whole["columns"]["node x"]["c"]
    assert found["predictions"]["scores"]["above"] == pytest.approx(whole["predictions"]["scores"]["above"])
    assert found["predictions"]["scores"]["histogram"] == whole["predictions"]["scores"]["histogram"]
    assert {name: part["rows"] for name, part in found["predictions"]["slices"].items()} == {"a=1": 100, "a=2": 400}
    again = profile.merge(found, one, reference)["predictions"]["slices"]["a=1"]
    assert again["rows"] == 200 and again["above"] == pytest.approx(one["predictions"]["slices"]["a=1"]["above"])
    assert problems("profile", found) == []
    nothing = {**found, "predictions": {"examples": 3}, "columns": {}, "rows": {}}
    assert profile.merge(nothing, two, reference)["columns"] == two["columns"]
    assert profile.merge(two, nothing, reference)["predictions"] == two["predictions"] | {"examples": 403}
    with pytest.raises(ValueError, match="two periods"):
        profile.merge(one, {**two, "end": 6}, reference)


def test_quantiles_of_merged_parts_are_read_off_the_bins() -> None:
    values = np.random.default_rng(1).normal(size=(20_000, 1)).astype(np.float32)
    how = features.freeze_number(values[:, 0]) | {"histogram": True}
    whole = features.number(values[:, 0], how)
    found = features.merge(features.number(values[:5_000, 0], how), features.number(values[5_000:, 0], how), how)
    np.testing.assert_allclose(found["quantiles"], whole["quantiles"], atol=0.05)
    assert len(how["edges"]) == 65 and len(whole["histogram"]) == 66
    assert whole["histogram"][0] == whole["histogram"][-1] == 0, "the training's own range"
    assert features.number(values[:, 0] + 100, how)["histogram"][-1] == 20_000
    assert np.std(whole["histogram"][1:-1]) < 2, "bins of equal shares"


@given(arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False)))
@settings(max_examples=60, deadline=None)
def test_quantiles_and_counts_are_numpys(values: np.ndarray) -> None:
    how = {"histogram": True, "edges": [-5.0, 0.0, 5.0]}
    found = features.number(values, how)
    if len(values):
        np.testing.assert_allclose(
            found["quantiles"], np.quantile(values.astype(float), features.SHARES), rtol=1e-5, atol=1e-5
        )
    inside = [(values < -5).sum(), ((values >= -5) & (values < 0)).sum()]
    assert found["histogram"] == [*inside, ((values >= 0) & (values <= 5)).sum(), (values > 5).sum()]
