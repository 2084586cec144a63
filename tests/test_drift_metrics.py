"""A check as metrics: what they say, how many they are, where they go, and who reads them."""

import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from graphmill.drift import metrics
from graphmill.drift.metrics import Check
from graphmill.drift.params import Params
from tests.test_drift_report import viewed

HOME = Path(__file__).parent.parent
DASHBOARD = HOME / "manifests" / "monitoring" / "drift.json"
NOW = 1_700_000_000.0
promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (Debian's package prometheus) is not installed"
)


def check(moment: float | None = None, lines: list[dict[str, Any]] | None = None, **found: Any) -> Check:
    view = viewed(14, 3, 1)
    told = {**view.found, "families": dict(view.found["families"]), **found}
    return Check(told, view.newest, view.past, "fraud", lines or [], moment)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and labels; the service is everybody's."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.pop("service") == "fraud"
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


def test_the_metrics_say_what_the_report_says() -> None:
    line = {"kind": "check", "id": "a", "state": "ok", "at": "2026-01-01T00:00:00Z", "answer": "ok"}
    blocked = {"blocked_by": ["cooldown"]}
    found = check(lines=[line, {"kind": "acknowledgement"}, line], state="alarm", decision="watch", policy=blocked)
    values = samples(metrics.exposition(found))
    assert values["graphmill_drift_state", "alarm"] == 1 and values["graphmill_drift_state", "ok"] == 0
    states = [values["graphmill_drift_family_state", *sorted(("structure", state))] for state in metrics.STATES]
    assert sum(states) == 1
    assert values["graphmill_drift_decision", "watch"] == 1 and values["graphmill_drift_blocked", "cooldown"] == 1
    assert (
        values["graphmill_drift_decisions_total", "ok"] == 2 and values["graphmill_drift_decisions_total", "page"] == 0
    )
    structure = found.newest["structure"]["account.transfer.account"]
    assert values["graphmill_drift_structure", "account.transfer.account", "reciprocity"] == structure["reciprocity"]
    assert values["graphmill_drift_embedding", "displacement"] == found.newest["embeddings"]["displacement"]
    assert values["graphmill_drift_performance", "average_precision", "estimated"] == 0.79
    assert values["graphmill_drift_performance", "average_precision", "expected"] == 0.81
    assert values["graphmill_drift_label_maturity",] == 0.95 and values["graphmill_drift_positive_share",] == 0.1
    assert values["graphmill_drift_snapshot_timestamp_seconds",] == 15 * 7 * 86_400
    assert values["graphmill_drift_period_seconds",] == 7 * 86_400
    counted = [value for key, value in values.items() if key[0] == "graphmill_drift_findings" and "feature" in key]
    assert sum(counted) == found.found["families"]["feature"]["items"]


def test_the_time_of_day_is_told_only_where_it_is_given() -> None:
    assert "last_" not in metrics.exposition(check())
    values = samples(metrics.exposition(check(NOW)))
    assert values["graphmill_drift_last_success_timestamp_seconds",] == NOW
    ok = {"kind": "check", "id": "a", "state": "ok", "at": "2026-01-01T00:00:00Z", "answer": "ok"}
    failed = {**ok, "state": "error", "at": "2026-01-02T00:00:00Z"}
    values = samples(metrics.exposition(check(NOW, [ok, failed], state="error")))
    assert values["graphmill_drift_last_check_timestamp_seconds",] == NOW
    assert values["graphmill_drift_last_success_timestamp_seconds",] == 1_767_225_600, "when the last one was that did"
    values = samples(metrics.exposition(check(NOW, [failed], state="error")))
    assert ("graphmill_drift_last_success_timestamp_seconds",) not in values


def test_what_is_not_known_has_no_metric() -> None:
    view = viewed(0, 2, 1)
    bare = {name: view.newest[name] for name in ("version", "start", "end", "node_types", "relations")}
    untimed = {**view.past.reference, "timed": False}
    past = type(view.past)(untimed, [])
    text = metrics.exposition(Check(view.found, bare, past, "fraud", []))
    assert {name for name, *_ in samples(text)} == {
        f"graphmill_drift_{name}"
        for name in ("state", "family_state", "past_periods", "findings", "broken_rules", "decision", "decisions_total")
    }


