"""The registry in a W&B project: one collection with the versions, one with the moves.

The versions are those of the artifact ``COLLECTION``. Every move is a version of the artifact
``COLLECTION-history``: the server numbers them, so that two writers at once make two moves, one after the
other, and a move is committed whole or not at all. The aliases follow from the moves, as in a directory's
history. W&B's own aliases are made to agree after each move, for its pages and automations; nothing here
reads them.
"""

import json
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.registry import Move, Version, cache, moves
from graphmill.registry.moves import KIND
from graphmill.registry.storage import now
from graphmill.registry.wandb_client import Client

HISTORY_KIND = "registry-history"
WISH = ("alias", "target", "who", "when", "why")
"""What is kept of a move; where it came from follows from the moves before it."""
TRIES = 3
"""Times that W&B's own aliases are looked at again after they were moved: another writer may move them too."""

LOG = getLogger(__name__)
_HOME = re.compile(r"wandb://([^/\s:]+)/([^/\\#?%:]{1,128})/([A-Za-z0-9_.-]{1,110})")


class WandbRegistry:
    """A registry at ``wandb://ENTITY/PROJECT/COLLECTION``; see `graphmill.registry.Registry` for its calls."""

    def __init__(self, home: str) -> None:
        """Nothing is asked of the server yet; a ``home`` of another shape is refused."""
        found = _HOME.fullmatch(home)
        if found is None:
            raise UserError(f"{home}: not a registry's home at W&B; give wandb://ENTITY/PROJECT/COLLECTION")
        entity, project, self._collection = found.groups()
        if project.startswith("wandb-registry-"):
            raise UserError(
                f"{home}: a W&B Registry takes links only; give a project of a team, and link its collection there"
            )
        self.home = home
        self._client = Client(entity, project)

    def register(self, model: str | Path, evaluation: Mapping[str, Any]) -> str:
        """Upload the model as the next version, unless its content is there already."""
        source = moves.source(model)
        name = self._named(source.digest)
        if name is None:
            return self._add(source, evaluation)
        found = next(item for item in self._uploaded() if item.version == name)
        if _record(found).evaluation != evaluation:
            self._client.describe(found, _judged(evaluation))
        return name

    def path(self, name: str) -> Path:
        """The model in this machine's cache, fetched when it is not there and verified always."""
        name = self.resolve(name)
        found = next(item for item in self._uploaded() if item.version == name)
        try:
            return cache.fetch(_record(found), lambda folder: self._client.download(found, folder))
        except UserError as error:
            raise UserError(f"{self.home}: version {name} is not to be had: {error}") from None

    def resolve(self, name: str) -> str:
        """The version that ``name`` means, checked to be there."""
        return moves.resolve(self.home, name, [version.name for version in self.versions()], self.aliases())

    def aliases(self) -> dict[str, str]:
        """Where the moves left each alias."""
        return moves.standing(self.history())

    def move(self, alias: str, version: str, why: str) -> None:
        """Commit one version of the history; then W&B's own aliases follow, those of an earlier move too."""
        moves.check_alias(alias)
        target = self.resolve(version)
        if self.aliases().get(alias) != target:
            self._commit({"alias": alias, "target": target, "who": self._client.who(), "when": now(), "why": why})
        try:
            self._show()
        except UserError as error:
            LOG.warning("%s; %s is %s, and W&B's own aliases follow with the next move", error, alias, target)

    def history(self) -> list[Move]:
        """Every move that changed something, in the server's order."""
        found: list[Move] = []
        for item in self._client.artifacts(HISTORY_KIND, self._history):
            try:
                wish = {key: str(item.metadata[key]) for key in WISH}
                moves.check_alias(wish["alias"])
            except (KeyError, UserError):
                place = f"{self._history}:{item.version}"
                raise UserError(f"{self.home}: {place} is damaged; restore its metadata from its move.json") from None
            found += moves.wished(moves.standing(found), **wish)
        return found

    def versions(self) -> list[Version]:
        """Every version's record; of two with the same content, which two writers at once can make, the first."""
        records = [_record(item) for item in self._uploaded()]
        first: dict[str, Version] = {}
        for record in records:
            first.setdefault(record.digest, record)
        return list(first.values())

    @property
    def _history(self) -> str:
        return f"{self._collection}-history"

    def _uploaded(self) -> list[Any]:
        """W&B's versions, without any that something else than a registry put into the collection."""
        return [item for item in self._client.artifacts(KIND, self._collection) if "registered_at" in item.metadata]

    def _named(self, digest: str) -> str | None:
        return next((version.name for version in self.versions() if version.digest == digest), None)

    def _add(self, source: artifact.Artifact, evaluation: Mapping[str, Any]) -> str:
        """A copy is uploaded, so that what is uploaded is what was verified."""
        record = {"digest": source.digest, "seal": source.lineage["seal"]}
        record |= {"registered_by": self._client.who(), "registered_at": now()}
        with _scratch() as (content, rest):
            shutil.copytree(source.path, content)
            if artifact.read(content, KIND).digest != source.digest:
                raise UserError(f"{source.path}: changed while it was being registered; register it again")
            self._client.add(KIND, self._collection, content, {**_judged(evaluation), **record}, rest)
        name = self._named(source.digest)
        if name is None:
            raise UserError(
                f"{self.home}: the collection has this model already, put there by something else than the registry; "
                "give the registry a collection of its own"
            )
        return name

    def _commit(self, wish: dict[str, str]) -> None:
        """The file makes the version unlike any other; the metadata is what is read."""
        with _scratch() as (content, rest):
            content.mkdir()
            unique = {**wish, "id": uuid.uuid4().hex}
            (content / "move.json").write_text(artifact.to_json(unique), encoding="utf-8")
            self._client.add(HISTORY_KIND, self._history, content, wish, rest)

    def _show(self) -> None:
        """Let W&B's own aliases agree with the history, until nothing is left to move."""
        for _ in range(TRIES):
            aliases, moved = self.aliases(), False
            for item in self._uploaded():
                due = [alias for alias, target in aliases.items() if target == item.version]
                if lacking := [alias for alias in due if alias not in item.aliases]:
                    self._client.name(item, lacking)
                    moved = True
            if not moved:
                return


def _judged(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """A judgement as metadata: whole, and what a person looks for in W&B's pages."""
    shown = {key: evaluation[key] for key in ("verdict", "winner") if key in evaluation}
    return {**shown, "evaluation": artifact.to_json(dict(evaluation))}


def _record(item: Any) -> Version:
    said = item.metadata
    try:
        evaluation, seal = json.loads(said["evaluation"]), said.get("seal")
        return Version(item.version, said["digest"], said["registered_by"], said["registered_at"], evaluation, seal)
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{item.name}: its metadata is damaged; delete the version at W&B, or restore it") from None


@contextmanager
def _scratch() -> Iterator[tuple[Path, Path]]:
    """A folder to be made with what is uploaded, and one for the SDK's own files; neither stays."""
    try:
        with tempfile.TemporaryDirectory(prefix="graphmill-registry-") as name:
            yield Path(name, "content"), Path(name)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error} ({error.filename}); make room") from error
