"""What a check finds: one line, and the command that mends it."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from automation.doctor.door import Door
from automation.doctor.wanted import Wanted
from graphmill.progress import say

State = Literal["ok", "warning", "missing"]


class Answer(NamedTuple):
    """A check's answer, without its name.

    Args:
        state: `missing` for what does not work without it, `warning` for what may not.
        told: what is there, or is not.
        mend: the command, or where to read; empty for `ok`.
    """

    state: State
    told: str
    mend: str = ""


Check = Callable[[Door, Wanted], Iterable[Answer]]
"""Asks the cluster one thing, and changes nothing."""


@dataclass(frozen=True)
class Found:
    """An answer with the name of its check."""

    check: str
    state: State
    told: str
    mend: str = ""


def ok(told: str) -> Answer:
    """It is there."""
    return Answer("ok", told)


def warning(told: str, mend: str) -> Answer:
    """It may not work so."""
    return Answer("warning", told, mend)


def missing(told: str, mend: str) -> Answer:
    """It does not work so."""
    return Answer("missing", told, mend)


def lines(found: Iterable[Found]) -> Iterator[str]:
    """The table, a line an answer."""
    for one in found:
        mend = f": {one.mend}" if one.mend else ""
        yield f"{one.state:8} {one.check:18} {one.told}{mend}"


def show(found: list[Found], as_json: bool) -> None:
    """Print the table, or a list of JSON objects."""
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return
    for line in lines(found):
        print(line)
    counts = [(sum(one.state == state for one in found), state) for state in ("missing", "warning", "ok")]
    say(f"doctor: {', '.join(f'{count} {state}' for count, state in counts)}")
