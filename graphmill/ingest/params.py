"""Section `ingest`."""

from typing import Literal

from pydantic import Field, field_validator

from graphmill.engine.params import EngineParams
from graphmill.task import Moment, whole


class Params(EngineParams):
    """Section `ingest`."""

    sources: dict[str, str] = Field(default_factory=dict)
    """Where a table is, when not at its name in the data folder: a path or glob relative to it, or a URL."""
    as_of: Moment | None = None
    """The moment of the snapshot; without it, just after the newest row."""
    later: Literal["refuse", "leave_out"] = "refuse"
    """What becomes of rows after the as-of moment: refused as wrong, or left out, as a replay of the past wants."""
    maximum_refused: float = Field(default=0.01, ge=0, le=1)
    """Share of a table's rows above which the stage fails instead of setting them aside."""
    repository: str | None = None
    """With `revision`: the DVC repository to read from, a path or URL; without it the current one."""
    revision: str | None = None
    """Read the data folder as it was at this git revision of a DVC repository."""

    _whole = field_validator("as_of", mode="before")(whole)
