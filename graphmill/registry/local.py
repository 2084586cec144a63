"""The registry in a directory: one folder a version, and one history from which the aliases follow.

``versions/<version>/model/`` is the copy of the model, ``versions/<version>/version.json`` says who brought
it and how it was judged, ``history.jsonl`` has one line a move. There is no second file with the aliases:
one atomic replacement of the history is one move, so a crash leaves the state before it or after it.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.registry import Move, Version, moves
from graphmill.registry.moves import KIND
from graphmill.registry.storage import flush_tree, locked, now, replace_text, who

HISTORY = "history.jsonl"
RECORD = "version.json"
_VERSION = re.compile(r"v(\d+)")


class LocalRegistry:
    """A registry in the directory ``home``; see `graphmill.registry.Registry` for what each call does."""

    def __init__(self, home: Path) -> None:
        """Nothing is made or read yet; a ``home`` that is a file is refused."""
        self.home = home
        if home.exists() and not home.is_dir():
            raise UserError(f"{home}: a file, where the registry's directory should be; give another home")

    def register(self, model: str | Path, evaluation: Mapping[str, Any]) -> str:
        """Copy the model in under the next version, unless its content is there already."""
        source = moves.source(model)
        with self._writing():
            for version in self.versions():
                if version.digest == source.digest:
                    self.path(version.name)
                    self._judge(version.name, evaluation)
                    return version.name
            return self._add(source, evaluation)

    def path(self, name: str) -> Path:
        """The verified model folder of a version or alias."""
        folder = self._folder(self.resolve(name))
        if not self._record(folder.name).holds(artifact.read(folder / KIND, KIND)):
            told = "not the model that was registered, or not with its lineage"
            raise UserError(f"{folder}: {told}; restore it from a backup")
        return folder / KIND

    def resolve(self, name: str) -> str:
        """The version that ``name`` means, checked to be there."""
        return moves.resolve(self.home, name, self._names(), self.aliases())

    def aliases(self) -> dict[str, str]:
        """The last target of each alias, in the order of `ALIASES`."""
        return moves.standing(self.history())

    def move(self, alias: str, version: str, why: str) -> None:
        """One replacement of the history; a move to where the alias stands is none."""
        moves.check_alias(alias)
        with self._writing():
            history, target = self.history(), self.resolve(version)
            if added := moves.wished(moves.standing(history), alias, target, who(), now(), why):
                self._write([*history, *added])

    def history(self) -> list[Move]:
        """Every move; an unreadable line is an error that names it, never skipped."""
        file = self.home / HISTORY
        found: list[Move] = []
        try:
            lines = file.read_bytes().removesuffix(b"\n").split(b"\n")  # a reason may hold other line ends
        except FileNotFoundError:
            return found
        except OSError as error:
            raise UserError(f"{self.home}: the registry cannot be read: {artifact.told(error)}") from None
        for number, line in enumerate(lines, 1):
            try:
                found.append(_move(json.loads(line)))
            except (ValueError, TypeError, AttributeError, UserError):
                raise UserError(f"{file}: line {number} is damaged; restore the file from a backup") from None
        return found

    def versions(self) -> list[Version]:
        """Every version's record."""
        return [self._record(name) for name in self._names()]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The lock, and a clear word for what the disk refuses."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            with locked(self.home / ".lock"):
                yield
        except OSError as error:
            raise UserError(f"{self.home}: the registry cannot be written: {_reason(error)}") from error

    def _add(self, source: artifact.Artifact, evaluation: Mapping[str, Any]) -> str:
        name = self._next()
        folder = self._folder(name)
        partial = folder.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(source.path, partial / KIND)
            if artifact.read(partial / KIND, KIND).digest != source.digest:
                raise UserError(f"{source.path}: changed while it was being registered; register it again")
            record = {"digest": source.digest, "seal": source.lineage["seal"]}
            record |= {"registered_by": who(), "registered_at": now()}
            content = artifact.to_json({**record, "evaluation": dict(evaluation)})
            (partial / RECORD).write_text(content, encoding="utf-8")
            flush_tree(partial)
            os.rename(partial, folder)
            flush_tree(folder.parent, deep=False)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return name

    def _judge(self, name: str, evaluation: Mapping[str, Any]) -> None:
        """The newer judgement of a version in place of the older; everything else of its record stays."""
        file = self._folder(name) / RECORD
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["evaluation"] != evaluation:
            replace_text(file, artifact.to_json({**record, "evaluation": dict(evaluation)}))

    def _next(self) -> str:
        """A number that no version has, nor had when an alias named it: it means one thing for ever."""
        used = [*self._names(), *(move.target for move in self.history())]
        return f"v{1 + max((int(name[1:]) for name in used), default=-1)}"

    def _names(self) -> list[str]:
        folder = self.home / "versions"
        try:
            names = [item.name for item in folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.home}: the registry cannot be read: {artifact.told(error)}") from None
        return sorted((name for name in names if _VERSION.fullmatch(name)), key=lambda name: int(name[1:]))

    def _folder(self, name: str) -> Path:
        return self.home / "versions" / name

    def _record(self, name: str) -> Version:
        file = self._folder(name) / RECORD
        try:
            return Version(name=name, **json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            raise UserError(f"{file}: missing or damaged; restore version {name} from a backup") from None

    def _write(self, history: list[Move]) -> None:
        lines = [json.dumps(move.line(), ensure_ascii=False) for move in history]
        replace_text(self.home / HISTORY, "".join(f"{line}\n" for line in lines))


def _reason(error: OSError) -> str:
    """Why, and at which file; `shutil.copytree` gathers one reason a file, of which the first says enough."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return str(error.args[0][0][2])
    return artifact.told(error)


def _move(line: Any) -> Move:
    """The move that a line tells.

    Raises:
        ValueError: when no registry has such an alias or version.
    """
    move = Move.parse(line)
    moves.check_alias(move.alias)
    if not _VERSION.fullmatch(move.target):
        raise ValueError(move.target)
    return move
