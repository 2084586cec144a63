"""How good predictions are: cohorts and their labels, the estimate without labels, the audit, streams of errors."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from graphmill.drift import (
    audit,
    cohorts,
    compare,
    estimated,
    gap,
    integrity,
    intervals,
    judged,
    labels,
    measures,
    performance,
    predictions,
    streams,
    verdicts,
)
from graphmill.drift.baseline import Past
from graphmill.drift.cohorts import Enough
from graphmill.drift.params import Params
from graphmill.drift.source import Period, Source
from graphmill.errors import UserError
from graphmill.task import Task

THRESHOLD = 0.4


def outcomes(seed: int, count: int, shift: float = 0.0, concept: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a model that ranks well and is badly calibrated, and labels; a share of the world turns around."""
    state = np.random.default_rng(seed)
    x = state.normal(0, 1, (count, 3))
    x[:, 0] += shift
    truth = x @ [1.5, -1.0, 0.7]
    chance = np.where(state.random(count) < concept, expit(-truth - 1), expit(truth - 1))
    return expit(1.6 * (x @ [1.2, -0.8, 0.5]) - 1.2), state.random(count) < chance


@pytest.fixture(scope="module")
def calibration() -> dict[str, Any]:
    found = estimated.fit(*outcomes(0, 10_000), THRESHOLD)
    assert found is not None
    return found


# ----- the estimate


@pytest.mark.parametrize("shift", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_the_estimate_holds_when_other_examples_come(calibration: dict[str, Any], shift: float) -> None:
    score, label = outcomes(7, 20_000, shift)
    found = estimated.estimate(score, calibration)
    true = estimated.figures(label[np.argsort(-score, kind="stable")].astype(float), int((score >= THRESHOLD).sum()))
    assert found["assumes"] == "P(y|x) unchanged"
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc"):
        assert found["figures"][name]["value"] == pytest.approx(true[name], abs=0.02), name
        assert found["figures"][name]["low"] < found["figures"][name]["value"] < found["figures"][name]["high"]


def test_the_estimate_sees_nothing_of_a_changed_concept(calibration: dict[str, Any]) -> None:
    score, label = outcomes(7, 20_000, concept=0.5)
    true = float(np.mean(label == (score >= THRESHOLD)))
    assert estimated.estimate(score, calibration)["figures"]["accuracy"]["value"] > true + 0.15


def test_known_labels_give_the_figures_that_scikit_learn_gives() -> None:
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    score, label = outcomes(3, 500)
    order = np.argsort(-score, kind="stable")
    found = estimated.figures(label[order].astype(float), int((score >= THRESHOLD).sum()))
    assert found["average_precision"] == pytest.approx(average_precision_score(label, score))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(label, score))
    assert found["f1"] == pytest.approx(f1_score(label, score >= THRESHOLD))
    assert found["accuracy"] == pytest.approx(np.mean(label == (score >= THRESHOLD)))


def test_a_calibration_rises_is_never_certain_and_says_what_it_never_saw(calibration: dict[str, Any]) -> None:
    shares = calibration["shares"]
    assert shares == sorted(shares) and 0 < shares[0] and shares[-1] < 1 and len(shares) <= estimated.BINS
    beyond = np.linspace(calibration["highest"], 1.0, 50)[1:]
    assert estimated.estimate(beyond, calibration)["outside"] == 1
    few = np.zeros(100, bool)
    few[:29] = True
    assert estimated.fit(np.linspace(0, 1, 100), few, THRESHOLD) is None
    constant = estimated.fit(np.full(100, 0.3), np.arange(100) < 40, None)
    assert constant is not None and constant["shares"] == [0.4] and "accuracy" not in constant["expected"]


def test_an_estimate_that_drops_is_a_warning_at_the_most(calibration: dict[str, Any]) -> None:
    score, _ = outcomes(5, 5_000)
    reference = {"estimate": calibration, "metric": "roc_auc"}
    for scores, state in ((score, "ok"), (np.clip(score, 0.3, 0.5), "warn")):
        block = {"examples": 0, "groups": {}, "estimated": estimated.estimate(scores, calibration)}
        items = verdicts.items({"start": 0, "performance": block}, reference, Params())
        assert {(item.name, item.statistic, item.state) for item in items} == {
            ("estimated", "roc auc", state), ("estimated", "accuracy", state),
        }  # fmt: skip


