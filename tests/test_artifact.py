"""Artifacts appear whole or not at all, and an altered one is refused by name."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.features.columns import Field, write_matrix


def make(path, text="one", lineage=None):
    with artifact.write(path, "graph") as draft:
        (draft.folder / "nodes").mkdir()
        (draft.folder / "nodes" / "user.txt").write_text(text)
        (draft.folder / "edges.bin").write_bytes(b"\x00\x01")
        draft.manifest = {"nodes": {"user": 1}, "as_of": 3}
        draft.lineage = lineage
    return artifact.read(path, "graph")


def refused(path, message):
    with pytest.raises(UserError, match=message):
        artifact.read(path, "graph")


def test_write_and_read(tmp_path):
    found = make(tmp_path / "deep" / "graph", lineage={"stage": "graph"})
    assert found.manifest["nodes"] == {"user": 1} and found.lineage["stage"] == "graph"
    assert sorted(found.manifest["files"]) == ["edges.bin", "nodes/user.txt"]
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["graph"]


def test_equal_content_has_equal_bytes(tmp_path):
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert (first.path / "graph.json").read_bytes() == (second.path / "graph.json").read_bytes()
    assert first.digest == second.digest != make(tmp_path / "c", "two").digest
    assert artifact.to_json({"b": 1, "a": {"d": "ü", "c": 0.1}}) == (
        '{\n "a": {\n  "c": 0.1,\n  "d": "ü"\n },\n "b": 1\n}\n'
    )
    with pytest.raises(ValueError, match="JSON compliant"):
        artifact.to_json({"a": float("nan")})


@pytest.mark.parametrize("error", [ValueError("broken"), UserError("wrong"), KeyboardInterrupt()])
def test_the_old_artifact_survives_a_failed_writer(tmp_path, error):
    before = make(tmp_path / "graph")
    with pytest.raises(type(error)), artifact.write(tmp_path / "graph", "graph") as draft:
        (draft.folder / "half.txt").write_text("half")
        raise error
    assert [item.name for item in tmp_path.iterdir()] == ["graph"]
    assert artifact.read(tmp_path / "graph", "graph").digest == before.digest


def test_a_new_artifact_replaces_the_old_one_whole(tmp_path):
    make(tmp_path / "graph")
    with artifact.write(tmp_path / "graph", "graph") as draft:
        (draft.folder / "only.txt").write_text("new")
    assert list(artifact.read(tmp_path / "graph", "graph").manifest["files"]) == ["only.txt"]
    assert [item.name for item in tmp_path.iterdir()] == ["graph"]


KILLED = """
import os, signal, sys
from graphmill import artifact
if sys.argv[2] == "between":
    rename = os.rename
    os.rename = lambda a, b: (rename(a, b), os.kill(os.getpid(), signal.SIGKILL))
with artifact.write(sys.argv[1], "graph") as draft:
    (draft.folder / "half.txt").write_text("half")
    if sys.argv[2] == "inside":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("place", ["inside", "between"])
