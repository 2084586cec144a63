"""Parameters: what is wrong is told in readable lines, each with its whole path."""

import math

import pytest

from graphmill import params
from graphmill.deploy.params import Params as Deploy
from graphmill.errors import UserError
from graphmill.explain import known
from graphmill.features import Params as Features
from graphmill.schema import Schema
from graphmill.task import Task
from graphmill.train.params import Params as Train
from tests import tiny

TASK = {"node": "user", "label": {"column": "bad"}, "split": {"kind": "random"}}
SECTIONS = {"task": Task, "schema": Schema, "train": Train, "features": Features, "deploy": Deploy}


def told(section, values):
    """What the user reads."""
    with pytest.raises(UserError) as caught:
        SECTIONS[section].parse(values, section)
    return str(caught.value).splitlines()


def node(**values):
    return {"nodes": {"user": {"table": "users", "key": "id", **values}}}


def test_every_section_of_the_tiny_network_parses():
    given = tiny.params()
    for name, section in SECTIONS.items():
        section.parse(given[name], name)


@pytest.mark.parametrize(
    ("split", "lines"),
    [
        ({"train_end": "2025-01-01"}, ["task.split.kind: is missing; it is 'temporal', 'random' or 'column'"]),
        (
            {"kind": "temporl"},
            ["task.split.kind: must be 'temporal', 'random' or 'column'; did you mean 'temporal'? (given 'temporl')"],
        ),
        ({"kind": 3}, ["task.split.kind: must be 'temporal', 'random' or 'column' (given '3')"]),
        ({"kind": "random", "fold": 3}, ["task.split.fold: unknown parameter; did you mean 'folds'? (given 3)"]),
        ({"kind": "random", "folds": 5.5}, ["task.split.folds: must be a whole number (given 5.5)"]),
        ({"kind": "random", "folds": 1}, ["task.split.folds: must be greater than or equal to 2 (given 1)"]),
        ({"kind": "random", "seed": True}, ["task.split.seed: must be a number, not true"]),
        ({"kind": "column", "columns": "fold"}, ["task.split.columns: must be a list (given 'fold')"]),
        (
            {"kind": "column", "columns": ["fold"], "table": "folds"},
            ["task.split: `table` and `key` belong together"],
        ),
        (
            {"kind": "temporal", "train_end": 4.5, "validation_end": None},
            [
                "task.split.train_end: must be text or a whole number (given 4.5)",
                "task.split.validation_end: must be text or a whole number (given nothing)",
            ],
        ),
        ("random", ["task.split: must be a mapping (given 'random')"]),
        (None, ["task.split: must be a mapping (given nothing)"]),
    ],
)
def test_a_wrong_split(split, lines):
    assert told("task", TASK | {"split": split}) == lines


def test_a_misspelt_required_parameter_is_told_from_both_sides():
    split = {"kind": "temporal", "train_ed": "2025-01-01", "validation_end": "2025-02-01"}
    missing, unknown = told("task", TASK | {"split": split})
    assert missing.startswith("task.split.train_end: is missing (Training examples ")
    assert unknown == "task.split.train_ed: unknown parameter; did you mean 'train_end'? (given '2025-01-01')"


@pytest.mark.parametrize(
    ("moments", "line"),
    [
        (
            {"first": "2025-01-01", "every": "7d", "evry": 1},
            "task.moments.evry: unknown parameter; did you mean 'every'",
        ),
        ({"first": 3.5, "every": "7d"}, "task.moments.first: must be text or a whole number (given 3.5)"),
        (["2025-01-01", None], "task.moments.1: must be text or a whole number (given nothing)"),
        ("2025-01-01", "task.moments: must be a mapping or a list (given '2025-01-01')"),
        ([], "task.moments: give at least one"),
    ],
)
def test_wrong_moments(moments, line):
    lines = told("task", TASK | {"moments": moments})
    assert len(lines) == 1 and lines[0].startswith(line)


@pytest.mark.parametrize(
    ("section", "values", "line"),
    [
        ("train", {"modle": {}}, "train.modle: unknown parameter; did you mean 'model'?"),
        ("train", {"model": {"hiden": 3}}, "train.model.hiden: unknown parameter; did you mean 'hidden'? (given 3)"),
        ("train", {"model": {"kind": "sag"}}, "train.model.kind: must be "),
        ("train", {"model": None}, "train.model: must be a mapping (given nothing)"),
        ("train", {"epochs": "many"}, "train.epochs: must be a whole number (given 'many')"),
        ("train", {"epochs": True}, "train.epochs: must be a number, not true"),
        ("train", {"recent": "maybe"}, "train.recent: must be true or false (given 'maybe')"),
        ("train", {"fanouts": [15, "x"]}, "train.fanouts.1: must be a whole number (given 'x')"),
        ("train", {"fanouts": [0]}, "train.fanouts: each is a number of edges"),
        ("train", {"learning_rate": math.nan}, "train.learning_rate: nan is not a number that"),
        ("train", {"learning_rate": "1e999"}, "train.learning_rate: must be a finite number (given '1e999')"),
        ("train", {"epochs": ["x"] * 99}, "train.epochs: must be a whole number (given ['x', 'x', "),
        ("features", {"windows": [{"over": "a", "size": [1]}]}, "features.windows.0.size: unknown parameter; did you "),
        (
            "features",
            {"windows": [{"over": "a", "sizes": [1.5]}]},
            "features.windows.0.sizes.0: must be text or a whole ",
        ),
        ("features", {"windows": ["a"]}, "features.windows.0: must be a mapping (given 'a')"),
        (
            "features",
            {"windows": [{"over": "a", "columns": {"amount": ["men"]}}]},
            "features.windows.0.columns.amount.0: must be 'sum', 'mean' or 'deviation'; did you mean 'mean'?",
        ),
        ("schema", node(ky=1), "schema.nodes.user.ky: unknown parameter; did you mean 'key'? (given 1)"),
        ("schema", node(columns={"x": "numerc"}), "schema.nodes.user.columns.x.kind: must be 'numeric', "),
        (
            "schema",
            node(columns={"x": {"kind": "numeric", "minimm": 3}}),
            "schema.nodes.user.columns.x.minimm: unknown",
        ),
        ("schema", node(links={"x": "usr"}), "schema.nodes.user.links.x: no node type 'usr'; known: user"),
        ("deploy", {"promote": "at_onec"}, "deploy.promote: must be 'rollout' or 'at_once'; did you mean 'at_once'?"),
        ("task", [1], "task: must be a mapping (given [1])"),
        ("task", None, "task: must be a mapping (given nothing)"),
    ],
)
def test_one_line_with_the_whole_path(section, values, line):
    lines = told(section, values)
    assert len(lines) == 1 and lines[0].startswith(line) and len(lines[0]) < 200


