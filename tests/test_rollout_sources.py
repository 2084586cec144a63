"""What the guards are told: known counts come back exactly, and what cannot be read is said."""

import json
import logging
import math
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphmill.errors import UserError
from graphmill.rollout import sources
from graphmill.rollout.observation import Observation, Seen
from graphmill.rollout.params import Params
from graphmill.rollout.sources.joined import Joined, merged
from graphmill.rollout.sources.labels import Labels
from graphmill.rollout.sources.prediction_log import PredictionLog
from graphmill.rollout.sources.prometheus import TOKEN, Prometheus
from graphmill.rollout.target import Unreachable
from graphmill.serving.sinks import COMPARISONS, PREDICTIONS, Layout
from tests import prometheus as endpoints

CHAMPION, CANDIDATE, THIRD = "a" * 16, "b" * 16, "c" * 16
BEGAN = 1_000_000.0


@pytest.fixture
def stand_in():
    one = endpoints.StandIn()
    with endpoints.serving(one.answer) as url:
        one.url = url
        yield one


def every(begin: float, values: list[float], step: float = 15.0) -> list[tuple[float, float]]:
    return [(begin + step * place, value) for place, value in enumerate(values)]


def model(stand_in, name: str, instance: str, begin: float, many: int) -> None:
    stand_in.add("graphmill_model", instance, every(begin, [1.0] * many), model=name)


def asked(stand_in, after: float = 60.0) -> Observation:
    return Prometheus(stand_in.url, lambda: BEGAN + after).observe(CHAMPION, CANDIDATE, BEGAN)


# Prometheus: what counts


def test_only_what_came_since_counts_and_a_candidate_counts_from_its_first_request(stand_in):
    model(stand_in, CHAMPION, "10.0.0.1:8080", BEGAN - 20, 5)
    model(stand_in, CANDIDATE, "10.0.0.2:8080", BEGAN + 20, 3)
    stand_in.add(
        "graphmill_requests_total",
        "10.0.0.1:8080",
        every(BEGAN - 20, [1_000, 1_010, 1_020, 1_045, 1_100]),
        protocol="v1",
    )
    # when it was first scraped it had answered seven, which `increase` would not count
    stand_in.add("graphmill_requests_total", "10.0.0.2:8080", every(BEGAN + 20, [7, 9, 12]), protocol="v1")
    seen = asked(stand_in)
    assert seen.champion == Seen(1_100 - 1_010, 0) and seen.candidate == Seen(12, 0)


def test_replicas_protocols_and_reasons(stand_in):
    for number, instance in enumerate(("10.0.0.1:8080", "10.0.0.3:8080")):
        model(stand_in, CHAMPION, instance, BEGAN + 5, 2)
        for protocol in ("v1", "v2", "grpc", "shadow", "state", "admin"):
            many = 10 + number
            stand_in.add("graphmill_requests_total", instance, every(BEGAN + 5, [0, many]), protocol=protocol)
            for reason in ("internal", "not_ready", "late", "overloaded", "invalid", "not_found"):
                stand_in.add(
                    "graphmill_failures_total", instance, every(BEGAN + 5, [0, 1]), protocol=protocol, reason=reason
                )
    assert asked(stand_in).champion == Seen(3 * 10 + 3 * 11, 2 * 3 * 4)


def test_a_process_that_began_anew_goes_on(stand_in):
    model(stand_in, CANDIDATE, "10.0.0.2:8080", BEGAN + 5, 4)
    stand_in.add("graphmill_requests_total", "10.0.0.2:8080", every(BEGAN + 5, [20, 50, 4, 10]), protocol="v1")
    assert asked(stand_in).candidate.requests == 50 + 10


def test_another_model_at_the_same_address_is_another_counter(stand_in):
    """Its pod is gone, and the new one got its address: the counters may even rise."""
    address = "10.0.0.1:8080"
    model(stand_in, CHAMPION, address, BEGAN - 10, 2)
    stand_in.add("graphmill_model", address, every(BEGAN + 20, [1, 1]), model=CANDIDATE)
    stand_in.add("graphmill_model", address, every(BEGAN + 50, [1]), model=THIRD)
    values = [(BEGAN - 10, 40.0), (BEGAN + 5, 45.0), (BEGAN + 20, 60.0), (BEGAN + 35, 80.0), (BEGAN + 50, 90.0)]
    stand_in.add("graphmill_requests_total", address, values, protocol="v1")
    seen = asked(stand_in)
    assert (seen.champion.requests, seen.candidate.requests) == (5, 80)


