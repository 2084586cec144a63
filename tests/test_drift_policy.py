"""When drift retrains and what holds it back: the policy on checks, its record, its commands."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graphmill import artifact, drift, registry
from graphmill.drift import __main__ as command
from graphmill.drift import record, standing
from graphmill.drift.decision import Check, Decision, Outcome, Past
from graphmill.drift.policy import decide
from graphmill.drift.record import Record, Standing
from graphmill.drift.rules import Policy, Rules
from graphmill.errors import UserError
from graphmill.registry import Move, Version

DAY = 86_400_000_000
FAMILIES = ("feature", "structure", "embedding", "prediction", "performance")
RULES = Rules.of(Policy(alarms=2, checks=3, cooldown="7d", per="84d"), "timestamp", True, DAY)


def check(day: int, *, alarm: Sequence[str] = (), model: str = "m0", **given: Any) -> Check:
    """The check of a day: ``ok`` in every family but those that alarm."""
    states = {family: "alarm" if family in alarm else "ok" for family in FAMILIES} | given.pop("states", {})
    return Check(day * DAY, model, states, **{"labels": 5_000, "new_labels": 500, "new_edges": 0.2, **given})


def run(
    checks: Sequence[Check], rules: Rules = RULES, outcome: Outcome = "promoted", acknowledged: Sequence[int] = ()
) -> list[Decision]:
    """The decisions on a row of checks; every retraining comes to ``outcome`` before the next check."""
    past: list[Past] = []
    found = []
    for place, item in enumerate(checks):
        decision = decide(item, past, rules)
        found.append(decision)
        past.append(Past(item, decision.answer, decision.families, outcome, place in acknowledged))
    return found


def answers(found: Sequence[Decision]) -> list[str]:
    return [decision.answer for decision in found]


# ----- triggers


def test_one_alarm_is_watched_and_a_repeated_one_retrains() -> None:
    found = run([check(0), check(1, alarm=["feature"]), check(2), check(3, alarm=["feature"])])
    assert answers(found) == ["ok", "watch", "ok", "retrain"]
    assert found[1].blocked_by == ["persistence"] and "1 of the last 2 checks" in found[1].words
    assert found[3].families == ("feature",) and found[3].canonical()["triggers"] == ["drift"]


def test_the_newest_check_has_to_alarm_and_old_alarms_are_forgotten() -> None:
    alarm = ["structure"]
    assert answers(run([check(1, alarm=alarm), check(2), check(3), check(4, alarm=alarm)]))[-1] == "watch"
    strict = replace(RULES, alarms=1)
    assert answers(run([check(1, alarm=alarm)], strict)) == ["retrain"]
    assert (
        answers(run([check(1, states={"structure": "warn"}), check(2, states={"structure": "warn"})])) == ["watch"] * 2
    )


def test_checks_that_judged_nothing_neither_alarm_nor_calm() -> None:
    early = {"performance": "insufficient_labels"}
    found = run([check(1, alarm=["performance"]), *(check(day, states=early) for day in range(2, 9)),
                 check(9, alarm=["performance"])])  # fmt: skip
    assert answers(found) == ["watch"] * 8 + ["retrain"]
    assert found[-1].canonical()["triggers"] == ["performance"]
    assert answers(run([check(1, states=dict.fromkeys(FAMILIES, "cold_start"))])) == ["watch"]


def test_only_chosen_families_ask_for_retraining() -> None:
    rules = replace(RULES, alarms=1, retrain_on=("structure",))
    assert answers(run([check(1, alarm=["feature"])], rules)) == ["watch"]
    assert answers(run([check(1, alarm=["structure"])], rules)) == ["retrain"]


def test_schedule_and_volume_retrain_without_drift() -> None:
    monthly = replace(RULES, schedule=30 * DAY)
    found = run([check(day, trained=0) for day in (29, 30, 31, 60)], monthly)
    assert answers(found) == ["ok", "retrain", "ok", "retrain"]
    assert found[1].canonical()["triggers"] == ["schedule"] and "30 days ago" in found[1].words
    growing = replace(RULES, volume=0.2)
    found = run([check(1, new_labels=999), check(2, new_labels=1_000)], growing)
    assert answers(found) == ["ok", "retrain"] and found[1].canonical()["triggers"] == ["volume"]


def test_an_estimate_asks_for_labels_and_never_retrains() -> None:
    found = run([check(day, estimated_drop=0.2) for day in range(10)])
    assert answers(found) == ["request_labels"] * 10 and "fell by 0.200" in found[0].words
    assert answers(run([check(1, estimated_drop=None)])) == ["ok"]


# ----- what holds a retraining back


def test_a_flapping_alarm_is_answered_once() -> None:
    """Alarm, none, alarm, none, …: it never ends, so it is one alarm."""
    found = run([check(day, alarm=["feature"] if day % 2 else []) for day in range(200)])
    assert answers(found).count("retrain") == 1
    assert found[199].blocked_by == ["hysteresis"] and "3 clean checks in a row" in found[199].words


def test_an_alarm_that_ended_may_come_again() -> None:
    days = [1, 2, 3, 20, 21]
    found = run([check(day, alarm=["feature"] if day in days else []) for day in range(25)])
    assert [day for day, decision in enumerate(found) if decision.answer == "retrain"] == [2, 21]


def test_a_new_model_starts_its_own_families_anew() -> None:
    def last(family: str, model: str) -> str:
        before = [check(day, alarm=[family]) for day in (1, 2)]
        return answers(run([*before, *(check(day, alarm=[family], model=model) for day in (20, 21))]))[-1]

    assert (last("feature", "m1"), last("performance", "m1"), last("performance", "m0")) == (
        "watch", "retrain", "watch",
    )  # fmt: skip


def test_a_cooldown_follows_every_retraining() -> None:
    """Another family's alarm, right after: one period has to pass."""
    rules = replace(RULES, alarms=1)
    found = run([check(1, alarm=["feature"]), *(check(day, alarm=["structure"]) for day in range(2, 9))], rules)
    assert answers(found) == ["retrain", *["watch"] * 6, "retrain"]
    assert found[1].blocked_by == ["cooldown"] and "1 day ago, 7 days must pass" in found[1].words


