"""The drift report: what a reader sees is what was found, in every browser width, without network or scripts."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphmill.drift import compare, policy, report
from graphmill.drift.baseline import Past
from graphmill.drift.items import ordered
from graphmill.drift.params import Params
from graphmill.drift.profile import VERSION
from graphmill.drift.report import communities, degrees, heat, line, performance
from graphmill.drift.report.view import Band, View

DAY = 86_400_000_000
EDGES = [float(edge) for edge in range(65)]
GRAPHS = ("account.transfer.account", "payment.account_id with payment.device_id")


def counts(state: np.random.Generator, bins: int, total: int = 2_000) -> list[int]:
    return [int(count) for count in state.multinomial(total, np.full(bins, 1 / bins))]


def figure(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "deviation": 0.02}


def profile(number: int, columns: int, relations: int, hostile: str = "") -> dict[str, Any]:
    """A period of a quiet world: as many columns and relations as asked for."""
    state = np.random.default_rng(number)
    scope = {}
    for place in range(columns):
        mean = round(50 + float(state.normal(0, 0.5)), 4)
        values = {"mean": mean, "deviation": 10.0, "quantiles": [30.0, 43.0, 50.0, 57.0, 70.0]}
        histogram = {"histogram": counts(state, 66)} if place < 90 else {}
        scope[f"c{place}{hostile}"] = {"rows": 2_000, "missing": 20, **values, **histogram}
    structure: dict[str, Any] = {}
    for place in range(relations):
        for side in ("to", "from"):
            degree = {"mean_degree": round(4 + float(state.normal(0, 0.1)), 4), "gini": 0.4, "nodes": 500}
            structure[f"r{place}.edge.node {side} node{hostile}"] = {
                "timed": True, "edges": 2_000 + int(state.integers(-50, 50)), **degree, "histogram": counts(state, 64),
            }  # fmt: skip
    for name in GRAPHS:
        sizes = [0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0]
        flow = np.diag([*sizes, 0.0])
        mixing = {"by": ["label", "label"], "groups": [["negative", f"positive{hostile}"]] * 2}
        structure[name] = {
            "timed": True, "reciprocity": round(0.1 + float(state.normal(0, 0.002)), 5), "modularity": 0.5,
            "communities": 4, "orphan_share": 0.0, "community_sizes": sizes, "flow": flow.tolist(),
            "mixing": {**mixing, "shares": [[0.6, 0.1], [0.1, 0.2]]}, "adjusted_homophily": 0.5, "mixing_shift": 0.01,
        }  # fmt: skip
    end = (number + 1) * 7 * DAY
    share = round(0.8 + float(state.normal(0, 0.01)), 4)
    group = {"examples": 2_000, "labels": 1_900, "positives": 200, "maturity": 0.95, "state": "ok"}
    return {
        "version": VERSION, "start": end - 7 * DAY, "end": end, "node_types": ["node"], "relations": [],
        "columns": {f"node account{hostile}": scope}, "untimed": [], "unknown": [], "rows": {},
        "structure": structure,
        "embeddings": {
            "rows": 2_000, "missing": 0.0, "discrepancy": 0.02, "norm": 3.0, "norm_deviation": 0.5, "norm_scale": 0.5,
            "dead_share": 0.0, "displacement": round(0.1 + float(state.normal(0, 0.002)), 5), "overlap": 0.8,
        },
        "predictions": {
            "examples": 2_000, "slices": {},
            "scores": {"rows": 2_000, "missing": 0, "mean": 0.2, "deviation": 0.1, "quantiles": [], "above": 0.1,
                       "histogram": counts(state, 66)},
        },
        "performance": {
            "cohort": [end - 14 * DAY, end - 7 * DAY], "examples": 2_000, "labels": 1_900, "positives": 200,
            "maturity": 0.95, "groups": {"account": {**group, "figures": {"average_precision": figure(share)}}},
            "expected": {"assumes": "P(y|x) unchanged", "examples": 2_000, "outside": 0.0,
                         "figures": {"average_precision": figure(0.81)}},
            "estimated": {"assumes": "P(y|x) unchanged", "examples": 2_000, "outside": 0.0,
                          "figures": {"average_precision": figure(0.79)}},
        },
    }  # fmt: skip


def reference(newest: dict[str, Any]) -> dict[str, Any]:
    frozen = {"kind": "number", "edges": EDGES, "deviation": 10.0, "mean": 50.0, "histogram": True, "boolean": False}
    columns = {scope: dict.fromkeys(names, frozen) for scope, names in newest["columns"].items()}
    return {
        "version": VERSION, "clock": "timestamp", "timed": True, "period": 7 * DAY, "columns": columns,
        "metric": "average_precision", "node_types": ["node"], "relations": [], "until": 0,
        "scores": {**frozen, "deviation": 0.1, "threshold": 0.5},
        "estimate": {"expected": {"average_precision": figure(0.8)}},
    }  # fmt: skip


def judged(view: View) -> dict[str, Any]:
    """The report's content as the stage makes it."""
    newest, past, params = view.newest, view.past, view.params
    items = compare.items(newest, past, params)
    found: dict[str, Any] = {
        "families": compare.families(items, {}, params), "integrity": [], "notes": [],
        "items": [item.canonical() for item in ordered(items)], "period": [newest["start"], newest["end"]],
        "period_text": ["1970-02-26", "1970-03-05"], "past_periods": len(past.usual), "excluded": [],
        "alpha": 0.05, "cold_start": len(past.usual) < params.enough, "clock": "timestamp", "decision": "watch",
        "policy": {"words": "", "why_blocked": {}, "blocked_by": [], "check": "f" * 16},
    }  # fmt: skip
    found["state"] = policy.state(found)
    found["words"] = report.words(found)
    return found


