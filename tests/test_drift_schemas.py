"""The published forms of profiles and reports find mistakes; `conftest` holds every written one to them."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphmill.artifact import LINEAGE
from tests.drift_schemas import problems
from tests.test_drift_report import profile


def test_what_the_stages_wrote_has_the_published_form(tiny_run: Path) -> None:
    folder = tiny_run / "artifacts" / "drift_report"
    report = json.loads((folder / "drift_report.json").read_bytes())
    assert set(report["files"]) == {one.name for one in folder.iterdir()} - {"drift_report.json", LINEAGE}
    assert problems("report", report) == []
    assert problems("profile", json.loads((folder / "profile.json").read_bytes())) == []
    history = json.loads((tiny_run / "artifacts" / "model" / "profile" / "history.json").read_bytes())
    assert history["periods"] and not [one for period in history["periods"] for one in problems("profile", period)]


def test_a_profile_needs_only_what_no_part_can_fail_on() -> None:
    whole = profile(0, 2, 1)
    assert problems("profile", whole) == []
    head = {name: whole[name] for name in ("version", "start", "end", "node_types", "relations")}
    assert problems("profile", head) == []


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("version",), 1, "profile.version: 2 was expected"),
        (("more",), 1, "Additional properties are not allowed ('more' was unexpected)"),
        (("columns", "node account", "c0", "rows"), -1, "profile.columns['node account'].c0: "),
        (("structure", "account.transfer.account", "reciprocty"), 0.1, "'reciprocty' was unexpected"),
        (("structure", "r0.edge.node to node", "histogram"), [1, 2], "is too short"),
        (("structure", "account.transfer.account", "reciprocity"), 1.5, "1.5 is greater than the maximum of 1"),
        (("embeddings", "overlap"), "much", "is not of type 'number', 'null'"),
        (("performance", "groups", "account", "state"), "fine", "is not one of ['ok', 'insufficient_labels']"),
        (("performance", "estimated", "assumes"), None, "is not valid under any of the given schemas"),
    ],
)
def test_a_mistake_in_a_profile_is_found(place: tuple[str, ...], value: Any, words: str) -> None:
    found = copy.deepcopy(profile(0, 2, 1))
    inside = found
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value
    (problem,) = problems("profile", found)
    assert words in problem and problem.startswith("profile")


def places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a document; of a list its first one only."""
    inside = document.items() if isinstance(document, dict) else enumerate(document[:1])
    for name, value in inside:
        yield (*place, name)
        if isinstance(value, dict | list):
            yield from places(value, (*place, name))


def changed(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    found = copy.deepcopy(document)
    inside = found
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value
    return found


def test_another_type_is_refused_wherever_it_stands(tiny_run: Path) -> None:
    report = json.loads((tiny_run / "artifacts" / "drift_report" / "drift_report.json").read_bytes())
    for name, document in (("profile", profile(0, 1, 1)), ("report", {**report, "items": report["items"][:1]})):
        missed, count = [], 0
        for place in places(document):
            inside: Any = document
            for part in place:
                inside = inside[part]
            wrong = changed(document, place, [1, "x"] if isinstance(inside, str) else "x")
            count += 1
            if inside is not None and not problems(name, wrong):
                missed.append(place)
        assert count > 50 and missed == []


@pytest.mark.parametrize(
    "place", [("families", "feature"), ("files", "profile.json"), ("items", 0, "state"), ("state",)]
)
def test_what_every_report_has_is_required(tiny_run: Path, place: tuple[Any, ...]) -> None:
    report = json.loads((tiny_run / "artifacts" / "drift_report" / "drift_report.json").read_bytes())
    inside = report
    for name in place[:-1]:
        inside = inside[name]
    del inside[place[-1]]
    assert "is a required property" in " ".join(problems("report", report))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decision": "maybe"}, "report.decision: 'maybe' is not one of"),
        ({"families": {"weather": {}}}, "report.families"),
        ({"period": [None]}, "report.period"),
        ({"alpha": 0.5}, "report.alpha"),
        ({"at": "2026-01-01"}, "'at' was unexpected"),
    ],
)
def test_a_mistake_in_a_report_is_found(tiny_run: Path, change: dict[str, Any], words: str) -> None:
    report = json.loads((tiny_run / "artifacts" / "drift_report" / "drift_report.json").read_bytes())
    assert words in " ".join(problems("report", {**report, **change}))
    assert "is a required property" in problems("report", {k: v for k, v in report.items() if k != "words"})[0]
    item = {**report["items"][0], "p": 2}
    assert "report.items[0].p" in problems("report", {**report, "items": [item]})[0]
