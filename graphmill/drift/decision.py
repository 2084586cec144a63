"""What a decision is made from and what it is: plain values, so that it can be written down and made again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self

Answer = Literal["retrain", "request_labels", "watch", "ok", "page"]
Outcome = Literal["none", "pending", "rejected", "promoted"]
"""What a retraining came to: no new version, one that waits for its rollout, refused by its gates, a champion."""
JUDGED = ("ok", "warn", "alarm")
"""States that say something about a family; the others neither raise an alarm nor end one."""
OF_THE_MODEL = ("embedding", "prediction", "performance")
"""Families that a new model starts anew."""


@dataclass(frozen=True)
class Check:
    """What one check found, as far as a decision depends on it."""

    moment: int
    """The data's as-of moment; for data without time the number of the check."""
    model: str
    """Digest of the model that was judged."""
    states: Mapping[str, str]
    """Each family's state."""
    broken: tuple[str, ...] = ()
    """Broken rules of integrity, in words."""
    failed: tuple[str, ...] = ()
    """Parts of the check that failed, in words."""
    trained: int | None = None
    """The as-of moment of the model's training."""
    labels: int | None = None
    """Labelled examples that the model was trained on; None where that cannot be told."""
    new_labels: int | None = None
    """Labelled examples that a new training would have besides."""
    learns_until: int | None = None
    """Up to which moment a new training would learn; None without time."""
    new_edges: float | None = None
    """Share by which the edges have grown since the model's training ended; None without time."""
    estimated_drop: float | None = None
    """How far the estimated metric fell, where that is more than `drift.estimated_drop`; else None."""

    def canonical(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "broken": list(self.broken), "failed": list(self.failed)}

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Self:
        """The check that `canonical` gave."""
        return cls(**{**plain, "broken": tuple(plain["broken"]), "failed": tuple(plain["failed"])})


class Block(NamedTuple):
    """What held a retraining back."""

    name: str
    """`persistence`, `hysteresis`, `unseen`, `rollout`, `cooldown`, `backoff`, `budget`, `labels`, `edges`,
    `rejections`, `integrity` or `failure`."""
    words: str
    """Why."""


@dataclass(frozen=True)
class Trigger:
    """Something that wants the model trained again: `drift`, `performance`, `schedule` or `volume`."""

    name: str
    words: str
    family: str | None = None
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Decision:
    """The answer, what asked for it, and what held a retraining back."""

    answer: Answer
    triggers: tuple[Trigger, ...] = ()
    blocks: tuple[Block, ...] = ()
    words: str = ""

    @property
    def families(self) -> tuple[str, ...]:
        """Families whose alarm a retraining answers; one that was held back by itself waits for another."""
        asked = (item.family for item in self.triggers if item.family and not item.blocks)
        return tuple(asked) if self.answer == "retrain" else ()

    @property
    def blocked_by(self) -> list[str]:
        """Names of all that held something back, each once."""
        own = [block for trigger in self.triggers for block in trigger.blocks]
        return list(dict.fromkeys(block.name for block in (*own, *self.blocks)))

    def canonical(self) -> dict[str, Any]:
        """Plain JSON values: what a report and the record say of it."""
        held = [block for trigger in self.triggers for block in trigger.blocks]
        return {
            "answer": self.answer,
            "triggers": list(dict.fromkeys(item.name for item in self.triggers)),
            "families": list(self.families),
            "blocked_by": self.blocked_by,
            "why_blocked": {
                name: "; ".join(block.words for block in (*held, *self.blocks) if block.name == name)
                for name in self.blocked_by
            },
            "words": self.words,
        }


@dataclass(frozen=True)
class Past:
    """An earlier check, what was decided, and what is known today of what came of it."""

    check: Check
    answer: Answer
    families: tuple[str, ...] = ()
    outcome: Outcome = "none"
    acknowledged: bool = False
    """A person said that what it found is normal."""

    @property
    def states(self) -> Mapping[str, str]:
        """Each family's state; an acknowledged alarm was none."""
        states = self.check.states
        return {name: "ok" if self.acknowledged and state == "alarm" else state for name, state in states.items()}
