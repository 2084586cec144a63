"""Time as one integer: microseconds since 1970 (UTC), or the step of an integer clock."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np

from graphmill.errors import UserError

Clock = Literal["timestamp", "step"]

ALWAYS = np.iinfo(np.int64).min
"""The time of what has no time: before every moment, so always visible."""

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)\s*([smhdw])")
_RELATIVE = re.compile(r"as_of(?:\s*-\s*(\S+))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(value: str | int | float, clock: Clock, name: str = "time", as_of: int | None = None) -> int:
    """A moment from text (ISO 8601; without a zone it is UTC) or, on a step clock, a whole number.

    ``as_of - 30d`` counts back from the as-of moment, where there is one.

    Raises:
        UserError: when the value does not fit the clock; ``name`` says which parameter it was.
    """
    if as_of is not None and (relative := _RELATIVE.fullmatch(str(value).strip())):
        back = relative[1] or "0"
        return as_of - duration(int(back) if back.isdigit() else back, clock, name)
    if clock == "step":
        if isinstance(value, int | float) and math.isfinite(value) and value == int(value):
            return _near(int(value), name)
        raise UserError(f"{name}: {value!r} is not a step; this schema's time is a whole number")
    if not isinstance(value, str):
        raise UserError(f"{name}: {value!r} is not a moment; write it as 2025-01-31 or 2025-01-31T12:00:00")
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise UserError(f"{name}: {value!r} is not a moment; write it as 2025-01-31T12:00:00") from None
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return (parsed - _EPOCH) // timedelta(microseconds=1)


def duration(value: str | int | float, clock: Clock, name: str = "duration") -> int:
    """A length of time from text such as ``7d``, ``12h``, ``30m``, ``2w``, or in whole steps.

    Returns:
        Microseconds, or steps.

    Raises:
        UserError: when the value does not fit the clock.
    """
    if isinstance(value, int | float) and (clock == "step" or value == 0):
        if math.isfinite(value) and value == int(value):
            return _near(int(value), name)
        raise UserError(f"{name}: {value!r} is not a whole number of steps")
    match = _DURATION.fullmatch(str(value).strip())
    if clock == "step" or match is None:
        wanted = "a whole number of steps" if clock == "step" else "a duration such as 7d, 12h or 30m"
        raise UserError(f"{name}: {value!r} is not {wanted}")
    return _near(round(float(match[1]) * _UNITS[match[2]] * 1_000_000), name)


def _near(value: int, name: str) -> int:
    """The value, if the sum of two such still fits into 64 bits."""
    if abs(value) >= 2**62:
        raise UserError(f"{name}: {value} is too far away")
    return value


def text(time: int, clock: Clock) -> str:
    """A moment as people read it; what has no time is ``always``."""
    if time == ALWAYS:
        return "always"
    if clock == "step":
        return str(time)
    return (_EPOCH + timedelta(microseconds=int(time))).replace(tzinfo=None).isoformat()


def day(clock: Clock) -> int:
    """The unit in which ages are measured before scaling: one day, or one step."""
    return 1 if clock == "step" else 86_400_000_000