def test_the_budget_is_kept() -> None:
    rules = replace(RULES, alarms=1, schedule=7 * DAY, most=2, per=30 * DAY)
    found = run([check(day, trained=0) for day in range(60)], rules)
    retrained = [day for day, decision in enumerate(found) if decision.answer == "retrain"]
    assert retrained == [7, 14, 37, 44] and found[21].blocked_by == ["budget"]
    assert "2 retrainings in the last 30 days, at most 2" in found[21].words


def test_broken_feeds_and_failed_parts_call_a_person() -> None:
    rules = replace(RULES, alarms=1)
    found = run([check(1, alarm=["feature"], broken=("no rows, payment",)), check(2, failed=("structure (KeyError)",))])
    assert answers(found) == ["page", "page"]
    assert found[0].blocked_by == ["persistence", "integrity"] and found[1].blocked_by == ["failure"]
    found = run([check(1, alarm=["feature"], broken=("no rows, payment",))], rules)
    assert found[0].blocked_by == ["integrity"] and "no rows, payment" in found[0].words


def test_refused_challengers_back_off_and_then_call_a_person() -> None:
    found = run([check(day, alarm=["feature"]) for day in range(1, 40)], outcome="rejected")
    retrained = [day for day, decision in enumerate(found, 1) if decision.answer == "retrain"]
    assert retrained == [2, 16], "one period doubled after the first"
    assert found[9].blocked_by == ["backoff"] and "14 days must pass after 1 refused" in found[9].words
    found = run([check(day, alarm=["feature"]) for day in range(1, 60)], outcome="rejected")
    retrained = [day for day, decision in enumerate(found, 1) if decision.answer == "retrain"]
    assert retrained == [2, 16, 44] and answers(found)[44:] == ["page"] * 15, "28 days after the second, then a person"
    assert "rejections" in found[-1].blocked_by
    looked = run([check(day, alarm=["feature"]) for day in range(1, 60)], outcome="rejected", acknowledged=[45])
    assert "page" not in answers(looked)[46:], "a person has looked"


def test_a_challenger_that_waits_for_its_rollout_calls_a_person_in_the_end() -> None:
    found = run([check(day, alarm=["feature"]) for day in range(1, 12)], outcome="pending")
    assert answers(found) == ["watch", "retrain", *["watch"] * 6, *["page"] * 3]
    assert found[2].blocked_by == ["cooldown"] and found[-1].blocked_by == ["rollout"]


