"""Fitted, replayable transforms: raw values in, network inputs out. JSON, so that a model carries them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.features.columns import Field
from graphmill.features.encode import EMBEDDING, LOG, NUMERIC, ONE_HOT, PLAIN, QUANTILE, encode
from graphmill.params import Section

LANDMARKS = 101
LIMIT = 10.0
"""Scaled values are cut here: one absurd row must not swamp a sum over neighbours."""

Matrix = NDArray[np.float32]
Tables = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
KINDS = {"numeric": NUMERIC, "onehot": ONE_HOT, "embedding": EMBEDDING}
SCALES = {"log": LOG, "quantile": QUANTILE}


class Transform(Section):
    """How one raw column becomes one or more inputs."""

    column: str
    """Name of the raw column."""
    kind: str
    """numeric, onehot, embedding or skip."""
    scale: str = "standard"
    """numeric: standard, log, quantile or none."""
    mean: float = 0.0
    """Mean after the scale's function."""
    deviation: float = 1.0
    """Standard deviation after the scale's function."""
    fill: float = 0.0
    """What stands for a missing value, after scaling."""
    indicator: bool = False
    """Whether an input says that the value is missing."""
    landmarks: list[float] = []
    """quantile: values at equal shares of the fitting rows."""
    vocabulary: list[str] = []
    """Categories seen in fitting; input ``i`` or code ``i + 1`` is the ``i``-th. Others are all zero or 0."""

    def names(self) -> list[str]:
        """Names of the dense inputs."""
        if self.kind == "onehot":
            return [f"{self.column}={value}" for value in self.vocabulary]
        if self.kind == "numeric":
            return [self.column] + ([f"{self.column}?"] if self.indicator else [])
        return []


def fit(fields: list[Field], raw: NDArray[Any], scale: str, one_hot_limit: int) -> list[Transform]:
    """Fit one transform a field on the rows given.

    Args:
        fields: what the columns are.
        raw: float32 ``[rows, fields]``, the training part only.
        scale: default scale of numeric columns.
        one_hot_limit: up to so many categories are one-hot, more become a learned embedding.
    """
    return [_fit(field, np.asarray(raw[:, place]), scale, one_hot_limit) for place, field in enumerate(fields)]


def _fit(field: Field, values: NDArray[Any], scale: str, one_hot_limit: int) -> Transform:
    if field.vocabulary is not None:
        seen = np.unique(values[~np.isnan(values)]).astype(int)
        kind = "onehot" if len(seen) <= one_hot_limit else "embedding"
        return Transform(column=field.name, kind=kind, vocabulary=[field.vocabulary[place] for place in seen])
    chosen = "none" if field.kind in ("boolean", "calendar") else field.scale or scale
    there = values[~np.isnan(values)].astype(np.float64)
    missing = len(there) < len(values)
    if len(there) == 0:
        return Transform(column=field.name, kind="skip")
    landmarks: list[float] = []
    if chosen == "quantile":
        shares = np.linspace(0, 1, LANDMARKS)
        landmarks = [float(value) for value in np.quantile(there, shares)]
    shaped = _shape(there, chosen, landmarks)
    mean = 0.0 if chosen == "none" else float(shaped.mean())
    constant = bool(np.ptp(shaped) == 0)  # the deviation of equal numbers may come out as 1e-17
    deviation = 1.0 if chosen == "none" or constant else float(shaped.std()) or 1.0
    fill = float((np.median(shaped) - mean) / deviation)
    return Transform(
        column=field.name, kind="numeric", scale=chosen, mean=mean, deviation=deviation, fill=fill,
        indicator=missing, landmarks=landmarks,
    )  # fmt: skip


def _shape(values: NDArray[np.float64], scale: str, landmarks: list[float]) -> NDArray[np.float64]:
    if scale == "log":
        return np.sign(values) * np.log1p(np.abs(values))
    if scale == "quantile":
        return np.interp(values, landmarks, np.linspace(-1.0, 1.0, len(landmarks)))
    return values


