"""What a request asks and what it is answered: one instance, one answer, whatever the protocol."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Text = str | int
"""Keys are text; whole numbers are read as the text they are written as."""


class Strict(BaseModel):
    """Input of a stranger: unknown fields refused, nothing coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class InlineEdge(Strict):
    """One edge of a node that is not known yet, as its edge table would say it."""

    edge: str
    """The edge table of the schema."""
    source: Text | None = None
    """Key of the source node; left out, it is the instance itself."""
    target: Text | None = None
    """Key of the target node; left out, it is the instance itself."""
    time: str | int | None = None
    """When it happened; required where the schema's edge has a time."""
    columns: dict[str, Any] = Field(default_factory=dict)
    """The edge's columns; what is left out is missing."""


class Instance(Strict):
    """A node to judge: known by its key, or never seen before with its columns, links and edges."""

    id: Text
    """Key of the node."""
    at: str | int | None = None
    """The moment as of which it is judged; a known event's own time, else now."""
    columns: dict[str, Any] = Field(default_factory=dict)
    """Columns of a node that is not known, or that replace those of a known one for this answer alone."""
    links: dict[str, Text | None] = Field(default_factory=dict)
    """Foreign keys of a node that is not known, by column; a known node has its own."""
    edges: list[InlineEdge] = Field(default_factory=list)
    """Edges of a node that is not known."""


@dataclass(frozen=True)
class Options:
    """What is wanted beside the score, for a whole request."""

    embedding: bool = False
    explanation: bool = False


@dataclass(frozen=True)
class Refusal:
    """An instance that cannot be judged; ``reason`` says what is wrong with it and what to do."""

    reason: str


@dataclass(frozen=True)
class Reason:
    """One neighbour or column and how far it moves the log odds: with it minus without it."""

    kind: Literal["column", "neighbour"]
    name: str
    """A column, or ``relation: key``."""
    effect: float


@dataclass(frozen=True)
class Answer:
    """The judgement of one instance."""

    id: str
    score: float
    """Calibrated probability."""
    decision: bool
    """Whether the score reaches the model's threshold."""
    known: bool
    """Whether the graph had the node."""
    at: int
    """The moment as of which it was judged, in the schema's clock."""
    embedding: NDArray[np.float32] | None = None
    """``[hidden]``, when asked for and the served model has one."""
    explanation: list[Reason] | None = None
    """What moved the score most, largest first, when asked for."""


@dataclass(frozen=True)
class GraphVersion:
    """Which state of the graph an answer was computed from: enough to compute it again."""

    snapshot: str
    """Digest of the snapshot's manifests."""
    offset: int
    """Events applied to it: the offset behind the last one in the log."""
    staleness: float
    """Seconds between now and the newest event applied (or the snapshot's as-of moment)."""