def test_nothing_new_to_learn_from() -> None:
    rules = replace(RULES, alarms=1)
    few = decide(check(1, alarm=["feature"], new_labels=99), [], rules)
    assert (few.answer, few.blocked_by) == ("request_labels", ["labels"]) and "task.split" in few.words
    still = decide(check(1, alarm=["feature"], new_edges=0.001), [], rules)
    assert (still.answer, still.blocked_by) == ("watch", ["edges"])
    untold = decide(check(1, alarm=["feature"], new_labels=None, new_edges=None), [], rules)
    assert untold.answer == "retrain"


def test_a_training_that_would_see_nothing_of_the_change_waits() -> None:
    """Labels come late: the newest ten days are not for training."""
    found = run([check(day, alarm=["feature"] if day > 3 else [], learns_until=(day - 10) * DAY) for day in range(20)])
    assert [day for day, decision in enumerate(found) if decision.answer == "retrain"] == [14]
    assert found[13].blocked_by == ["unseen"] and "1 day before the alarm" in found[13].words
    late = [check(day, alarm=["feature"], learns_until=(day - 10) * DAY) for day in range(2)]
    assert answers(run(late, replace(RULES, wait_for_labels=False)))[-1] == "retrain"
    again = run([check(day, alarm=["feature"] if day in (1, 9, 10) else [], learns_until=(day - 1) * DAY)
                 for day in range(11)])  # fmt: skip
    assert answers(again)[-1] == "retrain", "an older alarm that ended does not count"


def test_an_acknowledged_alarm_counts_as_normal() -> None:
    checks = [check(day, alarm=["feature"]) for day in (1, 2)]
    assert answers(run(checks)) == ["watch", "retrain"] and answers(run(checks, acknowledged=[0])) == ["watch", "watch"]


# ----- rules


def test_lengths_of_time_fit_the_data() -> None:
    weekly, daily = (Rules.of(Policy(), "timestamp", True, length * DAY) for length in (7, 1))
    assert (weekly.cooldown, weekly.per, weekly.schedule) == (7 * DAY, 84 * DAY, None)
    assert (weekly.alarms, weekly.checks, daily.alarms, daily.checks) == (2, 3, 3, 5)
    steps = Rules.of(Policy(cooldown=3), "step", True, 5)
    assert (steps.cooldown, steps.per, steps.told(3)) == (3, 60, "3 steps")
    counted = Rules.of(Policy(schedule=4), "timestamp", False, 0)
    assert (counted.cooldown, counted.schedule, counted.told(1)) == (1, 4, "1 check")
    with pytest.raises(UserError, match=r"drift\.policy\.cooldown.*whole number of steps"):
        Rules.of(Policy(cooldown="7d"), "step", True, 5)
    with pytest.raises(UserError, match="alarms must not be above checks"):
        Policy.parse({"alarms": 4, "checks": 3}, "drift.policy")
    with pytest.raises(UserError, match="give both or none"):
        Policy.parse({"alarms": 4}, "drift.policy")


def test_a_training_for_another_reason_answers_no_alarm_that_waits() -> None:
    growing = replace(RULES, volume=0.2)
    days = [
        check(day, alarm=["feature"] * (day > 1), learns_until=(day - 5) * DAY, new_labels=1_100 if day == 3 else 900)
        for day in range(20)
    ]
    found = run(days, growing)
    told = {day: decision for day, decision in enumerate(found) if decision.answer == "retrain"}
    assert list(told) == [3, 10], "by volume, and when the cool-down is over and something of the alarm is learned"
    assert (told[3].families, told[10].families) == ((), ("feature",))


def test_checks_of_the_same_data_are_one() -> None:
    weekly = replace(RULES, period=7 * DAY, cooldown=DAY)
    days = [check(day, alarm=["feature"]) for day in range(9)]
    assert answers(run(days, weekly)) == ["watch"] * 7 + ["retrain", "watch"]
    assert run(days[:7], weekly)[-1].blocked_by == ["persistence"]
    twice = [check(1, alarm=["feature"]), check(1, alarm=["feature"])]
    assert answers(run(twice)) == ["watch", "watch"], "the same moment once more"
    looked_at_each_day = [check(day, alarm=["feature"] if day < 8 else []) for day in range(30)]
    again = [check(30, alarm=["feature"]), check(37, alarm=["feature"])]
    found = run([*looked_at_each_day, *again], weekly)
    assert answers(found)[7] == answers(found)[-1] == "retrain", "three weeks in a row were clean"
    soon = [check(day, alarm=["feature"] if day < 8 else []) for day in range(20)]
    found = run([*soon, check(20, alarm=["feature"]), check(27, alarm=["feature"])], weekly)
    assert found[-1].blocked_by == ["hysteresis"], "twelve clean checks, but of hardly two weeks"