def viewed(periods: int = 20, columns: int = 6, relations: int = 1, hostile: str = "", **changes: Any) -> View:
    """A view of so many past periods and a newest one; ``changes`` are made to its profile's parts."""
    history = [profile(number, columns, relations, hostile) for number in range(periods)]
    newest = {**profile(periods, columns, relations, hostile), **changes}
    view = View({}, newest, Past(reference(newest), history, 8), Params(), [])
    return replace(view, found=judged(view))


def page(view: View) -> str:
    return report.render(view.found, view.newest, view.past, view.params, view.lines)


# ----- what is drawn


def test_the_heat_map_says_what_a_check_of_each_period_would_have_said() -> None:
    view = viewed(24)
    name = next(iter(view.newest["columns"]))
    view.past.history[18]["columns"][name]["c0"]["mean"] = 70.0
    view = View(view.found, view.newest, view.past, view.params, [])
    rows = {(row["item"]["name"], row["item"]["statistic"]): row for row in _rows(heat.section(view))}
    strip = str(rows[f"{name}: c0", "mean"]["strip"])
    before = Past(view.past.reference, view.past.history[:18], 8)
    (item,) = [one for one in compare.items(view.past.history[18], before, view.params)
               if (one.name, one.statistic) == (f"{name}: c0", "mean")]  # fmt: skip
    assert item.state == "alarm" and f"{view.labels[18]}: alarm, 70" in strip
    assert 'class="alarm" d="M180 1' in strip, "in the nineteenth column"
    assert view.labels[18] == "1970-05-14", "the name of a period is its end"


def _rows(section: dict[str, Any] | None) -> list[dict[str, Any]]:
    assert section is not None
    return [row for family in section["families"] for row in family["rows"]]


def test_the_heat_map_marks_what_was_judged_by_size_and_what_is_left_out() -> None:
    view = viewed(15)
    view = replace(view, past=replace(view.past, excluded=frozenset({13})))
    section = heat.section(view)
    assert section is not None and "1970-04-09: left out of what is usual" in section["header"]
    strip = str(_rows(section)[0]["strip"])
    thin, full = (re.findall(rf'class="{kind}" d="([^"]+)"', strip) for kind in ("thin", "ok"))
    assert thin[0].count("M") == 12 and full[0].count("M") <= 4, "twelve periods have fewer than twelve before them"
    assert [family["name"] for family in section["families"]][:2] == ["feature", "structure"]