def test_the_same_address_in_two_jobs(stand_in):
    model(stand_in, CANDIDATE, "10.0.0.2:8080", BEGAN + 5, 2)
    stand_in.add("graphmill_requests_total", "10.0.0.2:8080", every(BEGAN + 5, [0, 9]), protocol="v1", job="other")
    stand_in.add("graphmill_requests_total", "10.0.0.2:8080", every(BEGAN + 5, [0, 4]), protocol="v1")
    assert asked(stand_in).candidate.requests == 4


def test_histograms_by_step_with_every_step(stand_in):
    model(stand_in, CANDIDATE, "10.0.0.2:8080", BEGAN + 5, 2)
    stand_in.add("graphmill_requests_total", "10.0.0.2:8080", every(BEGAN + 5, [0, 30]), protocol="v1")
    for protocol in ("v1", "v2"):
        for bound, below in {"0.001": 10, "0.0025": 10, "0.005": 14, "+Inf": 15}.items():
            samples = every(BEGAN + 5, [0, below])
            stand_in.add("graphmill_request_seconds_bucket", "10.0.0.2:8080", samples, protocol=protocol, le=bound)
    for bound, below in {"0.5": 20, "1.0": 29, "+Inf": 30}.items():
        stand_in.add("graphmill_score_bucket", "10.0.0.2:8080", every(BEGAN + 5, [0, below]), le=bound)
    seen = asked(stand_in).candidate
    assert seen.latency == {0.001: 20, 0.0025: 0, 0.005: 8, math.inf: 2}
    assert seen.scores == {0.5: 20, 1.0: 10}


def test_mirrored_requests_are_told_by_the_champion_about_this_candidate(stand_in):
    for instance, serves in (("10.0.0.1:8080", CHAMPION), ("10.0.0.9:8080", THIRD)):
        model(stand_in, serves, instance, BEGAN + 5, 2)
        for name, many in {"compared": 90, "disagreed": 7, "failures": 3, "skipped": 1_000}.items():
            for candidate, share in ((CANDIDATE, 1), (THIRD, 5)):
                samples = every(BEGAN + 5, [0, share * many])
                stand_in.add(f"graphmill_shadow_{name}_total", instance, samples, candidate=candidate)
    seen = asked(stand_in)
    assert (seen.compared, seen.disagreed, seen.mirrored_failures) == (90, 7, 3)


def test_looks_add_up_and_a_late_watcher_finds_the_same(stand_in):
    """Eight hours, a restart on the way: read as it went on, and at once in the end."""
    values = [float(place % 500) for place in range(1_900)]
    model(stand_in, CANDIDATE, "10.0.0.2:8080", BEGAN + 5, len(values))
    stand_in.add("graphmill_requests_total", "10.0.0.2:8080", every(BEGAN + 5, values), protocol="v1")
    now = [BEGAN]
    watching = Prometheus(stand_in.url, lambda: now[0])
    while now[0] < BEGAN + 28_800:
        now[0] += 1_111
        seen = watching.observe(CHAMPION, CANDIDATE, BEGAN)
    assert seen.candidate.requests == asked(stand_in, now[0] - BEGAN).candidate.requests == 3 * 499 + 399
    before = len(stand_in.queries)
    watching.observe(CHAMPION, CANDIDATE, BEGAN)
    assert len(stand_in.queries) == before  # no time has passed
    assert watching.observe(CHAMPION, CANDIDATE, BEGAN + 28_700).candidate.requests < 20


def test_nothing_seen_is_nothing(stand_in):
    assert asked(stand_in) == Observation()
    model(stand_in, THIRD, "10.0.0.9:8080", BEGAN + 5, 2)
    stand_in.add("graphmill_requests_total", "10.0.0.9:8080", every(BEGAN + 5, [0, 5]), protocol="v1")
    model(stand_in, CANDIDATE, "10.0.0.2:8080", BEGAN + 5, 2)  # it is there, and was not asked
    assert asked(stand_in) == Observation()


# Prometheus: what goes wrong


