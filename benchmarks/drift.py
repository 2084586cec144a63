"""What drift finds, what it takes for drift, and whether retraining by it pays: `python -m benchmarks drift`.

Each part simulates its families with the stage's own code. Its null scenarios say how many of the checks of a world
without drift alarm; its planted drifts, how many are found within three checks. Then years are replayed by the policy.
"""

import time
from collections.abc import Callable
from typing import Any

from benchmarks import drift_cost, drift_features, drift_structure, policy

PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {"features": drift_features.run, "structure": drift_structure.run}
"""Each returns ``null`` and ``drift``: scenarios with ``rate``, ``error`` (its standard error) and ``bound``."""
HEAVY = "heavy"
"""In the name of a scenario whose natural variation has heavy tails: the honest limit, told but not the headline."""
FOUND = 0.95
"""The headline's power is the least of the drifts that are to be found this often."""


def run(small: bool) -> dict[str, Any]:
    """Simulate every part, then replay.

    Args:
        small: few trials of each scenario, and the shorter replay.

    Returns:
        ``false_alarm_rate``: the worst of the null scenarios without heavy tails. ``power``: the least of the planted
        drifts with a bound of 0.95. ``share_of_gain`` and ``share_of_retrains``: of retraining by the policy beside
        retraining each period, the worst over the replays. ``parts``: all scenarios; ``policy``: what it
        did; ``cost``: CPU seconds of a profile and of a comparison.
    """
    begun = time.process_time()
    parts = {name: part(small) for name, part in PARTS.items()}
    quiet = [found for part in parts.values() for name, found in part["null"].items() if HEAVY not in name]
    loud = [found for part in parts.values() for found in part["drift"].values() if found["bound"] == FOUND]
    decided = policy.run(small)
    return {
        "name": "drift",
        "what": "alarms a check without drift, drifts found within three checks, and what the policy's retrains gain",
        "false_alarm_rate": max(found["rate"] for found in quiet),
        "power": min(found["rate"] for found in loud),
        "share_of_gain": decided["share_of_gain"],
        "share_of_retrains": decided["share_of_retrains"],
        "cost": drift_cost.run(small),
        "cpu": round(time.process_time() - begun, 1),
        "parts": parts,
        "policy": decided,
    }
