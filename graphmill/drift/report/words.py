"""What a report says in words: the verdict, what held a retraining back, what to do next, how it was judged."""

from collections.abc import Iterator
from typing import Any

from graphmill.drift import charts
from graphmill.drift.params import Params

HEADLINES = {
    "page": "Somebody has to look: this cannot be trusted",
    "rejections": "Somebody has to look: training again does not cure this",
    "rollout": "Somebody has to look: a challenger waits for its rollout",
    "retrain": "A new model is due",
    "request_labels": "Only labels can tell: label some of the newest predictions",
    "watch": "Worth watching",
    "ok": "Nothing changed that matters",
}
NEXT = {
    "page": "Mend what is named here, or acknowledge it; nothing is retrained before.",
    "rejections": "Find out what the refused challengers could not learn, or acknowledge the alarm.",
    "rollout": "See python -m graphmill.rollout status; nothing is retrained before.",
    "retrain": "A challenger is trained; whether it ships, its comparison with the champion decides.",
    "request_labels": "Have a sample labelled; python -m graphmill.drift audit-sample --output sample.csv draws it.",
    "watch": "Nothing to do yet. The next check says whether it lasts.",
    "ok": "",
}
SAID = {
    "new column": "not known to the model",
    "new node type": "not known to the model",
    "new edge type": "not known to the model",
    "new category": "seen in no period before",
    "vanished category": "one that came in each past period comes no more",
    "no value": "the latest periods had one",
    "unreadable check": "left out of the past",
    "unreadable file": "left out of the labels or the log",
}

Report = dict[str, Any]


def words(report: Report) -> str:
    """The verdict in a few sentences: broken rules, parts that failed, what moved; else that nothing did."""
    return " ".join([*_broken(report), *_failed(report), *_moved(report)]) or _quiet(report)


def _broken(report: Report) -> Iterator[str]:
    if report["integrity"]:
        first, more = report["integrity"][0], len(report["integrity"]) - 1
        rest = f", and {more} more" if more else ""
        yield f"The feed looks broken: {first['rule']}, {brief(first['where'])} ({first['what']}){rest}."


def _failed(report: Report) -> Iterator[str]:
    failed = [f"{name} ({family['error']})" for name, family in report["families"].items() if family["error"]]
    if failed:
        yield f"Parts of the check failed: {'; '.join(failed)}."


def _moved(report: Report) -> Iterator[str]:
    loud = [item for item in report["items"] if item["state"] in ("alarm", "warn")]
    if loud:
        first = {item["family"]: item for item in reversed(loud)}  # an alarm of one family hides no other's
        most = [item for item in loud if item is first[item["family"]]] + loud
        named = list(dict.fromkeys(f"{brief(item['name'])} ({item['statistic']}, {change(item)})" for item in most))
        alarms = sum(item["state"] == "alarm" for item in loud)
        counts = [_counted(alarms, "alarm"), _counted(len(loud) - alarms, "warning")]
        rest = f" and {len(named) - 3:,} more" if len(named) > 3 else ""
        yield f"{', '.join(filter(None, counts))}: {'; '.join(named[:3])}{rest}."


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}" if count else ""


def _quiet(report: Report) -> str:
    told = "No item moved beyond what the past periods did by themselves"
    if not _judged(report):
        told = "Too little history to judge; what could be compared has no large change"
    if "insufficient_labels" in {family["state"] for family in report["families"].values()}:
        told += "; how good the predictions are is not known, for labels are missing"
    return f"{told}."


def headline(report: Report) -> str:
    """The decision as a sentence."""
    nothing_said = report["state"] in ("cold_start", "insufficient_labels") and not _judged(report)
    return "Too early to say" if report["decision"] == "watch" and nothing_said else HEADLINES[_reason(report)]


def _judged(report: Report) -> bool:
    """Whether any family had enough of a past to be called quiet."""
    return "ok" in {family["state"] for family in report["families"].values()}


def following(report: Report) -> str:
    """What to do next."""
    return NEXT[_reason(report)]


def _reason(report: Report) -> str:
    """The decision; of a call for somebody that no broken data made, what did."""
    blocked = report["policy"]["blocked_by"]
    if report["decision"] == "page" and not {"integrity", "failure"} & set(blocked):
        return next((name for name in ("rejections", "rollout") if name in blocked), "page")
    return str(report["decision"])


def brief(name: str, most: int = 90) -> str:
    """A name that fits, with its beginning and its end."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


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
        return f"{_signed(effect, 2)} standard deviations"
    if item["unit"] == "rate":
        return f"{_signed(100 * effect, 1)} points"
    return f"{_signed(100 * effect, 0)} %"


def _signed(value: float, digits: int) -> str:
    return f"{value:+z,.{digits}f}" if abs(value) < 1e6 else f"{value:+.2g}"


def number(value: float | None) -> str:
    """A number with four significant digits; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e12 else f"{value:.4g}"


def percent(value: float | None) -> str:
    """A share; a dash for none."""
    return "–" if value is None else f"{100 * value:.3g} %"


def caution(report: Report, params: Params) -> str:
    """Which families are judged by sizes alone; empty when none is."""
    young = [name for name, family in report["families"].items() if family["cold_start"]]
    if not young:
        return ""
    return (
        f"{', '.join(young)}: with fewer than {params.enough} past periods there are no p-values. Verdicts are sizes "
        "of changes, and a change smaller than the bounds cannot be told from natural variation yet."
    )


def method(params: Params, alpha: float) -> str:
    """How the charts decide, and how sizes do."""
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
