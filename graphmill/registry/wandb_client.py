"""What the registry asks of W&B's server, in five calls; every failure says what was wrong and what to do."""

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
"""Times that an upload's request is sent again, after 2 seconds and longer; the SDK takes 0 for its own 20."""

ADVICE = {
    401: "the API key was not accepted; set WANDB_API_KEY, or run `wandb login`, with a key of this server",
    403: "the API key may not do that; ask the team's administrator for write access to the project",
    404: "no such entity or project; check the names, and that the key's account belongs to the team",
    429: "W&B asks for fewer requests; wait a minute and do it again",
}
"""What to do about an answer, by its HTTP status."""
WORDS = (
    (r"(error|http|status) 401|api.key|no authentication|not logged in|verify credentials.*40[13]", 401),
    (r"(error|http|status) 403|permission|forbidden", 403),
    (r"(error|http|status) 404|not found", 404),
    (r"(error|http|status) 429", 429),
)
"""How the SDK tells of the same where it gives no status."""
DISK = "make room, or let WANDB_CACHE_DIR and WANDB_DATA_DIR name folders that can be written"
UNREACHABLE = "the server does not answer as it should; try again when it does: nothing is done twice"


class Client:
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
        with self._asking("write"):
            self._api  # noqa: B018 - offline, and without a key, it says so before anything is uploaded
            version = wandb.Artifact(collection, kind, metadata=dict(metadata))
            version.add_dir(str(content), policy="immutable", skip_cache=True)
            run = wandb.init(settings=self._settings(wandb, scratch))
            failed = 1
            try:
                run.log_artifact(version)
                version.wait(UPLOAD_TIMEOUT)
                failed = 0
            finally:
                run.finish(exit_code=failed)

    def name(self, version: Any, aliases: list[str]) -> None:
        """Let W&B's own aliases name a version; the server takes them from the one that had them.

        Raises:
            UserError: when the server does not let it.
        """
        with self._asking("name a version"):
            version.aliases = [*version.aliases, *aliases]
            version.save()

    def describe(self, version: Any, metadata: Mapping[str, Any]) -> None:
        """Replace some of a version's metadata; the rest stays.

        Raises:
            UserError: when the server does not let it.
        """
        with self._asking("describe a version"):
            version.metadata = {**version.metadata, **metadata}
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
        patience: dict[str, int] = {}
        for part in ("graphql", "file_transfer", "file_stream"):
            patience |= {
                f"x_{part}_retry_max": RETRIES,
                f"x_{part}_retry_wait_min_seconds": 2,
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
        """What the SDK raises for the server's and the network's faults becomes one kind of error."""
        wandb = sdk.load()
        unanswered = wandb.sdk.lib.service.service_connection.WandbApiFailedError
        try:
            yield
        except (wandb.Error, unanswered, ValueError, RuntimeError, OSError) as error:
            raise self._told(what, error) from error

    def _told(self, what: str, error: Exception) -> UserError:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        if "did not respond in time" in said:  # of the SDK's own process, which is still trying
            said = f"no answer within {TIMEOUT} s"
        on_disk = isinstance(error, OSError) and error.filename is not None
        advice = DISK if on_disk else ADVICE.get(_status(error), UNREACHABLE)
        return UserError(f"{self._place}: cannot {what}: {said}; {advice}")


def _status(error: Exception) -> int:
    """The HTTP status that an error stands for, 0 where there is none; of an upload there are words only."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if status := getattr(response, "http_status", 0) or getattr(response, "status_code", 0):
            return int(status)
        cause = getattr(cause, "exc", None) or cause.__cause__
    return next((status for words, status in WORDS if re.search(words, str(error), re.IGNORECASE)), 0)