def test_a_line_has_its_values_where_they_belong() -> None:
    values = np.array([0.0, 10.0, np.nan, 5.0])
    drawing = str(line.drawn("amount", values, Band(0, 10), list("abcd"), frozenset(), "ok"))
    assert 'class="past" d="M6.0 78.0L84.0 16.0"' in drawing
    assert 'class="mark_ok" d="M235.0 47.0L240.0 42.0L245.0 47.0L240.0 52.0Z"' in drawing
    assert 'class="band" d="M6 16.0H240V78.0H6z"' in drawing
    assert "now 5, ok; 2 past periods from 0 to 10; usual 0 to 10" in drawing
    gap = str(line.drawn("amount", np.array([0.0, 10.0, 5.0]), None, list("abc"), frozenset({1}), "ok", [0, 1, 4]))
    assert 'class="past" d="M6.0 78.0L64.5 16.0"' in gap and '<circle class="left_out" cx="64.5" cy="16.0"' in gap
    bare = str(line.drawn("<b>", np.array([np.nan]), None, ["now"], frozenset(), "cold_start"))
    assert "band" not in bare and "mark_" not in bare and "<b>" not in bare and "no value" in bare


def test_a_band_holds_what_an_item_does_by_itself_nineteen_times_in_twenty() -> None:
    inside = []
    for seed in range(40):
        state = np.random.default_rng(seed)
        history = [profile(number, 12, 0) for number in range(24)]
        for one in [*history, newest := profile(24, 12, 0)]:
            for summary in one["columns"]["node account"].values():
                summary["mean"] = 50 + float(state.normal(0, 3))
        view = View({"clock": "timestamp", "items": []}, newest, Past(reference(newest), history, 8), Params(), [])
        for name, summary in newest["columns"]["node account"].items():
            band = view.band(("feature", f"node account: {name}", "mean"))
            assert band is not None
            inside.append(band.low <= summary["mean"] <= band.high)
    share, error = float(np.mean(inside)), float(np.sqrt(0.05 * 0.95 / len(inside)))
    assert abs(share - 0.95) < 4 * error
    assert viewed(8).band(("feature", "node account: c0", "mean")) is None, "too little history"


def test_degrees_are_tails_on_logarithmic_axes() -> None:
    counts = [0] * 64
    counts[0], counts[3], counts[6] = 90, 9, 1  # degrees 1, 2 and 4
    assert degrees.tail(counts) == [
        (0.0, 0.0), (pytest.approx(np.log10(2)), pytest.approx(-1)), (pytest.approx(np.log10(4)), pytest.approx(-2))
    ]  # fmt: skip
    drawing = str(degrees.drawn("a to b", counts, [5, *[0] * 63]))
    left, right, top, bottom = degrees.LEFT, degrees.RIGHT, degrees.TOP, degrees.BOTTOM
    x = left + np.log10(2) * (right - left)
    assert f"L{x:.1f} {(top + bottom) / 2:.1f}" in drawing, "a tenth of the nodes has at least two edges"
    assert "past periods largest about 4, now largest about 1" in drawing
    wide = str(degrees.drawn("a", [*[1] * 63, 1], []))
    assert re.findall(r'class="tick">([\d.kM]+)<', wide) == ["1", "100", "10k", "1M", "0.01", "0.1", "1"]
    assert degrees.tail([0] * 64) == [] and "now none" in str(degrees.drawn("a", counts, [0] * 64))


def test_communities_that_merge_split_come_and_go_are_named() -> None:
    same = np.diag([0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0, 0.0])
    assert communities.changes(same) == []
    merged = same.copy()
    merged[1, 1], merged[1, 0] = 0, 0.3
    assert communities.changes(merged) == ["1 and 2 of the period before are 1 now: they merged"]
    assert communities.changes(merged.T) == ["1 of the period before split into 1 and 2"]
    came = communities.changes(same, [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1])
    assert came == []
    gone = same.copy()
    gone[2, 2] = 0.01
    words = communities.changes(gone, [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1])
    assert words == ["3 came: few of its nodes were there before",
                     "3 of the period before went: few of its nodes are left"]  # fmt: skip
    drawing = str(communities.drawn("g", merged))
    assert "2 → 1: 30 %" in drawing and "1 → 1: 40 %" in drawing and "2 → 2" not in drawing