def test_a_killed_writer_leaves_nothing_that_the_rerun_trips_over(tmp_path, place):
    before = make(tmp_path / "graph")
    root = str(Path(artifact.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "graph", place], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    if place == "inside":
        assert artifact.read(tmp_path / "graph", "graph").digest == before.digest
    else:
        refused(tmp_path / "graph", "no graph here")
    assert make(tmp_path / "graph", "two").manifest["nodes"] == {"user": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["graph"]


def test_what_is_altered_is_named(tmp_path):
    folder = make(tmp_path / "graph").path
    (folder / "edges.bin").write_bytes(b"\x00\x02")
    refused(folder, "edges.bin: altered since it was written .*run the stage that writes 'graph' again")
    (folder / "edges.bin").unlink()
    refused(folder, "edges.bin: missing; run")
    (folder / "edges.bin").write_bytes(b"\x00\x01")
    (folder / "nodes" / "more.txt").write_text("")
    refused(folder, "nodes/more.txt: not in the manifest")
    (folder / "nodes" / "more.txt").unlink()
    artifact.read(folder, "graph")


def test_a_damaged_manifest(tmp_path):
    folder = make(tmp_path / "graph").path
    whole = (folder / "graph.json").read_text()
    for content in ("", whole[:50], "[1]", "3", "{}", '{"format": 1}', '{"format": 1, "files": 3}', "\udcff"):
        (folder / "graph.json").write_text(content, errors="surrogateescape")
        refused(folder, "graph.json: damaged; run")
    (folder / "graph.json").write_text(json.dumps({"format": 7}))
    refused(folder, "graph.json: format 7, this version reads 1; run")
    (folder / "graph.json").unlink()
    refused(folder, r"graph: no graph here \(graph.json is missing\)")
    refused(folder / "edges.bin", "no graph here")
    refused(tmp_path / "nowhere", "no graph here")
    refused(make(tmp_path / "other").path / ".." / "other" / "nodes", "no graph here")


def test_an_altered_lineage(tmp_path):
    folder = make(tmp_path / "graph", lineage={"stage": "graph"}).path
    file = folder / "lineage.json"
    file.write_text(file.read_text().replace('"graph"', '"train"'))
    refused(folder, "lineage.json: altered since it was written")
    make(tmp_path / "graph", "two", {"stage": "graph"})
    (folder / "graph.json").write_text((folder / "graph.json").read_text().replace('"as_of": 3', '"as_of": 4'))
    refused(folder, "graph.json: altered since it was written, or lineage.json beside it is another's")


@pytest.fixture
def full_disk(tmp_path):
    """A disk of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def plain_file(folder):
    (folder / "big.bin").write_bytes(bytes(200_000))


def array(folder):
    np.save(folder / "big.npy", np.ones(50_000))


def table(folder):
    values = np.random.default_rng(0).random(50_000)
    pq.write_table(pa.table({"x": values}), folder / "big.parquet")


def matrix(folder):
    pq.write_table(pa.table({"x": np.ones(50_000)}), folder.parent.parent / "source.parquet")
    write_matrix(folder.parent.parent / "source.parquet", [Field(name="x", kind="numeric")], 50_000, folder / "x.npy")


def weights(folder):
    save_file({"x": np.ones(50_000)}, folder / "weights.safetensors")


def database(folder):
    duckdb.sql(f"COPY (SELECT random() AS x FROM range(100000)) TO '{folder}/x.parquet'")


@pytest.mark.parametrize("writer", [plain_file, array, table, matrix, weights, database])
def test_a_full_disk(full_disk, writer):
    before = make(full_disk / "graph")
    with (
        pytest.raises(UserError, match="graph: cannot be written: .*(No space left on device|is the disk full)"),
        artifact.write(full_disk / "graph", "graph") as draft,
    ):
        writer(draft.folder)
    assert [item.name for item in full_disk.iterdir()] == ["graph"]
    assert artifact.read(full_disk / "graph", "graph").digest == before.digest


def test_a_disk_that_fills_up_at_the_manifest(tmp_path, monkeypatch):
    before = make(tmp_path / "graph")
    real = Path.write_text

    def full(self, *given, **named):
        if self.name == "graph.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, *given, **named)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="No space left on device .*graph.json.; make room and run it again"):
        make(tmp_path / "graph", "two")
    assert artifact.read(tmp_path / "graph", "graph").digest == before.digest
    assert [item.name for item in tmp_path.iterdir()] == ["graph"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/graph: cannot be written"):
        make(tmp_path / "file" / "graph")


def test_write_text_replaces_at_once(tmp_path):
    artifact.write_text(tmp_path / "a.txt", "one")
    artifact.write_text(tmp_path / "a.txt", "two")
    assert (tmp_path / "a.txt").read_text() == "two" and len(list(tmp_path.iterdir())) == 1


def test_a_second_writer_is_refused_and_the_first_finishes(tmp_path):
    with artifact.write(tmp_path / "graph", "graph") as draft:
        (draft.folder / "a.txt").write_text("first")
        with pytest.raises(UserError, match="another run is writing it"):
            with artifact.write(tmp_path / "graph", "graph"):
                raise AssertionError("never reached")
    assert (artifact.read(tmp_path / "graph", "graph").path / "a.txt").read_text() == "first"
    assert [item.name for item in tmp_path.iterdir()] == ["graph"]


def test_whoever_may_read_the_folder_may_read_the_files(tmp_path):
    with artifact.write(tmp_path / "model", "model") as draft:
        save_file({"weight": np.zeros(3, np.float32)}, draft.folder / "weights.safetensors")
        (draft.folder / "weights.safetensors").chmod(0o600)
    assert (tmp_path / "model" / "weights.safetensors").stat().st_mode & 0o777 == 0o644
