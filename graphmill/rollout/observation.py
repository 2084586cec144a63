"""What was seen of the champion and of the candidate since a rollout began, as counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Seen:
    """One version's answers. What a source cannot see stays empty: a guard without evidence is not broken."""

    requests: int = 0
    """Requests that it was asked, its failures among them; mirrored ones do not count."""
    failures: int | None = None
    """Those that it did not answer, for a reason that is not the client's; None where a source cannot see them."""
    latency: Mapping[float, int] = field(default_factory=dict)
    """Requests by the upper bound in seconds of the step that their time fell into (``inf`` the last)."""
    scores: Mapping[float, int] = field(default_factory=dict)
    """Answers by the upper bound of the step that their score fell into (1.0 the last); every step, also empty ones."""
    alarms: int = 0
    """Answers with a positive decision whose label is known by now."""
    true_alarms: int = 0
    """Those whose label is positive."""


@dataclass(frozen=True)
class Observation:
    """Both versions since the rollout began, and where they were asked the same."""

    champion: Seen = Seen()
    candidate: Seen = Seen()
    compared: int = 0
    """Requests that the champion answered and mirrored to the candidate, both answers compared."""
    disagreed: int = 0
    """Those that they decided differently."""
    mirrored_failures: int = 0
    """Mirrored requests that the candidate did not answer."""


class Source(Protocol):
    """Where observations come from."""

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        """What was seen of two digests since a moment (seconds since 1970).

        Raises:
            Unreachable: when there is no answer now.
            UserError: when what is there cannot be read.
        """
