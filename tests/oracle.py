"""A predictor whose answers follow from the keys alone: what the tests of the protocols serve.

``python -m tests.oracle ARGUMENTS`` serves it as ``python -m graphmill.serving`` would serve the real one.
"""

import asyncio
import os
import sys
import time
import zlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from graphmill.errors import UserError
from graphmill.serving.failure import Failure, Kind
from graphmill.serving.instance import Answer, GraphVersion, Instance, Options, Reason, Refusal


def score(key: str) -> float:
    """The score of a key."""
    return zlib.crc32(key.encode()) / 2**32


class Oracle:
    """Knows keys that do not begin with ``new``, refuses those that begin with ``bad``, and fails at ``boom``."""

    def __init__(self, name: str = "oracle", hidden: int = 4) -> None:
        self.name, self.version, self.hidden = name, "sha256:0a", hidden
        self.trouble: str | None = None
        self.calls: list[tuple[list[str], Options]] = []
        self.seen: dict[str, int] = {}
        self.stopped = False
        self.recorded: list[tuple[str, list[str]]] = []
        self.mirrored: list[tuple[str, list[str]]] = []

    def answer(self, instances: Sequence[Instance], options: Options) -> list[Answer | Refusal]:
        self.calls.append(([str(instance.id) for instance in instances], options))
        return [self._one(instance, options) for instance in instances]

    def _one(self, instance: Instance, options: Options) -> Answer | Refusal:
        key = str(instance.id)
        if key == "boom":
            raise RuntimeError("a bug")
        if key.startswith("sleep"):
            print("asleep", flush=True)
            time.sleep(float(key[5:]))
        if key.startswith("bad"):
            return Refusal(f"{key} is not a payment; give its key")
        embedding = np.full(self.hidden, score(key), np.float32) if options.embedding and self.hidden else None
        reasons = [Reason("column", "amount", 0.5)] if options.explanation else None
        moment = 2**70 if key == "odd" else instance.at if isinstance(instance.at, int) else 7
        return Answer(key, score(key), score(key) >= 0.5, not key.startswith("new"), moment, embedding, reasons)

    def graph(self) -> GraphVersion:
        return GraphVersion("sha256:9f", len(self.seen), 1.5)

    def problem(self) -> str | None:
        return self.trouble

    def blocked(self) -> str | None:
        return self.trouble

    def record(self, request: str, asked: Any, answers: Any, graph: GraphVersion) -> None:
        self.recorded.append((request, [answer.id for answer in answers]))

    def mirror(self, request: str, asked: Any, answers: Any) -> None:
        self.mirrored.append((request, [answer.id for answer in answers]))

    def moment(self, at: int) -> int:
        return at

    async def accept(self, events: list[dict[str, Any]]) -> list[int | None]:
        for place, event in enumerate(events):
            if not isinstance(event.get("id"), str):
                raise UserError(f"events[{place}].id: is missing, or no text")
        if events[0]["id"] == "full":
            raise Failure(Kind.NOT_READY, "the log is full; compact it")
        if events[0]["id"] == "slow":
            print("slow events", flush=True)
            await asyncio.sleep(1)
        offsets: list[int | None] = []
        for event in events:
            offsets.append(None if event["id"] in self.seen else len(self.seen))
            self.seen.setdefault(event["id"], len(self.seen))
        return offsets

    async def compact(self) -> dict[str, Any]:
        return {"snapshot": "sha256:new"}

    async def reload(self) -> dict[str, Any]:
        if self.trouble:
            raise UserError("model.json: no such file; deploy the model again")
        return {"version": self.version}

    async def start(self) -> None:
        self.trouble = os.environ.get("ORACLE_TROUBLE")
        if "ORACLE_BROKEN" in os.environ:
            raise UserError(os.environ["ORACLE_BROKEN"])
        await asyncio.sleep(float(os.environ.get("ORACLE_SLOW", 0)))

    async def stop(self) -> None:
        self.stopped = True
        print("stopped", flush=True)


def main() -> int:
    """Serve an oracle under the name that the settings give."""
    from graphmill.serving.__main__ import main as serve

    module: Any = ModuleType("graphmill.serving.predictor")
    module.open_predictor = lambda settings: Oracle(settings.model_name)
    sys.modules[module.__name__] = module
    return serve()


if __name__ == "__main__":
    sys.exit(main())
