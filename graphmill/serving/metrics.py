"""What the server counts and times, in Prometheus' default registry: KServe's ``/metrics`` shows it.

Labels are bound here, once: a lookup by label costs as much as the observation itself.
"""

from collections.abc import Iterable

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from graphmill.serving.failure import Kind

PROTOCOLS = ("v1", "v2", "grpc", "admin")
_STAGES = ("decode", "queue", "sample", "gather", "network", "encode")
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_requests = Counter("graphmill_requests", "Requests, by protocol", ["protocol"])
_failures = Counter("graphmill_failures", "Requests not answered, by protocol and reason", ["protocol", "reason"])
_seconds = Histogram("graphmill_request_seconds", "Seconds from request to answer", ["protocol"], buckets=_SECONDS)
_stages = Histogram("graphmill_stage_seconds", "Seconds of a stage of answering", ["stage"], buckets=_SECONDS)
_inputs = Counter("graphmill_inputs", "Input values gathered, by whether they are missing", ["missing"])
_nodes = Counter("graphmill_judged_nodes", "Instances judged, by whether the graph has the node", ["known"])
_cache = Counter("graphmill_cache", "Look-ups in the cache of neighbourhoods", ["result"])

REQUESTS = {protocol: _requests.labels(protocol) for protocol in PROTOCOLS}
"""Requests by protocol."""
FAILURES = {(protocol, kind): _failures.labels(protocol, kind.label) for protocol in PROTOCOLS for kind in Kind}
"""Requests that were not answered, by protocol and kind."""
SECONDS = {protocol: _seconds.labels(protocol) for protocol in PROTOCOLS}
"""Time from request to answer, by protocol."""
STAGE = {stage: _stages.labels(stage) for stage in _STAGES}
"""Time of a stage: ``STAGE["sample"].observe(seconds)``. The predictor reports sample, gather and network."""
BATCH = Histogram("graphmill_batch_instances", "Instances of a forward pass", buckets=_SIZES)
"""Instances of a forward pass."""
WAITING = Gauge("graphmill_queue_instances", "Instances that wait for a forward pass")
"""Instances that wait; read when it is scraped."""
READY = Gauge("graphmill_ready", "1 when predictions are answered")
"""Readiness; read when it is scraped."""
STALENESS = Gauge("graphmill_graph_staleness_seconds", "Age of the newest event that predictions see")
"""Age of the live graph; read when it is scraped."""
MISSING, PRESENT = _inputs.labels("true"), _inputs.labels("false")
"""Input values that were missing, and that were not: the predictor counts them."""
UNKNOWN, KNOWN = _nodes.labels("false"), _nodes.labels("true")
"""Instances whose node the graph does not have, and has; counted where they are answered."""
CACHE_HITS, CACHE_MISSES = _cache.labels("hit"), _cache.labels("miss")
"""Look-ups in a cache: the predictor counts them."""
EVENTS = Counter("graphmill_events_applied", "Events applied to the live graph")
"""Events applied: the predictor counts them."""
DELTA_EDGES = Gauge("graphmill_delta_edges", "Edges of the live graph that the snapshot does not have")
"""Size of what came after the snapshot: the predictor sets it."""
DELTA_NODES = Gauge("graphmill_delta_nodes", "Nodes of the live graph that the snapshot does not have")
"""Size of what came after the snapshot: the predictor sets it."""


class Scores(Collector):
    """The histogram of the scores answered, in twenty steps of 0.05.

    A request may have a thousand, and a `Histogram` takes two microseconds for each.
    """

    _STEPS = 20

    def __init__(self) -> None:
        self._counts = [0] * (self._STEPS + 1)
        self._sum = 0.0

    def add(self, score: float) -> None:
        """Count one score of 0 to 1; one on the border of two steps counts in the upper."""
        self._counts[int(score * self._STEPS)] += 1
        self._sum += score

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The cumulative counts, as Prometheus has them."""
        total, buckets = 0, []
        for place in range(self._STEPS - 1):
            total += self._counts[place]
            buckets.append((str((place + 1) / self._STEPS), float(total)))
        buckets.append(("+Inf", float(sum(self._counts))))
        yield HistogramMetricFamily("graphmill_score", "Scores answered", buckets=buckets, sum_value=self._sum)


SCORES = Scores()
"""Scores answered; counted where they are answered."""
REGISTRY.register(SCORES)