def test_columns_and_categories_are_no_labels() -> None:
    def count(columns: int) -> int:
        view = viewed(2, columns, 1)
        return len(samples(metrics.exposition(Check(view.found, view.newest, view.past, "fraud", []))))

    assert count(3) == count(90)
    view = viewed(2, 1, 1)
    view.newest["structure"] = {f"graph {n}": {"timed": True, "edges": n} for n in range(3_000)}
    values = samples(metrics.exposition(Check(view.found, view.newest, view.past, "fraud", [])))
    assert sum(name == "graphmill_drift_structure" for name, *_ in values) == metrics.MOST


@promtool
def test_prometheus_reads_them(tmp_path: Path) -> None:
    text = metrics.exposition(check(NOW, state="alarm"))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


# ----- where they go


class Gateway:
    """A pushgateway as far as a push sees it."""

    def __init__(self, status: int = 200) -> None:
        self.seen: list[tuple[str, str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:  # noqa: N802 - the base class calls it so
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                outer.seen.append((self.command, self.path, body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_they_go_into_a_file_and_to_a_gateway(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(metrics.time, "time", lambda: NOW)
    gateway = Gateway()
    with gateway as url:
        metrics.publish(check(), Params(home=str(tmp_path), pushgateway=url, service="fraud"))
    ((verb, path, body),) = gateway.seen
    assert (verb, path) == ("PUT", "/metrics/job/graphmill_drift/service/fraud")
    assert body == (tmp_path / "metrics.prom").read_text() == metrics.exposition(check(NOW))
    assert "pushgateway" not in capsys.readouterr().err


@pytest.mark.parametrize("outage", ["refused", "500", "no url"])
def test_a_gateway_out_of_reach_is_told_and_fails_nothing(
    outage: str, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.delenv("GRAPHMILL_QUIET")
    gateway = Gateway(500)
    with gateway as url:
        given = {"refused": "http://127.0.0.1:1", "500": url, "no url": "://"}[outage]
        metrics.publish(check(), Params(home=str(tmp_path), pushgateway=given))
    assert f"did not reach the pushgateway {given}" in "".join(capsys.readouterr())
    metrics.publish(check(), Params(home=str(tmp_path / "not" / "there")))
    assert "cannot be written" in "".join(capsys.readouterr())


# ----- who reads them


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def expressions() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def test_dashboard_and_alerts_ask_for_metrics_and_labels_that_there_are() -> None:
    found = check(NOW, policy={"blocked_by": ["labels"]}, decision="watch")
    families = list(text_string_to_metric_families(metrics.exposition(found)))
    told = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    values = {
        (sample.name, *label) for family in families for sample in family.samples for label in sample.labels.items()
    }
    alerts = (HOME / "manifests" / "base" / "alerts.yaml").read_text(encoding="utf-8")
    asked = [*expressions(), alerts]
    for text in asked:
        for name, inside in re.findall(r"(graphmill_drift_\w+)(?:\{([^}]*)\})?", text):
            assert name in told, name
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', inside):
                assert label in told[name], f"{name} has no label {label}"
                for one in value.split("|"):
                    assert one.startswith("$") or (name, label, one) in values, f"{name}: {label} is never {one}"
    variables = {item["name"] for item in dashboard()["templating"]["list"]}
    assert set(re.findall(r"\$(\w+)", " ".join(expressions()))) <= variables
    used = {name for text in asked for name in re.findall(r"graphmill_drift_\w+", text)}
    assert used == set(told), "each metric is looked at somewhere"


@promtool
def test_prometheus_parses_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{place}", "expr": expr} for place, expr in enumerate(expressions())]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", "rules.json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_panels_do_not_lie_on_one_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24 and taken.setdefault((x, y), panel["title"]) == panel["title"]