def test_sizes_say_who_went_only_where_the_past_reaches_the_period_before() -> None:
    view = viewed(3)
    view.newest["structure"][GRAPHS[0]]["flow"][2][2] = 0.0
    near = communities.flows(view)[0]["words"]
    view.newest["start"] += DAY
    far = communities.flows(view)[0]["words"]
    assert view.reach == "up to 1970-01-22" and "3 past periods, the latest up to 1970-01-22" in page(view)
    assert [words[:6] for words in near] == ["3 came", "3 of t"] and [words[:6] for words in far] == ["3 came"]


def test_mixing_matrices_stand_beside_each_other_and_show_what_moved() -> None:
    view = viewed(3)
    view.newest["structure"][GRAPHS[0]]["mixing"]["shares"] = [[0.5, 0.1], [0.1, 0.3]]
    first, second = communities.mixings(view)
    assert str(first["now"]).count('class="moved"') == 2 and str(second["now"]).count('class="moved"') == 0
    assert "negative to negative: 50 %" in first["now"] and "negative to negative: 60 %" in first["then"]
    assert first["when"] == "the period up to 1970-01-22" and first["by"] == "label"
    view.newest["structure"][GRAPHS[0]]["mixing"]["by"] = ["country", "country"]
    assert communities.mixings(view)[0]["then"] == "", "other groups are not compared with"


def test_expected_and_realised_performance_by_cohort() -> None:
    view = viewed(3)
    found = performance.section(view)
    assert found is not None and found["groups"][0]["metric"]["low"] == pytest.approx(
        view.newest["performance"]["groups"]["account"]["figures"]["average_precision"]["low"]
    )
    drawing = str(found["plot"])
    assert drawing.count('class="realised"') == 4 and drawing.count('class="expected"') == 4
    assert "1970-01-22: expected 0.81, 0.76 to 0.86" in drawing, "a cohort is named by its end"
    assert "of 4 cohorts with labels; estimated for 4 periods" in drawing
    view.newest["performance"] = {**view.newest["performance"], "groups": {}, "expected": None, "estimated": None}
    view.past.history.clear()
    none = performance.section(view)
    assert none is not None and none["plot"] == "" and "Nothing is known of average precision yet" in page(view)


def test_the_decision_and_what_held_it_back_are_told_in_words() -> None:
    view = viewed()
    why = {"cooldown": "the last retraining was 2 days ago", "labels": "3 new labels"}
    told = "alarm in feature. Held back: the last retraining was 2 days ago; 3 new labels."
    view.found["policy"] |= {"words": told, "why_blocked": why}
    view.found["notes"] = ["left out of the prediction log: x.parquet"]
    check = {"kind": "check", "id": "f" * 16, "state": "alarm", "answer": "watch", "triggers": ["drift"],
             "blocked_by": ["cooldown"], "outcomes": {"a" * 16: "rejected"}, "as_of": "2025-03-01"}  # fmt: skip
    earlier = {**check, "id": "a" * 16, "answer": "retrain", "as_of": "2025-02-01"}
    said = {"kind": "acknowledgement", "check": "a" * 16, "who": "ann", "why": "Black <i>Friday</i>"}
    text = page(replace(view, lines=[earlier, said, check], past=replace(view.past, left_out=("x.json: damaged",))))
    assert "Asked by: alarm in feature.</p>" in text and text.count("the last retraining was") == 1
    assert "<b>cooldown</b>: the last retraining was 2 days ago" in text and "x.parquet" in text
    assert text.index("2025-03-01") < text.index("2025-02-01") < text.index("x.json: damaged")
    row = re.sub(r"<[^>]+>|\s+", " ", text[text.index("2025-02-01") : text.index("x.json")])
    assert "retrain" in row and "rejected" in row and "ann: Black &lt;i&gt;Friday&lt;/i&gt;" in row


# ----- the page as a whole


