"""What the server counts and times, in Prometheus' default registry: KServe's ``/metrics`` shows it.

Labels are bound here, once: a lookup by label costs as much as the observation itself. All is counted on the
thread of the event loop, so that histograms need no lock: ours take a sixth of the time of Prometheus' own.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from graphmill.serving.failure import Kind

PROTOCOLS = ("v1", "v2", "grpc", "shadow", "admin", "state")
"""Who asks: ``shadow`` is another version that mirrors what it answered, whatever the protocol, ``admin`` the graph's
keeper, ``state`` whoever asks for readiness and metadata."""
_STAGES = ("decode", "queue", "sample", "gather", "network", "encode")
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SECONDS_STEPS = tuple(
    round(step * 10.0**decade, 7)
    for decade in range(-4, 1)
    for step in (1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2)
)[:53]
"""Upper bounds of the steps that times to answer are counted by, 0.1 ms to 2.2 s. They are fine, for a rollout sees no
more of a slower model than they let it: two of them are 1.42 to 1.5 times apart."""
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Steps:
    """Values counted by steps that each hold their upper bound."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds`` in ascending order; a last step without one is added."""
        self._bounds = list(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Histograms(Collector):
    """One histogram for each value of a label, as Prometheus has them."""

    def __init__(self, name: str, text: str, label: str, values: Sequence[str], bounds: Sequence[float]) -> None:
        """Registered at once; an empty ``label`` makes one histogram without any."""
        self._name, self._text, self._label = name, text, label
        self._bounds = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self.of = {value: Steps(bounds) for value in values}
        REGISTRY.register(self)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The cumulative counts."""
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label] if self._label else [])
        for value, steps in self.of.items():
            total, buckets = 0, []
            for bound, count in zip(self._bounds, steps.counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric([value] if self._label else [], buckets, steps.sum)
        yield family


_requests = Counter("graphmill_requests", "Requests, by protocol", ["protocol"])
_failures = Counter("graphmill_failures", "Requests not answered, by protocol and reason", ["protocol", "reason"])
_inputs = Counter("graphmill_inputs", "Input values gathered, by whether they are missing", ["missing"])
_nodes = Counter("graphmill_judged_nodes", "Instances judged, by whether the graph has the node", ["known"])
_cache = Counter("graphmill_cache", "Look-ups in the cache of neighbourhoods", ["result"])

REQUESTS = {protocol: _requests.labels(protocol) for protocol in PROTOCOLS}
"""Requests by protocol."""
FAILURES = {(protocol, kind): _failures.labels(protocol, kind.label) for protocol in PROTOCOLS for kind in Kind}
"""Requests that were not answered, by protocol and kind."""
SECONDS = Histograms(
    "graphmill_request_seconds", "Seconds from request to answer", "protocol", PROTOCOLS, SECONDS_STEPS
).of
"""Time from request to answer, by protocol."""
STAGE = Histograms("graphmill_stage_seconds", "Seconds of a stage of answering", "stage", _STAGES, _SECONDS).of
"""Time of a stage: ``STAGE["sample"].observe(seconds)``. The predictor reports sample, gather and network."""
BATCH = Histograms("graphmill_batch_instances", "Instances of a forward pass", "", [""], _SIZES).of[""]
"""Instances of a forward pass."""
WAITING = Gauge("graphmill_queue_instances", "Instances that wait for a forward pass")
"""Instances that wait; read when it is scraped."""
READY = Gauge("graphmill_ready", "1 when predictions are answered")
"""Readiness; read when it is scraped."""
STALENESS = Gauge("graphmill_graph_staleness_seconds", "Age of the newest event that predictions see")
"""Age of the live graph; read when it is scraped."""
SCORE = Histograms("graphmill_score", "Scores answered", "", [""], [step / 20 for step in range(1, 21)]).of[""]
"""Scores answered; counted where they are answered."""
MISSING, PRESENT = _inputs.labels("true"), _inputs.labels("false")
"""Input values that were missing, and that were not: the predictor counts them."""
UNKNOWN, KNOWN = _nodes.labels("false"), _nodes.labels("true")
"""Instances whose node the graph does not have, and has; counted where they are answered."""
CACHE_HITS, CACHE_MISSES = _cache.labels("hit"), _cache.labels("miss")
"""Look-ups in a cache: the predictor counts them."""
EVENTS = Counter("graphmill_events_applied", "Events applied to the live graph")
"""Events applied: the predictor counts them."""
LOST = Gauge("graphmill_predictions_lost", "Answers that the prediction log could not take")
"""Answers not recorded; read when it is scraped."""
REFUSED = Gauge("graphmill_stream_entries_refused", "Entries of the stream that were put aside")
"""Entries put aside; read when it is scraped."""
DELTA_EDGES = Gauge("graphmill_delta_edges", "Edges of the live graph that the snapshot does not have")
"""Size of what came after the snapshot: the predictor sets it."""
DELTA_NODES = Gauge("graphmill_delta_nodes", "Nodes of the live graph that the snapshot does not have")
"""Size of what came after the snapshot: the predictor sets it."""
MODEL = Gauge("graphmill_model", "1 for the model that is served, by the beginning of its digest", ["model"])
"""Which model this is: the predictor sets it, and other metrics are joined with it."""
COMPARED = Counter("graphmill_shadow_compared", "Mirrored requests that both models answered", ["candidate"])
"""Mirrored requests that both models answered."""
DISAGREED = Counter("graphmill_shadow_disagreed", "Those that the candidate decided otherwise", ["candidate"])
"""Those that the candidate decided otherwise."""
UNANSWERED = Counter("graphmill_shadow_failures", "Mirrored requests that the candidate did not answer", ["candidate"])
"""Mirrored requests that the candidate did not answer."""
SKIPPED = Counter(
    "graphmill_shadow_skipped", "Requests drawn to be mirrored for which there was no room", ["candidate"]
)
"""Requests that were drawn to be mirrored, and for which there was no room."""
SHADOW = (COMPARED, DISAGREED, UNANSWERED, SKIPPED)
"""What is counted of mirrored requests, by the beginning of the candidate's digest."""