def test_a_token_comes_from_the_environment(stand_in, monkeypatch):
    asked(stand_in)
    assert "authorization" not in stand_in.headers[-1]
    monkeypatch.setenv(TOKEN, "secret")
    asked(stand_in)
    assert stand_in.headers[-1]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "fault",
    [
        (500, b"oh"), (502, b"<html>bad gateway</html>"), (503, b"starting"), (429, b"slower"),
        (200, b"<html>login</html>"), (200, b"{}"), (200, b"[]"), (200, b'{"status": "error", "error": "x"}'),
        (200, b'{"status": "success", "data": 1}'),
        (200, b'{"status": "success", "data": {"result": [{"metric": {}, "values": [[1, "x"]]}]}}'),
    ],
)  # fmt: skip
def test_what_passes_is_unreachable_and_then_goes_on(stand_in, fault):
    model(stand_in, CANDIDATE, "10.0.0.2:8080", BEGAN + 5, 2)
    stand_in.add("graphmill_requests_total", "10.0.0.2:8080", every(BEGAN + 5, [0, 5]), protocol="v1")
    source = Prometheus(stand_in.url, lambda: BEGAN + 60)
    stand_in.fault = lambda: fault
    with pytest.raises(Unreachable, match=f"{stand_in.url}.*{fault[0]}"):
        source.observe(CHAMPION, CANDIDATE, BEGAN)
    stand_in.fault = None
    assert source.observe(CHAMPION, CANDIDATE, BEGAN).candidate.requests == 5


def test_nobody_there_and_no_answer_in_time(stand_in, monkeypatch):
    with pytest.raises(Unreachable, match="refused"):
        Prometheus("http://127.0.0.1:9").observe(CHAMPION, CANDIDATE, BEGAN)
    monkeypatch.setattr("graphmill.rollout.sources.prometheus.TIMEOUT", 0.2)
    stand_in.fault = lambda: (time.sleep(0.6), (200, b"{}"))[1]
    with pytest.raises(Unreachable, match="timed out"):
        asked(stand_in)


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "PromQL endpoint"), (404, "PromQL endpoint"), (401, "give a token in"), (403, "may not read"), (302, "URL")],
)
def test_a_refusal_is_the_users_until_there_was_an_answer(stand_in, status, advice):
    source = Prometheus(stand_in.url, iter([BEGAN + 60, BEGAN + 60, BEGAN + 90]).__next__)
    stand_in.fault = lambda: (status, b'{"status":"error","error":"parse error"}')
    with pytest.raises(UserError, match=f"rollout.prometheus.*parse error.*{advice}"):
        source.observe(CHAMPION, CANDIDATE, BEGAN)
    stand_in.fault = None
    source.observe(CHAMPION, CANDIDATE, BEGAN)
    stand_in.fault = lambda: (status, b"no")
    with pytest.raises(Unreachable, match="it answered before"):
        source.observe(CHAMPION, CANDIDATE, BEGAN)


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://prometheus", "http://", "", "http:///api"])
def test_no_url(url):
    with pytest.raises(UserError, match="rollout.prometheus"):
        Prometheus(url).observe(CHAMPION, CANDIDATE, BEGAN)


def exposition(name: str, requests: int, failures: int = 0) -> bytes:
    return (
        f'graphmill_model{{model="{name}"}} 1\n'
        f'graphmill_requests_total{{protocol="v1"}} {requests}\ngraphmill_requests_total{{protocol="shadow"}} 5000\n'
        f'graphmill_failures_total{{protocol="v1",reason="internal"}} {failures}\n'
        f'graphmill_request_seconds_bucket{{protocol="v1",le="0.01"}} {requests - failures}\n'
        f'graphmill_request_seconds_bucket{{protocol="v1",le="+Inf"}} {requests}\n'
        f'graphmill_score_bucket{{le="0.5"}} {requests - failures}\n'
        f'graphmill_score_bucket{{le="+Inf"}} {requests - failures}\n'
        f'graphmill_shadow_compared_total{{candidate="{CANDIDATE}"}} {requests // 10}\n'
    ).encode()


