"""The report for people: the verdict in words first, then what it rests on. One page, no network, no time of day."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from graphmill.drift.baseline import Past
from graphmill.drift.params import Params
from graphmill.drift.profile import Profile
from graphmill.drift.record import Line
from graphmill.drift.report import (
    communities,
    decisions,
    degrees,
    embeddings,
    heat,
    multiples,
    performance,
)
from graphmill.drift.report.view import View
from graphmill.drift.report.words import NEXT, Report, caution, change, headline, method, number, percent, words

__all__ = ["change", "render", "words"]

PAGE = "page.html"
SECTIONS = {
    "heat": heat.section,
    "items": multiples.section,
    "degrees": degrees.section,
    "flows": communities.flows,
    "mixings": communities.mixings,
    "embeddings": embeddings.section,
    "scores": multiples.scores,
    "performance": performance.section,
    "decisions": decisions.section,
}


def render(report: Report, newest: Profile, past: Past, params: Params, lines: Sequence[Line] = ()) -> str:
    """The HTML page of a report.

    Args:
        report: the content of ``drift_report.json``.
        newest: the newest period's profile.
        past: the profiles before it.
        params: section `drift`.
        lines: the record's lines up to this check, oldest first.
    """
    view = View(report, newest, past, params, list(lines))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "percent": percent}
    return environment.get_template(PAGE).render(
        report=report,
        headline=headline(report),
        following=NEXT[report["decision"]],
        caution=caution(report, params),
        reach=view.reach,
        left_out=past.left_out,
        method=method(params, report["alpha"]),
        **_sections(view),
    )


def _sections(view: View) -> dict[str, Any]:
    """Every section; one that cannot be drawn takes nothing from the verdict, and is told."""
    found: dict[str, Any] = {"failed": []}
    for name, section in SECTIONS.items():
        try:
            found[name] = section(view)
        except Exception as error:  # of a profile that a part of the check failed on already
            found["failed"].append(f"{name}: {type(error).__name__}: {error}")
    return found
