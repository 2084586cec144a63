"""Who asks: the bearer token that goes along with every request, renewed while a run is watched for hours."""

import base64
import binascii
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphmill.errors import UserError
from pipelines.cluster import patience
from pipelines.cluster.errors import Unreachable

SERVICE_ACCOUNT = "/var/run/secrets/kubeflow/pipelines/token"
"""Where a pod whose spec projects one finds its token; ``KF_PIPELINES_SA_TOKEN_PATH`` says another place."""
LEEWAY = 60.0
"""Seconds before its end from which on a token is renewed."""
UNKNOWN = 60.0
"""Seconds for which a token that does not say its end is kept."""
HINT = "set KFP_TOKEN, KFP_TOKEN_FILE or KFP_OIDC_AUDIENCE: docs/kfp.md says which"


@dataclass
class Credentials:
    """A source of tokens.

    Attributes:
        source: what it is, for the message when the server refuses it.
        fetch: gets a token.
    """

    source: str
    fetch: Callable[[], str]
    _token: str = ""
    _until: float = 0.0

    def token(self) -> str:
        """A token that is good for another minute, where the source has one.

        Raises:
            UserError: when the source refuses or has none.
            Unreachable: when the source does not answer.
        """
        now = time.time()
        if now >= self._until:
            self._token = self.fetch()
            self._until = (_end(self._token) or now + UNKNOWN + LEEWAY) - LEEWAY
        return self._token

    def refresh_api_key_hook(self, configuration: Any) -> None:
        """What the generated client calls before each request."""
        configuration.api_key["authorization"] = self.token()


def find(environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """The first source that the environment names; None for a server that asks for none.

    Raises:
        UserError: when what it names is not complete.
    """
    if token := environment.get("KFP_TOKEN", "").strip():
        return Credentials("the token in KFP_TOKEN", lambda: token)
    if file := environment.get("KFP_TOKEN_FILE"):
        return Credentials(f"the token in {file} (KFP_TOKEN_FILE)", lambda: _read(Path(file)))
    if environment.get("KFP_OIDC_TOKEN_URL"):
        return _client_credentials(environment)
    if audience := environment.get("KFP_OIDC_AUDIENCE"):
        return _github(environment, audience)
    mounted = Path(environment.get("KF_PIPELINES_SA_TOKEN_PATH", SERVICE_ACCOUNT))
    if mounted.exists():
        return Credentials(f"the service account's token in {mounted}", lambda: _read(mounted))
    return None


def _read(file: Path) -> str:
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: no token can be read from it: {error}") from None
    if not token:
        raise UserError(f"{file}: the token file is empty")
    return token


def _github(environment: Mapping[str, str], audience: str) -> Credentials:
    """The ID token of a GitHub Actions job."""
    try:
        url, key = (environment[f"ACTIONS_ID_TOKEN_REQUEST_{part}"] for part in ("URL", "TOKEN"))
    except KeyError:
        told = "KFP_OIDC_AUDIENCE asks for GitHub's ID token, and this is no job that may have one"
        raise UserError(f"{told}; give the job `permissions: id-token: write`") from None
    source = f"GitHub's ID token for audience {audience}"
    address = f"{url}{'&' if '?' in url else '?'}{patience.encoded(audience=audience)}"
    headers = {"Authorization": f"Bearer {key}"}
    return Credentials(source, lambda: _issued(source, "value", method="GET", url=address, headers=headers))


def _client_credentials(environment: Mapping[str, str]) -> Credentials:
    """The client-credentials grant of an identity provider, for a machine account."""
    url = environment["KFP_OIDC_TOKEN_URL"]
    missing = [name for name in ("KFP_OIDC_CLIENT_ID", "KFP_OIDC_CLIENT_SECRET") if not environment.get(name)]
    if missing:
        raise UserError(f"KFP_OIDC_TOKEN_URL is set, and {' and '.join(missing)} beside it is missing")
    form = {"grant_type": "client_credentials"}
    for key in ("client_id", "client_secret", "audience", "scope"):
        if value := environment.get(f"KFP_OIDC_{key.upper()}"):
            form[key] = value
    source = f"the token of client {form['client_id']} from {url}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = patience.encoded(**form)
    return Credentials(
        source, lambda: _issued(source, "access_token", method="POST", url=url, headers=headers, body=body)
    )


def _issued(source: str, field: str, **asked: Any) -> str:
    """A token from the field of an issuer's JSON answer."""
    status, answer = patience.ask(**asked)
    if status >= 500:
        raise Unreachable(f"{source} cannot be had now: {asked['url']} answers {status}")
    if status >= 300:
        raise UserError(f"{source} is refused by its issuer ({status}): {answer[:200]}")
    try:
        return str(json.loads(answer)[field])
    except (ValueError, KeyError, TypeError):  # the answer may hold another secret, so it is not shown
        raise UserError(f"{source}: the answer of {asked['url'].split('?')[0]} has no {field!r}") from None


def _end(token: str) -> float | None:
    """When a JWT ends, as a Unix time; None for another kind. The server checks it, not we."""
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError, binascii.Error):
        return None
