"""What is to be predicted: the node, its label, when the label is known, and how examples are split."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from graphmill.clock import Clock, duration, moment
from graphmill.errors import UserError
from graphmill.params import Section, quoted

Moment = str | int
Duration = str | int


def whole(value: Any) -> Any:
    """Whole floats as integers: Kubeflow turns every number of a nested parameter into a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [whole(item) for item in value] if isinstance(value, list) else value


class Label(Section):
    """Where the label stands and from when on it may be used."""

    column: str
    """The column; true/false, 0/1, or any two values with `positive` naming the one to predict."""
    table: str | None = None
    """The table that has it, when that is not the node's own; needs `key`."""
    key: str | None = None
    """The column of that table that names the node."""
    positive: str | None = None
    """The value that counts as true; for columns that are not boolean."""
    known_after: Duration = 0
    """How long after the example's time the label becomes known."""
    known_at: str | None = None
    """The column that says when the label became known, instead of `known_after`."""
    since: str | None = None
    """Entities over time: the column that says from when on the label is true; missing (on a clock of steps also
    a negative step) is never."""
    between: tuple[Duration, Duration] | None = None
    """With `since`: an example at t is positive when `since` lies in [t + first, t + second)."""

    _whole = field_validator("known_after", "between", mode="before")(whole)

    @field_validator("positive", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return value if value is None else quoted(value)

    @field_validator("known_after")
    @classmethod
    def _later(cls, value: Duration) -> Duration:
        if str(value).strip().startswith("-"):
            raise ValueError("must not be negative: no label is known before its example")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.table is None) != (self.key is None):
            raise ValueError("`table` and `key` belong together")
        if (self.since is None) != (self.between is None):
            raise ValueError("`since` and `between` belong together")
        if self.known_at is not None and self.known_after != 0:
            raise ValueError("give `known_after` or `known_at`, not both")
        return self


class TemporalSplit(Section):
    """Train before one moment, validate until the next, test after; only labels known in time count."""

    kind: Literal["temporal"]
    train_end: Moment
    """Training examples have a label known by this moment; `as_of - 90d` moves with the data."""
    validation_end: Moment
    """Validation examples lie between, with a label known by this moment; test examples follow."""

    _whole = field_validator("train_end", "validation_end", mode="before")(whole)


class RandomSplit(Section):
    """For data without time: stratified parts, or cross-validation."""

    kind: Literal["random"]
    folds: int | None = Field(None, ge=2)
    """Cross-validation: each fold is the test part once."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the test part (without `folds`)."""
    validation: float = Field(0.2, gt=0, lt=1)
    """Share of the remaining examples that validates."""
    seed: int = 0
    """Seed of the permutation."""


class ColumnSplit(Section):
    """Published splits: one column a split, its values naming the part."""

    kind: Literal["column"]
    columns: list[str] = Field(min_length=1)
    """One column a split; figures are means over them."""
    table: str | None = None
    """The table that has them, when that is not the node's own; needs `key`."""
    key: str | None = None
    """The column of that table that names the node."""
    train: str = "train"
    """The value of training examples."""
    validation: str = "validation"
    """The value of validation examples."""
    test: str = "test"
    """The value of test examples; any other value leaves the example out."""

    _text = field_validator("train", "validation", "test", mode="before")(quoted)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len({self.train, self.validation, self.test}) < 3:
            raise ValueError("`train`, `validation` and `test` must be three values")
        if (self.table is None) != (self.key is None):
            raise ValueError("`table` and `key` belong together")
        return self


class Moments(Section):
    """When entities are scored: from `first` on, every `every`, until the data's end."""

    first: Moment
    """The first moment at which there is an example."""
    every: Duration
    """The distance between moments."""

    _whole = field_validator("first", "every", mode="before")(whole)


class Task(Section):
    """Section `task`."""

    kind: Literal["node_classification"] = "node_classification"
    """Binary classification of nodes."""
    node: str
    """The node type: events are judged when they happen, entities at `moments`."""
    label: Label
    """What is predicted."""
    split: Annotated[TemporalSplit | RandomSplit | ColumnSplit, Field(discriminator="kind")]
    """How examples are divided."""
    moments: Moments | list[Moment] | None = None
    """When entities are scored; without it once, at the as-of moment. Events have their own time."""
    metric: Literal["average_precision", "roc_auc"] = "average_precision"
    """What early stopping, the choice of the winner and the gates go by."""
    slices: list[str] = Field(default_factory=list)
    """Columns of the node's table by whose values the evaluation is broken down."""

    _whole = field_validator("moments", mode="before")(whole)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.moments == []:
            raise ValueError("moments: give at least one, or leave it out")
        if self.moments is not None and self.split.kind == "random":
            raise ValueError("moments need a temporal split: at random, one entity would train and test")
        if self.label.since is not None and self.moments is None:
            raise ValueError("label.since needs `moments`: when is an entity to be scored?")
        return self

    def columns(self) -> list[str]:
        """Columns of the task node's own table that the task needs beyond the schema's."""
        names = list(self.slices)
        if self.label.table is None:
            names += [self.label.column]
            names += [name for name in (self.label.known_at, self.label.since) if name]
        if isinstance(self.split, ColumnSplit) and self.split.table is None:
            names += self.split.columns
        return list(dict.fromkeys(names))


def check_times(task: Task, clock: Clock) -> None:
    """Refuse durations and moments that the schema's clock does not know, before work is spent on them.

    Raises:
        UserError: naming the parameter.
    """
    duration(task.label.known_after, clock, "task.label.known_after")
    for item in task.label.between or ():
        duration(item, clock, "task.label.between")
    moments = {"task.moments": task.moments} if isinstance(task.moments, list) else {}
    if isinstance(task.moments, Moments):
        moments["task.moments.first"] = [task.moments.first]
        if duration(task.moments.every, clock, "task.moments.every") <= 0:
            raise UserError(f"task.moments.every: {task.moments.every!r} must be longer than nothing")
    if isinstance(task.split, TemporalSplit):
        moments["task.split.train_end"] = [task.split.train_end]
        moments["task.split.validation_end"] = [task.split.validation_end]
    for name, items in moments.items():
        for item in items:
            moment(item, clock, name, as_of=0)
