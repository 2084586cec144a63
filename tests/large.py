"""A graph that is large beside the memory it is given: artifacts written array by array, never as tables."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphmill import artifact, lineage
from graphmill.features.columns import Field
from graphmill.features.transforms import fit
from graphmill.graph.adjacency import assemble, save
from graphmill.schema import Schema
from graphmill.task import Task

COLUMNS = 128
RELATIONS = ("person.knows.person", "person.rev_knows.person")


def write(root: Path, people: int, edges: int, train: int, seed: int = 0) -> None:
    """Write ``graph/`` and ``features/``: people with many columns, whom they know, and a label."""
    state = np.random.default_rng(seed)
    columns = {f"x{place}": "numeric" for place in range(COLUMNS)}
    described = {
        "time": "step",
        "nodes": {"person": {"table": "people", "key": "id", "columns": columns}},
        "edges": {"knows": {"table": "knows", "source": {"person": "a"}, "target": {"person": "b"}, "time": "at"}},
    }
    task = {"node": "person", "label": {"column": "label"}, "split": {"kind": "random"}, "metric": "roc_auc"}
    common = {
        "schema": Schema.parse(described, "schema").canonical(),
        "task": Task.parse(task, "task").canonical(),
        "as_of": edges,
    }
    graph = _graph(root, common, people, edges, state)
    _features(root, common, graph, people, train, state)


def _graph(root, common, people, edges, state):
    source, target = (state.integers(0, people, edges, dtype=np.int32) for _ in range(2))
    rows, time = np.arange(edges, dtype=np.int32), np.arange(edges)
    with artifact.write(root / "graph", "graph") as draft:
        (draft.folder / "nodes").mkdir()
        table = {"key": [str(place) for place in range(people)], "time": np.full(people, np.iinfo(np.int64).min)}
        pq.write_table(pa.table(table), draft.folder / "nodes" / "person.parquet")
        for name, ends in zip(RELATIONS, ((source, target), (target, source)), strict=True):
            save(assemble(("person", "person"), *ends, rows, time, people), draft.folder / name)
        facts = {"source": "person", "target": "person", "edges": edges, "timed": True}
        draft.manifest |= common | {"nodes": {"person": people}, "relations": dict.fromkeys(RELATIONS, facts)}
        draft.lineage = lineage.record("graph", {}, {})
    return artifact.read(root / "graph", "graph")


def _features(root, common, graph, people, train, state):
    with artifact.write(root / "features", "features") as draft:
        (draft.folder / "nodes").mkdir()
        matrix = np.lib.format.open_memmap(
            draft.folder / "nodes" / "person.npy", "w+", np.dtype(np.float32), (people, COLUMNS)
        )
        label = np.zeros(people, bool)
        for first in range(0, people, 50_000):
            part = matrix[first : first + 50_000]
            part[:] = state.standard_normal(part.shape, np.float32)
            label[first : first + 50_000] = part[:, :4].sum(axis=1) > 1
        fields = [Field(name=f"x{place}", kind="numeric") for place in range(COLUMNS)]
        degrees = [Field(name=f"degree.{name}", kind="numeric", scale="log") for name in RELATIONS]
        fitted = {
            "nodes": {"person": fit(fields, matrix[:1_000], "standard", 16)},
            "state": {"person": fit(degrees, state.integers(0, 50, (100, 2)).astype(np.float32), "log", 16)},
            "edges": {"knows": []},
        }
        del matrix
        part = np.where(
            np.arange(people) < train, "train", np.where(np.arange(people) < 2 * train, "validation", "test")
        )
        columns = {
            "node": np.arange(people, dtype=np.int32), "key": np.arange(people).astype(str),
            "time": np.full(people, common["as_of"]), "label": label, "known": np.zeros(people, np.int64),
            "degree": np.zeros(people, np.int32), "split_0": part,
        }  # fmt: skip
        pq.write_table(pa.table(columns), draft.folder / "examples.parquet")
        draft.manifest |= common | {
            "columns": {"person": [field.canonical() for field in fields]}, "edge_columns": {"knows": []}, "times": {},
            "structure": {"names": [], "moments": []}, "windows": [], "splits": 1,
            "transforms": [
                {name: {kind: [item.canonical() for item in items] for kind, items in types.items()}
                 for name, types in fitted.items()}
            ],
        }  # fmt: skip
        (draft.folder / "edges").mkdir()
        np.save(draft.folder / "edges" / "knows.npy", np.empty((common["as_of"], 0), np.float32))
        draft.lineage = lineage.record("features", {}, {"graph": graph})
