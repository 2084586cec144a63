"""The report for people: the verdict in words first, then what it rests on. One page, no network, no time of day."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from graphmill.drift.params import Params
from graphmill.drift.profile import Past, Profile
from graphmill.drift.record import Line
from graphmill.drift.report import (
    communities,
    decisions,
    degrees,
    embeddings,
    heat,
    multiples,
    performance,
    svg,
)
from graphmill.drift.report.view import View
from graphmill.drift.report.words import NEXT, Report, caution, change, headline, method, number, percent, words

__all__ = ["change", "render", "words"]

PAGE = "page.html"


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
    scores = ("prediction", "score")
    told = "Scores of the past periods and of the newest"
    return environment.get_template(PAGE).render(
        report=report,
        headline=headline(report),
        following=NEXT[report["decision"]],
        caution=caution(report, params),
        heat=heat.section(view),
        items=multiples.section(view),
        degrees=degrees.section(view),
        flows=communities.flows(view),
        mixings=communities.mixings(view),
        embeddings=embeddings.section(view),
        performance=performance.section(view),
        scores=svg.histogram(view.pooled.get(scores), view.now.get(scores), told, 600, 140),
        decisions=decisions.section(view),
        left_out=past.left_out,
        method=method(params, report["alpha"]),
    )
