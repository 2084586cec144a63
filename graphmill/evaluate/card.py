"""The model card (Mitchell et al., 2019), written from the model, its lineage and its evaluation."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markdown_it import MarkdownIt
from markupsafe import Markup

from graphmill.clock import text
from graphmill.evaluate.report import number, percent, words
from graphmill.lineage import shown
from graphmill.model import Model
from graphmill.schema import Schema
from graphmill.task import Task

MARKDOWN = Path(__file__).parent / "card.md.j2"
PAGE = Path(__file__).parent / "card.html"
SLICES, LEAST = 8, 30
"""So many slices are shown, of at least so many examples."""
MODELS = {
    "features_only": "gradient-boosted trees on the node's own columns: a control",
    "neighbour_trees": "the same with means over its neighbours and windows over its events: a control",
    "mlp": "a perceptron on the node's own columns",
}
VERDICTS = {"pass": "All gates passed: it may be promoted.", "block": "It may not be promoted: a gate is shut."}
_SPECIAL = re.compile(r"([\\`*\[\]<>|&~#]|(?<!\w)_|_(?!\w))")


def render(model: Model, report: Mapping[str, Any], version: str | None = None) -> tuple[str, str]:
    """The card as Markdown and as one self-contained HTML page.

    Args:
        model: the model, verified.
        report: the manifest of its evaluation, or what the registry keeps of that; what it lacks is left out.
        version: its name in the registry.
    """
    environment = Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(FILTERS)
    environment.globals |= {"table": table, "missing": _missing}
    template = environment.from_string(MARKDOWN.read_text(encoding="utf-8"))
    content = re.sub(r"\n{3,}", "\n\n", template.render(**_facts(model, report, version)))
    return content, _page(content)


def cell(value: Any) -> str:
    """Text in which nothing is Markdown, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


class Code(str):
    """Markdown already: a cell leaves it as it is."""


def code(value: Any) -> Code:
    """A name, shown as it is."""
    plain = " ".join(str(value).split()).replace("|", "\\|")
    return Code(f"`` {plain} ``" if "`" in plain else f"`{plain}`")


