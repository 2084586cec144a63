"""What a predictor's ``/metrics`` say, and how much of it came since an earlier look."""

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

PATIENCE = 2.0
"""Seconds that a process of ours has to answer."""
KEPT = ("graphmill_score_bucket", "graphmill_shadow_compared_total", "graphmill_shadow_disagreed_total",
        "graphmill_shadow_failures_total")  # fmt: skip

Samples = Mapping[str, float]
"""Values by ``name label``: the step's bound of a histogram, the candidate of a counter."""


def ask(url: str) -> httpx.Response:
    """The answer of a process on this machine, whatever proxies and certificates there are.

    Raises:
        httpx.HTTPError: when there is none.
    """
    with httpx.Client(trust_env=False, verify=False, timeout=PATIENCE) as client:
        return client.get(url)


def scrape(url: str) -> dict[str, float]:
    """The samples of a predictor that a rollout looks at; none where it does not answer.

    Args:
        url: its root; empty for one that does not run.
    """
    try:
        text = ask(f"{url}/metrics").text if url else ""
    except httpx.HTTPError:
        return {}
    return {
        f"{sample.name} {next(iter(sample.labels.values()), '')}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in KEPT
    }


def since(before: Samples, now: Samples) -> dict[str, float]:
    """What came since ``before``; a process that began anew since then counts from nothing."""
    restarted = any(now.get(name, 0.0) < count for name, count in before.items())
    return {name: count - (0.0 if restarted else before.get(name, 0.0)) for name, count in now.items()}


def value(samples: Samples, name: str, label: str) -> int:
    """One counter; 0 where it is not there."""
    return int(samples.get(f"{name} {label}", 0))


def scores(samples: Samples) -> dict[float, int]:
    """Answers by the upper bound of the step that their score fell into; empty without any."""
    prefix = "graphmill_score_bucket "
    steps = sorted((float(name[len(prefix) :]), count) for name, count in samples.items() if name.startswith(prefix))
    below, found = 0.0, {}
    for bound, total in steps[:-1]:  # no score is beyond the last bound, which is 1
        found[bound] = int(total - below)
        below = total
    return found if below else {}
