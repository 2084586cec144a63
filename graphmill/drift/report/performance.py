"""How good predictions turned out, beside what their scores had promised; the estimate, and the audit."""

from typing import Any, NamedTuple

from markupsafe import Markup

from graphmill.clock import text
from graphmill.drift.profile import Profile
from graphmill.drift.report.line import SHOWN
from graphmill.drift.report.svg import Scale, diamond, label, path, picture, told
from graphmill.drift.report.view import View
from graphmill.drift.report.words import number

WIDTH, HEIGHT = 680, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 668, 12, 196


class Spot(NamedTuple):
    """One figure of one cohort."""

    at: float
    label: str
    value: float
    low: float
    high: float


def section(view: View) -> dict[str, Any] | None:
    """The newest cohort in numbers, all cohorts drawn; None for a profile without the part."""
    block = view.newest.get("performance")
    if block is None:
        return None
    metric = str(view.past.reference["metric"])
    return {
        "metric": metric.replace("_", " "),
        "block": block,
        "cohort": [text(moment, view.found["clock"]) for moment in block["cohort"]],
        "groups": [_group(name, group, metric) for name, group in block["groups"].items()],
        "plot": _drawn(view, metric),
        "estimated": (block.get("estimated") or {}).get("figures", {}),
        "estimate": block.get("estimated"),
        "frozen": (view.past.reference.get("estimate") or {}).get("expected", {}),
        "audit": block.get("audit"),
        "left_out": block.get("left_out", {}),
        "streams": block.get("streams", {}).get("tests", {}),
    }


def _group(name: str, group: dict[str, Any], metric: str) -> dict[str, Any]:
    figures = group.get("figures", {})
    return {"name": name, **group, "metric": figures.get(metric), "error": figures.get("calibration_error")}


def _drawn(view: View, metric: str) -> Markup | str:
    """Realised with intervals, expected beside it, the estimate as a line; empty when nothing is known."""
    realised = _spots(view, metric, "realised")
    expected = _spots(view, metric, "expected")
    estimated = _spots(view, metric, "estimated")
    every = [*realised, *expected, *estimated]
    if not every:
        return ""
    down = Scale(min(spot.low for spot in every), max(spot.high for spot in every), BOTTOM, TOP)
    across = Scale(min(spot.at for spot in every), max(spot.at for spot in every), LEFT + 14, RIGHT - 14)
    content = "".join(_tick(down, down.low + part * (down.high - down.low)) for part in (0, 0.25, 0.5, 0.75, 1))
    content += path([(across(spot.at), down(spot.value)) for spot in estimated], "estimated")
    for kind, spots, shift in (("expected", expected, 4), ("realised", realised, 0)):
        content += "".join(_interval(spot, across(spot.at) + shift, down, kind) for spot in spots)
    first, last = min(every, key=lambda spot: spot.at), max(every, key=lambda spot: spot.at)
    content += label(LEFT, 214, first.label, kind="tick")
    content += label(RIGHT, 214, last.label, "end", "tick") if last.label != first.label else ""
    name = metric.replace("_", " ")
    title = f"{name} of {len(realised)} cohorts with labels; estimated for {len(estimated)} periods"
    return picture(title, content, WIDTH, HEIGHT, "broad")


def _tick(down: Scale, value: float) -> str:
    y = down(value)
    return f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>' + label(LEFT - 5, y + 4, f"{value:.3g}", "end", "tick")


def _interval(spot: Spot, x: float, down: Scale, kind: str) -> str:
    y = down(spot.value)
    bar = f'<path class="{kind}_bar" d="M{x:.1f} {down(spot.low):.1f}V{down(spot.high):.1f}"/>'
    dot = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    mark = dot if kind == "realised" else diamond(x, y, 4.5, kind)
    words = f"{spot.label}: {kind} {number(spot.value)}, {number(spot.low)} to {number(spot.high)}"
    return told(words, bar + mark)


def _spots(view: View, metric: str, kind: str) -> list[Spot]:
    """One kind of figure of every period that has it, of the newest ones."""
    found = []
    for place, profile in list(enumerate(view.profiles))[-SHOWN:]:
        figure = _figure(profile, metric, kind)
        if figure is not None and None not in (figure["value"], figure["low"], figure["high"]):
            at, name = _when(view, place, profile, kind)
            found.append(Spot(at, name, figure["value"], figure["low"], figure["high"]))
    return found


def _figure(profile: Profile, metric: str, kind: str) -> dict[str, Any] | None:
    block = profile.get("performance") or {}
    if kind == "realised":
        whole: dict[str, Any] = next(iter(block.get("groups", {}).values()), {})  # the task's node type comes first
        return dict(whole.get("figures", {})).get(metric)
    return dict((block.get(kind) or {}).get("figures", {})).get(metric)


def _when(view: View, place: int, profile: Profile, kind: str) -> tuple[float, str]:
    """Estimates belong to the period itself, the others to the older cohort whose labels are due."""
    if not view.past.reference["timed"]:
        return float(place), view.labels[place]
    end = profile["end"] if kind == "estimated" else profile["performance"]["cohort"][1]
    return float(end), text(end, view.found["clock"]).partition("T")[0]
