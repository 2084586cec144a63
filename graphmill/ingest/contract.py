"""The data contract of one table: every value typed, and for every row the reasons why it is refused."""

from collections.abc import Iterable
from typing import Any

import ibis

from graphmill.clock import Clock
from graphmill.engine import Engine
from graphmill.engine.files import ROW
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.ingest.uses import TableUses, Use
from graphmill.schema import Schema

REASONS = "reasons__"
"""The column of reasons, by a name that no source may have."""

PER_SECOND = {"s": 1e6, "ms": 1e3, "us": 1.0}
TRUE = ["true", "t", "yes", "y", "1", "1.0"]
FALSE = ["false", "f", "no", "n", "0", "0.0"]
MISSING = ["", "nan"]
EPOCH = "1970-01-01"
FIRST, LAST = "0001-01-01", "9999-12-31 23:59:59.999999"
SHOWN = 60
"""Letters of a value that a reason quotes."""


def check_columns(table: Any, uses: TableUses, files: list[str]) -> None:
    """Refuse a table that lacks a column which schema or task names.

    Raises:
        UserError: naming file and column, with the columns there are.
    """
    known = [column for column in table.columns if column != ROW]
    for name in uses.columns:
        if name not in known:
            raise UserError(f"{files[0]}: table {uses.table!r} has no column {name!r}{nearest(name, known)}")


def judge(table: Any, uses: TableUses, schema: Schema, positive: str | None, lengths: dict[str, int]) -> Any:
    """The table's typed columns, its row numbers, and a list of reasons, empty where the row is sound.

    Each row is judged by itself: an engine may give this to its workers file by file. What asks for the whole
    table, the ``lengths`` of its vectors, was asked before.
    """
    columns, reasons = {}, []
    for use in uses.columns.values():
        value, wrong = _typed(table, use, schema, positive, lengths)
        columns[use.name] = value
        reasons += wrong
        if use.required:
            missing = ibis.and_(value.isnull(), *(reason.isnull() for reason in wrong))
            reasons.append(ibis.cases((missing, f"{use.name}: missing{' key' if use.kind == 'key' else ''}")))
    flat = ibis.array([ibis.null("string"), *reasons]).filter(lambda reason: reason.notnull())
    return table.select(ROW, **columns, **{REASONS: flat})


def _typed(
    table: Any, use: Use, schema: Schema, positive: str | None, lengths: dict[str, int]
) -> tuple[Any, list[Any]]:
    raw = table[use.name]
    if use.kind in ("key", "link", "text", "category"):
        value = as_text(raw)
        return value, list(_categories(value, use))
    if use.kind == "time":
        return _time(raw, use.name, schema)
    if use.kind == "numeric":
        return _number(raw, use)
    if use.kind == "vector":
        return _vector(raw, use.name, lengths[use.name])
    if use.kind == "label" and positive is not None:
        value = as_text(raw)
        # whatever it is that counts as true, what is missing is unlabelled, not false
        return ibis.cases((value == positive, True), (given(raw), False)), []
    return _boolean(raw, use.name)


def as_text(raw: Any) -> Any:
    """A value as text; whole numbers without a fraction, however they were stored."""
    text = raw.cast("string")
    if raw.type().is_floating():
        whole = (raw == raw.round(0)) & (raw.abs() < 2.0**63)
        return ibis.cases((raw.isnan(), ibis.null("string")), (whole, raw.try_cast("int64").cast("string")), else_=text)
    # an expression is looked for only where it could be: it costs more than all else that is asked of a text
    whole = text.re_replace(r"^(-?\d+)\.0+$", r"\1")
    return ibis.cases((text.endswith("0") & text.contains("."), whole), else_=text).nullif("")


def _wrong(name: str, raw: Any, condition: Any, what: str) -> Any:
    """A reason where the condition holds: ``amount: not a number ('abc')``."""
    return ibis.cases((condition, reason(name, what, raw)))


def reason(name: str, what: str, raw: Any) -> Any:
    """Column, what is wrong and the value, a long one cut short."""
    text = raw.cast("string")
    quoted = ibis.cases((text.length() > SHOWN, text.left(SHOWN) + ibis.literal("…")), else_=text)
    return ibis.literal(f"{name}: {what} ('") + quoted + ibis.literal("')")


def _categories(value: Any, use: Use) -> Iterable[Any]:
    for rules in use.rules:
        if rules.categories is not None:
            yield _wrong(use.name, value, value.notin(rules.categories), "not among the categories")


