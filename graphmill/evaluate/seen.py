"""Whether the champion learned from examples that are test examples today: then it looks better than it is."""

import numpy as np

from graphmill.clock import text
from graphmill.evaluate.judgement import Judgement
from graphmill.model import Model

ADVICE = "its figures may flatter it"


def seen(champion: Model, judgement: Judgement) -> str | None:
    """In words why the champion may have seen test examples; None when it has seen none.

    It has seen none when it learned from the very examples that the candidate learned from, or when the last of
    its examples is before the first test example.
    """
    own, now = champion.manifest.get("learned"), judgement.model.manifest["learned"]
    if own is None:
        return f"its model does not say which examples it learned from; {ADVICE}"
    apart = [split for split in range(len(now)) if own[split]["examples"] != now[split]["examples"]]
    if not apart:
        return None
    if not (_by_time(champion) and judgement.graph.task.split.kind == "temporal"):
        return f"it learned from other examples, split otherwise than by time: some may be test examples; {ADVICE}"
    until = max(own[split]["until"] for split in apart)
    times = np.concatenate([judgement.examples[split]["time"].to_numpy(np.int64) for split in apart])
    count = int((times <= until).sum())
    if count == 0:
        return None
    last = text(until, judgement.graph.clock)
    return (
        f"it learned from examples up to {last}: {count:,} of the {len(times):,} test examples are no later; {ADVICE}"
    )


def _by_time(model: Model) -> bool:
    return str(model.manifest["task"]["split"]["kind"]) == "temporal"
