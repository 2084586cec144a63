"""The state of a rollout: on disk and beside the service, so that whoever comes next goes on where it stands.

The state is written before what it announces is done, and every call of a target may be made again: a crash between
the two does it twice, never not at all.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from graphmill.errors import UserError
from graphmill.registry.storage import PATIENCE, locked, replace_text
from graphmill.rollout.target import Revision

Phase = Literal["moving", "watching", "promoting", "rolling_back", "promoted", "rolled_back"]
ENDED: tuple[Phase, ...] = ("promoted", "rolled_back")
LOG = "log.jsonl"
HURRY = 5.0
"""Seconds that a rollback waits for another watcher's look."""
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """Where a rollout stands.

    ``moving``: the traffic of ``step`` is being set; ``watching``: its guards are read; ``promoting``: the last step
    has ended well, and the candidate takes the champion's place.
    """

    name: str
    champion: Revision
    candidate: Revision
    began: float
    """Seconds since 1970."""
    phase: Phase = "moving"
    step: int = 0
    since: float = 0.0
    """When the phase began."""
    heard: float = 0.0
    """When the guards' sources last answered."""
    judged: int = 0
    """Requests that the candidate had judged when the step's watch began."""
    reason: str = ""
    """Why it is rolled back."""
    sequence: int = 0
    """Counts the changes: of two states of one rollout the higher is the newer."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done."""
        return self.phase in ENDED

    def to(self, phase: Phase, now: float, **changes: Any) -> "State":
        """The state after a change of phase."""
        return replace(self, phase=phase, since=now, sequence=self.sequence + 1, **changes)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def parse(cls, text: str, where: str) -> "State":
        """The state that `text` wrote.

        Raises:
            UserError: when it is none, naming ``where`` it was found.
        """
        try:
            found = json.loads(text)
            revisions = {key: Revision(**found[key]) for key in ("champion", "candidate")}
            return cls(**{**found, **revisions})
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{where}: not the state of a rollout; remove it when no rollout is running") from None


class Store:
    """The states of one served name in a folder: the newest, and a log of every change.

    Args:
        home: the folder of all rollouts.
        name: the served name.
    """

    def __init__(self, home: Path, name: str) -> None:
        self.folder = home / name

    def read(self) -> State | None:
        """The newest state; None before the first.

        Raises:
            UserError: when it is damaged.
        """
        file = self.folder / "state.json"
        try:
            return State.parse(file.read_text(encoding="utf-8"), str(file))
        except FileNotFoundError:
            return None

    def write(self, state: State) -> None:
        """Replace the state.

        Raises:
            UserError: when the disk refuses; the old state stays.
        """
        with self._writing():
            replace_text(self.folder / "state.json", state.text())

    def tell(self, state: State, facts: Mapping[str, Any]) -> None:
        """Add a line to the log: the state, and the facts that led there.

        Raises:
            UserError: when the disk refuses.
        """
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = json.dumps({"when": when, **asdict(state), **facts}, ensure_ascii=False)
        with self._writing(), (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    @contextmanager
    def held(self, insist: bool = False) -> Iterator[None]:
        """Nobody else on this machine changes the state meanwhile.

        Args:
            insist: go on without, when it cannot be had in a few seconds: a watcher that hangs, or a full disk, must
                not keep the traffic at a bad version.

        Raises:
            UserError: when somebody holds it for a minute.
        """
        with ExitStack() as stack:
            try:
                with self._writing():
                    stack.enter_context(locked(self.folder / ".lock", HURRY if insist else PATIENCE))
            except UserError as error:
                if not insist:
                    raise
                LOGGER.warning("%s; going on all the same", error)
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror or error}") from error

    def log(self) -> list[dict[str, Any]]:
        """Every change, oldest first; a line that a crash cut off is left out."""
        try:
            lines = (self.folder / LOG).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [found for line in lines if (found := _parsed(line)) is not None]


def newest(*states: State | None) -> State | None:
    """The newest of what was found in several places."""
    found = [state for state in states if state is not None]
    return max(found, key=lambda state: (state.began, state.sequence), default=None)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found
