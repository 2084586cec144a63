"""What ends a rollout: each guard compares the candidate with the champion and says how sure it is."""

from dataclasses import dataclass

from graphmill.rollout.observation import Observation
from graphmill.rollout.params import Guards


@dataclass(frozen=True)
class Verdict:
    """What one guard says."""

    name: str
    broken: bool
    value: float | None
    """What was measured; None without evidence."""
    low: float | None
    high: float | None
    bound: float
    evidence: int
    """Requests that it rests on."""
    meaning: str


def judge(guards: Guards, seen: Observation) -> list[Verdict]:
    """Every guard that is on, in the order of `Guards`."""
    return []
