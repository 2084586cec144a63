"""Section `drift.policy` of params.yaml, and the same with its lengths of time as numbers."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from graphmill.clock import Clock, day, duration
from graphmill.params import Section
from graphmill.task import Duration, whole

Watched = Literal["feature", "structure", "embedding", "prediction", "performance"]


def is_daily(clock: str, period: int) -> bool:
    """Whether periods are of a day or less: then there are so many checks in a year that each must alarm less."""
    return clock == "timestamp" and 0 < period <= day("timestamp")


class Policy(Section):
    """When a model is trained again, and what holds that back; lengths of time count in the data's own time."""

    retrain_on: list[Watched] = ["feature", "structure", "embedding", "prediction", "performance"]
    """Families whose repeated alarm asks for retraining; another's alarm is watched."""
    alarms: int | None = Field(None, ge=1)
    """A family's alarm asks for it when it came in so many of the last `checks` checks, the newest among them: by
    default 2 of 3, for periods of a day or less 3 of 5."""
    checks: int | None = Field(None, ge=1)
    """How many checks are looked back on. Those that could not judge a family do not count for it, and of checks whose
    periods overlap one does."""
    clear_after: int = Field(3, ge=1)
    """An alarm that was answered is over after so many checks without it, and only then answered again."""
    wait_for_labels: bool = True
    """An alarm waits until a new training would learn from labelled examples of after it came; off, it does not."""
    schedule: Duration | None = None
    """Train again when the last training is so long ago, drift or not; never by default."""
    volume: Annotated[float, Field(gt=0)] | Literal["never"] = 0.25
    """Train again when the examples to train on have grown by so large a share, drift or not; `never` waits for drift.
    Where data grow, most of what retraining gains is gained so."""
    cooldown: Duration | None = None
    """Time between two retrainings; one period by default."""
    most: int = Field(4, ge=1)
    """The budget: at most so many retrainings in the time `per`."""
    per: Duration | None = None
    """The budget's time; twelve periods by default."""
    least_labels: int = Field(100, ge=0)
    """Labelled examples that a new training must have and the model's own did not."""
    least_edges: float = Field(0.01, ge=0)
    """Share by which the edges must have grown since the model's training ended."""
    backoff: float = Field(2.0, ge=1)
    """The cool-down grows by this factor with every challenger in a row that its gates refused."""
    rejections: int = Field(3, ge=1)
    """After so many refused in a row a person is asked: drift that retraining does not cure."""
    registry: str = "registry"
    """Where challengers' verdicts and champions are read: the registry's home, as `deploy.home`."""

    _whole = field_validator("schedule", "cooldown", "per", mode="before")(whole)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.alarms is None) != (self.checks is None):
            raise ValueError("alarms and checks belong together: give both or none")
        if self.alarms is not None and self.checks is not None and self.alarms > self.checks:
            raise ValueError("alarms must not be above checks")
        return self


@dataclass(frozen=True)
class Rules:
    """A policy with lengths of time in clock units: with the checks, all that a decision depends on."""

    retrain_on: tuple[str, ...]
    period: int
    """Checks so far apart, or farther, looked at different data."""
    alarms: int
    checks: int
    clear_after: int
    wait_for_labels: bool
    schedule: int | None
    volume: float | None
    cooldown: int
    most: int
    per: int
    least_labels: int
    least_edges: float
    backoff: float
    rejections: int
    unit: str
    """What a length of time is told in: `days`, `steps` or `checks`."""

    @classmethod
    def of(cls, policy: Policy, clock: Clock, timed: bool, period: int) -> Self:
        """Settle a policy for a model.

        Args:
            policy: section `drift.policy`.
            clock: the data's.
            timed: whether the data has time; without it, time is counted in checks.
            period: length of the model's periods in clock units; 0 without time.

        Raises:
            UserError: when a length of time does not fit the clock.
        """
        own = clock if timed else "step"
        usual = {"schedule": None, "cooldown": max(period, 1), "per": 12 * max(period, 1)}
        lengths = {
            name: default if (value := getattr(policy, name)) is None else duration(value, own, f"drift.policy.{name}")
            for name, default in usual.items()
        }
        unit = "checks" if not timed else "days" if clock == "timestamp" else "steps"
        alarms, checks = (3, 5) if timed and is_daily(clock, period) else (2, 3)
        settled = {
            "retrain_on": tuple(policy.retrain_on),
            "period": max(period, 1),
            "alarms": policy.alarms or alarms,
            "checks": policy.checks or checks,
            "volume": None if policy.volume == "never" else policy.volume,
            "unit": unit,
        }
        own_words = {name for name in cls.__annotations__ if name not in (*lengths, *settled)}
        return cls(**{**{name: getattr(policy, name) for name in own_words}, **lengths, **settled})

    def told(self, length: float) -> str:
        """A length of time in words."""
        count = length / (86_400_000_000 if self.unit == "days" else 1)
        return f"{count:.3g} {self.unit if count != 1 else self.unit[:-1]}"