class Names(HTMLParser):
    """Tags, and attributes that could run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.strange: list[tuple[str, str, str | None]] = []
        self.untitled = 0
        self._svg = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.untitled += self._svg and tag != "title"
        self._svg = tag == "svg" and ("role", "img") in attributes
        self.tags.add(tag)
        for name, value in attributes:
            if name.startswith("on") or (name in ("src", "href", "style") and value != "data:,"):
                self.strange.append((tag, name, value))


def test_names_from_the_data_run_nothing() -> None:
    text = page(viewed(14, 3, 1, hostile='"><script>alert(1)</script><img src=x onerror=alert(2)>'))
    names = Names()
    names.feed(text)
    assert not names.strange and not names.tags & {"script", "img", "iframe", "object", "use", "image", "a"}
    assert names.untitled == 0, "each drawing has a title"
    assert "url(" not in text and "@import" not in text and "http" not in text


def test_a_large_report_is_small() -> None:
    view = viewed(30, 100, 10, hostile=".a_name_that_is_rather_long_for_a_column")
    for summary in list(view.newest["columns"].values())[0].values():
        summary["mean"] += 8
    view = replace(view, found=judged(view))
    text = page(view)
    assert view.found["state"] == "alarm" and text.count('class="card"') > 30
    assert len(text.encode()) < 500_000


def test_the_same_findings_make_the_same_page() -> None:
    assert page(viewed(14)) == page(viewed(14))


def test_what_cannot_be_drawn_is_told_and_takes_nothing_from_the_verdict() -> None:
    view = viewed(14)
    text = page(replace(view, newest={**view.newest, "structure": {"g": {"flow": "broken"}}}))
    assert "flows: ValueError: " in text and view.found["words"] in text and "Expected and realised" in text


def test_a_first_check_says_that_it_is_one() -> None:
    view = viewed(0, 3, 1)
    text = page(view)
    assert "Too early to say" in text and "with fewer than 12 past periods there are no p-values" in text
    assert 'class="band"' not in text and "nothing to compare with" not in text and "0 past periods" in text
    bare = {name: view.newest[name] for name in ("version", "start", "end", "node_types", "relations")}
    empty = replace(view, newest=bare, past=Past(reference({"columns": {}}), []))
    text = page(replace(empty, found=judged(empty)))
    assert "no past period that anything has a number in" in text and "there is no past period yet" in text


# ----- in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOOK = """<script>
const told = [];
addEventListener("error", event => told.push("error: " + event.message));
addEventListener("securitypolicyviolation", event => told.push("fetched: " + event.blockedURI));
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(one => !one.closest(".wide, .broad, details") &&
    one.getBoundingClientRect().right > innerWidth + 1);
  const requests = performance.getEntriesByType("resource").map(entry => entry.name);
  parent.postMessage({width: innerWidth, scrolls: document.documentElement.scrollWidth, wide: wide.length,
    requests, told, title: document.title}, "*");
});</script>"""
POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';
script-src 'unsafe-inline'; img-src data:">"""
FRAMES = """<!doctype html><script>const seen = [];
addEventListener("message", event => {
  seen.push(event.data);
  document.title = "SEEN" + JSON.stringify(seen) + "END";
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium (Debian's package chromium) is not installed")
def test_a_browser_finds_no_error_no_request_and_nothing_too_wide(tmp_path: Path) -> None:
    full, first = viewed(20, 12, 3, hostile=".a_name_that_is_rather_long_for_a_column"), viewed(0, 3, 1)
    for summary in list(full.newest["columns"].values())[0].values():
        summary["mean"] += 8
    frames = FRAMES
    for name, view in (("full", full), ("first", first)):
        text = page(replace(view, found=judged(view))).replace("<head>", f"<head>{POLICY}{LOOK}", 1)
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        frames += "".join(f'<iframe src="{name}.html" width="{width}" height="900" style="border:0"></iframe>'
                          for width in (1280, 390))  # fmt: skip
    (tmp_path / "frames.html").write_text(frames, encoding="utf-8")
    seen = _seen(tmp_path, tmp_path / "frames.html")
    assert sorted(one["width"] for one in seen) == [390, 390, 1280, 1280]
    for one in seen:
        assert one["scrolls"] <= one["width"] and one["wide"] == 0, "the page itself does not scroll sideways"
        assert one["requests"] == [] and one["told"] == []
    assert {one["title"] for one in seen} == {"Drift: alarm", "Drift: cold_start"}


def _seen(folder: Path, file: Path) -> list[dict[str, Any]]:
    """What the pages in a document's frames say of themselves once they are loaded."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}",
        "--window-size=1400,900", "--hide-scrollbars", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    told = re.search(r"<title>SEEN(.*?)END</title>", html.unescape(done.stdout), re.S)
    assert done.returncode == 0 and told is not None, done.stderr
    return list(json.loads(told[1]))
