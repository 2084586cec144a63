"""Reading source files with the database, and telling what is wrong where it cannot."""

import csv
import zlib

import duckdb
import fsspec
import ibis

from graphmill.engine import Engine
from graphmill.engine.database import lacking, short
from graphmill.engine.files import ROW, Files
from graphmill.errors import UserError
from graphmill.ingest.contract import REASONS
from graphmill.ingest.sources import SUFFIXES, kind

DELIMITERS = ",;\t|"
UNREADABLE = (OSError, ValueError, EOFError, zlib.error, csv.Error)
"""What Python raises for a text file that is damaged, cut short, or not text; gzip's own errors are not OSErrors."""


def read(engine: Engine, table: str, files: list[str]) -> ibis.Table:
    """A table as it stands in its files, with row numbers as ``row__``; text files give text only.

    Raises:
        UserError: naming the file that cannot be read.
    """
    kinds = {kind(file) for file in files}
    if len(kinds) > 1 or "" in kinds:
        raise UserError(f"table {table!r}: its files must be of one kind: {', '.join(SUFFIXES)}; found {files[0]}, …")
    try:
        one = kinds.pop()
        delimiter = _delimiter(files) if one == "csv" else ","
        found = engine.open(Files(tuple(files), one, delimiter))
    except (duckdb.Error, OSError, UnicodeDecodeError) as error:
        raise broken(table, files, error) from None
    taken = [column for column in found.columns if column.lower() in (ROW, REASONS)]
    if taken:
        raise UserError(f"{files[0]}: column {taken[0]!r} has a name that ingest uses itself; rename it")
    # types that Ibis has no name for, such as times with zone and nanoseconds, or only nulls
    unnamed = {name: found[name].cast("string") for name in found.columns if found[name].type().is_unknown()}
    return found.mutate(**unnamed, **{ROW: ibis.row_number()})


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
    told = lacking(error, "ingest")
    if told:
        return UserError(f"table {table!r}: {told}")
    message = short(error)
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
