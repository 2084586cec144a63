"""A check as Prometheus metrics: a text file, and a push to a gateway. Labels are few, whatever the data.

Names of columns and categories are no labels: there may be hundreds, and new ones every day. Graphs and statistics of
the structure are: the schema says how many there are.
"""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import push_to_gateway
from prometheus_client.registry import Collector

from graphmill.artifact import write_text
from graphmill.drift import structure
from graphmill.drift.baseline import Past
from graphmill.drift.decision import Answer
from graphmill.drift.params import Params
from graphmill.drift.profile import Profile
from graphmill.drift.record import Line
from graphmill.progress import say

FILE = "metrics.prom"
JOB = "graphmill_drift"
STATES = ("ok", "warn", "alarm", "cold_start", "insufficient_labels", "error")
MOST = 1_000
"""Structural values; the first ones, in the schema's order."""
PATIENCE = 10.0
"""Seconds that a gateway has."""
SECOND = 1_000_000
"""In the clock's microseconds."""

Report = dict[str, Any]
Rows = list[tuple[list[str], float]]


class Check(Collector):
    """What one check found.

    Args:
        found: the content of ``drift_report.json``.
        newest: the newest period's profile.
        past: the profiles before it.
        service: the name under which the model is served.
        lines: the record, oldest first; its decisions are counted.
        moment: when the check was made, in seconds since 1970; None leaves the time of day out.
    """

    def __init__(
        self, found: Report, newest: Profile, past: Past, service: str, lines: list[Line], moment: float | None = None
    ) -> None:
        self.found, self.newest, self.past, self.service = found, newest, past, service
        self.lines, self.moment = lines, moment

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a value."""
        yield from self._verdict()
        yield from self._measured()
        yield from self._performance()
        yield from self._decisions()
        yield from self._moments()

    def _gauge(self, name: str, text: str, labels: list[str], rows: Rows) -> Iterator[Metric]:
        if rows:
            family = GaugeMetricFamily(f"graphmill_drift_{name}", text, labels=["service", *labels])
            for values, number in rows:
                family.add_metric([self.service, *values], number)
            yield family

    def _verdict(self) -> Iterator[Metric]:
        families, items = self.found["families"], self.found["items"]
        states: Rows = [([state], float(self.found["state"] == state)) for state in STATES]
        yield from self._gauge("state", "1 for the state of the newest check", ["state"], states)
        rows = [([name, state], float(facts["state"] == state)) for name, facts in families.items() for state in STATES]
        yield from self._gauge("family_state", "1 for the state of a family of items", ["family", "state"], rows)
        rows = [([name], facts["p"]) for name, facts in families.items() if facts["p"] is not None]
        yield from self._gauge("min_p", "Least p-value of a family, corrected for many", ["family"], rows)
        rows = [([name], float(facts["past"])) for name, facts in families.items()]
        yield from self._gauge("past_periods", "Past periods that a family is compared with", ["family"], rows)
        counts = Counter((item["family"], item["state"]) for item in items)
        rows = [([name, state], float(counts[name, state])) for name in families for state in STATES[:-1]]
        yield from self._gauge("findings", "Items of a family by state", ["family", "state"], rows)
        broken: Rows = [([], float(len(self.found["integrity"])))]
        yield from self._gauge("broken_rules", "Broken rules of integrity", [], broken)

    def _measured(self) -> Iterator[Metric]:
        rows = [
            ([name, statistic], float(values[statistic]))
            for name, values in self.newest.get("structure", {}).items()
            for statistic in structure.TESTED
            if values.get(statistic) is not None
        ]
        yield from self._gauge("structure", "Structure of the newest period", ["graph", "statistic"], rows[:MOST])
        block = self.newest.get("embeddings", {})
        names = ("discrepancy", "displacement", "overlap", "norm", "dead_share", "missing")
        rows = [([name], float(block[name])) for name in names if block.get(name) is not None]
        yield from self._gauge("embedding", "Embeddings beside those at training", ["statistic"], rows)
        above = (self.newest.get("predictions", {}).get("scores") or {}).get("above")
        yield from self._gauge("positive_share", "Share of positive decisions", [], _known([([], above)]))

    def _performance(self) -> Iterator[Metric]:
        block = self.newest.get("performance", {})
        mature, text = _known([([], block.get("maturity"))]), "Labelled share of the cohort whose labels are due"
        yield from self._gauge("label_maturity", text, [], mature)
        whole: dict[str, Any] = next(iter(block.get("groups", {}).values()), {})  # the task's node type comes first
        kinds = {"labelled": whole, "expected": block.get("expected"), "estimated": block.get("estimated")}
        figures = {kind: (part or {}).get("figures", {}) for kind, part in kinds.items()}
        audit = (block.get("audit") or {}).get("figures", {})
        figures["audited"] = {name: figure["audited"] for name, figure in audit.items()}
        rows = _known([
            ([name, kind], (figure or {}).get("value"))
            for kind, part in figures.items()
            for name, figure in part.items()
        ])  # fmt: skip
        yield from self._gauge("performance", "Figures of the model by their source", ["metric", "kind"], rows)

    def _decisions(self) -> Iterator[Metric]:
        decision, blocked = self.found["decision"], self.found["policy"]["blocked_by"]
        rows: Rows = [([answer], float(answer == decision)) for answer in get_args(Answer)]
        yield from self._gauge("decision", "1 for the answer of the newest check", ["decision"], rows)
        rows = [([name], 1.0) for name in blocked]
        yield from self._gauge("blocked", "1 for what held a retraining back", ["by"], rows)
        counts = Counter(line["answer"] for line in self.lines if line["kind"] == "check")
        labels = ["service", "decision"]
        family = CounterMetricFamily("graphmill_drift_decisions", "Decisions in the record", labels=labels)
        for answer in get_args(Answer):
            family.add_metric([self.service, answer], float(counts[answer]))
        yield family

    def _moments(self) -> Iterator[Metric]:
        """Of the data, and of the check itself where that is told."""
        if self.found["clock"] == "timestamp" and self.past.reference["timed"]:
            end: Rows = [([], self.found["period"][1] / SECOND)]
            yield from self._gauge("snapshot_timestamp_seconds", "The moment that was checked", [], end)
            length: Rows = [([], self.past.reference["period"] / SECOND)]
            yield from self._gauge("period_seconds", "Length of a period", [], length)
        if self.moment is not None:
            rows: Rows = [([], self.moment)]
            yield from self._gauge("last_check_timestamp_seconds", "When the newest check was made", [], rows)
            success = _known([([], self._succeeded(self.moment))])
            text = "When the newest check was made that did not fail"
            yield from self._gauge("last_success_timestamp_seconds", text, [], success)

    def _succeeded(self, moment: float) -> float | None:
        """The moment itself, or when the newest earlier check that did not fail was written down."""
        if self.found["state"] != "error":
            return moment
        whole = [line["at"] for line in self.lines if line["kind"] == "check" and line["state"] != "error"]
        return datetime.fromisoformat(max(whole)).timestamp() if whole else None


def exposition(check: Check) -> str:
    """The text that Prometheus reads."""
    return generate_latest(_registry(check)).decode()


def publish(check: Check, params: Params) -> None:
    """Write the metrics with the time of day into ``drift.home``, and push them where a gateway is named.

    Neither is worth a failed stage: what goes wrong is told.
    """
    timed = Check(check.found, check.newest, check.past, check.service, check.lines, time.time())
    file = Path(params.home) / FILE
    try:
        write_text(file, exposition(timed))
    except OSError as error:
        say(
            f"drift: {file} cannot be written, so a textfile collector sees the check before: {error.strerror or error}"
        )
    if params.pushgateway is None:
        return
    group = {"service": params.service}
    try:
        push_to_gateway(params.pushgateway, JOB, _registry(timed), group, timeout=PATIENCE)
    except (OSError, ValueError) as error:  # urllib's errors are OSErrors; a URL that is none is a ValueError
        where = params.pushgateway.rpartition("@")[2]  # a URL may carry a password
        say(f"drift: the metrics did not reach the pushgateway {where}: {error}")


def _registry(check: Check) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(check)
    return registry


def _known(rows: list[tuple[list[str], float | None]]) -> Rows:
    return [(labels, float(number)) for labels, number in rows if number is not None]
