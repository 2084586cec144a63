"""The data contract of one table: every value typed, and for every row the reasons why it is refused."""

from typing import Any

import ibis

from graphmill.clock import Clock
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.ingest.uses import TableUses, Use
from graphmill.schema import Schema

PER_SECOND = {"s": 1e6, "ms": 1e3, "us": 1.0}
TRUE = ["true", "t", "yes", "y", "1", "1.0"]
FALSE = ["false", "f", "no", "n", "0", "0.0"]
EPOCH = "1970-01-01"


def check_columns(table: Any, uses: TableUses, files: list[str]) -> None:
    """Refuse a table that lacks a column which schema or task names.

    Raises:
        UserError: naming file and column, with the columns there are.
    """
    for name in uses.columns:
        if name not in table.columns:
            known = [column for column in table.columns if column != "row"]
            hint = nearest(name, known) or ""
            raise UserError(
                f"{files[0]}: table {uses.table!r} has no column {name!r}{hint} (its columns: {', '.join(known)})"
            )


def judge(table: Any, uses: TableUses, schema: Schema, positive: str | None) -> Any:
    """The table's typed columns, ``row``, and ``reasons``: a list of text, empty where the row is sound."""
    columns, reasons = {}, []
    for use in uses.columns.values():
        value, wrong = _typed(table, use, schema, positive)
        columns[use.name] = value
        reasons += wrong
        if use.required:
            missing = "missing key" if use.kind == "key" else "missing"
            reasons.append(ibis.cases((table[use.name].isnull(), f"{use.name}: {missing}")))
    flat = ibis.array([ibis.literal(None, "string"), *reasons]).filter(lambda reason: reason.notnull())
    return table.select(row=table["row"], **columns, reasons__=flat)


def _typed(table: Any, use: Use, schema: Schema, positive: str | None) -> tuple[Any, list[Any]]:
    raw = table[use.name]
    if use.kind in ("key", "link", "text", "category"):
        value = as_text(raw)
        return value, _categories(value, use)
    if use.kind == "time":
        return _time(raw, use.name, schema)
    if use.kind == "numeric":
        return _number(raw, use)
    if use.kind == "vector":
        return _vector(table, raw, use.name)
    if use.kind == "label" and positive is not None:
        return as_text(raw) == positive, []
    return _boolean(raw, use.name)


def as_text(raw: Any) -> Any:
    """A value as text; whole numbers without a fraction, however they were stored."""
    return raw.cast("string").re_replace(r"^(-?\d+)\.0+$", r"\1").nullif("")


def _wrong(name: str, raw: Any, condition: Any, what: str) -> Any:
    """A reason that quotes the value: ``amount: not a number ('abc')``."""
    return ibis.cases((condition, ibis.literal(f"{name}: {what} ('") + raw.cast("string") + ibis.literal("')")))


def _categories(value: Any, use: Use) -> list[Any]:
    if use.rules is None or use.rules.categories is None:
        return []
    return [_wrong(use.name, value, value.notnull() & value.notin(use.rules.categories), "not among the categories")]


def _number(raw: Any, use: Use) -> tuple[Any, list[Any]]:
    number = raw.try_cast("float64")
    wrong = [
        _wrong(use.name, raw, _given(raw) & number.isnull(), "not a number"),
        _wrong(use.name, raw, number.isinf(), "infinite"),
    ]
    value = ibis.cases((number.isnan() | number.isinf(), ibis.null("float64")), else_=number)
    rules = use.rules
    if rules is not None and rules.minimum is not None:
        wrong.append(_wrong(use.name, raw, value < rules.minimum, f"below the minimum {rules.minimum:g}"))
    if rules is not None and rules.maximum is not None:
        wrong.append(_wrong(use.name, raw, value > rules.maximum, f"above the maximum {rules.maximum:g}"))
    return value, wrong


def _given(raw: Any) -> Any:
    return (raw.cast("string").strip() != "").fill_null(False)


def _time(raw: Any, name: str, schema: Schema) -> tuple[Any, list[Any]]:
    clock: Clock = schema.time
    if clock == "step":
        number = raw.try_cast("float64")
        step = ibis.cases((number == number.round(0), raw.try_cast("float64").try_cast("int64")))
        return step, [_wrong(name, raw, _given(raw) & step.isnull(), "not a whole step")]
    kind = raw.type()
    if kind.is_timestamp() or kind.is_date():
        return raw.cast("timestamp(6)"), []
    number = raw.try_cast("float64")
    usable = number.notnull() & (number.abs() * PER_SECOND[schema.time_unit] < 9e18)
    micros = ibis.cases((usable, number)) * PER_SECOND[schema.time_unit]
    since = ibis.timestamp(EPOCH) + micros.round().cast("int64").as_interval("us")
    value = since.cast("timestamp(6)")
    if kind.is_string():
        # with a zone the text is converted to UTC; without one it is UTC
        value = ibis.coalesce(value, raw.try_cast("timestamp('UTC')").cast("timestamp(6)"))
    return value, [_wrong(name, raw, _given(raw) & value.isnull(), "not a time")]


def _boolean(raw: Any, name: str) -> tuple[Any, list[Any]]:
    if raw.type().is_boolean():
        return raw, []
    text = raw.cast("string").lower().strip()
    value = ibis.cases((text.isin(TRUE), True), (text.isin(FALSE), False))
    return value, [_wrong(name, raw, _given(raw) & value.isnull(), "neither true nor false")]


def _vector(table: Any, raw: Any, name: str) -> tuple[Any, list[Any]]:
    value = raw.try_cast("array<float64>")
    expected = value.length().max().over(ibis.window())
    odd = value.filter(lambda item: item.isnull() | item.isnan() | item.isinf()).length() > 0
    return value, [
        _wrong(name, raw, raw.notnull() & value.isnull(), "not a list of numbers"),
        _wrong(name, raw, value.length() != expected, "of another length than the longest"),
        _wrong(name, raw, odd, "holds what is not a finite number"),
    ]