def table(rows: Iterable[Sequence[Any]], headings: Sequence[str] = (), head: bool = True, right: bool = False) -> str:
    """A Markdown table. Cells that are code already stay so; numbers stand ``right`` of the first column."""
    listed = [[_inside(value) for value in row] for row in rows]
    if not listed:
        return ""
    top = [cell(item) for item in headings] if head else [""] * len(listed[0])
    rule = ["---", *(["---:" if right else "---"] * (len(top) - 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [top, rule, *listed])


def _inside(value: Any) -> str:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return number(float(value))
    return value if isinstance(value, Code) else cell(value)


def _page(content: str) -> str:
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(content)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    title = content.splitlines()[0].removeprefix("# ").replace("\\", "")
    page = Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
    return page.render(title=title, content=Markup(body)) + "\n"


def _facts(model: Model, report: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    """All that the template names."""
    metric, lineage = str(model.manifest["metric"]), model.artifact.lineage
    task = Task.parse(model.manifest["task"], "task")
    settings = report.get("settings", {})
    splits = range(model.split_count)
    return {
        "model": model,
        "report": report,
        "version": version,
        "task": task,
        "metric": metric,
        "words": words(dict(report)) if report.get("intervals") else _verdict(model, report),
        "card": settings.get("card", {}),
        "events": Schema.parse(model.manifest["schema"], "schema").nodes[task.node].time is not None,
        "models": [(code(name), MODELS.get(name, f"a graph network of kind {name}")) for name in model.names],
        "thresholds": [number(model.threshold(model.winner, split)) for split in splits],
        "calibrations": [", ".join(map(number, model.calibration(model.winner, split))) for split in splits],
        "factors": list(dict.fromkeys(row["slice"] for row in report.get("slices", []))),
        "guarded": settings.get("guarded_slices", []),
        "bootstrap": settings.get("bootstrap"),
        "group": settings.get("group"),
        "confidence": percent(report.get("confidence", 0)),
        "split": f"split by {_split(task)}",
        "winner": report.get("metrics", {}).get(model.winner, {}),
        "learned": _learned(model),
        "nodes": [(code(node), _columns(model, node)) for node in model.transforms(0)["nodes"]],
        "judged": _judged(model, report),
        "figures": _figures(_judged(model, report), report, metric),
        "gates": [_gate(gate) for gate in report.get("gates", [])],
        "champion": _champion(report, metric),
        "slices": _slices(report, metric),
        "least": LEAST,
        "caveats": _caveats(report, settings, model),
        "chain": list(shown.chain(lineage)) if lineage else [],
        "columns": shown.COLUMNS,
        "parameters": _parameters(lineage) if lineage else [],
        "packages": ", ".join(f"{name} {value}" for name, value in lineage.get("packages", {}).items()),
    }  # fmt: skip


def _verdict(model: Model, report: Mapping[str, Any]) -> str:
    return (
        f"{model.winner}. {VERDICTS.get(str(report.get('verdict')), 'Not judged, or the evaluation is not at hand.')}"
    )


def _split(task: Task) -> str:
    return {"temporal": "time: what came later is the test part"}.get(task.split.kind, task.split.kind)


def _learned(model: Model) -> dict[str, Any] | None:
    found = model.manifest.get("learned")
    if not found:
        return None
    clock = Schema.parse(model.manifest["schema"], "schema").time
    ends = {
        "first": text(min(one["first"] for one in found), clock),
        "last": text(max(one["until"] for one in found), clock),
    }
    return {"count": found[0]["count"], "positives": found[0]["positives"], **ends}


def _columns(model: Model, node: str) -> str:
    names = [item.column for item in model.transforms(0)["nodes"][node] if item.kind != "skip"]
    names += [item.column for item in model.transforms(0)["state"].get(node, []) if item.kind != "skip"]
    return ", ".join(names) or "none"


def _judged(model: Model, report: Mapping[str, Any]) -> list[str]:
    """The models that have figures: the winner first, then the champion."""
    order = [model.winner, "champion", *model.names]
    return [name for name in dict.fromkeys(order) if name in report.get("metrics", {})]


def _figures(names: list[str], report: Mapping[str, Any], metric: str) -> list[tuple[Any, ...]]:
    """A row a figure, a column a model, the task's metric and its interval first."""
    found = [report["metrics"][name] for name in names]
    keys = sorted({key for one in found for key in one} - {metric, "base_rate", "examples"})
    rows: list[tuple[Any, ...]] = [(_words(key), *(number(one.get(key)) for one in found)) for key in (metric, *keys)]
    if bounds := report.get("intervals"):
        inside = (" to ".join(map(number, bounds[name])) for name in names)
        rows.insert(1, (f"its {percent(report['confidence'])} interval", *inside))
    return rows


def _gate(gate: Mapping[str, Any]) -> tuple[str, ...]:
    value = number(gate["value"])
    if gate.get("low") is not None:
        value += f" ({number(gate['low'])} to {number(gate['high'])})"
    verdict = "passed" if gate["passed"] else "failed"
    return _words(gate["name"]), verdict, value, number(gate["bound"]), gate.get("meaning", "")


def _parameters(lineage: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Those that say something; the schema's are told with the columns."""
    return [(code(name), value) for name, value in shown.parameters(lineage) if not name.startswith("schema.")]


def _champion(report: Mapping[str, Any], metric: str) -> str:
    """The comparison in words: the difference overall and in each guarded slice, with its interval."""
    rival = report.get("champion")
    gate = next((one for one in report.get("gates", []) if one["name"] == "not_worse_than_champion"), None)
    if rival is None or gate is None:
        return ""
    if rival["problem"]:
        return f"Champion {rival['version']} could not be judged beside it: {rival['problem']}."
    rows = [("overall", gate), *((row["slice"], row) for row in gate.get("slices", []))]
    told = [
        f"{name} {number(row['value'])} ({number(row['low'])} to {number(row['high'])})"
        for name, row in rows
        if row["value"] is not None
    ]
    return f"{_words(metric)} minus that of champion {rival['version']} on the same examples: {'; '.join(told)}."


def _slices(report: Mapping[str, Any], metric: str) -> list[tuple[Any, ...]]:
    """The worst slices that are large enough to say something."""
    rows = [row for row in report.get("slices", []) if row["figures"][metric] is not None]
    rows = [row for row in rows if row["slice"] != "type" and row["figures"]["examples"] >= LEAST]
    rows.sort(key=lambda row: row["figures"][metric])
    return [
        (row["slice"], row["value"], row["figures"]["examples"], _share(row["figures"]["base_rate"]),
         *(number(row["figures"][name]) for name in (metric, "precision", "recall"))) for row in rows[:SLICES]
    ]  # fmt: skip


def _caveats(report: Mapping[str, Any], settings: Mapping[str, Any], model: Model) -> list[str]:
    """What a reader must know before relying on it."""
    found = [
        f"Not to be promoted: the gate {_words(gate['name'])} is shut: {gate.get('meaning') or 'see the evaluation'}."
        for gate in report.get("gates", [])
        if not gate["passed"]
    ]
    found += [
        f"Leakage? The column {item['column']} alone has a ROC-AUC of {item['roc_auc']:.3f}: does it know the label?"
        for item in report.get("warnings", [])
    ]
    if (report.get("champion") or {}).get("seen"):
        found.append(f"The champion {report['champion']['version']}: {report['champion']['seen']}.")
    if report.get("intervals") and not settings.get("group"):
        found.append("Intervals take the examples as independent; where many are of one node they are too narrow "
                     "(evaluate.group resamples by node).")  # fmt: skip
    records = shown.records(model.artifact.lineage) if model.artifact.lineage else {}
    if any(entry.get("code", {}).get("modified") for entry in records.values()):
        found.append("It was made with modified files that no revision has: it cannot be made again.")
    found.append("It was judged on the past: watch drift, and judge it again when the world it was trained on changes.")
    return found


def _share(value: float) -> str:
    return f"{100 * value:.4g} %"


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _missing(name: str) -> str:
    return f"Not stated: write it into evaluate.card.{name} of params.yaml."


FILTERS: dict[str, Callable[..., str]] = {
    "cell": cell,
    "code": code,
    "number": number,
    "share": _share,
    "words": _words,
}
