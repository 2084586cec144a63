"""Section `evaluate`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from graphmill.params import Section
from graphmill.task import whole

Gate = Literal[
    "better_than_features_only",
    "not_worse_than_neighbour_trees",
    "worse_with_shuffled_edges",
    "not_worse_than_champion",
    "calibrated",
    "fast_enough",
    "small_enough",
]
GATES: tuple[Gate, ...] = Gate.__args__  # type: ignore[attr-defined]


class Card(Section):
    """What the model card says that no figure can."""

    owner: str = ""
    """Who develops the model and answers for it."""
    intended_use: str = ""
    """What its answers are meant for, and by whom they are used."""
    not_intended: str = ""
    """What they must not be used for."""
    ethics: str = ""
    """Whom a wrong answer harms, what the data holds of people, and what is done about it."""


class Params(Section):
    """Section `evaluate`."""

    bootstrap: int = Field(default=500, ge=20)
    """Resamples behind every interval."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Share of the resamples that an interval holds."""
    group: str | None = None
    """What examples are resampled by: a link of the task's node (`account_id`), or `node` for entities judged at
    several moments. Examples of one account resemble each other: as independent ones they make intervals too narrow."""
    top: list[Annotated[float, Field(gt=0)]] = [0.005, 0.01, 0.05]
    """Precision and recall are given among so many with the highest scores: a share below 1, else a count."""
    bins: int = Field(default=10, ge=2)
    """Bins of equal size for calibration."""
    margin: float = Field(default=0.02, ge=0)
    """How much worse than another model "not worse" tolerates, in units of the task's metric: the whole interval of the
    difference must lie above it."""
    guarded_slices: list[str] = Field(default_factory=list)
    """Slices, `channel=online`, in which the candidate may not be shown to be worse than the champion either."""
    maximum_calibration_error: float = Field(default=0.05, gt=0)
    """Largest expected calibration error; where few examples show more by chance, that much is allowed."""
    maximum_milliseconds: float = Field(default=200.0, gt=0)
    """Longest median time to score one example alone."""
    maximum_megabytes: float = Field(default=100.0, gt=0)
    """Largest size of the model folder."""
    leakage_auc: float = Field(default=0.95, gt=0.5, le=1)
    """A single column that alone separates the classes this well is suspected to leak the label."""
    gates: list[Gate] = list(GATES)
    """The gates that count."""
    registry: str = "registry"
    """Where the champion is: the registry's home, as `deploy.home`."""
    card: Card = Card()
    """What only people can say of the model, for its card."""
    seed: int = Field(default=0, ge=0)
    """Seed of resampling and shuffling."""

    _whole = field_validator("top", mode="before")(whole)

    @field_validator("top")
    @classmethod
    def _countable(cls, value: list[float]) -> list[float]:
        for item in value:
            if item >= 1 and item != int(item):
                raise ValueError(f"{item:g} is neither a share below 1 nor a whole count such as 100")
        return value