# ----- intervals


def test_wilson_holds_what_its_paper_holds() -> None:
    found = intervals.wilson(8, 10)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-5)
    assert intervals.wilson(0, 20)["low"] == 0 and intervals.wilson(0, 20)["high"] == pytest.approx(0.16113, abs=1e-4)
    assert intervals.wilson(0, 0) is None


def test_examples_of_one_node_stand_and_fall_together() -> None:
    value = np.repeat(np.random.default_rng(0).normal(size=100), 10)

    def mean(weight: np.ndarray) -> float:
        return float(np.average(value, weights=weight))

    alone = intervals.bootstrap(mean, np.arange(1000), seed=1)
    together = intervals.bootstrap(mean, np.repeat(np.arange(100), 10), seed=1)
    assert alone["deviation"] == pytest.approx(1000**-0.5, rel=0.2)
    assert together["deviation"] == pytest.approx(100**-0.5, rel=0.2)


# ----- cohorts


@dataclass
class Graph:
    """As much of a graph as cohorts ask for."""

    task: Task
    clock: str = "step"
    judges_events: bool = True
    schema: Any = None
    as_of: int = 10_000

    def key(self, node: str) -> np.ndarray:
        return np.array([f"p{place}" for place in range(100_000)], object)


def cohort_source(count: int = 4_000, seed: int = 0, concept: float = 0.0, **label: Any) -> Source:
    """One payment a step; labels come 100 steps later."""
    settings = {"column": "fraud", "known_after": 100, **label}
    split = {"kind": "temporal", "train_end": 0, "validation_end": 1}
    task = Task.parse({"node": "payment", "label": settings, "split": split, "slices": ["channel"]})
    score, truth = outcomes(seed, count, concept=concept)
    time = np.arange(count)
    examples = pd.DataFrame({
        "node": time.astype(np.int32), "time": time, "label": pd.array(truth, dtype="boolean"), "known": time + 100,
        "slice.channel": np.where(time % 4 == 0, "shop", "web"),
    })  # fmt: skip
    return Source(Graph(task), None, examples, score)  # type: ignore[arg-type]


REFERENCE: dict[str, Any] = {
    "label_age": 100, "slices": ["channel=web", "channel=shop", "channel=gone"], "timed": True, "train_end": 0,
    "scores": {"threshold": THRESHOLD, "edges": [], "deviation": 0.3, "mean": 0.4, "histogram": False},
    "estimate": None, "metric": "average_precision", "columns": {}, "until": 0, "period": 1_000, "clock": "step",
}  # fmt: skip


def test_a_cohort_is_judged_when_its_labels_are_due_and_by_those_known_then() -> None:
    source = cohort_source()
    found = cohorts.cohort(source, Period(1_100, 2_100), 100)
    assert (found.period, found.rows[0], found.rows[-1]) == (Period(1_000, 2_000), 1_000, 1_999)
    assert found.maturity == 1
    young = cohorts.cohort(source, Period(1_100, 2_100), 40)
    assert young.maturity == pytest.approx(0.941), "of the last 59 steps the labels are not known yet"
    assert not young.label[~young.known].any()
    assert cohorts.label_age(source, 4_000) == 100
    assert cohorts.cohort(source, Period(50_000, 60_000), 100).maturity is None


def test_where_labels_take_unequally_long_nine_of_ten_are_waited_for() -> None:
    source = cohort_source(known_after=0, known_at="fraud_at")
    taken = np.random.default_rng(0).integers(0, 1_000, 4_000)
    source.examples["known"] = source.examples["time"] + taken
    assert cohorts.label_age(source, 4_000) == pytest.approx(900, abs=25)
    source.examples.loc[source.examples["time"] >= 3_000, "known"] += 5_000
    source.examples.loc[(source.examples["known"] >= 3_000) & (source.examples["time"] < 3_000), "known"] += 9_000
    assert cohorts.label_age(source, 3_000) == pytest.approx(900, abs=25), "what comes later is not known"


