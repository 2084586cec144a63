"""Real and simulated years again, as if they came day by day: retraining never, every period, and by the policy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from graphmill import artifact, drift, features, graph, ingest, predict, registry, train
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.schema import Schema
from graphmill.task import Task

CHEAP = {
    "model": {"kind": "mlp", "hidden": 16}, "epochs": 1, "fanouts": [3],
    "controls": {"fanouts": [5, 20], "negatives": 30, "rounds": 200},
}  # fmt: skip
"""Section `train`: the trees count here, the network only has to be there."""


@dataclass(frozen=True)
class World:
    """A data set and the calendar of its replay."""

    name: str
    data: Path
    schema: dict[str, Any]
    task: dict[str, Any]
    features: dict[str, Any]
    first: str
    """As-of moment of the first training."""
    periods: list[str]
    """Beginnings of the periods that are judged, and the last one's end; the first is ``first``."""
    checks: list[str]
    """When the policy looks: every beginning of a period, and moments between."""
    end: str
    """As-of moment at which every label is known."""
    policy: dict[str, Any] = field(default_factory=dict)


class Replay:
    """One world, its snapshots and models made once each in ``folder``."""

    def __init__(self, world: World, folder: Path) -> None:
        """Nothing is made yet."""
        self.world, self.folder = world, folder
        self._scores: dict[str, np.ndarray] = {}

    def snapshot(self, as_of: str) -> Path:
        """The folder of tables, graph and features as of a moment."""
        place = self.folder / as_of
        if not (place / "features").is_dir():
            given = ingest.Params.parse({"as_of": as_of, "later": "leave_out"}, "ingest")
            schema, task = Schema.parse(self.world.schema, "schema"), Task.parse(self.world.task, "task")
            ingest.run(self.world.data, place / "tables", schema, task, given)
            graph.run(place / "tables", place / "graph", graph.Params())
            given_features = features.Params.parse(self.world.features, "features")
            features.run(place / "tables", place / "graph", place / "features", given_features)
        return place

    def model(self, as_of: str) -> Path:
        """The model trained as of a moment."""
        place = self.snapshot(as_of)
        if not (place / "model").is_dir():
            train.run(place / "graph", place / "features", place / "model", train.Params.parse(CHEAP, "train"))
        return place / "model"

    @cached_property
    def _end(self) -> tuple[Graph, Features]:
        place = self.snapshot(self.world.end)
        return Graph.open(place / "graph"), Features.open(place / "features")

    @cached_property
    def _judged(self) -> pd.DataFrame:
        """Examples of the judged periods with their labels as they turned out."""
        _, rows = self._end
        first, last = self.world.periods[0], self.world.periods[-1]
        times = rows.examples["time"].to_numpy(np.int64)
        inside = (times >= _micros(first)) & (times < _micros(last)) & rows.examples["label"].notna().to_numpy()
        return rows.examples[inside].reset_index(drop=True)

    def scores(self, trained: str) -> np.ndarray:
        """Of the model trained as of a moment, of every judged example: float64 ``[n]``."""
        if trained not in self._scores:
            model, (network, rows) = Model.open(self.model(trained)), self._end
            self._scores[trained] = predict.score(model, model.winner, 0, network, rows, self._judged)
        return self._scores[trained]

    def metrics(self, in_force: dict[str, str]) -> dict[str, float]:
        """Average precision of each period, every example scored by the model in force at its time.

        Args:
            in_force: from which moment on which model is, oldest first.
        """
        times, label = self._judged["time"].to_numpy(np.int64), self._judged["label"].to_numpy(bool)
        since = np.array([_micros(moment) for moment in in_force])
        served = np.array([self.scores(model) for model in in_force.values()])
        score = served[np.searchsorted(since, times, side="right") - 1, np.arange(len(times))]
        found = {}
        for first, last in zip(self.world.periods, self.world.periods[1:], strict=False):
            inside = (times >= _micros(first)) & (times < _micros(last))
            found[first] = round(float(average_precision_score(label[inside], score[inside])), 4)
        return found

    def decide(self, champion: str, as_of: str) -> dict[str, Any]:
        """The report of stage `drift` as of a moment, with the model in force."""
        place = self.snapshot(as_of)
        own = {"home": str(self.folder / "history"), "policy": {"registry": str(self.folder / "registry")}}
        given = drift.Params.parse({**own, "policy": {**own["policy"], **self.world.policy}}, "drift")  # type: ignore[dict-item]
        drift.run(self.model(champion), place / "graph", place / "features", place / "drift_report", given)
        return artifact.read(place / "drift_report", "drift_report").manifest

    def ship(self, as_of: str) -> None:
        """Make the model of a moment the champion: here every challenger ships, in every strategy."""
        home = registry.open(self.folder / "registry")
        version = home.register(self.model(as_of), {"verdict": "pass"})
        home.move("champion", version, "the replay ships every challenger")


