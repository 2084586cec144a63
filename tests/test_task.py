"""The task: labels, splits and the columns that they need."""

import pytest

from graphmill.errors import UserError
from graphmill.task import Task, check_times, whole

TASK = {"node": "user", "label": {"column": "bad"}, "split": {"kind": "random"}}


def task(**values):
    return Task.parse(TASK | values, "task")


def test_defaults():
    plain = task()
    assert (plain.kind, plain.metric, plain.moments, plain.slices) == (
        "node_classification", "average_precision", None, [],
    )  # fmt: skip
    assert Task.parse(plain.canonical()) == plain


def test_columns_of_the_nodes_own_table():
    label = {"column": "bad", "known_at": "seen_at"}
    split = {"kind": "column", "columns": ["fold_0", "fold_1"]}
    assert task(label=label, split=split, slices=["land", "bad"]).columns() == [
        "land", "bad", "seen_at", "fold_0", "fold_1",
    ]  # fmt: skip
    elsewhere = {"table": "labels", "key": "id"}
    assert task(label=label | elsewhere, split=split | elsewhere, slices=["land"]).columns() == ["land"]


def test_numbers_of_a_split_column_are_text():
    split = task(split={"kind": "column", "columns": ["fold"], "train": 0.0, "validation": 1, "test": "2"}).split
    assert (split.train, split.validation, split.test) == ("0", "1", "2")


def test_whole_numbers_in_lists():
    assert whole([3.0, 3.5, "7d", [1.0]]) == [3, 3.5, "7d", [1]]
    label = {"column": "bad", "since": "bad_at", "between": [0.0, 5.0]}
    split = {"kind": "temporal", "train_end": 5, "validation_end": 9}
    assert task(label=label, moments=[3.0], split=split).label.between == (0, 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": {"column": "bad", "table": "labels"}}, "task.label: `table` and `key` belong together"),
        ({"label": {"column": "bad", "since": "at"}}, "task.label: `since` and `between` belong together"),
        (
            {"label": {"column": "bad", "known_at": "at", "known_after": "7d"}},
            "task.label: give `known_after` or `known_at`, not both",
        ),
        ({"label": {"column": "bad", "known_after": "-7d"}}, "task.label.known_after: must not be negative"),
        ({"label": {"column": "bad", "known_after": -1.0}}, "task.label.known_after: must not be negative"),
        ({"label": {"column": "bad", "positive": True}}, "task.label.positive: a value is read as true; write it in"),
        (
            {"label": {"column": "bad", "since": "at", "between": ["0d", "7d"]}},
            "task: label.since needs `moments`: when is an entity to be scored?",
        ),
        ({"label": {"column": "bad", "since": "at", "between": ["0d"]}}, "task.label.between.1: is missing"),
        ({"label": {"column": "bad", "since": "at", "between": [1, 2, 3]}}, "task.label.between: .* at most 2"),
        (
            {"split": {"kind": "column", "columns": ["fold"], "validation": "train"}},
            "task.split: `train`, `validation` and `test` must be three values",
        ),
        ({"split": {"kind": "column", "columns": []}}, "task.split.columns: .* at least 1"),
        ({"split": {"kind": "column", "columns": ["f"], "test": False}}, "task.split.test: a value is read as false"),
        ({"split": {"kind": "random", "test": 1.0}}, "task.split.test: must be less than 1"),
        ({"metric": "auc"}, "task.metric: must be 'average_precision' or 'roc_auc'; did you mean 'roc_auc'"),
    ],
)
def test_a_wrong_task(values, message):
    with pytest.raises(UserError, match=message):
        task(**values)


TIMED = {
    "label": {"column": "bad", "since": "at", "between": ["0d", "30d"]},
    "moments": {"first": "as_of - 90d", "every": "7d"},
    "split": {"kind": "temporal", "train_end": "as_of - 30d", "validation_end": "2025-03-01"},
}


def test_times_that_the_clock_knows():
    check_times(task(**TIMED), "timestamp")
    check_times(task(**TIMED | {"moments": ["2025-01-01", "as_of"]}), "timestamp")
    check_times(task(split={"kind": "temporal", "train_end": 5, "validation_end": "as_of - 7"}), "step")
    check_times(task(), "step")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"label": {"column": "bad", "known_after": "3 fortnights"}}, "task.label.known_after"),
        ({"label": {"column": "bad", "since": "at", "between": ["0d", "soon"]}}, "task.label.between"),
        ({"moments": ["2025-01-01", "soon"]}, "task.moments"),
        ({"moments": {"first": "soon", "every": "7d"}}, "task.moments.first"),
        ({"moments": {"first": "as_of", "every": "month"}}, "task.moments.every"),
        ({"moments": {"first": "as_of", "every": "0d"}}, "task.moments.every"),
        ({"split": {"kind": "temporal", "train_end": "as_of - 1y", "validation_end": "as_of"}}, "task.split.train_end"),
        ({"split": {"kind": "temporal", "train_end": "as_of", "validation_end": 5}}, "task.split.validation_end"),
    ],
)
def test_times_that_it_does_not_are_named(values, name):
    with pytest.raises(UserError, match=f"{name}: "):
        check_times(task(**TIMED | values), "timestamp")