def test_several_mistakes_are_told_at_once():
    lines = told("train", {"epoch": 3, "model": {"hiden": 1}, "patience": "x"})
    assert [line.split(":")[0] for line in lines] == ["train.model.hiden", "train.patience", "train.epoch"]


def test_known_names_inside_lists_mappings_and_alternatives():
    assert "sizes" in known(Features, ("windows", 0))
    assert "minimum" in known(Schema, ("nodes", "user", "columns", "age"))
    assert "folds" in known(Task, ("split", "random"))
    assert known(Task, ("moments", "function-before[_no_switches(), Moments]")) == ["first", "every"]
    assert known(Task, ("node",)) == []


def test_values_as_kubeflow_sends_them():
    sent = Train.parse({"epochs": 3.0, "fanouts": [15.0, 10.0], "model": {"hidden": 8.0}}, "train")
    assert (sent.epochs, sent.fanouts, sent.model.hidden) == (3, [15, 10], 8)
    assert sent.canonical() == Train.parse({"epochs": 3, "fanouts": [15, 10], "model": {"hidden": 8}}).canonical()
    split = {"kind": "temporal", "train_end": 3.0, "validation_end": 5.0}
    label = {"column": "bad", "positive": -10.0, "known_after": 2.0}
    task = Task.parse(TASK | {"split": split, "label": label, "moments": [3.0, 4.0]}, "task")
    assert (task.split.train_end, task.label.positive, task.label.known_after) == (3, "-10", 2)
    assert [type(moment) for moment in task.moments] == [int, int]


def test_yaml_writes_small_numbers_without_a_point():
    assert Train.parse({"learning_rate": "5e-3"}).learning_rate == 0.005


def load(folder, content):
    file = folder / "params.yaml"
    file.write_bytes(content)
    return params.load(file)


def test_load(tmp_path):
    content = (
        b"task: {split: {train_end: 2025-03-15, validation_end: 2025-04-05 12:00:00}}\ntrain:\nschema: {nodes: {1: {}}}"
    )
    sections = load(tmp_path, content)
    assert tuple(sections) == params.SECTIONS
    assert sections["task"]["split"] == {"train_end": "2025-03-15", "validation_end": "2025-04-05T12:00:00"}
    assert sections["train"] == sections["deploy"] == {}
    assert sections["schema"] == {"nodes": {"1": {}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {a: ü}".encode("latin1"), "not UTF-8 text .*byte 0xfc.*save it as UTF-8"),
        (b"train: {a: [", "not readable as YAML: .*(\n.*)*line 1, column 13"),
        (b"train:\n\tepochs: 1", "line 2, column 1"),
        (b"train: {epochs: 3}\ntrain: {epochs: 4}", "'train' is given twice\n.*line 2"),
        (b"train: {epochs: 3, epochs: 4}", "'epochs' is given twice"),
        (b"task: {at: 2025-02-30}", "not readable as YAML: day is out of range"),
        (b"train: {}\n---\ntrain: {}", "expected a single document"),
        (b"train: !!python/object:os.system {}", "could not determine a constructor"),
        (b"", "a params file is a mapping of sections: schema, task, "),
        (b"- train", "a params file is a mapping of sections"),
        (b"trian: {}", "unknown section 'trian'; did you mean 'train'?"),
        (b"3: {}", "unknown section 3; known: schema, "),
        (b"train: [epochs]", r"section 'train' must be a mapping, not \['epochs'\]"),
        (b"train: no", "section 'train' must be a mapping, not False"),
        (b"train: {model: {sizes: [1, .nan]}}", "train.model.sizes.1: nan is not a number"),
        (b"schema: {nodes: {no: {}}}", "schema.nodes: YAML reads one of its names as false; write that name in quotes"),
        (b"train: {a: !!set {x, y}}", "train.a: a parameter is text, a number"),
        (b"train: {a: !!binary aGVsbG8=}", "train.a: a parameter is text, a number"),
    ],
)
def test_a_wrong_file(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, content)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="none.yaml: no such params file"):
        params.load(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        params.load(tmp_path)