# ----- the record


def add(home: Record, item: Check, rules: Rules = RULES, **given: Any) -> Decision:
    name = record.digest(item.canonical())
    facts = {"as_of": f"day {item.moment // DAY}", "state": "ok", "period": [0, item.moment]}
    return home.add(name, facts, item, rules, Standing(**given))


def test_the_record_is_added_to_and_decides_the_same_again(tmp_path: Path) -> None:
    home = Record(tmp_path / "history")
    items = [check(day, alarm=["feature"] if day > 3 else []) for day in range(8)]
    first = [add(home, item) for item in items]
    assert answers(first) == ["ok"] * 4 + ["watch", "retrain", "watch", "watch"]
    before = home.file.read_bytes()
    assert [add(home, item) for item in items] == first and home.file.read_bytes() == before, "the same checks"
    add(home, check(8))
    assert home.file.read_bytes().startswith(before)
    lines = home.lines()
    assert all(record.same(line, record.again(lines, place)) for place, line in enumerate(lines))
    assert lines[6]["blocked_by"] == ["cooldown"], "nothing came of the retraining, so the alarm was not answered"


def test_snapshots_without_time_are_numbered(tmp_path: Path) -> None:
    home, first, second = Record(tmp_path), {"graph": "a", "features": "b"}, {"graph": "a", "features": "c"}
    assert home.snapshot(first, before=0) == 1
    facts = {"as_of": "", "state": "ok", "period": [None, 1], "inputs": first}
    home.add("one", facts, check(1), RULES, Standing())
    assert home.snapshot(first, before=0) == 1 and home.snapshot(second, before=0) == 2, "the same one is the same"


def test_a_check_of_older_data_knows_nothing_of_what_came_later(tmp_path: Path) -> None:
    home = Record(tmp_path)
    for day in (10, 11):
        add(home, check(day, alarm=["feature"]))
    assert add(home, check(5, alarm=["feature"])).blocked_by == ["persistence"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"kind": "check"}', '{"kind": "check", "version": 9}', '{"kind": "check", "version": 1}',
     '{"kind": "acknowledgement", "version": 1, "check": 3}'],
)  # fmt: skip
def test_a_damaged_record_is_told_and_left_alone(tmp_path: Path, text: str) -> None:
    home = Record(tmp_path)
    add(home, check(1))
    home.file.write_text(home.file.read_text() + text + "\n")
    before = home.file.read_bytes()
    with pytest.raises(UserError, match="line 2"):
        add(home, check(2))
    assert home.file.read_bytes() == before


@pytest.mark.parametrize(
    ("items", "state"),
    [
        ([("payment", "ok"), ("estimated", "warn")], None),
        ([("payment", "insufficient_labels"), ("estimated", "warn")], "insufficient_labels"),
        ([("payment", "ok"), ("payment channel=fax", "insufficient_labels"), ("estimated", "warn")], None),
        ([("payment", "insufficient_labels"), ("audit gap", "alarm")], None),
    ],
)
def test_a_warning_without_labels_is_no_verdict_on_performance(items: list[Any], state: str | None) -> None:
    found = [{"family": "performance", "name": name, "state": one} for name, one in items]
    assert standing.unjudged_families({"items": found}) == ({} if state is None else {"performance": state})


def test_outcomes_are_read_from_the_registry() -> None:
    def line(name: str, versions: list[str]) -> dict[str, Any]:
        return {"id": name, "answer": "retrain", "versions": versions}

    def version(name: str, verdict: str) -> Version:
        return Version(name, name, "me", "now", {"verdict": verdict})

    made = [version("v0", "pass"), version("v1", "block"), version("v2", "pass"), version("v3", "pass")]
    checks = [line("a", ["v0"]), {"id": "x", "answer": "ok", "versions": ["v0", "v1"]}, line("b", ["v0", "v1"]),
              line("c", ["v0", "v1", "v2"]), line("d", ["v0", "v1", "v2", "v3"])]  # fmt: skip
    moves = [Move("champion", "v0", "v2", "me", "now", "better")]
    found = standing.outcomes(checks, made, moves, {"champion": "v2", "candidate": "v3"})
    assert found == {"a": "rejected", "b": "promoted", "c": "pending", "d": "none"}
    assert standing.outcomes(checks, made, moves, {"candidate": "v2"})["c"] == "rejected", "somebody refused it"
    assert standing.outcomes([], made, moves, {}) == {}


