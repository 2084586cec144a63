"""Stage `score`: predictions and embeddings of every node of the task's type, as of a moment, and their profile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, field_validator

from graphmill import artifact, lineage, predict
from graphmill.clock import ALWAYS, duration, moment, text
from graphmill.drift.profile import compact
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import NETWORKS, Model
from graphmill.params import Section
from graphmill.progress import say, track
from graphmill.score import senders
from graphmill.score.newest import Newest
from graphmill.task import Duration, Moment, whole
from graphmill.train import calibration, layerwise, loop
from graphmill.train.params import Params as TrainParams


class Params(Section):
    """Section `score`."""

    moment: Moment | None = None
    """Entities are scored, and hidden rows computed, as of this moment; without it, the graph's as-of moment."""
    newest: Duration | None = None
    """Events: only those of so long before the as-of moment; without it, all."""
    embeddings: bool = True
    """Whether the network's embeddings are written beside the predictions."""
    batch_size: int = Field(default=8_192, ge=1)
    """Events scored and written at once: bounds the memory."""
    hidden: Literal["none", "float32", "int8"] = "none"
    """Whether the rows of the judged nodes' neighbours after all layers but the last are written for the predictor's
    `--hidden`, which then reads one hop less; `int8` takes a quarter of the room. Networks of kind `sage` alone."""

    _whole = field_validator("moment", "newest", mode="before")(whole)


def run(model: str | Path, graph: str | Path, features: str | Path, predictions: str | Path, params: Params) -> None:
    """Write predictions.parquet (key, time, score, decision), embeddings.parquet (key, time, embedding), profile.json.

    Raises:
        UserError: for altered inputs, features that lack a column of the model, nothing to score.
    """
    trained, network, found = Model.open(model), Graph.open(graph), Features.open(features)
    rows = nodes_to_score(network, params)
    if params.hidden != "none":
        senders.check(trained)
    until = network.as_of if network.judges_events else _moment(network, params)
    newest = Newest.of(trained, network, found, until)
    with artifact.write(predictions, "predictions") as draft:
        total = _write(trained, network, found, rows, params, draft.folder, newest)
        if newest is not None:
            (draft.folder / "profile.json").write_text(compact(newest.profile), encoding="utf-8")
        draft.manifest |= {
            "model": trained.artifact.digest,
            "name": trained.winner,
            "node": network.task.node,
            "rows": len(rows),
            "positive": total,
            "as_of": network.as_of,
        }
        if params.hidden != "none":
            draft.manifest["hidden"] = senders.write(
                trained, network, found, _moment(network, params), params.hidden, draft.folder
            )
        inputs = {"model": trained.artifact, "graph": network.artifact, "features": found.artifact}
        draft.lineage = lineage.record("score", {"score": params.canonical()}, inputs)
    told = f"{len(rows):,} of type {network.task.node} by {trained.winner}, {total:,} positive"
    usual = newest.words() if newest is not None else ""
    say(f"score: {told}, as of {text(network.as_of, network.clock)}{usual}")


def nodes_to_score(graph: Graph, params: Params) -> pd.DataFrame:
    """Columns ``node`` and ``time``: events at their own time, entities at the moment if they exist by then."""
    node = graph.task.node
    born = graph.node_time(node)
    if graph.judges_events:
        since = ALWAYS
        if params.newest is not None:
            since = graph.as_of - duration(params.newest, graph.clock, "score.newest")
        ids = np.flatnonzero(born >= since)
        times = born[ids]
    else:
        now = _moment(graph, params)
        ids = np.flatnonzero((born < now) | (born == ALWAYS))
        times = np.full(len(ids), now)
    if len(ids) == 0:
        raise UserError(f"score: no node of type {node!r} to score; check score.moment and score.newest")
    return pd.DataFrame({"node": ids.astype(np.int32), "time": times.astype(np.int64)})


def _moment(graph: Graph, params: Params) -> int:
    if params.moment is None:
        return graph.as_of
    return moment(params.moment, graph.clock, "score.moment", graph.as_of)


def _write(
    model: Model,
    graph: Graph,
    features: Features,
    rows: pd.DataFrame,
    params: Params,
    folder: Path,
    newest: Newest | None,
) -> int:
    keys = graph.key(graph.task.node)
    threshold = model.threshold(model.winner, 0)
    positive = 0
    files = _Files(folder)
    try:
        for part, scores, embedded in _scored(model, graph, features, rows, params):
            key = pa.array(keys[part["node"]], pa.string())
            time = pa.array(part["time"].to_numpy())
            decision = scores >= threshold
            positive += int(decision.sum())
            if newest is not None:
                newest.add(part, scores)
            files.write(
                "predictions", {"key": key, "time": time, "score": pa.array(scores), "decision": pa.array(decision)}
            )
            if embedded is not None:
                flat = pa.array(embedded.reshape(-1), pa.float32())
                vectors = pa.FixedSizeListArray.from_arrays(flat, embedded.shape[1])
                files.write("embeddings", {"key": key, "time": time, "embedding": vectors})
    finally:
        files.close()
    return positive


def _scored(
    model: Model, graph: Graph, features: Features, rows: pd.DataFrame, params: Params
) -> Iterator[tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float32] | None]]:
    """Rows, their probabilities and their embeddings, part by part."""
    inputs = predict.inputs_of(model, 0, graph, features)
    settings = TrainParams.parse(model.parameters, "train")
    network = predict.load_network(model, 0)
    by_network = model.winner in NETWORKS
    everything = None
    if not graph.judges_events:
        everything = layerwise.embeddings(network, inputs, int(rows["time"].iloc[0]), settings.memory)
    size = params.batch_size if everything is None else max(params.batch_size, 65_536)
    starts = range(0, len(rows), size)
    for start in track(starts, "score"):
        part = rows.iloc[start : start + size]
        embedded = None
        if by_network or params.embeddings:
            if everything is None:
                fanouts = predict.inference_fanouts(graph, settings)
                pieces = loop.embeddings(network, inputs, part, fanouts, settings)
                embedded = np.concatenate([piece.numpy() for piece in pieces])
            else:
                embedded = everything[part["node"].to_numpy(np.int64)].numpy()
        raw = predict.head(network, embedded) if by_network else predict.logits(model, model.winner, 0, inputs, part)
        scores = calibration.apply(raw, model.calibration(model.winner, 0))
        yield part, scores, embedded if params.embeddings else None


class _Files:
    """Parquet files that grow part by part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: dict[str, pq.ParquetWriter] = {}

    def write(self, name: str, columns: dict[str, pa.Array]) -> None:
        table = pa.table(columns)
        if name not in self.writers:
            self.writers[name] = pq.ParquetWriter(self.folder / f"{name}.parquet", table.schema, compression="zstd")
        self.writers[name].write_table(table)

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
