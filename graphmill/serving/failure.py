"""What goes wrong with a request, once for every protocol: a kind, and a sentence for whoever sent it."""

from enum import Enum

_LONGEST = 1000


class Kind(Enum):
    """HTTP status and gRPC code of a failure; the name in lower case is its label in the metrics."""

    INVALID = (400, "INVALID_ARGUMENT")
    UNAUTHENTICATED = (401, "UNAUTHENTICATED")
    FORBIDDEN = (403, "PERMISSION_DENIED")
    NOT_FOUND = (404, "NOT_FOUND")
    WRONG_METHOD = (405, "UNIMPLEMENTED")
    TOO_LARGE = (413, "RESOURCE_EXHAUSTED")
    UNSUPPORTED = (415, "INVALID_ARGUMENT")
    OVERLOADED = (429, "RESOURCE_EXHAUSTED")
    INTERNAL = (500, "INTERNAL")
    NOT_READY = (503, "UNAVAILABLE")
    LATE = (504, "DEADLINE_EXCEEDED")

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.value[0]

    @property
    def code(self) -> str:
        """Name of the gRPC status code."""
        return self.value[1]

    @property
    def label(self) -> str:
        """Value of the label ``reason``."""
        return self.name.lower()


class Failure(Exception):
    """A request that is refused, or could not be answered; ``reason`` says why and what to do."""

    def __init__(self, kind: Kind, reason: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """``headers`` go with the answer where the protocol is HTTP."""
        super().__init__(reason)
        self.kind = kind
        self.reason = reason if len(reason) <= _LONGEST else reason[: _LONGEST - 1] + "…"
        self.headers = headers


def invalid(reason: str) -> Failure:
    """The failure of a request that its sender has to mend."""
    return Failure(Kind.INVALID, reason)