def strategies(replay: Replay, told: Callable[[str], None]) -> dict[str, dict[str, str]]:
    """From which moment on the model of which moment is in force, by strategy: `never`, `every`, `policy`."""
    world = replay.world
    starts = world.periods[:-1]
    champion = world.first
    by_policy = {world.first: world.first}
    replay.ship(champion)
    for moment in sorted({*world.checks, *starts[1:]}):
        found = replay.decide(champion, moment)
        states = ", ".join(f"{name} {family['state']}" for name, family in found["families"].items())
        told(f"{world.name} {moment}: {found['decision']} ({states}) {found['policy']['blocked_by']}")
        if found["decision"] == "retrain":
            champion = by_policy[moment] = moment
            replay.ship(champion)
    return {"never": {world.first: world.first}, "every": {start: start for start in starts}, "policy": by_policy}


def run(replay: Replay, told: Callable[[str], None]) -> dict[str, Any]:
    """Metrics by period and number of retrainings of each strategy, and the policy's share of both."""
    found: dict[str, Any] = {}
    for name, in_force in strategies(replay, told).items():
        reached = replay.metrics(in_force)
        mean = round(float(np.mean(list(reached.values()))), 4)
        found[name] = {"mean": mean, "retrainings": len(in_force) - 1, "metric": reached}
    gain = found["every"]["mean"] - found["never"]["mean"]
    share = (found["policy"]["mean"] - found["never"]["mean"]) / gain if gain > 0 else None
    return {
        **found,
        "share_of_gain": None if share is None else round(share, 3),
        "share_of_retrains": round(found["policy"]["retrainings"] / found["every"]["retrainings"], 3),
    }


def _micros(moment: str) -> int:
    return int(pd.Timestamp(moment).value // 1_000)


def months(first: str, last: str, every: str = "MS") -> list[str]:
    """Beginnings of months (or quarters, ``QS``) from one to another."""
    return [str(day.date()) for day in pd.date_range(first, last, freq=every)]


def sample(data: Path) -> World:
    """The sample's year: tactics change on 2025-11-01. Checks every week."""
    from graphmill.params import load

    sections = load(Path(__file__).parent.parent / "params.yaml")
    periods = months("2025-08-01", "2026-01-01", "SMS")
    weeks = [str(day.date()) for day in pd.date_range("2025-08-08", "2025-12-26", freq="7D")]
    split = {"kind": "temporal", "train_end": "as_of - 24d", "validation_end": "as_of - 12d"}
    label = sections["task"]["label"] | {"known_after": "1d"}
    task = sections["task"] | {"label": label, "split": split}  # fresh: what is kept for a test is not learned from
    return World(
        "sample", data, sections["schema"], task, sections["features"], periods[0], periods,
        weeks, "2026-01-08",
    )  # fmt: skip


def bitcoin(source: Path, folder: Path) -> World:
    """Bitcoin-OTC: will a rating be negative? Judged by quarter, looked at every month."""
    frame = pd.read_csv(source / "ratings.csv")
    frame["rating_id"] = [f"r{number:05d}" for number in range(len(frame))]
    frame["negative"] = frame["rating"] < 0
    frame["rated_at"] = pd.to_datetime(frame["rated_at"], unit="s").astype("datetime64[us]")
    (folder / "data").mkdir(parents=True)
    frame[["rating_id", "rater", "ratee", "rated_at", "negative"]].to_parquet(folder / "data" / "ratings.parquet")
    schema = {
        "nodes": {
            "user": {},
            "rating": {
                "table": "ratings", "key": "rating_id", "time": "rated_at", "columns": {},
                "links": {"rater": "user", "ratee": "user"},
            },
        },
    }  # fmt: skip
    task = {
        "kind": "node_classification", "node": "rating", "label": {"column": "negative", "known_after": "1d"},
        "split": {"kind": "temporal", "train_end": "as_of - 21d", "validation_end": "as_of - 7d"},
        "metric": "average_precision",
    }  # fmt: skip
    windows = [
        {"over": f"rating.{end}.user", "sizes": ["30d", "180d", "ever"], "known_label": True}
        for end in ("rater", "ratee")
    ]
    periods = months("2012-07-01", "2014-10-01", "QS")
    return World(
        "bitcoin_otc", folder / "data", schema, task, {"windows": windows}, periods[0], periods,
        months("2012-08-01", "2014-09-01"), "2014-11-01",
    )  # fmt: skip
