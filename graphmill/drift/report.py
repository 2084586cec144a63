"""The report for people: the verdict in words first, then what it rests on. One page, no network, no time of day."""

from pathlib import Path
from typing import Any

from jinja2 import Environment

from graphmill.drift import charts, plots
from graphmill.drift.measures import histograms, measures
from graphmill.drift.params import Params
from graphmill.drift.profile import Past, Profile

PAGE = Path(__file__).with_name("page.html")
WORST = 40
MOST_STRUCTURE = 120
HEADLINES = {
    "page": "Somebody has to look: this cannot be trusted",
    "retrain": "A new model is due",
    "request_labels": "Only labels can tell: label some of the newest predictions",
    "watch": "Worth watching",
    "ok": "Nothing changed that matters",
}
SAID = {
    "new column": "not known to the model",
    "new node type": "not known to the model",
    "new edge type": "not known to the model",
    "new category": "seen in no period before",
    "no value": "the latest periods had one",
    "unreadable check": "left out of the past",
}

Report = dict[str, Any]
Histograms = dict[tuple[str, str], list[int]]
Series = dict[tuple[str, str, str], list[float]]


def words(report: Report) -> str:
    """The verdict in one or two sentences."""
    if report["integrity"]:
        first = report["integrity"][0]
        count = len(report["integrity"])
        more = f", and {count - 1} more" if count > 1 else ""
        return f"The feed looks broken: {first['rule']}, {first['where']} ({first['what']}){more}."
    failed = [f"{name} ({family['error']})" for name, family in report["families"].items() if family["error"]]
    if failed:
        return f"Parts of the check failed: {'; '.join(failed)}."
    loud = [item for item in report["items"] if item["state"] in ("alarm", "warn")]
    if loud:
        named = list(dict.fromkeys(f"{item['name']} ({item['statistic']}, {change(item)})" for item in loud))
        alarms = sum(item["state"] == "alarm" for item in loud)
        rest = f" and {len(named) - 3} more" if len(named) > 3 else ""
        return f"{alarms} alarms, {len(loud) - alarms} warnings: {'; '.join(named[:3])}{rest}."
    if report["state"] == "cold_start":
        return "Too little history to judge; what could be compared has no large change."
    return "No item moved beyond what the past periods did by themselves."


def change(item: dict[str, Any]) -> str:
    """The size of a change in words."""
    if item["statistic"] in SAID:
        return SAID[item["statistic"]]
    if item["state"] == "insufficient_labels":
        return "too few labels are known yet"
    effect = item["effect"]
    if effect is None:
        return "nothing to compare with"
    if item["statistic"] == "distribution":
        return f"distance {effect:.3f}, at most {item['reference']:.3f} before"
    if item["unit"] == "deviation":
        return f"{effect:+.2f} standard deviations"
    if item["unit"] == "rate":
        return f"{100 * effect:+.1f} points"
    return f"{100 * effect:+.0f} %"


def render(report: Report, newest: Profile, past: Past, params: Params) -> str:
    """The HTML page of a report."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    series = _series(past, params)
    then = _pooled(past)
    now: Histograms = {(item.family, item.name): item.counts for item in histograms(newest)}
    rows = [_row(item, series, then, now) for item in report["items"]]
    worst = [row for row in rows if row["item"]["effect"] is not None or row["item"]["state"] != "ok"][:WORST]
    structure = [row for row in rows if row["item"]["family"] == "structure"][:MOST_STRUCTURE]
    scores = ("prediction", "score")
    headline = HEADLINES[report["decision"]]
    if report["decision"] == "watch" and report["state"] == "cold_start":
        headline = "Too early to say"
    return environment.from_string(PAGE.read_text(encoding="utf-8")).render(
        report=report,
        headline=headline,
        caution=_caution(report, params),
        worst=worst,
        hidden=max(0, len(rows) - len(worst)),
        structure=structure,
        scores=plots.histogram(then.get(scores), now.get(scores), 600, 140) if scores in now else None,
        method=_method(params, report["alpha"]),
    )


def number(value: float | None) -> str:
    """A number with four significant digits; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _caution(report: Report, params: Params) -> str:
    young = [name for name, family in report["families"].items() if family["cold_start"]]
    if not young:
        return ""
    return (
        f"{', '.join(young)}: with fewer than {params.enough} past periods there are no p-values. Verdicts are sizes "
        "of changes, and a change smaller than the bounds cannot be told from natural variation yet."
    )


def _method(params: Params, alpha: float) -> str:
    deviation, rate, structure = params.deviation, params.rate, params.structure

    def sizes(name: str, alarm: str) -> str:
        first, second = ([getattr(item, way) for item in (deviation, rate, structure)] for way in (name, alarm))
        return (
            f"{first[0]:g} (alarm: {second[0]:g}) standard deviations, {100 * first[1]:g} ({100 * second[1]:g}) points "
            f"of a share or {100 * first[2]:g} ({100 * second[2]:g}) % of a structural value"
        )

    floors = (
        f"{deviation.floor:g} standard deviations, {100 * rate.floor:g} points of a share "
        f"or {100 * structure.floor:g} % of a structural value"
    )
    return (
        f"From {params.enough} past periods on: two control charts on each signed statistic, its level and its step "
        "from the period before, whose p-values are Student's predictive t for periods that follow each other closely "
        "or, where it is larger, the one that all past periods together give, after Holm's correction within the "
        f"family. Warning below {alpha:g}; alarm for a step below {charts.STEP * alpha:g}, for a level below "
        f"{charts.ONCE * alpha:g} once or below {charts.REPEATED * alpha:g} in two of the newest three periods; "
        f"never for a change smaller than {floors}. "
        f"With {params.few} to {params.enough - 1}: a change of more than {params.shift:g} times "
        f"the past periods' own spread, and of {sizes('notable', 'large')}. "
        f"With fewer their spread is not known, and only {sizes('large', 'gross')} count."
    )


def _series(past: Past, params: Params) -> Series:
    """Values of every statistic over the past periods."""
    found: Series = {}
    for profile in past.history:
        for measure in measures(profile, past.reference, params.label_share, params.positives):
            found.setdefault(measure.key, []).append(measure.value)
    return found


def _pooled(past: Past) -> Histograms:
    found: Histograms = {}
    for profile in past.history:
        for item in histograms(profile):
            known = found.get((item.family, item.name), [0] * len(item.counts))
            found[item.family, item.name] = [a + b for a, b in zip(known, item.counts, strict=True)]
    return found


def _row(
    item: dict[str, Any],
    series: Series,
    then: Histograms,
    now: Histograms,
) -> dict[str, Any]:
    key = (item["family"], item["name"])
    values = series.get((*key, item["statistic"]), [])
    return {
        "item": item,
        "change": change(item),
        "line": plots.line(values, item["value"]),
        "histogram": plots.histogram(then.get(key), now.get(key)) if item["family"] != "structure" else "",
    }
