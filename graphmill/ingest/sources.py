"""Where the tables come from: files, globs, URLs, or a DVC repository at a revision."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import ibis

from graphmill.artifact import file_digest
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.ingest.params import Params

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".json", ".jsonl", ".ndjson")


@contextmanager
def folder(data: Path, params: Params) -> Iterator[Path]:
    """The data folder, or a copy of what it was at a revision, which is removed afterwards.

    Raises:
        UserError: when there is no such folder or revision.
    """
    if params.revision is None:
        if not data.is_dir():
            raise UserError(f"{data}: no such data folder; `dvc pull data.dvc` fetches the sample's")
        yield data
        return
    from dvc.api import DVCFileSystem

    with tempfile.TemporaryDirectory(prefix="graphmill-data-") as scratch:
        target = Path(scratch, "data")
        name = data.name if data.is_absolute() else data.as_posix()
        try:
            system = DVCFileSystem(url=params.repository, rev=params.revision)
            system.get(name, str(target), recursive=True)
        except Exception as error:  # dvc's errors have no common base that it exports
            place = params.repository or "this repository"
            raise UserError(f"{name} at revision {params.revision!r} of {place}: {error}") from None
        yield target


def find(table: str, data: Path, params: Params) -> list[str]:
    """The files of a table, sorted; URLs as they are given.

    Raises:
        UserError: with what was looked for and what is there.
    """
    source = params.sources.get(table)
    if source is not None and "://" in source:
        return _remote(table, source)
    patterns = [source] if source else [f"{table}{end}" for end in SUFFIXES] + [f"{table}/*{end}" for end in SUFFIXES]
    for pattern in patterns:
        absolute = Path(pattern).is_absolute()
        base = Path(Path(pattern).anchor) if absolute else data
        found = sorted(base.glob(str(Path(pattern).relative_to(base)) if absolute else pattern))
        files = [str(file) for file in found if file.is_file()]
        if files:
            return files
    there = sorted(item.name for item in data.iterdir() if not item.name.startswith("."))
    close = nearest(table, [name.split(".")[0] for name in there])
    looked = source or f"{table}.parquet, .csv, .csv.gz, .json, .jsonl or a folder {table}/"
    raise UserError(
        f"table {table!r}: no file {looked} in {data} (there: {', '.join(there[:20]) or 'nothing'}){close}; "
        "name it in ingest.sources"
    )


def _remote(table: str, source: str) -> list[str]:
    try:
        system, path = fsspec.core.url_to_fs(source)
        found = sorted(system.glob(path)) if "*" in source else [path] * system.exists(path)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"table {table!r}: {source}: {error}") from None
    if not found:
        raise UserError(f"table {table!r}: nothing at {source}; mend ingest.sources")
    return [system.unstrip_protocol(item) for item in found]


def read(connection: Any, table: str, files: list[str]) -> ibis.Table:
    """A table as it stands in its files, with its row number as ``row``; text files give text only.

    Raises:
        UserError: naming the file that cannot be read.
    """
    for file in files:
        if "://" in file:
            connection.con.register_filesystem(fsspec.core.url_to_fs(file)[0])
            break
    name = files[0].removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            found = connection.read_parquet(files)
        elif name.endswith(".csv"):
            found = connection.read_csv(files, all_varchar=True, header=True, union_by_name=True)
        else:
            found = connection.read_json(files)
    except (duckdb.Error, OSError) as error:
        raise broken(table, files, error) from None
    if "row" in found.columns:
        found = found.rename(row_="row")
    return found.mutate(row=ibis.row_number())


def broken(table: str, files: list[str], error: Exception) -> UserError:
    """What to tell when the database cannot read a table's files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    culprit = next((file for file in files if file in str(error)), files[0])
    said = lines[0] if lines else type(error).__name__
    if "No space left" in str(error):
        return UserError(f"table {table!r}: the disk is full ({said}); free some space or move TMPDIR")
    text = " ".join(lines)
    if "utf-8" in text.lower() or "unicode" in text.lower():
        said = "not UTF-8; save it as UTF-8"
    return UserError(f"{culprit}: cannot be read: {said}")


def digest(files: dict[str, list[str]]) -> str:
    """One digest of all source files: table, file name and content."""
    total = hashlib.sha256()
    for table in sorted(files):
        for file in files[table]:
            content = file_digest(Path(file)) if "://" not in file else _remote_digest(file)
            total.update(f"{table}/{Path(file).name}:{content}\n".encode())
    return total.hexdigest()


def _remote_digest(file: str) -> str:
    with fsspec.open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
