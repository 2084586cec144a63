"""Where two versions run side by side: what every target can do."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Revision:
    """One version as a target runs it."""

    version: str
    """The registry's name, such as ``v3``."""
    digest: str
    """The model artifact's digest."""
    uri: str
    """Where the target finds the model: a folder, or a storage URI."""


@dataclass(frozen=True)
class Status:
    """What a target found when it was asked."""

    ready: bool
    """Everything that was asked for is carried out and answers."""
    reason: str = ""
    """Why not."""
    failed: bool = False
    """It will not get ready by waiting, as ``reason`` says."""
    traffic: int | None = None
    """Percent of the requests that the candidate really gets; None where that cannot be seen."""


class Target(Protocol):
    """Two versions of one service. Every call may be made again: after a crash it finds its own work done.

    All raise `UserError` for what the user must mend (no permission, no namespace, another writer), and
    `Unreachable` for what passes by itself.
    """

    def start(self, champion: Revision, candidate: Revision) -> None:
        """Run the candidate beside the champion, without traffic."""

    def traffic(self, percent: int) -> None:
        """Let the candidate answer ``percent`` of the requests, 0 to 100; the champion stays ready for them."""

    def promote(self) -> None:
        """Let the candidate, which answers all, take the champion's place.

        What the champion needed to come back at once may go. Nothing is left behind by which the next version would
        get traffic of its own accord.
        """

    def rollback(self) -> None:
        """Let the champion answer all, also after `promote`; the candidate goes."""

    def status(self) -> Status:
        """How far the last call was carried out."""

    def save(self, state: str) -> None:
        """Keep the rollout's state beside the service; at once, for it is what a successor reads."""

    def saved(self) -> str | None:
        """The state that was kept; None before the first."""

    def close(self) -> None:
        """Let go of what this process holds; the service stays as it is."""


class Unreachable(Exception):
    """A target or a source did not answer; the same call may succeed later."""
