"""Where the tables come from: files, folders, globs and URLs."""

import hashlib
from pathlib import Path
from typing import Any

import fsspec

from graphmill.artifact import file_digest
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.ingest.params import Params

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
HIDDEN = (".", "_")
"""How names begin that no table has: what Spark and editors leave beside the data."""


def find(table: str, data: Path, params: Params) -> list[str]:
    """The files of a table, sorted; URLs as they are given.

    Raises:
        UserError: with what was looked for and what is there; where there is more than one, with all of them.
    """
    source = params.sources.get(table)
    if source is not None:
        files = _remote(table, source) if "://" in source else _local(table, source, data)
    else:
        found = {place: _at(table, data / place) for place in (table, *(table + end for end in SUFFIXES))}
        found = {place: files for place, files in found.items() if files}
        if len(found) > 1:
            told = " and ".join(f"{place}/" if (data / place).is_dir() else place for place in found)
            advice = f"{{{table}: {list(found)[-1]}}}"
            raise UserError(f"table {table!r}: found {told} in {data}; say which in ingest.sources, as {advice}")
        files = next(iter(found.values()), [])
    if files:
        return files
    there = dict.fromkeys(item.name.split(".")[0] for item in sorted(data.iterdir()) if not item.name.startswith("."))
    looked = source or f"{table}.parquet, .csv, .csv.gz, .json, .jsonl or a folder {table}/"
    raise UserError(f"table {table!r}: no file {looked} in {data}; name it in ingest.sources{nearest(table, there)}")


def kind(file: str) -> str:
    """The kind of a file, packed or not: ``parquet``, ``csv``, ``json`` …; empty for what is no table."""
    return file.removesuffix(".gz").rpartition(".")[2] if file.endswith(SUFFIXES) else ""


def _at(table: str, place: Path) -> list[str]:
    """A file, or the files of a folder that holds tables; nothing where neither is there."""
    if place.is_file():
        return [str(place)]
    return _whole(table, str(place), sorted(map(str, place.iterdir()))) if place.is_dir() else []


def _whole(table: str, folder: str, items: list[str]) -> list[str]:
    """The items of a folder, hidden ones left out: all of them are the table, or none is.

    Raises:
        UserError: when some items would be read and others passed over.
    """
    seen = [item for item in items if not _name(item).startswith(HIDDEN)]
    kinds = sorted({kind(item) for item in seen})
    if not any(kinds):
        return []
    if len(kinds) > 1:
        told = ", ".join(next(_name(item) for item in seen if kind(item) == one) for one in kinds)
        wanted = f"{_name(folder)}/*.{kinds[-1]}"
        raise UserError(
            f"table {table!r}: the folder {folder} holds {told}: files of one kind are a table, and none may be "
            f"passed over; say which in ingest.sources, as {{{table}: {wanted}}}"
        )
    return seen


def _name(item: str) -> str:
    return item.rstrip("/").rpartition("/")[2]


def _shown(pattern: str, found: list[str]) -> list[str]:
    """What a pattern found, hidden files left out unless it names them."""
    return [item for item in found if _name(pattern).startswith(HIDDEN) or not _name(item).startswith(HIDDEN)]


def _local(table: str, source: str, data: Path) -> list[str]:
    found = _at(table, data / source)  # a path as it stands, though letters of it could be a pattern
    if found:
        return found
    absolute = Path(source).is_absolute()
    base = Path(Path(source).anchor) if absolute else data
    try:
        globbed = sorted(base.glob(str(Path(source).relative_to(base)) if absolute else source))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"ingest.sources.{table}: {source!r}: {error}") from None
    return _shown(source, [str(file) for file in globbed if file.is_file()])


def _remote(table: str, source: str) -> list[str]:
    try:
        system, path = fsspec.core.url_to_fs(source)
        found = _listed(table, system, path)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"table {table!r}: {source}: {error}") from None
    return [system.unstrip_protocol(item) for item in found]


def _listed(table: str, system: Any, path: str) -> list[str]:
    if "*" in path:
        return _shown(path, sorted(system.glob(path)))
    if system.isfile(path):
        return [path]
    return _whole(table, path, sorted(system.ls(path, detail=False))) if system.isdir(path) else []


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