def _number(raw: Any, use: Use) -> tuple[Any, list[Any]]:
    number = raw.try_cast("float64")
    wrong = [_wrong(use.name, raw, number.isinf(), "infinite")]
    if not raw.type().is_numeric():
        wrong.append(_wrong(use.name, raw, given(raw) & number.isnull(), "not a number"))
    value = ibis.cases((number.isnan() | number.isinf(), ibis.null("float64")), else_=number)
    for rules in use.rules:
        if rules.minimum is not None:
            wrong.append(_wrong(use.name, raw, value < rules.minimum, f"below the minimum {rules.minimum:g}"))
        if rules.maximum is not None:
            wrong.append(_wrong(use.name, raw, value > rules.maximum, f"above the maximum {rules.maximum:g}"))
    return value, wrong


def given(raw: Any) -> Any:
    """Whether there is a value at all: neither missing, nor blank, nor NaN."""
    return (raw.cast("string").lower().strip().notin(MISSING)).fill_null(False)


def _time(raw: Any, name: str, schema: Schema) -> tuple[Any, list[Any]]:
    clock: Clock = schema.time
    kind = raw.type()
    if clock == "step":
        number = raw.try_cast("float64")
        step = ibis.cases((number == number.round(0), (raw if kind.is_integer() else number).try_cast("int64")))
        return step, [_wrong(name, raw, given(raw) & step.isnull(), "not a whole step")]
    if kind.is_timestamp() or kind.is_date():
        value = raw.cast("timestamp(6)")
    else:
        value = _since_epoch(raw.try_cast("float64") * PER_SECOND[schema.time_unit])
    if kind.is_string():
        # with a zone the text is converted to UTC; without one it is UTC
        value = ibis.coalesce(value, raw.try_cast("timestamp('UTC')").cast("timestamp(6)"))
    value = ibis.cases((value.between(ibis.timestamp(FIRST), ibis.timestamp(LAST)), value))
    return value, [_wrong(name, raw, given(raw) & value.isnull(), "not a time")]


def _since_epoch(micros: Any) -> Any:
    usable = ibis.cases((micros.abs() < 9e18, micros))
    return (ibis.timestamp(EPOCH) + usable.round().cast("int64").as_interval("us")).cast("timestamp(6)")


def _boolean(raw: Any, name: str) -> tuple[Any, list[Any]]:
    if raw.type().is_boolean():
        return raw, []
    text = raw.cast("string").lower().strip()
    value = ibis.cases((text.isin(TRUE), True), (text.isin(FALSE), False))
    return value, [_wrong(name, raw, given(raw) & value.isnull(), "neither true nor false")]


def usual_lengths(engine: Engine, table: Any, uses: TableUses, place: int) -> dict[str, int]:
    """The length that most vectors of a column have, the longer one of two equally frequent.

    Raises:
        UserError: for a column of vectors without any.
    """
    found: dict[str, int] = {}
    for number, use in enumerate(item for item in uses.columns.values() if item.kind == "vector"):
        lengths = table.select(length=_as_vector(table[use.name]).length()).filter(ibis._.length > 0)
        parts = engine.scan(f"lengths_{place}_{number}", lengths.group_by("length").agg(rows=ibis._.count()))
        counted = parts.group_by("length").agg(rows=parts.rows.sum()).order_by(ibis.desc("rows"), ibis.desc("length"))
        usual = engine.arrow(counted.limit(1)).to_pylist()
        if not usual:
            raise UserError(f"table {uses.table!r}: column {use.name!r} holds no list of numbers such as [0.5, 1.0]")
        found[use.name] = int(usual[0]["length"])
    return found


def _as_vector(raw: Any) -> Any:
    return raw.try_cast("array<float64>")


def fits_label(value: Any, positive: str | None) -> Any:
    """Whether the text of a label is the one that counts as true or, where none is named, true, false or missing."""
    return value == positive if positive is not None else value.lower().strip().isin([*TRUE, *FALSE, *MISSING])


def _vector(raw: Any, name: str, expected: int) -> tuple[Any, list[Any]]:
    value = _as_vector(raw)
    odd = value.filter(lambda item: item.isnull() | item.isnan() | item.isinf()).length() > 0
    return value, [
        _wrong(name, raw, given(raw) & value.isnull(), "not a list of numbers"),
        _wrong(name, raw, value.length() != expected, f"not of length {expected}, as most are"),
        _wrong(name, raw, odd, "holds what is not a finite number"),
    ]
