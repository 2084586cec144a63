"""Reading source files with the database, and telling what is wrong where it cannot."""

import csv
import re
import zlib
from typing import Any

import duckdb
import fsspec
import ibis
import ibis.expr.datatypes as dt

from graphmill.errors import UserError
from graphmill.ingest.contract import REASONS, ROW
from graphmill.ingest.sources import SUFFIXES, kind, literally

DELIMITERS = ",;\t|"
SHOWN = 500
"""Letters of the database's message that an error repeats."""
UNREADABLE = (OSError, ValueError, EOFError, zlib.error, csv.Error)
"""What Python raises for a text file that is damaged, cut short, or not text; gzip's own errors are not OSErrors."""


@ibis.udf.scalar.builtin(name="json_extract_string")
def _unquoted(value: dt.JSON, path: str) -> str:  # type: ignore[empty-body]
    """A JSON value as text, a text without its quotes."""


def read(connection: Any, table: str, files: list[str]) -> ibis.Table:
    """A table as it stands in its files, with row numbers as ``row__``; text files give text only.

    Raises:
        UserError: naming the file that cannot be read.
    """
    kinds = {kind(file) for file in files}
    if len(kinds) > 1 or "" in kinds:
        raise UserError(f"table {table!r}: its files must be of one kind: {', '.join(SUFFIXES)}; found {files[0]}, …")
    try:
        _register(connection, files)
        found = _read(connection, kinds.pop(), files)
    except (duckdb.Error, OSError, UnicodeDecodeError) as error:
        raise broken(table, files, error) from None
    taken = [column for column in found.columns if column.lower() in (ROW, REASONS)]
    if taken:
        raise UserError(f"{files[0]}: column {taken[0]!r} has a name that ingest uses itself; rename it")
    # types that Ibis has no name for, such as times with zone and nanoseconds, or only nulls
    unnamed = {name: found[name].cast("string") for name in found.columns if found[name].type().is_unknown()}
    return found.mutate(**unnamed, **{ROW: ibis.row_number()})


def _register(connection: Any, files: list[str]) -> None:
    for file in files:
        if "://" in file:
            system = fsspec.core.url_to_fs(file)[0]
            protocols = [system.protocol] if isinstance(system.protocol, str) else system.protocol
            if not set(protocols) & set(connection.con.list_filesystems()):
                connection.con.register_filesystem(system)


def _read(connection: Any, kind: str, files: list[str]) -> Any:
    names = [literally(file) for file in files]
    if kind == "parquet":
        return connection.read_parquet(names, union_by_name=True)
    if kind == "csv":
        # what the database would guess from the first rows is told: it would skip rows and guess quotes away
        told = {"skip": 0, "comment": "", "quote": '"', "escape": '"', "delim": _delimiter(files)}
        return connection.read_csv(names, all_varchar=True, header=True, union_by_name=True, **told)
    # each value as its own text, all rows looked at: a late odd value is one bad row, not an unreadable file
    found = connection.read_json(names, maximum_depth=1, sample_size=-1, union_by_name=True)
    values = {name: _unquoted(found[name].cast("json"), "$") for name in found.columns}
    return found.select(**values)


def _delimiter(files: list[str]) -> str:
    """What parts the names of the columns, in all files of a table."""
    found: dict[str, str] = {}
    for file in files:
        try:
            with fsspec.open(file, "rt", compression="infer", encoding="utf-8-sig", newline="") as stream:
                line = str(stream.readline())
            if not line.strip():
                raise UserError(f"{file}: is empty in its first line; a CSV file begins with the names of its columns")
            parts = {delimiter: len(next(csv.reader([line], delimiter=delimiter))) for delimiter in DELIMITERS}
        except UNREADABLE as error:
            raise _unreadable(file, error) from None
        found.setdefault(max(DELIMITERS, key=parts.__getitem__), file)
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise UserError(f"{second}: its delimiter is {other!r}, that of {first} is {one!r}; a table has one")
    return next(iter(found))


def broken(table: str, files: list[str], error: Exception) -> UserError:
    """What to tell when the database cannot read a table's files."""
    message = re.split(r"\s(?:LINE \d+:|Possible |Try )", " ".join(str(error).split()))[0][:SHOWN]
    if isinstance(error, duckdb.OutOfMemoryException):
        return UserError(f"table {table!r}: more memory or disk is needed; raise ingest.memory_limit ({message})")
    if "No space left" in message:
        return UserError(f"table {table!r}: the disk is full; make room and run it again ({message})")
    culprit = next((file for file in files if file in message), files[0])
    if isinstance(error, UnicodeError) or "not utf-8" in message:
        return UserError(f"{culprit}: cannot be read: not UTF-8; save it as UTF-8")
    if culprit.removesuffix(".gz").endswith(".csv"):
        for file in files:
            found = _ragged(file)
            if found:
                return found
    return UserError(f"{culprit}: cannot be read: {message}")


def _unreadable(file: str, error: Exception) -> UserError:
    if isinstance(error, UnicodeError):
        return UserError(f"{file}: cannot be read: not UTF-8; save it as UTF-8")
    return UserError(f"{file}: cannot be read: {error}")


def _ragged(file: str) -> UserError | None:
    """The first row of a CSV file whose values are more or fewer than its header's, or why it cannot be read."""
    try:
        with fsspec.open(file, "rt", compression="infer", encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, delimiter=_delimiter([file]))
            header = next(rows)
            for row in rows:
                if row and len(row) != len(header):
                    odd = f"line {rows.line_num} has {len(row)} values, its header {len(header)}"
                    return UserError(f"{file}: {odd}; quote values that hold the delimiter, and leave no value out")
    except csv.Error:
        return None  # Python's own limit on the length of a value; the database knows more
    except UNREADABLE as error:
        return _unreadable(file, error)
    return None
