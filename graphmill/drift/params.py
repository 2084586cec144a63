"""Section `drift` of params.yaml."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from graphmill.clock import day
from graphmill.params import Section
from graphmill.task import Duration, whole

Family = Literal["feature", "structure", "embedding", "prediction", "performance"]

USUAL, DAILY = 0.05, 0.01


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
    alpha: float | None = Field(None, gt=0, lt=0.3)
    """In how many of the checks of a family without drift one of its charts may warn: by default 0.05, for periods of a
    day or less 0.01. An alarm takes half of it for a step, a fifth of it for a level, or three times it in two of the
    newest three periods."""
    enough: int = Field(12, ge=8)
    """From so many past periods on p-values decide; below, `cold_start`: sizes alone do."""
    few: int = Field(5, ge=2)
    """Below so many past periods their spread says nothing: the bounds are one notch higher."""
    shift: float = Field(6.0, gt=0)
    """Cold start: a change must also be so many times the past periods' own spread."""
    history: str | None = None
    """Folder of the checks made so far, with their profiles; it grows by each. Without it the past is what the model
    brought along. It must outlive the run: under DVC, or on a volume."""
    window: int = Field(30, ge=1)
    """How many past periods are compared with, the newest that were accepted; beside them those of the training."""
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
        if self.few > self.enough:
            raise ValueError("few must not be above enough")
        if self.window < self.enough:
            raise ValueError("window must not be below enough")
        return self

    def level(self, reference: dict[str, Any]) -> float:
        """``alpha``, or what it is by default: the more checks in a year, the fewer of them may warn for nothing."""
        if self.alpha is not None:
            return self.alpha
        daily = reference.get("clock") == "timestamp" and 0 < reference.get("period", 0) <= day("timestamp")
        return DAILY if daily else USUAL
