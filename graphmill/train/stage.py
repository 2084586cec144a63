"""The work of stage `train`, split by split."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from graphmill import artifact, lineage
from graphmill.drift import baseline
from graphmill.drift.baseline import Past
from graphmill.drift.source import Source
from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import split_folder
from graphmill.progress import say
from graphmill.train import calibration, controls, loop
from graphmill.train.checkpoint import Checkpoints
from graphmill.train.examples import labels, learned, part
from graphmill.train.export import export
from graphmill.train.network import Network
from graphmill.train.params import Params
from graphmill.train.ranks import ALONE, Ranks
from graphmill.train.winner import choose

Scores = NDArray[np.float64]
Fitted = tuple[Inputs, Network, list[dict[str, float]]]
"""What a split's network sees, the network, and its learning curve."""


def run(graph: str | Path, features: str | Path, model: str | Path, params: Params, ranks: Ranks = ALONE) -> None:
    """Train on every split and write the model folder; a killed run resumes at its last epoch.

    Args:
        graph: folder of the artifact.
        features: folder of the artifact.
        model: folder to write.
        params: section `train`.
        ranks: processes that train the networks together. Their leader does the rest, when the others have ended.

    Raises:
        UserError: for altered inputs, features without profiles, a GPU that is not there, training that diverges.
    """
    torch.set_num_threads(params.threads)
    network_graph, found = Graph.open(graph), Features.open(features)
    if found.split_count == 0:
        raise UserError(f"{features}: written with features.fit: false, for scoring alone; write them again to train")
    begun = baseline.read(found.artifact.path, "features")  # now: what is missing should not be found after hours
    identity = {"graph": network_graph.artifact.digest, "features": found.artifact.digest, "params": params.canonical()}
    checkpoints = Checkpoints(Path(model), identity, ranks)
    if not ranks.leads:
        _networks(network_graph, found, params, checkpoints, ranks)
        return
    with artifact.write(model, "model") as draft:
        fitted = _networks(network_graph, found, params, checkpoints, ranks)
        told = _finish(network_graph, found, begun, draft, params, fitted)
    checkpoints.clear()
    say(told)


def _networks(graph: Graph, features: Features, params: Params, checkpoints: Checkpoints, ranks: Ranks) -> list[Fitted]:
    """The network of every split, before anything else is made: who only helps with them need not wait for it."""
    fitted = []
    for split in range(features.split_count):
        inputs = Inputs(graph, features, features.transforms(split))
        train, validation = (part(features.examples, split, name) for name in ("train", "validation"))
        fitted.append((inputs, *loop.fit(inputs, train, validation, params, checkpoints, f"split_{split}", ranks)))
    ranks.part()
    return fitted


def _finish(
    graph: Graph, features: Features, begun: Past, draft: artifact.Draft, params: Params, fitted: list[Fitted]
) -> str:
    """Everything but the networks; returns the stage's last line."""
    names, task = [params.model.kind, *controls.NAMES], graph.task
    results = [
        _train_split(graph, features, split, draft.folder, params, trained) for split, trained in enumerate(fitted)
    ]
    validation = {name: [result[name]["validation"] for result in results] for name in names}
    winner = choose([*controls.NAMES, params.model.kind], results, task.metric, params.seed)
    draft.manifest |= {
        "names": names,
        "winner": winner,
        "splits": features.split_count,
        "metric": task.metric,
        "task": task.canonical(),
        "schema": graph.schema.canonical(),
        "parameters": params.canonical(),
        "architecture": results[0]["architecture"],
        "relations": list(graph.relations),
        "learned": [learned(features.examples, split) for split in range(features.split_count)],
        "validation": validation,
        "calibration": {name: [list(result[name]["calibration"]) for result in results] for name in names},
        "threshold": {name: [result[name]["threshold"] for result in results] for name in names},
    }
    source = _judged(graph, features, begun, results[0], winner, params)
    baseline.write(draft.folder, baseline.complete(begun, source, results[0][winner]["threshold"]), source)
    inputs = {"graph": graph.artifact, "features": features.artifact}
    draft.lineage = lineage.record("train", {"train": params.canonical()}, inputs)
    judged = ", ".join(f"{name} {np.mean(validation[name]):.4f}" for name in names)
    return f"train: {winner} wins; {task.metric} on the validation part: {judged}"


def _train_split(
    graph: Graph, features: Features, split: int, folder: Path, params: Params, fitted: Fitted
) -> dict[str, Any]:
    """Fit the controls of one split, write the files of its three models, and judge them on the validation part."""
    target = split_folder(folder, split, features.split_count)
    target.mkdir(exist_ok=True)
    inputs, network, curve = fitted
    train, validation = (part(features.examples, split, name) for name in ("train", "validation"))
    save_file(
        {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()},
        target / "weights.safetensors",
    )
    export(network, graph, params.hops, target / "network.onnx")
    pd.DataFrame(curve).to_csv(target / "learning_curve.csv", index=False)
    document = {"transforms": features.manifest["transforms"][split]}
    (target / "features.json").write_text(artifact.to_json(document), encoding="utf-8")
    result: dict[str, Any] = {"architecture": network.shape.canonical(), "network": (network, inputs)}
    result[params.model.kind] = _judge(graph, validation, _network_scores(network, inputs, validation, params))
    for name in controls.NAMES:
        models = controls.train(name, inputs, train, validation, params)
        controls.save(models, target, name)
        result[name] = _judge(graph, validation, controls.score_examples(name, models, inputs, validation, params))
    return result


def _network_scores(network: Any, inputs: Inputs, examples: pd.DataFrame, params: Params) -> Scores:
    from graphmill.predict import network_logits  # predict imports this package

    return network_logits(network, inputs, examples, params)


def _judge(graph: Graph, validation: pd.DataFrame, scores: Scores) -> dict[str, Any]:
    label = labels(validation)
    fitted = calibration.fit(label, scores)
    probability = calibration.apply(scores, fitted)
    return {
        "validation": loop.judge(graph.task.metric, label, scores),
        "calibration": fitted,
        "threshold": calibration.threshold(label, probability),
        "scores": (validation, probability),
    }


def _judged(
    graph: Graph, features: Features, begun: Past, result: dict[str, Any], winner: str, params: Params
) -> Source:
    """What drift will compare with: held-out scores only, those of the training part flatter."""
    from graphmill.predict import embed  # predict imports this package

    validation, scores = result[winner]["scores"]
    everything = np.full(len(features.examples), np.nan)
    places = np.flatnonzero((features.examples["split_0"] == "validation") & features.examples["label"].notna())
    assert len(places) == len(validation)
    everything[places] = scores
    source = Source(graph, features, features.examples, everything)
    if winner != params.model.kind:
        return source
    network, inputs = result["network"]
    return baseline.with_embeddings(source, begun.reference, lambda examples: embed(network, inputs, examples, params))
