"""GitHub's REST API, as far as the workflows need it. Standard library only: some jobs install nothing."""

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphmill.errors import UserError

ATTEMPTS = 4
"""Tries of a request that met a fault of the network or the server."""
AGAIN = frozenset({429, 500, 502, 503, 504})
SECONDS = 30


class Refused(UserError):
    """GitHub refused a request; ``status`` is its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class GitHub:
    """One repository.

    Args:
        repository: ``owner/name``.
        token: a token that may do what is asked of it.
        url: of the API.
        pause: seconds before the second try; they double.
    """

    repository: str
    token: str
    url: str = "https://api.github.com"
    pause: float = 1.0

    @classmethod
    def here(cls, variables: Mapping[str, str] = os.environ) -> "GitHub":
        """The repository and the token that the environment names, as every job of a workflow has them.

        Raises:
            UserError: when one is missing or is not what its name says.
        """
        repository, token = variables.get("GITHUB_REPOSITORY", ""), variables.get("GITHUB_TOKEN", "")
        if not re.fullmatch(r"\w[\w-]*/(?!\.+$)[\w.-]+", repository):
            raise UserError(f"GITHUB_REPOSITORY must be owner/name, not {repository!r}")
        if not token:
            raise UserError("GITHUB_TOKEN is not set; a workflow passes `github.token`, `gh auth token` prints yours")
        return cls(repository, token, variables.get("GITHUB_API_URL", cls.url).rstrip("/"))

    def get(self, path: str) -> Any:
        """What stands at a path below the repository's."""
        return self._ask("GET", path)

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Create or change something."""
        return self._ask(method, path, body)

    def pages(self, path: str) -> list[Any]:
        """All items of a list, a hundred at a time."""
        found: list[Any] = []
        joint = "&" if "?" in path else "?"
        while True:
            part = self.get(f"{path}{joint}per_page=100&page={len(found) // 100 + 1}")
            found += part
            if len(part) < 100:
                return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(method, path, body)
            except urllib.error.HTTPError as error:
                told = error.read(2000).decode(errors="replace").strip()
                # one that may have been carried out is not sent again, unless sending it twice is the same
                if error.code not in AGAIN or attempt == ATTEMPTS or (method == "POST" and error.code != 429):
                    raise Refused(error.code, f"GitHub: {method} {path}: {error.code} {told}") from None
            except OSError as error:
                if attempt == ATTEMPTS or method == "POST":
                    raise UserError(f"GitHub: {method} {path}: no answer from {self.url}: {error}") from None
            time.sleep(self.pause * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/repos/{self.repository}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            content = answer.read()
        return json.loads(content) if content else None
