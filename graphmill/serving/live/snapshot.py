"""Writing the live graph as a snapshot: the same folders that the stages write, and what only the live graph knows."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit
from numpy.typing import NDArray

from graphmill import artifact, lineage
from graphmill.errors import UserError
from graphmill.features.raw import LABEL_ARRAYS
from graphmill.graph.adjacency import Adjacency, save
from graphmill.serving.live.rows import Rows
from graphmill.serving.live.store import Live

KIND = "live"


class Origin(NamedTuple):
    """Where a compacted snapshot comes from."""

    base: str
    """Version of the snapshot that the stages wrote."""
    offset: int
    """Events of the log that it holds: all before this offset."""
    newest: int
    """Newest moment of an event that it holds."""


def version(folder: str | Path) -> str:
    """What names a snapshot's content: the digest of its manifests, 16 digits.

    Raises:
        UserError: when there is none.
    """
    digests = []
    for kind in ("graph", "features"):
        file = Path(folder) / kind / f"{kind}.json"
        try:
            digests.append(artifact.file_digest(file))
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror}; --graph is the folder above graph/") from None
    return artifact.digest_of(" ".join(digests).encode())[:16]


def origin(folder: str | Path) -> Origin | None:
    """Where a compacted snapshot comes from; None for one that the stages wrote.

    Raises:
        UserError: when it is altered.
    """
    if not (Path(folder) / KIND).exists():
        return None
    manifest = artifact.read(Path(folder) / KIND, KIND).manifest
    return Origin(manifest["base"], manifest["offset"], manifest["newest"])


def open(folder: str | Path, nodes: int, edges: int) -> Live:
    """Open a snapshot of either kind.

    Args:
        folder: the snapshot.
        nodes: room for new nodes of each type.
        edges: room for new edges of each relation.

    Raises:
        UserError: when a file is missing or altered, by its name.
    """
    live = Live.open(folder, nodes, edges)
    if (Path(folder) / KIND).exists():
        found = artifact.read(Path(folder) / KIND, KIND)
        label = np.load(found.path / "label.npy")
        live.label[: len(label)], live.label_known[: len(label)] = label, np.load(found.path / "label_known.npy")
        for node, places in json.loads((found.path / "mentioned.json").read_bytes()).items():
            live.mentioned[node].update(places)
    return live


def write(live: Live, came: Origin, folder: Path) -> None:
    """Write a snapshot: it appears under its name when it is whole.

    Raises:
        UserError: when it cannot be written.
    """
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    as_of = max(live.graph.as_of, came.newest + 1)
    told = {"base": came.base, "offset": came.offset}
    with artifact.write(partial / "graph", "graph") as draft:
        _graph(live, draft, as_of)
        draft.lineage = lineage.record("compact", {"compact": told}, {"graph": live.graph.artifact})
    with artifact.write(partial / "features", "features") as draft:
        _features(live, draft, as_of)
        inputs = {"graph": artifact.read(partial / "graph", "graph")}
        draft.lineage = lineage.record("compact", {"compact": told}, inputs)
    with artifact.write(partial / KIND, KIND) as draft:
        count = live.count(live.graph.task.node)
        np.save(draft.folder / "label.npy", live.label[:count])
        np.save(draft.folder / "label_known.npy", live.label_known[:count])
        mentioned = {node: sorted(places) for node, places in live.mentioned.items()}
        (draft.folder / "mentioned.json").write_text(artifact.to_json(mentioned), encoding="utf-8")
        draft.manifest |= came._asdict()
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _graph(live: Live, draft: artifact.Draft, as_of: int) -> None:
    graph, folder = live.graph, draft.folder
    (folder / "nodes").mkdir()
    for node in graph.nodes:
        table = pa.table({"key": pa.array(live.names[node], pa.string()), "time": live.time(node)[: live.count(node)]})
        pq.write_table(table, folder / "nodes" / f"{node}.parquet", compression="zstd")
    relations: dict[str, Any] = {}
    for name, facts in graph.artifact.manifest["relations"].items():
        rows, base = live.rows[name], graph.relations[name]
        indptr, places = flat(rows.first, rows.last, live.count(base.target))
        time = rows.time[places] if base.time is not None else None
        save(
            Adjacency(base.source, base.target, indptr, rows.indices[places], rows.edge_id[places], time), folder / name
        )
        relations[name] = facts | {"edges": len(places)}
    kept = {key: value for key, value in graph.artifact.manifest.items() if key not in ("kind", "format", "files")}
    draft.manifest |= kept | {
        "nodes": {node: live.count(node) for node in graph.nodes},
        "relations": relations,
        "as_of": as_of,
    }


def _features(live: Live, draft: artifact.Draft, as_of: int) -> None:
    features, folder = live.features, draft.folder
    counts = {f"{kind}/{node}": live.count(node) for node in live.graph.nodes for kind in ("nodes", "times")}
    counts |= {f"edges/{edge}": count for edge, count in live.edges.items()}
    for part in ("nodes", "times", "edges", "windows", "structure"):
        (folder / part).mkdir()
    for name, array in features.arrays.items():
        if name in counts:
            np.save(folder / f"{name}.npy", array[: counts[name]])
    for name, window in live.windows.items():
        if window.columns:
            rows = live.rows[name]
            places = flat(rows.first, rows.last, live.count(live.relations[name].target))[1]
            np.save(folder / "windows" / f"{name}.values.npy", rows.values[places])
            np.save(folder / "windows" / f"{name}.prefix.npy", rows.prefix[places])
    for name, rows in features.labels.items():
        _labels(rows, live.count(live.relations[name].target), folder / "windows" / f"{name}.label")
    for file in sorted((features.artifact.path / "structure").glob("*.npy")):
        values = np.load(file)
        later = live.count(file.stem) - values.shape[1]
        np.save(folder / "structure" / file.name, np.pad(values, ((0, 0), (0, later), (0, 0))))
    shutil.copyfile(features.artifact.path / "examples.parquet", folder / "examples.parquet")
    kept = {key: value for key, value in features.manifest.items() if key not in ("kind", "format", "files")}
    draft.manifest |= kept | {"as_of": as_of}


def _labels(rows: Rows, targets: int, file: Path) -> None:
    indptr, places = flat(rows.first, rows.last, targets)
    arrays: list[Any] = [indptr, rows.time[places], rows.values[places], rows.prefix[places]]
    for name, array in zip(LABEL_ARRAYS, arrays, strict=True):
        np.save(file.parent / f"{file.name}.{name}.npy", array)


def flat(first: Any, last: Any, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows one behind the other: int64 ``[count + 1]`` where each begins, and the positions of all edges."""
    indptr = np.concatenate([[0], np.cumsum(last[:count] - first[:count])])
    return indptr, _positions(first[:count], indptr)


@njit(cache=True)
def _positions(first: Any, indptr: Any) -> Any:
    places = np.empty(indptr[-1], np.int64)
    for row in range(len(first)):
        for edge in range(indptr[row + 1] - indptr[row]):
            places[indptr[row] + edge] = first[row] + edge
    return places
