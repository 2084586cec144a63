"""A check as metrics: what they say, how many they are, where they go, and who reads them."""

import base64
import errno
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from graphmill.drift import gateway, metrics
from graphmill.drift.metrics import Check
from graphmill.drift.params import Params
from graphmill.errors import UserError
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

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.logins: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:  # noqa: N802 - the base class calls it so
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                outer.logins.append(self.headers["authorization"])
                outer.seen.append((self.command, self.path, body))
                self.send_response(200)
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
    server = Gateway()
    with server as url:
        metrics.publish(check(), Params(home=str(tmp_path), pushgateway=url, service="fraud"))
    ((verb, path, body),) = server.seen
    assert (verb, path) == ("PUT", "/metrics/job/graphmill_drift/service/fraud")
    assert body == (tmp_path / "metrics.prom").read_text() == metrics.exposition(check(NOW))
    assert "pushgateway" not in capsys.readouterr().err


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A port where the first who comes gets so many bytes of an answer, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        open_ones = []

        def serve() -> None:
            with suppress(OSError):
                one, _ = server.accept()
                open_ones.append(one)
                one.recv(65_536)
                one.sendall(answer)
                if answer:
                    one.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for one in open_ones:
            one.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "refused"),
        (b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", "500"),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "400"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (b"HTTP/1.1 ", ""),
        (b"", "no answer in 0.3 seconds"),
    ],
)
def test_a_gateway_out_of_reach_is_told_and_fails_nothing(
    answer: bytes | None, words: str, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.delenv("GRAPHMILL_QUIET")
    if answer == b"":
        monkeypatch.setattr(gateway, "PATIENCE", 0.3)
    with answering(answer or b"") as url:
        given = "http://127.0.0.1:1" if answer is None else url
        metrics.publish(check(), Params(home=str(tmp_path), pushgateway=given))
    told = "".join(capsys.readouterr())
    assert f"did not reach the pushgateway {given}: " in told and words in told
    assert "graphmill_drift_state" in (tmp_path / "metrics.prom").read_text()


def test_a_gateway_that_drips_is_not_waited_for(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("GRAPHMILL_QUIET")
    monkeypatch.setattr(gateway, "PATIENCE", 0.5)
    leave = threading.Event()

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            one, _ = server.accept()
            one.sendall(b"HTTP/1.1 200 OK\r\n")
            while not leave.wait(0.1):  # every byte would begin the socket's own patience anew
                with suppress(OSError):
                    one.sendall(b"X-More: 1\r\n")
            one.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        metrics.publish(check(), Params(home=str(tmp_path), pushgateway=f"http://127.0.0.1:{server.getsockname()[1]}"))
        leave.set()
        thread.join()
    assert "no answer in 0.5 seconds" in "".join(capsys.readouterr())


def test_a_full_disk_is_told_and_leaves_the_metrics_of_the_check_before(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.delenv("GRAPHMILL_QUIET")
    metrics.publish(check(), Params(home=str(tmp_path)))
    before = (tmp_path / "metrics.prom").read_bytes()

    def full(self: Path, text: str, **_: Any) -> None:
        self.write_bytes(text.encode()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    metrics.publish(check(), Params(home=str(tmp_path)))
    assert "No space left on device" in "".join(capsys.readouterr())
    assert [one.name for one in tmp_path.iterdir()] == ["metrics.prom"]
    assert (tmp_path / "metrics.prom").read_bytes() == before


def test_a_login_is_no_parameter(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    with pytest.raises(UserError, match="put user:password into GRAPHMILL_PUSHGATEWAY_LOGIN") as refused:
        Params.parse({"pushgateway": "http://me:s3cret@gateway:9091"}, "drift")
    assert "s3cret" not in str(refused.value)
    monkeypatch.setenv(gateway.LOGIN, "me:s3:cret")
    monkeypatch.delenv("GRAPHMILL_QUIET")
    server = Gateway()
    with server as url:
        metrics.publish(check(), Params(home=str(tmp_path), pushgateway=url))
    assert server.logins == [f"Basic {base64.b64encode(b'me:s3:cret').decode()}"]
    metrics.publish(check(), Params(home=str(tmp_path), pushgateway="http://127.0.0.1:1"))
    assert "cret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "url", ["", " ", "gateway:9091", "ftp://gateway", "http://gateway:port", "http://[::1", "http://g/?a=b"]
)
def test_what_is_no_url_of_a_gateway_is_refused_before_anything_is_checked(url: str) -> None:
    with pytest.raises(UserError, match=r"^drift\.pushgateway: "):
        Params.parse({"pushgateway": url}, "drift")


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
