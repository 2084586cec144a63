"""Who may send events and administer: whoever has the token."""

import hmac
import os
from dataclasses import dataclass

from graphmill.errors import UserError
from graphmill.serving.exchange import Exchange
from graphmill.serving.failure import Failure, Kind
from graphmill.serving.settings import Settings

TOKEN = "GRAPHMILL_TOKEN"
"""Environment variable with the token; never an argument, which everyone on the machine can read."""
_SHORTEST = 16


@dataclass(frozen=True)
class Gate:
    """Lets requests through that bear the token."""

    token: bytes | None
    open: bool
    """Whether requests pass without a token, when there is none: the server then listens on this machine alone."""

    def check(self, exchange: Exchange) -> None:
        """Let the request pass.

        Raises:
            Failure: when it bears no token or another one, or the server has none.
        """
        if self.token is None:
            self._local(exchange)
            return
        scheme, _, given = exchange.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not given:
            raise _unauthenticated("send the header Authorization: Bearer <token>", b"")
        if not hmac.compare_digest(given.strip(), self.token):
            raise _unauthenticated("the token is not this server's", b', error="invalid_token"')

    def _local(self, exchange: Exchange) -> None:
        if not self.open:
            raise _forbidden(f"this server has no token: start it with --token_file or {TOKEN}")
        if b"origin" in exchange.headers:
            raise _forbidden("a server without a token takes nothing from web pages")


def gate(settings: Settings) -> Gate:
    """The gate that the settings ask for.

    Raises:
        UserError: when the token's file cannot be read, or the token is too short to be one.
    """
    token = _read(settings)
    if token is not None and len(token) < _SHORTEST:
        raise UserError(f"the token has {len(token)} bytes; take at least {_SHORTEST}, such as `openssl rand -hex 32`")
    return Gate(token, settings.insecure_local)


def _read(settings: Settings) -> bytes | None:
    if settings.token_file is None:
        return os.environ[TOKEN].strip().encode() if TOKEN in os.environ else None
    try:
        return settings.token_file.read_bytes().strip()
    except OSError as error:
        raise UserError(f"token_file: {settings.token_file} cannot be read: {error.strerror}") from None


def _unauthenticated(reason: str, detail: bytes) -> Failure:
    return Failure(Kind.UNAUTHENTICATED, reason, ((b"www-authenticate", b'Bearer realm="graphmill"' + detail),))


def _forbidden(reason: str) -> Failure:
    return Failure(Kind.FORBIDDEN, reason, ((b"www-authenticate", b'Bearer realm="graphmill"'),))