class Encoder:
    """Applies fitted transforms to raw rows whose columns may stand in another order or vocabulary.

    Args:
        transforms: as fitted, in the model's order.
        fields: what the raw columns are now.

    Raises:
        UserError: when a column that the model needs is not there.
    """

    def __init__(self, transforms: list[Transform], fields: list[Field]) -> None:
        places = {field.name: place for place, field in enumerate(fields)}
        absent = [item.column for item in transforms if item.kind != "skip" and item.column not in places]
        if absent:
            raise UserError(f"the model needs columns that the features do not have: {', '.join(absent)}")
        kept = [item for item in transforms if item.kind != "skip"]
        self.transforms = kept
        self.names = [name for item in kept for name in item.names()]
        self.embedded = [(item.column, len(item.vocabulary) + 1) for item in kept if item.kind == "embedding"]
        self.tables = _tables(kept, [fields[places[item.column]].vocabulary or [] for item in kept], places)

    def __call__(self, raw: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
        """Encode raw rows ``[n, columns]``: dense float32 ``[n, len(names)]``, codes int64 ``[n, len(embedded)]``."""
        return self.rows(raw, np.arange(len(raw), dtype=np.int32))

    def rows(self, raw: Matrix, ids: NDArray[np.int32], beside: int = 0) -> tuple[Matrix, NDArray[np.int64]]:
        """Gather and encode rows of a raw matrix.

        Args:
            raw: float32 ``[rows, columns]``, memory-mapped or not.
            ids: int32 ``[n]``.
            beside: columns left free, all 0, behind the dense inputs.

        Returns:
            Dense float32 ``[n, len(names) + beside]`` and codes int64 ``[n, len(embedded)]``.

        Raises:
            UserError: for an id that is not a row.
        """
        dense = np.zeros((len(ids), len(self.names) + beside), np.float32)
        codes = np.zeros((len(ids), len(self.embedded)), np.int64)
        self.into(raw, ids, dense, 0, codes)
        return dense, codes

    def into(self, raw: Matrix, ids: NDArray[np.int32], dense: Matrix, first: int, codes: NDArray[np.int64]) -> None:
        """Encode rows into the columns of ``dense`` from ``first`` on, which are all 0, and into ``codes``."""
        raw = np.ascontiguousarray(raw, np.float32)
        if len(ids) and int(np.max(ids)) > np.iinfo(np.int32).max:  # narrowed, it would name another row
            raise UserError(f"row ids must be within 0 and {len(raw) - 1:,}")
        if not encode(raw.ctypes.data, raw.shape, np.array(ids, np.int32), *self.tables, LIMIT, dense, first, codes):
            raise UserError(f"row ids must be within 0 and {len(raw) - 1:,}")


def _tables(kept: list[Transform], vocabularies: list[list[str]], places: dict[str, int]) -> Tables:
    """What the kernel reads: parts, their numbers, landmarks and codes."""
    parts, numbers = [], []
    landmarks: list[float] = []
    recode: list[int] = []
    inputs = 0
    for item, vocabulary in zip(kept, vocabularies, strict=True):
        numeric = item.kind == "numeric"
        begin, count = (len(landmarks), len(item.landmarks)) if numeric else (len(recode), len(vocabulary) + 1)
        kind, scale = KINDS[item.kind], SCALES.get(item.scale, PLAIN)
        parts.append([kind, places[item.column], inputs, scale, int(item.indicator), begin, count])
        numbers.append([item.mean, item.deviation, item.fill])
        landmarks += item.landmarks
        recode += [] if numeric else _recode(vocabulary, item.vocabulary)
        inputs += len(item.names())
    return (
        np.array(parts, np.int64).reshape(len(parts), 7), np.array(numbers, np.float64).reshape(len(parts), 3),
        np.array(landmarks, np.float64), np.array(recode, np.int64),
    )  # fmt: skip


def _recode(now: list[str], fitted: list[str]) -> list[int]:
    """By place in today's vocabulary + 1 (0 for missing) the fitted code (0 where it was not seen)."""
    codes = {value: place + 1 for place, value in enumerate(fitted)}
    return [0] + [codes.get(value, 0) for value in now]
