"""Section `drift` of params.yaml."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from graphmill.params import Section
from graphmill.task import Duration, whole

Family = Literal["feature", "structure", "prediction"]


class Bounds(Section):
    """How large a change has to be; a verdict needs the size *and* that it is unusual."""

    floor: float = Field(ge=0)
    """With enough past periods: smaller changes are never told, however certain they are."""
    notable: float = Field(ge=0)
    """With few past periods: from here on a warning."""
    large: float = Field(ge=0)
    """With few past periods: from here on an alarm; with next to none, a warning."""
    gross: float = Field(ge=0)
    """With next to no past periods: from here on an alarm."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.floor <= self.notable <= self.large <= self.gross:
            raise ValueError("must grow: floor, notable, large, gross")
        return self


class Params(Section):
    """Section `drift`."""

    period: Duration | None = None
    """Length of a period; without it the model's own, a twelfth of its training time in whole weeks or days. Another
    length profiles the past again from the graph. Data without time is one period."""
    warn: float = Field(0.05, gt=0, lt=1)
    """A warning below this p-value, corrected within its family."""
    alarm: float = Field(0.01, gt=0, lt=1)
    """An alarm below this p-value, corrected within its family."""
    enough: int = Field(12, ge=3)
    """From so many past periods on p-values decide; below, `cold_start`: sizes alone do."""
    few: int = Field(5, ge=2)
    """Below so many past periods their spread says nothing: the bounds are one notch higher."""
    shift: float = Field(6.0, gt=0)
    """Cold start: a change must also be so many times the past periods' own spread."""
    history: int = Field(30, ge=1)
    """How many of the model's past periods are compared with, the newest."""
    deviation: Bounds = Bounds(floor=0.02, notable=0.1, large=0.25, gross=0.75)
    """Of numeric columns and scores: changes in standard deviations."""
    rate: Bounds = Bounds(floor=0.005, notable=0.03, large=0.1, gross=0.3)
    """Of shares (missing, categories, decisions, labels) and of distances between distributions."""
    structure: Bounds = Bounds(floor=0.02, notable=0.1, large=0.25, gross=0.75)
    """Of structural values: changes relative to their mean; their shares must also move by `rate.floor`."""
    label_share: float = Field(0.7, gt=0, le=1)
    """The label rate is judged when so many of its examples have one; else `insufficient_labels`. Where labels
    take a fixed time, its examples are that much older than the period."""
    positives: int = Field(30, ge=1)
    """The label rate is judged from so many positive labels on."""
    predictions: str | None = None
    """Folder of the predictor's log: examples of the newest period are not scored again where they were served by this
    model at their time."""
    examples: int = Field(20_000, ge=100)
    """At most so many examples of a period are scored, evenly spread over it."""
    retrain_on: list[Family] = ["feature", "structure", "prediction"]
    """Families whose alarm asks for retraining; another's alarm is watched."""

    _whole = field_validator("period", mode="before")(whole)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.alarm > self.warn:
            raise ValueError("alarm must not be above warn")
        if self.few > self.enough:
            raise ValueError("few must not be above enough")
        return self
