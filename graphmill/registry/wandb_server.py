"""What the registry asks of W&B's server, in four calls; every failure says what was wrong and what to do."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from graphmill.errors import UserError
from graphmill.registry import storage
from graphmill.tracking import sdk

TIMEOUT = 30
"""Seconds for one answer, the SDK's own retries included."""
UPLOAD_TIMEOUT = 900
"""Seconds for one version to be uploaded and committed."""
PAGE = 100
"""Versions that are asked for at once."""
RETRIES = 4
"""Times that an upload's request is sent again, each after a longer wait."""

ADVICE = {
    401: "the API key was not accepted; set WANDB_API_KEY, or run `wandb login`, with a key of this server",
    403: "the API key may not do that; ask the team's administrator for write access to the project",
    404: "no such entity or project; check the names, and that the key's account belongs to the team",
    409: "another writer was faster; do it again",
    429: "W&B asks for fewer requests; wait a minute and do it again",
    507: "W&B has no room left for this account; make room there and do it again",
}
"""What to do about an answer, by its HTTP status."""
UNREACHABLE = "the server does not answer as it should; nothing is half done; try again when it does"


class Server:
    """One project on W&B's server.

    Nothing is asked before it is needed, and nothing at all offline: most of the SDK raises there.
    """

    def __init__(self, entity: str, project: str) -> None:
        self.entity, self.project = entity, project

    def artifacts(self, kind: str, collection: str) -> list[Any]:
        """The committed versions of a collection by number; none where there is no such collection.

        Raises:
            UserError: when the server cannot be asked, or there is no such entity.
        """
        with self._asking("read"):
            found = self._api.artifacts(kind, f"{self.entity}/{self.project}/{collection}", per_page=PAGE)
            try:
                return sorted(found, key=lambda item: int(item.version[1:]))
            except ValueError as error:  # the SDK's word for an answer without the collection
                if "Unable to parse" not in str(error):
                    raise
        self._check_entity()
        return []

    def add(self, kind: str, collection: str, content: Path, metadata: Mapping[str, Any], scratch: Path) -> None:
        """Upload a folder as the next version; it is there whole, or not at all.

        Args:
            kind: W&B's type of the artifact.
            collection: its name.
            content: the folder; nobody else writes it.
            metadata: plain JSON values, at most 100 keys.
            scratch: a folder for the SDK's own files.

        Raises:
            UserError: when it cannot be uploaded.
        """
        wandb = sdk.load()
        version = wandb.Artifact(collection, kind, metadata=dict(metadata))
        version.add_dir(str(content), policy="immutable", skip_cache=True)
        with self._asking("write"):
            self._api  # noqa: B018 - offline, and without a key, it says so before anything is uploaded
            with wandb.init(settings=self._settings(wandb, scratch)) as run:
                run.log_artifact(version)
                version.wait(UPLOAD_TIMEOUT)

    def name(self, version: Any, aliases: list[str]) -> None:
        """Let W&B's own aliases name a version; the server takes them from the one that had them.

        Raises:
            UserError: when the server does not let it.
        """
        with self._asking("name a version"):
            version.aliases = [*version.aliases, *aliases]
            version.save()

    def download(self, version: Any, folder: Path) -> None:
        """Every file of a version.

        Raises:
            UserError: when one cannot be fetched.
        """
        with self._asking("read"):
            version.download(str(folder), skip_cache=True)

    def who(self) -> str:
        """Whose key it is; this machine's user where the server does not say."""
        with self._asking("read"):
            return str(self._api.viewer.username or storage.who())

    @cached_property
    def _api(self) -> Any:
        wandb = sdk.load()
        mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        if mode not in (None, "online", "run", "shared"):
            raise UserError(
                f"{self._place}: needs W&B's server, and WANDB_MODE is {mode}; unset it, or use a directory as home"
            )
        return wandb.Api(overrides={"entity": self.entity, "project": self.project}, timeout=TIMEOUT)

    @property
    def _place(self) -> str:
        return f"wandb://{self.entity}/{self.project}"

    def _check_entity(self) -> None:
        """An absent project is an empty registry, as an absent directory is; an absent team is a mistake."""
        with self._asking("read"):
            person = self._api.viewer
            known = sorted({person.username, person.entity, *person.teams} - {None})
        if self.entity not in known:
            raise UserError(f"{self._place}: {ADVICE[404]}; this key's entities: {', '.join(known)}")

    def _settings(self, wandb: Any, scratch: Path) -> Any:
        """A run of its own, whatever run the process is in, that watches nothing and gives up in time."""
        patience = {}
        for part in ("graphql", "file_transfer", "file_stream"):
            patience |= {
                f"x_{part}_retry_max": RETRIES,
                f"x_{part}_retry_wait_min_seconds": 0.5,
                f"x_{part}_retry_wait_max_seconds": 8,
            }
        return wandb.Settings(
            entity=self.entity,
            project=self.project,
            run_job_type="registry",
            run_group="registry",
            mode="online",
            reinit="create_new",
            root_dir=str(scratch),
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            init_timeout=TIMEOUT,
            finish_timeout=TIMEOUT,
            **patience,
        )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """The SDK raises a dozen kinds of errors, and in the middle of a call any of them."""
        try:
            yield
        except UserError:
            raise
        except OSError as error:
            if _is_local(error):
                raise
            raise self._told(what, error) from error
        except Exception as error:
            raise self._told(what, error) from error

    def _told(self, what: str, error: Exception) -> UserError:
        status = _status(error)
        advice = ADVICE.get(status, UNREACHABLE) if status else _advice(str(error))
        return UserError(f"{self._place}: cannot {what}: {_first_line(error)}; {advice}")


def _is_local(error: OSError) -> bool:
    """The disk's word, not the network's."""
    return error.filename is not None and not isinstance(error, ConnectionError | TimeoutError)


def _status(error: BaseException | None) -> int:
    """The HTTP status that an error stands for, 0 where there is none."""
    seen = 0
    while error is not None and not seen:
        response = getattr(error, "response", None)
        seen = getattr(response, "http_status", 0) or getattr(response, "status_code", 0)
        error = getattr(error, "exc", None) or error.__cause__
    return int(seen)


def _advice(text: str) -> str:
    """For errors that come from the uploading process as text only."""
    found = re.search(r"\b(?:HTTP|status|error:?|code) (401|403|404|409|429|507)\b", text)
    if found:
        return ADVICE[int(found[1])]
    return UNREACHABLE


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
