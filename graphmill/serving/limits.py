"""How much of a request is read: checked before anything is built from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson

from graphmill.serving.failure import Failure, Kind, invalid
from graphmill.serving.instance import Instance
from graphmill.serving.settings import Settings

_WHOLE = 2**63


@dataclass(frozen=True)
class Limits:
    """The settings that bound a request; see `Settings` for each."""

    instances: int
    explanations: int
    links: int
    edges: int
    columns: int
    events: int
    body: int
    text: int
    nesting: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits of ``settings``."""
        return cls(*(getattr(settings, f"{name}_limit") for name in cls.__dataclass_fields__))

    def number(self, given: int, explanation: bool) -> None:
        """Check how many instances a request has.

        Raises:
            Failure: when there is none, or more than allowed.
        """
        most = self.explanations if explanation else self.instances
        if not 1 <= given <= most:
            what = "with explanations, " if explanation else ""
            raise invalid(f"instances: {what}give 1 to {most} in one request, not {given}")

    def each(self, values: Sequence[Any], where: str) -> None:
        """Check each of several; all at once, and one by one only to name the one that is wrong.

        Raises:
            Failure: naming it as ``where[place]``.
        """
        try:
            self._plain(values, where)
        except Failure:
            for place, value in enumerate(values):
                self.plain(value, f"{where}[{place}]")
            raise

    def plain(self, value: Any, where: str) -> None:
        """Check texts, whole numbers and nesting of parsed JSON, without recursion.

        Raises:
            Failure: naming ``where``.
        """
        self._plain([value], where)

    def _plain(self, level: Sequence[Any], where: str) -> None:
        for _ in range(self.nesting + 1):
            level = self._below(level, where)
            if not level:
                return
        raise invalid(f"{where}: nested deeper than {self.nesting} levels")

    def _below(self, level: Sequence[Any], where: str) -> list[Any]:
        """What stands inside the lists and objects of one level."""
        inside: list[Any] = []
        text = self.text
        for value in level:
            kind = type(value)
            if kind is str:
                if len(value) > text:
                    raise self._long(value, where)
            elif kind is dict:
                for key in value:
                    if len(key) > text:
                        raise self._long(key, where)
                inside.extend(value.values())
            elif kind is list:
                inside.extend(value)
            elif kind is int and not -_WHOLE <= value < _WHOLE:
                raise invalid(f"{where}: {value} does not fit into 64 bits; write it as text")
        return inside

    def _long(self, value: str, where: str) -> Failure:
        return invalid(f"{where}: a text of {len(value)} characters ({value[:20]!r}…); at most {self.text}")

    def parts(self, instances: Sequence[Instance]) -> None:
        """Check how many links, edges and columns each instance has.

        Raises:
            Failure: naming the instance.
        """
        for place, instance in enumerate(instances):
            edges = instance.edges
            if not (edges or instance.columns or instance.links):
                continue
            for name, given, most in (
                ("links", len(instance.links), self.links),
                ("edges", len(edges), self.edges),
                ("columns", max(len(instance.columns), *(len(edge.columns) for edge in edges), 0), self.columns),
            ):
                if given > most:
                    raise invalid(f"instances[{place}]: {given} {name}; at most {most}")


def parse(body: bytes, what: str) -> Any:
    """A body as JSON: no NaN, no infinity, no number or text that JSON does not have.

    Raises:
        Failure: when it is not JSON; ``what`` says what should stand there.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Failure(Kind.INVALID, f"not JSON ({error}); send {what}") from None
