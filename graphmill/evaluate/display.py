"""What a page about a run shows of an evaluation: figures, the winner's ROC curve and its confusion matrix."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graphmill import artifact
from graphmill.evaluate.curves import roc
from graphmill.model import Model

CLASSES = ("negative", "positive")
"""Names of the confusion matrix' rows, what is, and columns, what was decided."""


@dataclass(frozen=True)
class Display:
    """What is shown; plain values."""

    figures: dict[str, float]
    """The winner's figures by name, the task's metric of the others as `MODEL METRIC`, how many gates are shut."""
    roc: tuple[list[float], list[float], list[float]]
    """False positive rate, true positive rate and threshold of the winner on the first split."""
    confusion: list[list[int]]
    """Examples of all splits: ``[[true negative, false positive], [false negative, true positive]]``."""
    report: Path
    """The report, a page of its own."""
    card: Path
    """The model card, Markdown."""

    def write(self, metrics: str, curves: str, report: str, card: str) -> None:
        """Write the four files that are shown; where the numbers are told beside a file, it has them too."""
        Path(metrics).write_text(artifact.to_json(self.figures), encoding="utf-8")
        Path(curves).write_text(artifact.to_json({"roc": self.roc, "confusion": self.confusion}), encoding="utf-8")
        shutil.copyfile(self.report, report)
        shutil.copyfile(self.card, card)


def read(model: str | Path, evaluation: str | Path) -> Display:
    """Read what is shown.

    Args:
        model: the artifact `model` that was judged; it has the thresholds.
        evaluation: the artifact `evaluation`.

    Raises:
        UserError: when one of them is altered.
    """
    judged, trained = artifact.read(evaluation, "evaluation"), Model.open(model)
    rows = pd.read_parquet(judged.path / "predictions.parquet", columns=["split", "model", "label", "score"])
    rows = rows[rows["model"] == trained.winner]
    first = rows[rows["split"] == 0]
    curve = roc(first["label"].to_numpy(bool), first["score"].to_numpy(np.float64))
    names = ("false_positive_rate", "true_positive_rate", "threshold")
    return Display(
        _figures(judged.manifest),
        tuple(curve[name].tolist() for name in names),  # type: ignore[arg-type]
        _confusion(rows, trained),
        judged.path / "report.html",
        judged.path / "model_card.md",
    )


def _figures(manifest: dict[str, Any]) -> dict[str, float]:
    winner, metric = manifest["winner"], manifest["metric"]
    found = {**manifest["metrics"][winner]}
    found |= {f"{name} {metric}": figures[metric] for name, figures in manifest["metrics"].items() if name != winner}
    found["gates shut"] = float(sum(not gate["passed"] for gate in manifest["gates"]))
    return {name: value for name, value in found.items() if value is not None}


def _confusion(rows: pd.DataFrame, model: Model) -> list[list[int]]:
    found = np.zeros((2, 2), np.int64)
    for split in range(model.split_count):
        part = rows[rows["split"] == split]
        decided = part["score"].to_numpy() >= model.threshold(model.winner, split)
        np.add.at(found, (part["label"].to_numpy(bool).astype(int), decided.astype(int)), 1)
    counts: list[list[int]] = found.tolist()
    return counts
