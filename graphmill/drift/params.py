"""Section `drift` of params.yaml."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from graphmill.drift.gateway import address
from graphmill.drift.rules import Policy, is_daily
from graphmill.drift.streams import Test
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
    window: int = Field(30, ge=1)
    """How many past periods are compared with, the newest that were accepted; beside them those of the training."""
    deviation: Bounds = Bounds(floor=0.02, notable=0.1, large=0.25, gross=0.75)
    """Of numeric columns and scores: changes in standard deviations."""
    rate: Bounds = Bounds(floor=0.005, notable=0.03, large=0.1, gross=0.3)
    """Of shares (missing, categories, decisions, labels) and of distances between distributions."""
    structure: Bounds = Bounds(floor=0.02, notable=0.1, large=0.25, gross=0.75)
    """Of structural values: changes relative to their mean; their shares must also move by `rate.floor`."""
    label_share: float = Field(0.8, gt=0, le=1)
    """Performance and the label rate are judged when so many examples of a cohort have a label; else
    `insufficient_labels`. A cohort is older than its period by the time that labels take."""
    positives: int = Field(30, ge=1)
    """They are judged from so many positive (and, for performance, negative) labels on."""
    labels: str | None = None
    """A table of labels beside those of the graph's tables, or a folder of such: Parquet or CSV, with `key` and
    `label`, and any of `time`, `known_at`, `label_source`, `weight`, `stratum`. Sources other than `audit` and `all`
    are those of chosen cases: they are counted and left out."""
    audit_periods: int = Field(2, ge=1)
    """Audit labels count for predictions of so many newest periods."""
    audit_level: float = Field(0.025, gt=0, lt=1)
    """The audit gap alarms below this p-value, corrected for the number of its figures."""
    audit_floor: float = Field(0.02, ge=0)
    """Smaller audit gaps are never told: the estimate itself errs by that much."""
    estimated_drop: float = Field(0.05, gt=0)
    """An estimate so much below the one at training is a warning: labels should be asked for."""
    streams: list[Test] = []
    """Sequential tests on the errors of the prediction log, in its order: `adwin`, `page_hinkley`. Needs
    `graphmill[streams]` and `predictions`."""
    predictions: str | None = None
    """Folder of the predictor's log: examples of the newest period are not scored again where they were served by this
    model at their time."""
    examples: int = Field(20_000, ge=100)
    """At most so many examples of a period are scored, evenly spread over it."""
    home: str = "drift_history"
    """Folder of what drift remembers from check to check, relative to where the stage runs: `checks/`, the profile and
    verdict of each period, which the next ones are compared with, and `decisions.jsonl`. It must outlive the run: under
    DVC, or on a claim."""
    service: str = Field("graphmill", min_length=1)
    """Name of the model in the metrics of a check, label `service`: that under which it is served, `deploy.name`."""
    pushgateway: str | None = None
    """URL of a Prometheus pushgateway, which every check's metrics are pushed to. Where it asks who it is, put
    `user:password` into the environment variable `GRAPHMILL_PUSHGATEWAY_LOGIN`."""
    policy: Policy = Policy()
    """When a model is trained again, and what holds that back."""

    _whole = field_validator("period", mode="before")(whole)

    @field_validator("pushgateway")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else address(value)

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
        return DAILY if is_daily(reference.get("clock", ""), reference.get("period", 0)) else USUAL
