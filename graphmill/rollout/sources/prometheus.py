"""Observations from what the predictors' metrics say, over any endpoint that speaks PromQL."""

import os
import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from graphmill.errors import UserError
from graphmill.rollout.observation import Observation, Seen
from graphmill.rollout.sources.counters import Counters, Series
from graphmill.rollout.target import Unreachable

TOKEN = "GRAPHMILL_PROMETHEUS_TOKEN"
"""Environment variable with a bearer token; a parameter would end up in logs and lineage."""
TIMEOUT = 20.0
"""Seconds that an answer may take."""
BEFORE = 300.0
"""Seconds before the rollout that tell where its counters stood: what Prometheus itself holds to be current."""
AT_ONCE = 1800.0
"""Seconds of samples that one query asks for: a watcher that comes late reads the past in parts."""
PATH = "/api/v1/query"
SHOWN = 300
"""Characters of an answer that an error quotes."""
MODEL = "graphmill_model"
PREFIX = "graphmill_"
COUNTERS = (
    "requests_total", "failures_total", "request_seconds_bucket", "score_bucket",
    "shadow_compared_total", "shadow_disagreed_total", "shadow_failures_total",
)  # fmt: skip
PROTOCOLS = "v1|v2|grpc|"
"""Clients' questions, and metrics that do not tell."""
REASONS = "internal|not_ready|late|overloaded|"
"""Failures that are not the client's."""


class Prometheus:
    """Counts since a rollout began, from samples of the predictors' counters.

    Each look asks for the samples since the last one and adds them up here. A refused question (HTTP 4xx) is the
    user's mistake as long as there was no answer; later, in the middle of a rollout, it is an endpoint that does not
    answer.

    Args:
        url: of the endpoint, with the path before ``/api/v1`` where it has one.
        clock: seconds since 1970.

    Raises:
        UserError: when the URL is none.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._url, self._clock = url.rstrip("/").removesuffix("/api/v1"), clock
        if not re.match(r"https?://[^/\s]", self._url):
            raise UserError(f"rollout.prometheus: {url!r}: give a URL, such as http://prometheus.monitoring:9090")
        token = os.environ.get(TOKEN)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._trusted = httpx.create_ssl_context()  # reading the certificates takes longer than a question
        self._answered = False
        self._of: tuple[str, str, float] | None = None
        self._counters, self._until = Counters(0.0), 0.0

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        """See `Source.observe`."""
        if self._of != (champion, candidate, since):
            self._of = (champion, candidate, since)
            self._counters, self._until = Counters(since), since - BEFORE
        now = self._clock()
        with httpx.Client(timeout=TIMEOUT, headers=self._headers, verify=self._trusted) as client:
            while self._until < now:
                until = min(self._until + AT_ONCE, now)
                self._read(client, champion, candidate, until)
                self._until = until
        return self._observation(champion, candidate)

    def _read(self, client: httpx.Client, champion: str, candidate: str, end: float) -> None:
        """Take in the samples up to a moment: the models first, and then the counters of where they are served."""
        window = f"[{max(round(1e3 * (end - self._until)), 1)}ms]"
        self._counters.add_models(self._ask(client, MODEL + window, end))
        instances = self._counters.instances((champion, candidate))
        if not instances:
            return
        chosen = {
            "__name__": f"{PREFIX}({'|'.join(COUNTERS)})", "instance": "|".join(map(re.escape, instances)),
            "protocol": PROTOCOLS, "reason": REASONS, "candidate": f"{candidate}|",
        }  # fmt: skip
        selector = ",".join(f"{label}=~{_quoted(pattern)}" for label, pattern in chosen.items())
        self._counters.add(self._ask(client, f"{{{selector}}}{window}", end))

    def _observation(self, champion: str, candidate: str) -> Observation:
        def mirrored(name: str) -> int:
            return round(self._counters.by(champion, f"{PREFIX}shadow_{name}_total", "candidate").get(candidate, 0.0))

        return Observation(
            self._seen(champion), self._seen(candidate),
            mirrored("compared"), mirrored("disagreed"), mirrored("failures"),
        )  # fmt: skip

    def _seen(self, model: str) -> Seen:
        requests = self._counters.by(model, PREFIX + "requests_total")
        if not requests:
            return Seen()
        failures = self._counters.by(model, PREFIX + "failures_total")
        latency = _histogram(self._counters.by(model, PREFIX + "request_seconds_bucket", "le"))
        scores = _histogram(self._counters.by(model, PREFIX + "score_bucket", "le"))
        beyond = scores.pop(float("inf"), 0)
        if scores:
            scores[max(scores)] += beyond
        return Seen(round(sum(requests.values())), round(sum(failures.values())), latency, scores)

    def _ask(self, client: httpx.Client, query: str, moment: float) -> list[Series]:
        try:
            answer = client.post(self._url + PATH, data={"query": query, "time": f"{moment:.3f}"})
        except httpx.InvalidURL as error:
            raise UserError(f"rollout.prometheus: {self._url}: {error}") from None
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url}: {error or type(error).__name__}") from None
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Unreachable(f"{self._url}: {_told(answer)}")
        if answer.status_code != 200:
            raise self._refused(answer)
        found = self._series(answer)
        self._answered = True
        return found

    def _refused(self, answer: httpx.Response) -> Exception:
        if self._answered:
            return Unreachable(f"{self._url}: it answered before, and now: {_told(answer)}")
        advice = {401: f"give a token in {TOKEN}", 403: f"the token in {TOKEN} may not read"}
        advised = advice.get(answer.status_code, "it must be a PromQL endpoint, the URL up to before /api/v1")
        return UserError(f"rollout.prometheus: {self._url}: {_told(answer)}; {advised}")

    def _series(self, answer: httpx.Response) -> list[Series]:
        try:
            document = answer.json()
            if document["status"] != "success":
                raise ValueError(document.get("error"))
            return [_parsed(one) for one in document["data"]["result"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unreachable(f"{self._url}: no answer of a PromQL endpoint: {_told(answer)}") from None


def _parsed(found: Any) -> Series:
    labels = {str(name): str(value) for name, value in found["metric"].items()}
    return Series(labels, [(float(moment), float(value)) for moment, value in found["values"]])


def _histogram(cumulative: dict[str, float]) -> dict[float, int]:
    """Counts by step, every step."""
    total, counts = 0, {}
    for bound, value in sorted((float(text), round(value)) for text, value in cumulative.items()):
        counts[bound] = max(value - total, 0)
        total = max(value, total)
    return counts


def _quoted(pattern: str) -> str:
    """A string of PromQL: a backslash of the pattern is written twice."""
    escaped = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _told(answer: httpx.Response) -> str:
    """What an answer says, in one line."""
    text = " ".join(answer.text.split())
    return f"HTTP {answer.status_code}: {text[:SHOWN] or answer.reason_phrase}"
