"""The evaluation as one self-contained HTML page: the verdict in words first."""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment

from graphmill.evaluate import plots
from graphmill.evaluate.curves import Curves
from graphmill.evaluate.judgement import Judgement

PAGE = Path(__file__).parent / "page.html"
COUNTS = ("base_rate", "examples")
IN_SLICES = ("average_precision", "roc_auc", "precision", "recall", "calibration_error")


def render(manifest: dict[str, Any], curves: Curves, judgement: Judgement) -> str:
    """The page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "words": lambda name: name.replace("_", " ")}
    metric, artifacts = manifest["metric"], (judgement.model, judgement.graph, judgement.features)
    calibration = curves["calibration"]
    axis = plots.fitting(calibration["predicted"], calibration["observed"])
    return environment.from_string(PAGE.read_text(encoding="utf-8")).render(
        report=manifest,
        words=words(manifest),
        confidence=percent(manifest["confidence"]),
        names=list(manifest["metrics"]),
        colours=plots.COLOURS,
        shown=[metric, *(name for name in manifest["metrics"][manifest["winner"]] if name not in (metric, *COUNTS))],
        in_slices=IN_SLICES,
        roc=plots.chart(curves["roc"], "false_positive_rate", "true_positive_rate", diagonal=True),
        precision_recall=plots.chart(curves["precision_recall"], "recall", "precision"),
        calibration=plots.chart(calibration, "predicted", "observed", axis, diagonal=True),
        learning=_learning(judgement),
        splits=judgement.model.split_count,
        task=judgement.graph.task,
        inputs={item.artifact.kind: item.artifact.digest for item in artifacts},
        code=judgement.model.artifact.lineage.get("code", {}),
    )


def words(manifest: dict[str, Any]) -> str:
    """The verdict as a sentence."""
    failed = [gate["name"].replace("_", " ") for gate in manifest["gates"] if not gate["passed"]]
    name, metric, gates = manifest["winner"], manifest["metric"], len(manifest["gates"])
    low, high = manifest["intervals"][name]
    begin = f"{name} won on the validation part. On the test part its {metric.replace('_', ' ')} is "
    begin += f"{manifest['metrics'][name][metric]:.4f} ({percent(manifest['confidence'])} interval "
    begin += f"{low:.4f} to {high:.4f}). "
    if failed:
        return f"{begin}It may not be promoted: {len(failed)} of {gates} gates failed ({', '.join(failed)})."
    return f"{begin}{f'All {gates} gates passed' if gates else 'No gate was asked for'}: it may be promoted."


def percent(share: float) -> str:
    """``95 %``."""
    return f"{100 * share:.10g} %"


def number(value: float | None) -> str:
    """Four digits after the point, fewer for large numbers; a dash for none."""
    if value is None:
        return "–"
    if value == 0 or 1e-4 <= abs(value) < 10:
        return f"{value:.4f}"
    return f"{value:.2e}" if abs(value) < 1e-4 else f"{value:,.5g}" if abs(value) < 1_000 else f"{value:,.0f}"


def _learning(judgement: Judgement) -> Any:
    file = judgement.model.folder(0) / "learning_curve.csv"
    if not file.exists():
        return None
    curve = pd.read_csv(file)
    if len(curve) < 2:
        return None
    return plots.series({"loss": list(curve["loss"]), "validation": list(curve["validation"])}, "epochs")
