"""How the local front splits the traffic: a file that the rollout replaces and the front follows."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from graphmill.errors import UserError
from graphmill.registry.storage import replace_text
from graphmill.serving.drawn import drawn

FILE = "split.json"
STATE = "/rollout"
"""Route of the front that tells how the traffic is split, and what was counted."""
Side = Literal["champion", "candidate"]


@dataclass(frozen=True)
class Backend:
    """A predictor on this machine."""

    version: str
    digest: str
    model: str
    """The model's folder."""
    url: str = ""
    """Its root, such as ``http://127.0.0.1:4711``; empty before it was started."""

    @property
    def role(self) -> str:
        """Its name among the processes: a version that was registered anew is another."""
        return f"{self.version}-{self.digest[:8]}"


@dataclass(frozen=True)
class Split:
    """Two versions, and how much of the traffic the candidate answers."""

    champion: Backend
    candidate: Backend
    began: float = 0.0
    """When both were ready for the first time, in seconds since 1970: what is counted begins there. 0: not yet."""
    percent: int = 0
    """Of the requests, by their ids, that the candidate answers."""
    open: bool = True
    """Whether the candidate runs; it does not when it was rolled back."""
    before: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What the metrics of both said then, by side and sample."""

    @property
    def stable(self) -> Side:
        """Who answers what is not split."""
        return "candidate" if self.percent == 100 else "champion"

    def side(self, request: str) -> Side:
        """Who answers a request; a retry under the same id meets the same version."""
        return "candidate" if drawn(request, self.percent / 100, b"split") else "champion"

    def backend(self, side: Side) -> Backend:
        """One of the two."""
        return self.champion if side == "champion" else self.candidate

    def at(self, side: Side, url: str) -> "Split":
        """The same with one of the two at another address."""
        backend = replace(self.backend(side), url=url)
        return replace(self, champion=backend) if side == "champion" else replace(self, candidate=backend)

    def write(self, folder: Path) -> None:
        """Replace the file in ``folder``.

        Raises:
            UserError: when the disk refuses; the old one stays.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_text(folder / FILE, json.dumps(asdict(self), indent=1))
        except OSError as error:
            raise UserError(f"{folder / FILE}: cannot be written: {error.strerror or error}") from error

    @classmethod
    def read(cls, folder: Path) -> "Split | None":
        """The split in ``folder``; None before the first.

        Raises:
            UserError: when it is damaged.
        """
        try:
            found: dict[str, Any] = json.loads((folder / FILE).read_bytes())
            sides = {side: Backend(**found[side]) for side in ("champion", "candidate")}
            return cls(**{**found, **sides})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{folder / FILE}: damaged; remove it and begin the rollout again") from None
