"""KServe's REST protocol v1: ``{"instances": […]}`` in, ``{"predictions": […]}`` out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import FailFast, TypeAdapter, ValidationError

from graphmill.explain import explain
from graphmill.serving.batching import Answered
from graphmill.serving.exchange import Reply, json_reply
from graphmill.serving.failure import Failure, invalid
from graphmill.serving.instance import Answer, Instance, Options, Strict
from graphmill.serving.limits import Limits, parse
from graphmill.serving.model import Asked

_SHAPE = '{"instances": [{"id": "…"}, …]}'
_PLACE = re.compile(r"\.(\d+)(?=[.:])")


class _Parameters(Strict):
    embedding: bool = False
    """Whether embeddings are wanted."""
    explanation: bool = False
    """Whether explanations are wanted."""


class _Body(Strict):
    instances: Annotated[list[Instance], FailFast()]
    """The nodes to judge."""
    parameters: _Parameters = _Parameters()
    """What is wanted beside the score."""


_BODY = TypeAdapter(_Body)


@dataclass(frozen=True, slots=True)
class Predict:
    """A request to ``:predict``, or to ``:explain``."""

    body: bytes
    deadline: float
    explain: bool = False

    def decode(self, limits: Limits) -> Asked:
        """Check and read the body; one bad instance refuses them all."""
        document = parse(self.body, _SHAPE)
        given = document.get("instances") if isinstance(document, dict) else None
        if not isinstance(given, list):
            raise invalid(f"the body must be an object with a list of instances: {_SHAPE}")
        limits.number(len(given), False)
        limits.each(given, "instances")
        try:
            body = _BODY.validate_python(document, strict=True)
        except ValidationError as error:
            raise told(error, _Body) from None
        limits.parts(body.instances)
        options = Options(body.parameters.embedding, body.parameters.explanation or self.explain)
        if options.explanation:
            limits.number(len(given), True)
        return Asked(body.instances, options)

    def encode(self, asked: Asked, answered: Answered) -> Reply:
        """The predictions, and what they were computed from."""
        graph = answered.graph
        return json_reply(
            {
                "predictions": [_prediction(answer, answered.moment) for answer in answered.answers],
                "model": {"name": answered.name, "version": answered.version},
                "graph": {"snapshot": graph.snapshot, "offset": graph.offset, "staleness": graph.staleness},
            }
        )


def told(error: ValidationError, model: type[Strict], where: str = "") -> Failure:
    """What is wrong with a request: ``instances[3].id: …``."""
    lines = explain(error, model, where).split("\n")
    return invalid("\n".join(_PLACE.sub(r"[\1]", line, count=3) for line in lines[:5]))


def _prediction(answer: Answer, moment: Callable[[int], str | int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": answer.id,
        "score": answer.score,
        "decision": answer.decision,
        "known": answer.known,
        "at": moment(answer.at),
    }
    if answer.embedding is not None:
        found["embedding"] = answer.embedding
    if answer.explanation is not None:
        found["explanation"] = answer.explanation
    return found