@pytest.mark.slow
@pytest.mark.skipif(not endpoints.installed(), reason="no prometheus here: apt-get install prometheus")
def test_a_real_prometheus(tmp_path):
    """A champion that was there before, a candidate that comes, dies and comes again."""
    told = {"champion": exposition(CHAMPION, 1_000), "candidate": b""}

    def exporter(which: str):
        return lambda body, headers: (200, told[which])

    def until(condition) -> Observation:
        for _ in range(900):
            seen = source.observe(CHAMPION, CANDIDATE, began)
            if condition(seen):
                return seen
            time.sleep(0.1)
        raise AssertionError(seen)

    with endpoints.serving(exporter("champion")) as one, endpoints.serving(exporter("candidate")) as two:
        addresses = [url.removeprefix("http://") for url in (one, two)]
        with endpoints.real(tmp_path / "prometheus", addresses) as url:
            source, began = Prometheus(url), time.time()
            until(lambda seen: seen.champion.requests == 1_000)
            source, began = Prometheus(url), time.time()  # the rollout begins now
            told["champion"] = exposition(CHAMPION, 1_200, 2)
            told["candidate"] = exposition(CANDIDATE, 30, 4)
            until(lambda seen: seen.candidate.requests == 30 and seen.champion.requests == 200)
            seen = source.observe(CHAMPION, CANDIDATE, began)  # one look is several queries: a scrape may fall between
            assert seen.champion == Seen(200, 2, {0.01: 198, math.inf: 2}, {0.5: 198})
            assert (seen.candidate.failures, seen.compared, seen.disagreed) == (4, 20, 0)
            told["candidate"] = exposition(CANDIDATE, 8, 1)
            until(lambda seen: seen.candidate.requests != 30)
            seen = source.observe(CHAMPION, CANDIDATE, began)
            assert (seen.candidate.requests, seen.candidate.failures) == (38, 5)
            again = Prometheus(url).observe(CHAMPION, CANDIDATE, began)
            assert again == source.observe(CHAMPION, CANDIDATE, began)
    with pytest.raises(Unreachable):
        source.observe(CHAMPION, CANDIDATE, began)


# the prediction log


def predictions(folder: Path, name: str, rows: list[tuple[str, str, float, float, bool, str]]) -> Path:
    """Rows of request, key, seconds since the rollout began, score, decision, model."""
    table = [
        (request, "payment", key, 0, BEGAN + at, score, decision, True, of, "s", 0, "i")
        for request, key, at, score, decision, of in rows
    ]
    return _written(folder, name, table, PREDICTIONS)


def comparisons(folder: Path, name: str, rows: list[tuple[str, str, bool, float | None, bool | None, str]]) -> Path:
    """Rows of request, key, champion's decision, candidate's score and decision, candidate."""
    table = [
        (request, "payment", key, 0, BEGAN + 5, CHAMPION, of, 0.5, mine, score, theirs, None if score else "late")
        for request, key, mine, score, theirs, of in rows
    ]
    return _written(folder, name, table, COMPARISONS)


def _written(folder: Path, name: str, rows: list[tuple], layout: Layout) -> Path:
    file = folder / f"{layout.name}-{name}.parquet"
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, kind) for column, kind in zip(columns, layout.schema.types, strict=True)]
    pq.write_table(pa.table(arrays, layout.schema), file)
    os.utime(file, (BEGAN + 60, BEGAN + 60))
    return file


def test_the_prediction_log_tells_requests_scores_and_disagreement(tmp_path):
    predictions(tmp_path, "1", [
        ("r1", "k1", 1, 0.05, False, CHAMPION), ("r1", "k2", 1, 0.051, True, CHAMPION),
        ("r2", "k3", 1, 0.99, True, CHAMPION), ("r3", "k3", 1, 0.0, False, CANDIDATE),
        ("r4", "k3", -1, 0.7, True, CANDIDATE), ("r5", "k3", 1, 0.7, True, THIRD),
        ("r6", "k4", 1, math.nan, False, CANDIDATE),
    ])  # fmt: skip
    comparisons(tmp_path, "1", [
        ("r1", "k1", False, 0.3, False, CANDIDATE), ("r1", "k2", True, 0.3, False, CANDIDATE),
        ("r2", "k3", True, 0.2, False, CANDIDATE), ("r7", "k3", True, None, None, CANDIDATE),
        ("r8", "k3", True, 0.1, False, THIRD),
    ])  # fmt: skip
    seen = PredictionLog(tmp_path).observe(CHAMPION, CANDIDATE, BEGAN)
    assert (seen.champion.requests, seen.candidate.requests) == (2, 2)
    assert seen.champion.failures is None and seen.candidate.failures is None
    assert {bound: many for bound, many in seen.champion.scores.items() if many} == {0.05: 1, 0.1: 1, 1.0: 1}
    assert {bound: many for bound, many in seen.candidate.scores.items() if many} == {0.05: 1, 0.2: 1, 0.3: 2}
    assert len(seen.champion.scores) == 20 and not seen.champion.latency
    # a request counts once: half of the first was decided otherwise, and all of the second
    assert (seen.compared, seen.disagreed, seen.mirrored_failures) == (2, 1, 1)
    assert (seen.champion.alarms, seen.candidate.alarms) == (0, 0)