def test_performance_has_an_interval_around_each_figure_overall_and_by_slice() -> None:
    source = cohort_source()
    block = performance.build(source, Period(1_100, 2_100), REFERENCE)
    assert (block["cohort"], block["examples"], block["labels"], block["maturity"]) == ([1_000, 2_000], 1000, 1000, 1)
    assert list(block["groups"]) == ["payment", "payment channel=web", "payment channel=shop", "payment channel=gone"]
    whole, gone = block["groups"]["payment"], block["groups"]["payment channel=gone"]
    assert gone["state"] == "insufficient_labels" and gone["maturity"] is None and "figures" not in gone
    rows = slice(1_000, 2_000)
    score, label = source.scores[rows], source.examples["label"].iloc[rows].to_numpy(bool)
    figures = whole["figures"]
    assert figures["accuracy"]["value"] == pytest.approx(np.mean(label == (score >= THRESHOLD)))
    assert figures["recall"]["value"] == pytest.approx((label & (score >= THRESHOLD)).sum() / label.sum(), rel=1e-5)
    assert all(one["low"] <= one["value"] <= one["high"] for one in figures.values())
    assert set(block["groups"]["payment channel=shop"]["figures"]) == {"average_precision", "calibration_error"}


def test_a_slice_without_labels_is_told_and_leaves_the_verdict_on_the_whole() -> None:
    source = cohort_source()
    now = {"start": 1_100, "end": 2_100, "performance": performance.build(source, Period(1_100, 2_100), REFERENCE)}
    items = compare.items(now, Past(REFERENCE, [now] * 8), Params())
    assert ("payment channel=gone", "insufficient_labels") in {(item.name, item.state) for item in items}
    assert compare.families(items, {}, Params())["performance"]["state"] == "ok"
    missing = [item for item in items if item.name == "payment channel=gone"]
    whole = [replace(item, name="payment") for item in missing]
    assert compare.families(items + whole, {}, Params())["performance"]["state"] == "insufficient_labels"


def test_a_column_with_an_equals_sign_has_its_slices() -> None:
    examples = pd.DataFrame({"slice.a": ["x", "b=1", "y"], "slice.a=b": ["1", "2", "1"]})
    assert cohorts.freeze(examples)[0] == "a=b=1"
    found = {name: inside.tolist() for name, inside in cohorts.slices(examples, np.arange(3), ["a=b=1", "a=x", "c=1"])}
    assert found == {"a=b=1": [True, False, True], "a=x": [True, False, False]}


@pytest.mark.parametrize(("hidden", "positives"), [(0.25, 1.0), (0.0, 0.05)])
def test_too_few_labels_give_no_figure_but_a_state(hidden: float, positives: float) -> None:
    source = cohort_source()
    state, label = np.random.default_rng(4), source.examples["label"]
    label[state.random(len(label)) < hidden] = pd.NA
    label[label.fillna(False) & (state.random(len(label)) > positives)] = False
    block = performance.build(source, Period(1_100, 2_100), REFERENCE)
    assert block["groups"]["payment"]["state"] == "insufficient_labels" and "figures" not in block["groups"]["payment"]
    now = {"start": 1_100, "end": 2_100, "performance": block}
    assert not measures.measures(now, REFERENCE, 0.8, 30)
    items = compare.items(now, Past(REFERENCE, []), Params())
    assert {item.state for item in items} == {"insufficient_labels"}
    assert compare.families(items, {}, Params())["performance"]["state"] == "insufficient_labels"


def test_labels_that_never_come_and_scores_that_are_not_there_are_no_figures() -> None:
    source = cohort_source()
    source.examples["label"] = pd.array([pd.NA] * 4_000, dtype="boolean")
    never = performance.build(source, Period(1_100, 2_100), REFERENCE)
    assert (never["maturity"], never["groups"]["payment"]["state"]) == (0, "insufficient_labels")
    empty = performance.build(source, Period(50_000, 60_000), REFERENCE)
    assert (empty["examples"], empty["maturity"], empty["groups"]) == (0, None, {})
    unscored = Source(source.graph, source.features, source.examples, np.full(4_000, np.nan))
    block = performance.build(unscored, Period(1_100, 2_100), REFERENCE)
    items = verdicts.items({"start": 0, "performance": block}, REFERENCE, Params())
    assert ("performance", "every cohort", "insufficient_labels") in [(i.family, i.name, i.state) for i in items]


