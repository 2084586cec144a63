"""What a stranger says of a row, checked as ``ingest`` would and turned into the numbers of a raw matrix."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from graphmill.clock import Clock, moment
from graphmill.errors import UserError
from graphmill.features.columns import MOST, NEVER, Field
from graphmill.schema import Column

Read = Callable[[Any], list[float]]


class Values:
    """Reads the columns of one node type or edge table.

    Args:
        columns: the schema's.
        fields: the columns of the raw matrix.
        stamps: the timestamp columns that stand in a matrix of their own, in its order.
        clock: the schema's clock.
        where: what to call the table in errors.
    """

    def __init__(
        self, columns: Mapping[str, Column], fields: list[Field], stamps: list[str], clock: Clock, where: str
    ) -> None:
        self.columns, self.clock, self.where = columns, clock, where
        self.width = len(fields)
        self.stamps = {name: place for place, name in enumerate(stamps)}
        self.places: dict[str, list[int]] = {}
        for place, field in enumerate(fields):
            if field.kind != "calendar":
                name = field.name.rpartition("[")[0] if field.kind == "vector" else field.name
                self.places.setdefault(name, []).append(place)
        self.codes = {
            field.name: {value: float(code) for code, value in enumerate(field.vocabulary or [])} for field in fields
        }

    def read(self, given: Mapping[str, Any], whole: bool) -> tuple[list[tuple[int, float]], list[tuple[int, int]]]:
        """Places and values in the raw matrix, and places and moments in the matrix of timestamps.

        Args:
            given: values by column; None is missing.
            whole: whether this is a whole row, so that a required column must be there.

        Raises:
            UserError: for an unknown column or a value that its column does not take.
        """
        raw: list[tuple[int, float]] = []
        moments: list[tuple[int, int]] = []
        for name, value in given.items():
            column = self.columns.get(name)
            if column is None:
                known = ", ".join(self.columns) or "none"
                raise UserError(f"{self.where}: no column {_short(name)}; known: {known}")
            if column.kind == "timestamp":
                if name in self.stamps:
                    found = NEVER if value is None else moment(value, self.clock, f"{self.where}.{name}")
                    moments.append((self.stamps[name], found))
                continue
            places = self.places.get(name, [])
            numbers = self._numbers(name, column, value, len(places))
            raw += zip(places, numbers, strict=True)
        if whole:
            self._check_required(given)
        return raw, moments

    def _check_required(self, given: Mapping[str, Any]) -> None:
        for name, column in self.columns.items():
            if column.required and given.get(name) is None:
                raise UserError(f"{self.where}: column {name!r} is required")

    def _numbers(self, name: str, column: Column, value: Any, count: int) -> list[float]:
        if value is None:
            return [math.nan] * count
        if column.kind == "category":
            return [self._code(name, column, value)] * count
        if column.kind == "boolean":
            if not isinstance(value, bool):
                raise self._wrong(name, value, "true or false")
            return [float(value)] * count
        if column.kind == "vector":
            if not isinstance(value, list) or len(value) != count:
                raise self._wrong(name, value, f"a list of {count} numbers")
            return [self._number(name, item) for item in value]
        number = self._number(name, value)
        if column.minimum is not None and number < column.minimum:
            raise self._wrong(name, value, f"at least {column.minimum:g}")
        if column.maximum is not None and number > column.maximum:
            raise self._wrong(name, value, f"at most {column.maximum:g}")
        return [number] * count

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(name, value, "a finite number")
        return min(max(float(value), -MOST), MOST)

    def _code(self, name: str, column: Column, value: Any) -> float:
        """A category's place; one that the snapshot has not seen is as if missing, as it is to every model."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._wrong(name, value, "text")
        text = str(value)
        if column.categories is not None and text not in column.categories:
            raise self._wrong(name, value, f"one of {', '.join(column.categories)}")
        return self.codes[name].get(text, math.nan)

    def _wrong(self, name: str, value: Any, wanted: str) -> UserError:
        return UserError(f"{self.where}.{name}: must be {wanted} (given {_short(value)})")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
