"""The evaluation as one self-contained HTML page: the verdict in words first."""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment

from graphmill.evaluate import plots
from graphmill.evaluate.curves import Curves
from graphmill.evaluate.judgement import Judgement

PAGE = Path(__file__).parent / "page.html"
SHOWN = ("average_precision", "roc_auc", "f1", "precision", "recall", "brier", "calibration_error")
IN_SLICES = ("average_precision", "roc_auc", "precision", "recall", "calibration_error")


def render(manifest: dict[str, Any], curves: Curves, judgement: Judgement) -> str:
    """The page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    return environment.from_string(PAGE.read_text(encoding="utf-8")).render(
        report=manifest,
        words=words(manifest),
        names=list(manifest["metrics"]),
        colours=plots.COLOURS,
        shown=[*SHOWN, *(name for name in manifest["metrics"][manifest["winner"]] if "_at_" in name)],
        in_slices=IN_SLICES,
        roc=plots.chart(curves["roc"], "false_positive_rate", "true_positive_rate", diagonal=True),
        precision_recall=plots.chart(curves["precision_recall"], "recall", "precision"),
        calibration=plots.chart(curves["calibration"], "predicted", "observed", diagonal=True, log=True),
        learning=_learning(judgement),
        splits=judgement.model.split_count,
        task=judgement.graph.task,
        inputs={
            "model": judgement.model.artifact.digest,
            "graph": judgement.graph.artifact.digest,
            "features": judgement.features.artifact.digest,
        },
        code=judgement.model.artifact.lineage.get("code", {}),
    )


def words(manifest: dict[str, Any]) -> str:
    """The verdict as a sentence."""
    failed = [gate["name"].replace("_", " ") for gate in manifest["gates"] if not gate["passed"]]
    name, metric = manifest["winner"], manifest["metric"]
    low, high = manifest["intervals"][name]
    begin = f"{name} won on the validation part. On the test part its {metric.replace('_', ' ')} is "
    begin += f"{manifest['metrics'][name][metric]:.4f} (95 % interval {low:.4f} to {high:.4f}). "
    if failed:
        return begin + f"It may not be promoted: {len(failed)} of {len(manifest['gates'])} gates failed ({', '.join(failed)})."
    return begin + f"All {len(manifest['gates'])} gates passed: it may be promoted."


def number(value: Any) -> str:
    """Four significant digits; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _learning(judgement: Judgement) -> Any:
    file = judgement.model.folder(0) / "learning_curve.csv"
    if not file.exists():
        return None
    curve = pd.read_csv(file)
    if len(curve) < 2:
        return None
    return plots.series({"loss": list(curve["loss"]), "validation": list(curve["validation"])}, "epochs")