def test_files_are_read_once_and_stay_counted_when_they_are_tidied_away(tmp_path, monkeypatch):
    row = ("r1", "k1", 1.0, 0.5, False, CHAMPION)
    old = predictions(tmp_path, "0", [row])
    os.utime(old, (BEGAN - 1_000, BEGAN - 1_000))
    first = predictions(tmp_path, "1", [row])
    read: list[str] = []
    original = pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda file, **more: (read.append(file.name), original(file, **more))[1])
    log = PredictionLog(tmp_path)
    assert log.observe(CHAMPION, CANDIDATE, BEGAN).champion.requests == 1
    predictions(tmp_path, "2", [("r2", "k1", 2.0, 0.5, False, CHAMPION), ("r3", "k1", 2.0, 0.5, False, CHAMPION)])
    assert log.observe(CHAMPION, CANDIDATE, BEGAN).champion.requests == 3
    first.unlink()
    assert log.observe(CHAMPION, CANDIDATE, BEGAN).champion.requests == 3
    assert read == ["predictions-1.parquet", "predictions-2.parquet"]
    assert log.observe(CHAMPION, CANDIDATE, BEGAN + 1.5).champion.requests == 2  # another rollout


def test_an_unreadable_file_is_left_out_and_told_once(tmp_path, caplog):
    predictions(tmp_path, "1", [("r1", "k1", 1.0, 0.5, False, CHAMPION)])
    for number, content in enumerate((b"PAR1", b"", b"x" * 100)):
        (tmp_path / f"predictions-9{number}.parquet").write_bytes(content)
    pq.write_table(pa.table({"other": [1]}), tmp_path / "comparisons-9.parquet")
    log = PredictionLog(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert log.observe(CHAMPION, CANDIDATE, BEGAN).champion.requests == 1
    assert len(caplog.records) == 4 and "with 3 others" in caplog.records[-1].message
    time.sleep(0.01)
    predictions(tmp_path, "90", [("r9", "k1", 1.0, 0.5, False, CHAMPION)])  # whole now
    assert log.observe(CHAMPION, CANDIDATE, BEGAN).champion.requests == 2


def test_no_such_folder_is_the_users_until_it_was_there(tmp_path):
    log = PredictionLog(tmp_path / "log")
    with pytest.raises(UserError, match="rollout.prediction_log: .* is no folder"):
        log.observe(CHAMPION, CANDIDATE, BEGAN)
    (tmp_path / "log").mkdir()
    assert log.observe(CHAMPION, CANDIDATE, BEGAN) == Observation(Seen(), Seen())
    (tmp_path / "log").rmdir()
    with pytest.raises(Unreachable, match="is no folder"):
        log.observe(CHAMPION, CANDIDATE, BEGAN)


# labels


def alarmed(folder: Path) -> None:
    predictions(folder, "1", [
        ("r1", "1", 1, 0.9, True, CHAMPION), ("r2", "2", 1, 0.9, True, CHAMPION), ("r3", "3", 1, 0.1, False, CHAMPION),
        ("r4", "1", 2, 0.9, True, CHAMPION), ("r5", "4", 1, 0.9, True, CANDIDATE), ("r6", "9", 1, 0.9, True, CANDIDATE),
    ])  # fmt: skip
    comparisons(folder, "1", [("r1", "1", True, 0.9, True, CANDIDATE), ("r3", "3", False, 0.2, False, CANDIDATE)])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_alarms_count_as_labels_come_each_key_once(tmp_path, kind):
    alarmed(tmp_path)
    file = tmp_path / f"labels.{kind}"
    log = PredictionLog(tmp_path, Labels(file))

    def told() -> tuple[int, int, int, int]:
        seen = log.observe(CHAMPION, CANDIDATE, BEGAN)
        return (
            seen.champion.alarms, seen.champion.true_alarms, seen.candidate.alarms, seen.candidate.true_alarms,
        )  # fmt: skip

    def write(keys: list[int], labels: list[object]) -> None:
        frame = pd.DataFrame({"key": keys, "label": labels, "more": "x"})
        frame.to_csv(file, index=False) if kind == "csv" else frame.to_parquet(file)

    assert told() == (0, 0, 0, 0)
    write([1, 3], [True, False])
    assert told() == (1, 1, 1, 1)
    write([1, 2, 3, 4, 5], [True, False, False, False, True])
    assert told() == (2, 1, 2, 1)


def test_labels_of_many_kinds(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("key,label\na,1\nb,0\nc,TRUE\nd,false\ne,\nf,maybe\na,0\ng, yes \n")
    assert Labels(file).known() == {"a": False, "b": False, "c": True, "d": False, "g": True}
    numbers = tmp_path / "labels.parquet"
    pd.DataFrame({"key": ["a", "b", None, "c"], "label": [1.0, 0.0, 1.0, np.nan]}).to_parquet(numbers)
    assert Labels(numbers).known() == {"a": True, "b": False}


def test_labels_that_cannot_be_read_leave_those_before(tmp_path, caplog):
    file = tmp_path / "labels.csv"
    file.write_text("id,label\na,1\n")
    labels = Labels(file)
    with pytest.raises(UserError, match="no column key, only id, label; it needs key and label"):
        labels.known()
    file.write_text("key,label\na,1\nb,0\n")
    assert labels.known() == {"a": True, "b": False}
    for content in ("id\nx\n", "", 'key,label\n"a'):
        file.write_text(content)
        assert labels.known() == {"a": True, "b": False} == labels.known()
    file.unlink()
    assert labels.known() == {"a": True, "b": False}
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4


# several


class Fixed:
    def __init__(self, seen: Observation | Exception) -> None:
        self.seen = seen

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen


def test_what_belongs_together_comes_from_the_first_that_has_seen_it():
    front = Observation(Seen(100, 1, {0.1: 100}), Seen(0, 0))
    metrics = Observation(Seen(90, 2, {0.1: 90}, {1.0: 90}), Seen(9, 3, {0.1: 9}, {1.0: 9}), 50, 5, 2)
    log = Observation(Seen(80, None, {}, {1.0: 80}, 8, 4), Seen(8, None, {}, {1.0: 8}, 3, 1), 40, 4, 0)
    seen = Joined(Fixed(front), Fixed(metrics), Fixed(log)).observe(CHAMPION, CANDIDATE, BEGAN)
    assert seen.champion == Seen(100, 1, {0.1: 100}, {1.0: 90}, 8, 4)
    assert seen.candidate == Seen(0, 0, {}, {1.0: 9}, 3, 1)  # never the front's champion with the metrics' candidate
    assert (seen.compared, seen.disagreed, seen.mirrored_failures) == (50, 5, 2)
    assert merged([Observation(), log]) == log
    assert merged([log, metrics]).candidate == Seen(9, 3, {0.1: 9}, {1.0: 8}, 3, 1)  # it sees failures


def test_one_that_does_not_answer_is_no_answer():
    with pytest.raises(Unreachable, match="gone"):
        Joined(Fixed(Observation()), Fixed(Unreachable("gone"))).observe(CHAMPION, CANDIDATE, BEGAN)


def test_the_parameters_name_the_sources(tmp_path, stand_in):
    with pytest.raises(UserError, match="give rollout.prometheus or rollout.prediction_log"):
        sources.open(Params())
    with pytest.raises(UserError, match="rollout.labels: needs rollout.prediction_log"):
        sources.open(Params(prometheus=stand_in.url, labels="labels.csv"))
    alarmed(tmp_path)
    (tmp_path / "labels.csv").write_text("key,label\n1,1\n")
    told = {"prediction_log": str(tmp_path), "labels": str(tmp_path / "labels.csv")}
    log = sources.open(Params(**told)).observe(CHAMPION, CANDIDATE, BEGAN)
    assert (log.champion.requests, log.champion.true_alarms) == (4, 1)
    both = sources.open(Params(prometheus=stand_in.url, **told)).observe(CHAMPION, CANDIDATE, time.time() - 5)
    assert both.champion.failures is None
    own = Fixed(Observation(Seen(7, 0), Seen(3, 1)))
    assert sources.join(own, Params()) is own
    seen = sources.join(own, Params(**told)).observe(CHAMPION, CANDIDATE, BEGAN)
    assert seen.candidate.requests == 3 and sum(seen.champion.scores.values()) == 4
    json.dumps({"seen": vars(seen.candidate) | {"scores": dict(seen.candidate.scores)}})  # the log takes it