def test_a_registry_out_of_reach_leaves_what_was_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise UserError("no network")

    monkeypatch.setattr(registry, "open", fail)
    assert standing.standing("wandb://a/b/c", []) == Standing()
    known = [{"versions": ["v0"], "outcomes": {"a": "rejected"}}]
    assert standing.standing("wandb://a/b/c", known) == Standing(("v0",), {"a": "rejected"})


@pytest.mark.parametrize(
    ("state", "decision", "status"),
    [
        ("ok", "ok", 0), ("warn", "watch", 0), ("cold_start", "watch", 0), ("ok", "request_labels", 0),
        ("alarm", "watch", 2), ("ok", "retrain", 2), ("warn", "page", 2), ("error", "page", 3),
    ],
)  # fmt: skip
def test_a_report_as_an_exit_status(tmp_path: Path, state: str, decision: str, status: int) -> None:
    with artifact.write(tmp_path / "drift_report", "drift_report") as draft:
        draft.manifest |= {"state": state, "decision": decision}
    assert drift.exit_status(tmp_path / "drift_report") == status


# ----- commands


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A record of three checks: a flapping alarm."""
    home = Record(tmp_path / "drift_history")
    for day in range(3):
        add(home, check(day, alarm=["feature"] if day != 1 else []))
    return home.file.parent


def told(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str]:
    status = command.main([arguments[0], "--home", str(home), *arguments[1:]])
    found = capsys.readouterr()
    return status, found.out + found.err


def test_history_and_replay(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = told(capsys, history, "history")
    assert status == 0 and text.count("day ") == 3 and "persistence" in text and "retrain" in text
    status, text = told(capsys, history, "history", "--json")
    lines: list[Mapping[str, Any]] = json.loads(text)
    assert [line["answer"] for line in lines] == ["watch", "ok", "retrain"]
    assert told(capsys, history, "replay") == (0, "3 decisions made again, all the same\n")
    file = history / record.FILE
    file.write_text(file.read_text().replace('"answer": "retrain"', '"answer": "watch"'))
    status, text = told(capsys, history, "replay")
    assert status == 1 and "was watch, now retrain" in text
    assert told(capsys, history / "no", "history")[0] == 0


def test_the_audit_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame({"key": [f"p{n}" for n in range(50)], "time": range(50), "score": np.linspace(0, 1, 50)})
    rows.assign(decision=rows["score"] > 0.5).to_parquet(tmp_path / "predictions.parquet")
    given = ["audit-sample", "--predictions", str(tmp_path), "--size", "20", "--output", str(tmp_path / "audit.csv")]
    assert command.main(given) == 0 and "20 predictions" in capsys.readouterr().out
    drawn = pd.read_csv(tmp_path / "audit.csv")
    assert len(drawn) == 20 and drawn["weight"].sum() == pytest.approx(50) and "score" not in drawn
    assert command.main(given) == 2 and "is there already" in capsys.readouterr().err
    assert command.main([*given, "--output", str(tmp_path / "audit.csv" / "x.csv")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert command.main([*given, "--seed", "-1"]) == 2 and "must not be negative" in capsys.readouterr().err
    rows.assign(score="high", decision=True).to_parquet(tmp_path / "predictions.parquet")
    assert command.main([*given, "--output", str(tmp_path / "other.csv")]) == 2
    assert "no predictions to draw from" in capsys.readouterr().err


def test_acknowledge(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = Record(history).checks()[0]["id"]
    assert told(capsys, history, "acknowledge", name[:6], "--why", "Black Friday", "--who", "Ada")[0] == 0
    line = Record(history).lines()[-1]
    assert (line["check"], line["who"], line["why"]) == (name, "Ada", "Black Friday")
    assert told(capsys, history, "replay")[0] == 0, "what was decided before stays decided"
    assert add(Record(history), check(3, alarm=["feature"])).answer == "watch"
    for arguments, words in (((name, "--why", "x"), "already"), (("zz", "--why", "x"), "no check"),
                             ((Record(history).checks()[1]["id"], "--why", " "), "why")):  # fmt: skip
        status, text = told(capsys, history, "acknowledge", *arguments)
        assert status == 2 and words in text
