"""What the local front counts of each version's answers."""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphmill.rollout.observation import Seen
from graphmill.serving.metrics import SECONDS_STEPS

FAILED = (429, 500, 503, 504)
"""Statuses that are the model's failures: overloaded, an error, not ready, late; all others are the client's."""


@dataclass
class Tally:
    """One version's requests since it was put beside the other."""

    requests: int = 0
    failures: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(SECONDS_STEPS) + 1))
    """Answers by the step of `SECONDS_STEPS` that their time fell into."""

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests += 1
        self.failures += status in FAILED
        self.latency[bisect_left(SECONDS_STEPS, seconds)] += 1

    def unanswered(self) -> None:
        """Count a request that got no answer at all."""
        self.requests += 1
        self.failures += 1

    def seen(self, scores: Mapping[float, int]) -> Seen:
        """The same in the words of the guards."""
        bounds = (*SECONDS_STEPS, float("inf"))
        latency = dict(zip(bounds, self.latency, strict=True)) if any(self.latency) else {}
        return Seen(self.requests, self.failures, latency, scores)


@dataclass
class Tallies:
    """Both versions' counts; ``began`` names the pair that they belong to."""

    began: float = 0.0
    champion: Tally = field(default_factory=Tally)
    candidate: Tally = field(default_factory=Tally)

    @classmethod
    def parse(cls, content: bytes | str) -> "Tallies":
        """The counts as JSON.

        Raises:
            ValueError, TypeError, KeyError: when it is none.
        """
        found: dict[str, Any] = json.loads(content)
        sides = [Tally(**found[side]) for side in ("champion", "candidate")]
        if any(len(side.latency) != len(SECONDS_STEPS) + 1 for side in sides):
            raise ValueError("counted by other steps")
        return cls(float(found["began"]), *sides)
