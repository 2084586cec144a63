"""What each kind of artifact has to tell: its figures, curves, tables and reports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphmill.tracking.content import Content, Curve, Reader, flat, read_csv, table

WORST = 20
"""Rows of the tables that show the worst slices and items."""

CURVES = {
    "roc": ("false_positive_rate", "true_positive_rate"),
    "precision_recall": ("recall", "precision"),
    "calibration": ("predicted", "observed"),
}
"""The curves that an evaluation holds, with their axes."""


def _tables(content: Content, manifest: dict[str, Any], folder: Path) -> None:
    counts = {name: {key: facts.get(key) for key in ("rows", "refused", "left_out")} for name, facts in _of(manifest)}
    content.summary |= flat({"as_of": manifest.get("as_of"), "tables": counts})
    content.summary |= flat({"refused": manifest.get("contract", {}).get("refused", {})})


def _of(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from manifest.get("tables", {}).items()


def _graph(content: Content, manifest: dict[str, Any], folder: Path) -> None:
    edges = {name: facts.get("edges") for name, facts in manifest.get("relations", {}).items()}
    content.summary |= flat({"as_of": manifest.get("as_of"), "nodes": manifest.get("nodes", {}), "edges": edges})


def _features(content: Content, manifest: dict[str, Any], folder: Path) -> None:
    columns = {node: len(found) for node, found in manifest.get("columns", {}).items()}
    windows = len(manifest.get("windows", []))
    content.summary |= flat({"splits": manifest.get("splits"), "columns": columns, "windows": windows})


def _model(content: Content, manifest: dict[str, Any], folder: Path) -> None:
    winner, metric, found = manifest.get("winner"), manifest.get("metric"), manifest.get("validation", {})
    means = {name: _mean(values) for name, values in found.items()}
    content.summary |= flat({"winner": winner, "metric": metric, "validation": means})
    content.metadata |= {"winner": winner, "metric": metric, "validation": means}
    content.config |= {"architecture": manifest.get("architecture")}
    content.tables["by_split"] = table(
        {"model": name, "split": split, str(metric): value}
        for name, values in found.items()
        for split, value in enumerate(values)
    )
    content.history = _history(folder)
    content.files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}


def _history(folder: Path) -> list[dict[str, float]]:
    """One row an epoch: loss and validation, of each split where there are several."""
    rows: dict[float, dict[str, float]] = {}
    for file in sorted(folder.rglob("learning_curve.csv")):
        prefix = "" if file.parent == folder else f"{file.parent.name}/"
        for row in read_csv(file):
            figures = {
                f"learning_curve/{prefix}{key}": value
                for key, value in row.items()
                if key != "epoch" and value is not None
            }
            rows.setdefault(row["epoch"], {"epoch": row["epoch"]}).update(figures)
    return [rows[epoch] for epoch in sorted(rows)]


def _evaluation(content: Content, manifest: dict[str, Any], folder: Path) -> None:
    metrics, metric = manifest.get("metrics", {}), manifest.get("metric", "")
    gates = {gate["name"]: gate.get("passed") for gate in manifest.get("gates", [])}
    facts = {key: manifest.get(key) for key in ("winner", "verdict", "metric")}
    content.summary |= flat(facts | {"metrics": metrics, "gates": gates})
    content.summary |= flat(metrics.get(str(facts["winner"]), {}))
    content.metadata |= facts
    content.tables["gates_table"] = table(
        manifest.get("gates", []), ("name", "passed", "value", "low", "high", "bound", "meaning")
    )
    content.tables["by_split"] = table(
        {"model": name, "split": split, **figures}
        for name, splits in manifest.get("by_split", {}).items()
        for split, figures in enumerate(splits)
    )
    slices = [{"slice": s["slice"], "value": str(s["value"]), **s["figures"]} for s in manifest.get("slices", [])]
    content.tables["slices"] = table(slices)
    known = [row for row in slices if row.get(metric) is not None]
    content.tables["worst_slices"] = table(sorted(known, key=lambda row: float(row[metric]))[:WORST])
    content.curves = dict(_curves(folder / "curves"))
    _report(content, folder)


def _curves(folder: Path) -> Iterator[tuple[str, Curve]]:
    for name, (x, y) in CURVES.items():
        if (file := folder / f"{name}.csv").is_file():
            yield name, Curve(table(read_csv(file)), x, y)


def _drift_report(content: Content, manifest: dict[str, Any], folder: Path) -> None:
    families = {name: {key: facts.get(key) for key in ("state", "p", "items")} for name, facts in _families(manifest)}
    facts = {
        key: manifest.get(key) for key in ("state", "decision", "words", "period_text", "past_periods", "cold_start")
    }
    content.summary |= flat(facts | {"families": families, "broken_rules": len(manifest.get("integrity", []))})
    content.tables["worst_items"] = table(manifest.get("items", [])[:WORST])  # the report has the worst first
    _report(content, folder)


def _families(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from manifest.get("families", {}).items()


def _plain(content: Content, manifest: dict[str, Any], folder: Path) -> None:
    """What a manifest says itself, its digests left out."""
    hidden = ("files", "format", "kind", "schema", "task")
    facts = {key: value for key, value in manifest.items() if key not in hidden and not isinstance(value, list)}
    content.summary |= flat(facts)


def _report(content: Content, folder: Path) -> None:
    if (file := folder / "report.html").is_file():
        content.reports["report"] = file


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


READERS: dict[str, Reader] = {
    "tables": _tables,
    "graph": _graph,
    "features": _features,
    "model": _model,
    "evaluation": _evaluation,
    "drift_report": _drift_report,
    "predictions": _plain,
    "release": _plain,
}
