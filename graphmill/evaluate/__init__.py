"""Stage `evaluate`: metrics by slice, calibration, gates, comparison with the champion, a report."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from graphmill import artifact, lineage, registry
from graphmill.clock import text
from graphmill.errors import UserError
from graphmill.evaluate import card, champion, curves, gates, leakage, report
from graphmill.evaluate import display as display
from graphmill.evaluate.bootstrap import Bootstrap
from graphmill.evaluate.judgement import Judgement, score_all
from graphmill.evaluate.metrics import deviation_of
from graphmill.evaluate.params import Params as Params
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.progress import say


def run(model: str | Path, graph: str | Path, features: str | Path, evaluation: str | Path, params: Params) -> str:
    """Write the evaluation folder and return the verdict, ``pass`` or ``block``.

    Raises:
        UserError: for altered inputs, a test part with one class, a guarded slice that is empty.
    """
    trained, network, found = Model.open(model), Graph.open(graph), Features.open(features)
    torch.set_num_threads(int(trained.parameters["threads"]))
    judgement = score_all(trained, network, found, params)
    rival = champion.judge(judgement, params) if "not_worse_than_champion" in params.gates else None
    judgement.measure(params)
    resamples = Bootstrap(judgement.parts, judgement.metric_name, params)
    passed = gates.check(judgement, resamples, rival, params)
    manifest = _manifest(judgement, resamples, passed, rival, params)
    with artifact.write(evaluation, "evaluation") as draft:
        draft.manifest |= manifest
        _write(judgement, manifest, params, draft.folder)
        inputs = {"model": trained.artifact, "graph": network.artifact, "features": found.artifact}
        if rival is not None:  # what it was compared with decides the bytes too
            inputs["champion"] = artifact.read(registry.open(params.registry).path(rival.version), "model")
        draft.lineage = lineage.record("evaluate", {"evaluate": params.canonical()}, inputs)
    _tell(judgement, manifest)
    return str(manifest["verdict"])


def summary(evaluation: str | Path) -> dict[str, Any]:
    """Winner, metrics and gates of an evaluation folder."""
    manifest = artifact.read(evaluation, "evaluation").manifest
    columns = ("name", "passed", "value", "bound")
    return {
        "winner": manifest["winner"],
        "metrics": manifest["metrics"],
        "gates": [{name: gate[name] for name in columns} for gate in manifest["gates"]],
    }


def _manifest(
    judgement: Judgement,
    resamples: Bootstrap,
    passed: list[gates.Gate],
    rival: champion.Champion | None,
    params: Params,
) -> dict[str, Any]:
    winner = judgement.model.winner
    return {
        "winner": winner,
        "verdict": "pass" if all(gate.passed for gate in passed) else "block",
        "metric": judgement.metric_name,
        "confidence": params.confidence,
        "metrics": judgement.metrics,
        "intervals": {name: list(resamples.interval(name)) for name in judgement.metrics},
        "deviations": {name: deviation_of(found) for name, found in judgement.by_split.items()},
        "by_split": judgement.by_split,
        "slices": judgement.by_slice(params),
        "gates": [gate.canonical() for gate in passed],
        "champion": None if rival is None else vars(rival),
        "warnings": leakage.suspects(judgement, params.leakage_auc),
        "model": judgement.model.artifact.digest,
        "test": _period(judgement),
        "settings": params.model_dump(mode="json", include={"bootstrap", "group", "guarded_slices", "card"}),
    }


def _write(judgement: Judgement, manifest: dict[str, Any], params: Params, folder: Path) -> None:
    metrics = {"winner": manifest["winner"], "verdict": manifest["verdict"], **manifest["metrics"]}
    (folder / "metrics.json").write_text(artifact.to_json(metrics), encoding="utf-8")
    found = curves.curves(judgement.parts[0], list(judgement.metrics), params.bins)
    curves.write(found, folder / "curves")
    pq.write_table(_predictions(judgement), folder / "predictions.parquet", compression="zstd")
    page = report.render(manifest, found, judgement)
    (folder / "report.html").write_text(page, encoding="utf-8")
    for name, content in zip(("model_card.md", "model_card.html"), card.render(judgement.model, manifest), strict=True):
        (folder / name).write_text(content, encoding="utf-8")


def _period(judgement: Judgement) -> dict[str, str | int]:
    """The moments of the first and the last test example."""
    times = np.concatenate([part["time"].to_numpy(np.int64) for part in judgement.examples])
    clock = judgement.graph.clock
    return {"first": text(int(times.min()), clock), "last": text(int(times.max()), clock)}


def _predictions(judgement: Judgement) -> pa.Table:
    """The test part, a row for each example, split and model."""
    frames = []
    for split, (examples, part) in enumerate(zip(judgement.examples, judgement.parts, strict=True)):
        for name in judgement.metrics:
            kept = examples[["node", "key", "time", "label"]]
            frames.append(kept.assign(split=split, model=name, score=part.scores[name]))
    return pa.Table.from_pandas(pd.concat(frames), preserve_index=False).replace_schema_metadata()


def _tell(judgement: Judgement, manifest: dict[str, Any]) -> None:
    for item in manifest["warnings"]:
        alone = f"{item['column']} alone has a ROC-AUC of {item['roc_auc']:.3f}"
        print(f"evaluate: WARNING: {alone}: does it leak the label?", file=sys.stderr)
    rival = manifest["champion"]
    if rival is not None and rival["seen"]:
        print(f"evaluate: WARNING: champion {rival['version']}: {rival['seen']}", file=sys.stderr)
    name, metric = manifest["winner"], manifest["metric"]
    low, high = manifest["intervals"][name]
    failed = [gate["name"] for gate in manifest["gates"] if not gate["passed"]]
    verdict = f"blocked by {', '.join(failed)}" if failed else f"all {len(manifest['gates'])} gates passed"
    speed = "" if judgement.milliseconds is None else f", {judgement.milliseconds:.1f} ms an example"
    reached = f"{metric} {manifest['metrics'][name][metric]:.4f} [{low:.4f}, {high:.4f}]"
    say(f"evaluate: {name}, {reached}{speed}; {verdict}")


def describe(evaluation: Path, release: Path) -> str:
    """What `make repro` ends with: the report to open, the model's version and its figures.

    Raises:
        UserError: when a folder is missing, partial or altered, or they are not of the same model.
    """
    manifest = artifact.read(evaluation, "evaluation").manifest
    made = artifact.read(release, "release").manifest
    if made["digest"] != manifest["model"]:
        raise UserError(f"{release}: of another model than {evaluation}; run `dvc repro`")
    lines = [f"report:  {evaluation / 'report.html'}"]
    lines.append(f"model:   {made['name']} {made['version']}, {manifest['verdict']}")
    width = max(map(len, manifest["metrics"]))
    for name, figures in sorted(manifest["metrics"].items(), key=lambda item: item[0] != manifest["winner"]):
        mark = "  <- winner" if name == manifest["winner"] else ""
        shown = ", ".join(f"{metric} {figures[metric]:.4f}" for metric in ("average_precision", "roc_auc"))
        lines.append(f"test:    {name:<{width}} {shown}{mark}")
    return "\n".join(lines)