def test_worse_predictions_alarm_and_better_ones_do_not() -> None:
    def profile(concept: float, place: int) -> dict[str, Any]:
        source = cohort_source(1_200, place, concept)
        block = performance.build(source, Period(100, 1_100), REFERENCE)
        return {"start": 1_000 * place + 100, "end": 1_000 * place + 1_100, "performance": block}

    history = [profile(0.1, place) for place in range(14)]
    for concept, expected in ((0.1, set()), (0.4, {"average precision", "calibration error"}), (0.0, set())):
        items = compare.items(profile(concept, 99), Past(REFERENCE, history), Params())
        loud = {item.statistic for item in items if item.state in ("warn", "alarm") and item.name == "payment"}
        assert loud == expected, concept
    assert compare.families(items, {}, Params())["performance"]["past"] == 14


def test_scores_are_summarised_by_slice() -> None:
    source = cohort_source()
    block = predictions.build(source, Period(1_000, 2_000), REFERENCE)
    shop = block["slices"]["channel=shop"]
    own = source.scores[1_000:2_000:4]
    assert shop["rows"] == 250 and shop["mean"] == pytest.approx(own.mean(), rel=1e-4)
    assert shop["above"] == pytest.approx(np.mean(own >= THRESHOLD)) and "channel=gone" not in block["slices"]
    found = {(one.name, one.statistic) for one in measures.measures({"predictions": block}, REFERENCE, 0.8, 30)}
    assert {
        ("score", "mean"),
        ("score channel=shop", "mean"),
        ("decision channel=web", "share above threshold"),
    } <= found
    assert cohorts.freeze(source.examples) == ["channel=web", "channel=shop"]


# ----- the audit


def audited(seed: int, concept: float, size: int = 200) -> tuple[pd.DataFrame, dict[str, float]]:
    """A labelled audit sample of 5,000 predictions, and the figures of all of them."""
    score, label = outcomes(seed, 5_000, 0.2, concept)
    decision = score >= THRESHOLD
    keys = [f"k{place:04d}" for place in range(5_000)]
    frame = pd.DataFrame({"key": keys, "time": np.arange(5_000), "score": score, "decision": decision})
    drawn = audit.sample(frame, size, seed)
    place = drawn["time"].to_numpy()
    true = {"accuracy": float(np.mean(label == decision)), "precision": float(label[decision].mean())}
    true["missed"] = float(label[~decision].mean())
    return drawn.assign(score=score[place], label=pd.array(label[place], dtype="boolean")), true


def test_a_sample_is_drawn_with_known_chances_and_weighs_what_there_is() -> None:
    drawn, _ = audited(1, 0.0)
    assert len(drawn) == 200 and drawn["weight"].sum() == pytest.approx(5_000)
    assert drawn["stratum"].nunique() == 8 and drawn["stratum"].value_counts().min() >= audit.LEAST
    assert set(drawn["label_source"]) == {"audit"} and "score" not in set(audit.sample(_frame(50), 10, 0))
    assert audit.sample(_frame(50), 10, 0)["label"].isna().all()


def _frame(count: int) -> pd.DataFrame:
    score = np.linspace(0, 1, count)
    kind = np.where(np.arange(count) % 5 == 0, "shop", "web")
    keys = [f"k{place:03d}" for place in range(count)]
    return pd.DataFrame({"key": keys, "time": 1, "type": kind, "score": score, "decision": score > 0.9})


