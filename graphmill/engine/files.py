"""Opening source files with DuckDB: what a person reads at home and a Spark worker reads far away is the same."""

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import ibis
import ibis.expr.datatypes as dt

ROW = "row__"
"""The column of row numbers, by a name that no source may have."""


@dataclass(frozen=True)
class Files:
    """The files of one table."""

    names: tuple[str, ...]
    kind: str
    """``parquet``, ``csv`` or a kind of JSON."""
    delimiter: str = ","
    """What parts the values of a CSV file."""


@ibis.udf.scalar.builtin(name="json_extract_string")
def _unquoted(value: dt.JSON, path: str) -> str:  # type: ignore[empty-body]
    """A JSON value as text, a text without its quotes."""


def register(connection: Any, names: tuple[str, ...]) -> None:
    """Let the database read URLs by the file systems of fsspec."""
    for file in names:
        if "://" in file:
            system = fsspec.core.url_to_fs(file)[0]
            protocols = [system.protocol] if isinstance(system.protocol, str) else system.protocol
            if not set(protocols) & set(connection.con.list_filesystems()):
                connection.con.register_filesystem(system)


def opened(connection: Any, files: Files) -> Any:
    """The rows of all files, columns by name; text files give text only."""
    register(connection, files.names)
    names = [literally(file) for file in files.names]
    if files.kind == "parquet":
        return connection.read_parquet(names, union_by_name=True)
    if files.kind == "csv":
        # what the database would guess from the first rows is told: it would skip rows and guess quotes away
        told = {"skip": 0, "comment": "", "quote": '"', "escape": '"', "delim": files.delimiter}
        return connection.read_csv(names, all_varchar=True, header=True, union_by_name=True, **told)
    # each value as its own text, all rows looked at: a late odd value is one bad row, not an unreadable file
    found = connection.read_json(names, maximum_depth=1, sample_size=-1, union_by_name=True)
    values = {name: _unquoted(found[name].cast("json"), "$") for name in found.columns}
    return found.select(**values)


def literally(file: str | Path) -> str:
    """A path as the database must hear it to take no letter of it for a pattern."""
    return str(file) if "://" in str(file) else glob.escape(str(file))
