"""Where the tables come from: files, globs, URLs, or a DVC repository at a revision."""

import glob
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from graphmill.artifact import file_digest
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.ingest.params import Params

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")


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
    with tempfile.TemporaryDirectory(prefix="graphmill-data-") as scratch:
        target = Path(scratch, "data")
        _fetch(data, target, params)
        yield target


def _fetch(data: Path, target: Path, params: Params) -> None:
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

    name = data.name if data.is_absolute() else data.as_posix()
    place = params.repository or "this repository"
    try:
        root = Path(params.repository or Repo.find_root()).resolve()
        if data.resolve().is_relative_to(root):
            name = data.resolve().relative_to(root).as_posix()
        system = DVCFileSystem(url=params.repository, rev=params.revision)
        if not system.isdir(name):
            raise UserError(f"{name}: no such folder at revision {params.revision!r} of {place}")
        system.get(name, str(target), recursive=True)
    except UserError:
        raise
    except Exception as error:  # dvc's errors have no common base that it exports
        raise UserError(f"{name} at revision {params.revision!r} of {place}: {error}") from None


def find(table: str, data: Path, params: Params) -> list[str]:
    """The files of a table, sorted; URLs as they are given.

    Raises:
        UserError: with what was looked for and what is there.
    """
    source = params.sources.get(table)
    if source is not None:
        patterns = [source, *(f"{source.rstrip('/')}/*{end}" for end in SUFFIXES)]
    else:
        name = glob.escape(table)
        patterns = [f"{name}{end}" for end in SUFFIXES] + [f"{name}/*{end}" for end in SUFFIXES]
    for pattern in patterns:
        files = _remote(table, pattern) if "://" in pattern else _local(table, pattern, data)
        if files:
            return files
    there = dict.fromkeys(item.name.split(".")[0] for item in sorted(data.iterdir()) if not item.name.startswith("."))
    looked = source or f"{table}.parquet, .csv, .csv.gz, .json, .jsonl or a folder {table}/"
    raise UserError(f"table {table!r}: no file {looked} in {data}; name it in ingest.sources{nearest(table, there)}")


def _local(table: str, pattern: str, data: Path) -> list[str]:
    absolute = Path(pattern).is_absolute()
    base = Path(Path(pattern).anchor) if absolute else data
    if (data / pattern).is_file():
        return [str(data / pattern)]  # a path as it stands, though letters of it could be a pattern
    try:
        found = sorted(base.glob(str(Path(pattern).relative_to(base)) if absolute else pattern))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"ingest.sources.{table}: {pattern!r}: {error}") from None
    return [str(file) for file in found if file.is_file()]


def _remote(table: str, source: str) -> list[str]:
    try:
        system, path = fsspec.core.url_to_fs(source)
        found = sorted(system.glob(path)) if "*" in source else [path] * system.isfile(path)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"table {table!r}: {source}: {error}") from None
    return [system.unstrip_protocol(item) for item in found]


def literally(file: str | Path) -> str:
    """A path as the database must hear it to take no letter of it for a pattern."""
    return str(file) if "://" in str(file) else glob.escape(str(file))


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
