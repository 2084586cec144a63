"""Splits: who trains, who validates, who tests, and who may not take part."""

import numpy as np
import pandas as pd
import pytest

from graphmill.errors import UserError
from graphmill.features.split import assign
from graphmill.task import Task

AS_OF = 1_000


def examples(count=100, delay=0, positive=0.3, seed=0):
    state = np.random.default_rng(seed)
    time = np.arange(count, dtype=np.int64)
    label = pd.array(state.random(count) < positive, dtype="boolean")
    return pd.DataFrame({"node": time.astype(np.int32), "time": time, "label": label, "known": time + delay})


def task(**split):
    return Task.parse({"node": "user", "label": {"column": "bad"}, "split": split}, "task")


def parts(frame, **split):
    found = assign(frame, task(**split), "step", AS_OF)
    return [found[name].to_numpy() for name in found if name.startswith("split_")]


def temporal(frame, train_end=60, validation_end=80):
    return parts(frame, kind="temporal", train_end=train_end, validation_end=validation_end)[0]


def test_temporal_borders():
    part = temporal(examples())
    assert (part[:60] == "train").all() and (part[60:80] == "validation").all() and (part[80:] == "test").all()


def test_the_gap_is_the_labels_delay():
    part = temporal(examples(delay=5))
    # the label of 55 is known at 60, just in time; that of 56 is not
    assert (part[:56] == "train").all() and (part[56:60] == "none").all()
    assert (part[60:76] == "validation").all() and (part[76:80] == "none").all() and (part[80:] == "test").all()


def test_moments_may_count_back_from_the_as_of_moment():
    found = assign(examples(), task(kind="temporal", train_end="as_of - 40", validation_end="as_of - 20"), "step", 100)
    assert found["split_0"].tolist() == temporal(examples()).tolist()


def test_what_has_no_label_takes_no_part():
    frame = examples()
    frame.loc[[3, 65, 90], "label"] = pd.NA
    assert temporal(frame)[[3, 65, 90]].tolist() == ["none"] * 3
    for part in parts(frame, kind="random", folds=4):
        assert part[[3, 65, 90]].tolist() == ["none"] * 3


def test_random_is_stratified_and_repeatable():
    frame = examples(400)
    (first,), (again,) = parts(frame, kind="random", seed=3), parts(frame, kind="random", seed=3)
    (other,) = parts(frame, kind="random", seed=4)
    assert first.tolist() == again.tolist() != other.tolist()
    assert [(first == name).sum() for name in ("train", "validation", "test", "none")] == [256, 64, 80, 0]
    rates = frame["label"].astype(float).groupby(first).mean()
    assert rates.max() - rates.min() < 0.02


def test_every_fold_is_the_test_part_once():
    frame = examples(100)
    found = parts(frame, kind="random", folds=5, validation=0.25)
    tested = np.stack([part == "test" for part in found])
    assert len(found) == 5 and (tested.sum(0) == 1).all() and (tested.sum(1) == 20).all()
    assert [(part == "validation").sum() for part in found] == [20] * 5


def test_published_columns():
    frame = examples(6).assign(
        label=pd.array([True, False] * 3, dtype="boolean"),
        fold=["0", "0", "1", "1", "2", "2"],
        other=["train", "train", "validation", "validation", "test", "test"],
    )
    first = parts(frame, kind="column", columns=["fold"], train=0, validation=1.0, test="2")
    second = parts(frame, kind="column", columns=["other"])
    assert first[0].tolist() == second[0].tolist() == frame["other"].tolist()
    found = assign(frame, task(kind="column", columns=["other", "other"]), "step", AS_OF)
    assert found["split_1"].tolist() == frame["other"].tolist()


def test_another_value_of_the_column_leaves_out():
    frame = examples(8).assign(
        label=pd.array([True, False] * 4, dtype="boolean"),
        part=["train", "train", "validation", "validation", "test", "test", "holdout", None],
    )
    assert parts(frame, kind="column", columns=["part"])[0].tolist()[6:] == ["none", "none"]


def refused(frame, message, clock="step", **split):
    with pytest.raises(UserError, match=message):
        assign(frame, task(**split), clock, AS_OF)


def test_an_empty_part_says_how_the_times_lie():
    message = "split_0: the test part is empty; of 100 examples 60 are train, 40 are validation, 0 are test, 0 are none"
    refused(examples(), message, kind="temporal", train_end=60, validation_end=200)
    refused(examples(), "their times are from 0 to 99", kind="temporal", train_end=60, validation_end=200)
    moments = {"kind": "temporal", "train_end": "2025-01-01", "validation_end": "2025-02-01"}
    refused(examples(), "times are from 1970-01-01T00:00:00 to 1970-01-01T", "timestamp", **moments)
    refused(examples(), "the train part is empty", kind="temporal", train_end=0, validation_end=50)
    refused(examples(delay=30), "the validation part is empty", kind="temporal", train_end=60, validation_end=80)
    refused(
        examples(0),
        "the train part is empty; of 0 .* no example at all",
        kind="temporal",
        train_end=1,
        validation_end=2,
    )


def test_borders_in_the_wrong_order():
    refused(examples(), "train_end must be before validation_end", kind="temporal", train_end=80, validation_end=60)
    refused(
        examples(), "train_end: '2025-01-01' is not a step", kind="temporal", train_end="2025-01-01", validation_end=3
    )


def test_an_empty_part_says_which_values_the_column_holds():
    frame = examples(6).assign(fold=["Train", "valid", "Test", None, "Train", "Test"])
    refused(
        frame,
        "split_0: the train part is empty; .*'fold' holds Test, Train, nothing, valid",
        kind="column",
        columns=["fold"],
    )


def test_one_class():
    frame = examples()
    frame.loc[80:, "label"] = False
    refused(frame, "every label of the test part is False", kind="temporal", train_end=60, validation_end=80)
    refused(frame.assign(label=True), "100 labelled examples cannot be split|every label", kind="random")


def test_too_few_to_split():
    frame = examples(20, positive=0.0)
    frame.loc[[1, 2, 3], "label"] = True
    refused(frame, "the rarer class has 3, fewer than 5 folds", kind="random", folds=5)
    frame.loc[[2, 3], "label"] = False
    refused(frame, "20 labelled examples cannot be split: ", kind="random")
    refused(frame.assign(label=pd.array([None] * 20, "boolean")), "0 labelled examples cannot be split", kind="random")