def test_the_same_predictions_in_any_order_give_the_same_sample() -> None:
    frame = _frame(500)
    one, other = (audit.sample(rows, 40, 3) for rows in (frame, frame.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(one, other)
    assert not one["key"].equals(audit.sample(frame, 40, 4)["key"])
    assert audit.sample(frame, 10_000, 0)["weight"].eq(1).all()
    few = audit.sample(frame, 9, 0)
    assert len(few) == 9 and few["weight"].sum() == pytest.approx(500), "fewer strata rather than one of which none is"
    assert audit.sample(frame, 1, 0)["weight"].tolist() == [500]


def test_predictions_that_no_sample_can_be_drawn_from_are_refused() -> None:
    frame = _frame(50)
    for bad, message in (
        (frame.drop(columns="decision"), "no column decision"),
        (frame.iloc[:0], "no predictions to draw from"),
        (pd.concat([frame, frame.iloc[:1]]), "predicted twice"),
    ):
        with pytest.raises(UserError, match=message):
            audit.sample(bad, 10, 0)
    with pytest.raises(UserError, match="no size"):
        audit.sample(frame, 0, 0)


def test_weighted_estimates_are_unbiased_and_their_intervals_hold_the_truth(calibration: dict[str, Any]) -> None:
    off, inside = [], []
    for seed in range(40):
        drawn, true = audited(seed, 0.0)
        figures = gap.gap(drawn, calibration)["figures"]
        off.append([figures[name]["audited"]["value"] - true[name] for name in true])
        inside.append(
            [figures[name]["audited"]["low"] <= true[name] <= figures[name]["audited"]["high"] for name in true]
        )
    assert np.abs(np.mean(off, axis=0)).max() < 0.02
    assert np.mean(inside) >= 0.9


def test_the_gap_fires_under_half_a_concept_shift_and_seldom_without(calibration: dict[str, Any]) -> None:
    fired = {}
    for concept, trials in ((0.0, 60), (0.5, 20)):
        states = []
        for seed in range(trials):
            block = {"examples": 0, "groups": {}, "audit": gap.gap(audited(500 + seed, concept)[0], calibration)}
            reference = {"estimate": calibration, "metric": "average_precision"}
            found = verdicts.items({"start": 0, "performance": block}, reference, Params())
            states.append(any(item.state == "alarm" for item in found))
        fired[concept] = float(np.mean(states))
    assert fired[0.0] <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert fired[0.5] >= 0.9


def test_an_audit_that_is_hardly_labelled_says_nothing(calibration: dict[str, Any]) -> None:
    drawn, _ = audited(1, 0.5)
    drawn.loc[drawn.index[: len(drawn) // 2], "label"] = pd.NA
    found = gap.gap(drawn, calibration)
    assert (found["state"], found["sampled"], found["labels"]) == ("insufficient_labels", 200, 100)
    assert "figures" not in found
    drawn, _ = audited(1, 0.5)
    drawn.loc[drawn.index[::10], "label"] = pd.NA
    assert gap.gap(drawn, calibration)["figures"]["accuracy"]["p"] < 0.01, "a tenth may be missing"


# ----- tables of labels


def test_a_sample_comes_back_as_a_table_of_labels(tmp_path: Any) -> None:
    drawn = audit.sample(_frame(100), 20, 0)
    for name in ("audit.csv", "audit.parquet"):
        audit.write(drawn, tmp_path / name)
        with pytest.raises(UserError, match="is there already"):
            audit.write(drawn, tmp_path / name)
        found = labels.read(tmp_path / name, "step")
        assert found.rows["label"].isna().all() and found.rows["weight"].tolist() == drawn["weight"].tolist()
        assert found.rows["key"].tolist() == drawn["key"].tolist() and not found.notes


def test_labels_of_chosen_cases_are_counted_and_left_out(tmp_path: Any) -> None:
    rows = pd.DataFrame({
        "key": ["p1", "p2", "p3", "p4", "p5", "p1"], "label": ["yes", "0", "TRUE", "", "true", "no"],
        "label_source": ["review", "", "audit", "audit", "complaint", "review"], "weight": [1, 1, 7, 7, 1, 1],
    })  # fmt: skip
    rows.to_csv(tmp_path / "labels.csv", index=False)
    found = labels.read(tmp_path / "labels.csv", "step")
    assert found.left_out() == {"complaint": 1, "review": 1}, "of two rows for one prediction the later counts"
    source = cohort_source(10)
    source.examples["label"] = pd.array([pd.NA] * 10, dtype="boolean")
    keys = [f"p{place}" for place in range(10)]
    matched = labels.match(found, source.examples, keys, np.arange(10), until=50)
    assert matched.examples["label"].dropna().to_dict() == {2: False} and matched.examples["known"][2] == 50
    assert matched.audit["row"].tolist() == [3, 4] and matched.audit["weight"].tolist() == [7, 7]
    assert matched.audit["label"].tolist()[0] is True and matched.audit["label"].isna().tolist() == [False, True]


def test_a_label_counts_from_the_moment_it_is_known_and_never_before_its_prediction(tmp_path: Any) -> None:
    table = pd.DataFrame({"key": ["p1", "p2", "p3"], "time": [1, 2, 9], "label": [True] * 3, "known_at": [20, 1, 20]})
    table.to_parquet(tmp_path / "labels.parquet")
    found = labels.read(tmp_path / "labels.parquet", "step")
    examples = cohort_source(10).examples.assign(label=pd.array([pd.NA] * 10, dtype="boolean"))
    keys = [f"p{place}" for place in range(10)]
    late, early = (labels.match(found, examples, keys, np.arange(10), until) for until in (30, 10))
    assert late.examples["label"].dropna().to_dict() == {1: True}, "p3 was predicted at 3, not at 9"
    assert (late.early, late.labelled) == (1, 2) and early.examples["label"].isna().all()


def test_clocks_that_disagree_are_a_finding() -> None:
    told = {"labels known before their prediction": [5, 100], "answers for a moment after they were given": [1, 100]}
    newest = {"performance": {"clocks": told}}
    source = SimpleNamespace(graph=SimpleNamespace(as_of=1, nodes={}, relations={}), relations=[], times={})
    reference = {"node_types": [], "relations": [], "columns": {}}
    found = integrity.check(source, newest, [], reference)  # type: ignore[arg-type]
    assert [(one["rule"], one["what"]) for one in found] == [("clocks disagree", "5 of 100")]


@pytest.mark.parametrize(
    ("written", "clock", "expected"),
    [
        ("2025-01-01T00:00:00", "timestamp", 1_735_689_600_000_000),
        ("2025-01-01T01:00:00+01:00", "timestamp", 1_735_689_600_000_000),
        ("1735689600000000", "timestamp", 1_735_689_600_000_000),
        ("17", "step", 17),
        ("2025-01-01", "step", None),
        ("yesterday", "timestamp", None),
        ("1.5", "step", None),
    ],
)
def test_times_of_labels_are_read_by_the_clock(tmp_path: Any, written: str, clock: Any, expected: int | None) -> None:
    pd.DataFrame({"key": ["a"], "label": [1], "time": [written]}).to_csv(tmp_path / "labels.csv", index=False)
    found = labels.read(tmp_path / "labels.csv", clock)
    assert found.rows["time"].tolist() == ([] if expected is None else [expected])
    assert bool(found.notes) == (expected is None)


def test_tables_of_labels_that_cannot_be_read_are_told(tmp_path: Any) -> None:
    pd.DataFrame({"key": ["a"], "label": [1]}).to_parquet(tmp_path / "good.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    found = labels.read(tmp_path, "step")
    assert len(found.rows) == 1 and len(found.notes) == 1 and found.notes[0].startswith("broken.parquet")
    assert found.unreadable == ["broken.parquet"]
    with pytest.raises(UserError, match="broken.parquet"):
        labels.read(tmp_path / "broken.parquet", "step")
    pd.DataFrame({"id": ["a"]}).to_csv(tmp_path / "other.csv")
    with pytest.raises(UserError, match="no column key, label"):
        labels.read(tmp_path / "other.csv", "step")


# ----- in the stage


def stage(**given: Any) -> judged.Judged:
    """What the stage asks of the newest 1,000 steps; labels come after 100."""
    source = cohort_source(3_000)
    fitted = estimated.fit(source.scores[:1_000], source.examples["label"][:1_000].to_numpy(bool), THRESHOLD)
    model = SimpleNamespace(winner="m", artifact=SimpleNamespace(digest="m" * 64))
    reference = REFERENCE | {"estimate": fitted, "until": 1_000}
    return judged.Judged(model, source, Period(2_000, 3_000), reference, Params.parse(given))  # type: ignore[arg-type]


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    import graphmill

    fake, score = ModuleType("graphmill.predict"), outcomes(0, 3_000)[0]
    fake.score = lambda *given: score[given[-1]["node"].to_numpy()]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "graphmill.predict", fake)
    monkeypatch.setattr(graphmill, "predict", fake, raising=False)


def test_the_stage_scores_the_period_and_the_cohort_whose_labels_are_due(oracle: None) -> None:
    found = stage()
    block = found.performance()
    assert block["cohort"] == [1_900, 2_900] and block["groups"]["payment"]["state"] == "ok"
    assert block["estimated"]["examples"] == block["expected"]["examples"] == 1_000
    assert found.predictions()["scores"]["rows"] == 1_000


def test_the_stage_uses_the_random_audit_and_tells_what_it_left_out(oracle: None, tmp_path: Any) -> None:
    score, truth = outcomes(0, 3_000)
    keys = [f"p{place}" for place in range(1_000, 3_000)]
    decided = score[1_000:3_000] >= THRESHOLD
    frame = pd.DataFrame({
        "key": keys, "time": np.arange(1_000, 3_000), "score": score[1_000:3_000], "decision": decided,
    })  # fmt: skip
    drawn = audit.sample(frame, 200, 0)
    label = pd.array(truth[drawn["time"].to_numpy()], dtype="boolean")
    chosen = pd.DataFrame({"key": keys[:50], "label": True, "label_source": "review"})
    drawn.assign(label=label).to_parquet(tmp_path / "audit.parquet")
    chosen.to_csv(tmp_path / "reviewed.csv", index=False)
    block = stage(labels=str(tmp_path)).performance()
    assert block["left_out"] == {"review": 50} and block["audit"]["labels"] == 200
    accuracy = block["audit"]["figures"]["accuracy"]
    assert accuracy["audited"]["low"] < accuracy["expected"] < accuracy["audited"]["high"] and accuracy["p"] > 0.025


def test_a_log_of_clocks_that_run_ahead_and_of_broken_files_is_told(oracle: None, tmp_path: Any) -> None:
    time = np.arange(2_000, 3_000)
    frame = pd.DataFrame({
        "node": "payment", "key": [f"p{one}" for one in time], "time": time, "answered_at": time.astype(float),
        "score": 0.5, "model": "m" * 16,
    })  # fmt: skip
    frame.to_parquet(tmp_path / "predictions-1.parquet")
    (tmp_path / "predictions-2.parquet").write_bytes(b"PAR1")
    found = stage(predictions=str(tmp_path))
    assert found.predictions()["scores"]["mean"] == 0.5
    assert len(found.notes) == 1 and "predictions-2.parquet" in found.notes[0]
    hour = frame.assign(time=frame["time"] + 3_600_000_000)
    log = judged.served.Log(hour, [])
    assert log.ahead("timestamp") == 1_000 and log.ahead("step") == 0


# ----- streams


@pytest.mark.parametrize("test", ["adwin", "page_hinkley"])
def test_sequential_tests_find_what_becomes_worse_and_nothing_else(test: Any) -> None:
    pytest.importorskip("river", reason="sequential tests need graphmill[streams]")
    state = np.random.default_rng(0)
    quiet = [bool(streams.alarms(state.random(10_000) < 0.1, test, 0.1)) for _ in range(15)]
    assert sum(quiet) <= 1
    worse = np.concatenate([state.random(5_000) < 0.1, state.random(3_000) < 0.2])
    found = streams.alarms(worse, test, 0.1)
    assert found and found[0] >= 5_000
    better = np.concatenate([state.random(5_000) < 0.2, state.random(3_000) < 0.1])
    assert not streams.alarms(better, test, 0.2)


def test_streams_without_river_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(UserError, match=r"graphmill\[streams\]"):
        streams.alarms([0.0], "adwin", 0.1)


def test_an_alarm_of_a_stream_in_the_newest_period_is_a_warning() -> None:
    block = {"examples": 0, "groups": {}, "streams": {"answers": 9, "tests": {"adwin": [5, 20], "page_hinkley": [5]}}}
    found = verdicts.items({"start": 10, "performance": block}, {}, Params())
    assert {(item.statistic, item.state) for item in found} == {("adwin", "warn"), ("page_hinkley", "ok")}


def test_enough_is_what_the_parameters_say() -> None:
    assert cohorts.ENOUGH == Enough(Params().label_share, Params().positives) == Enough(0.8, 30)
