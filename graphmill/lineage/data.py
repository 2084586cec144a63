"""The source data of a lineage: the hash that ``data.dvc`` names, and the folder that DVC or git has at a revision."""

import configparser
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from graphmill import lineage
from graphmill.errors import UserError
from graphmill.lineage.recipe import Recipe
from graphmill.lineage.repository import git
from graphmill.lineage.scratch import Scratch

FOLDER = "data"
"""The landing folder of the template; ``data.dvc`` beside it versions it."""


def dvc_hash(folder: Path) -> str:
    """DVC's hash of a folder: MD5 over the sorted list of its files and their MD5."""
    files = sorted((item for item in folder.rglob("*") if item.is_file()), key=lambda item: _parts(item, folder))
    listed = [{"md5": _md5(file), "relpath": file.relative_to(folder).as_posix()} for file in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def named_hash(folder: Path, revision: str | None) -> tuple[str, str | None] | None:
    """The hash in the ``.dvc`` file beside ``folder``: as it was at a revision where that has it, else as it is.

    Returns:
        What the file is called and the hash, None for a hash that is not the MD5 of one folder; nothing at all
        where there is no such file.
    """
    file = folder.with_name(f"{folder.name}.dvc")
    content = git(folder.absolute().parent, "show", f"{revision}:./{file.name}") if revision else None
    if content is not None:
        return f"{file.name} at revision {revision:.12}", _named(content)
    return (file.name, _named(file.read_text(encoding="utf-8"))) if file.is_file() else None


def fetch(needed: Recipe, room: Scratch, tree: Path, given: Path | None) -> Path:
    """The folder with the data that a recipe names: ``given``, or what the work tree's git or DVC has.

    Raises:
        UserError: when it is not to be had, or is other data.
    """
    folder = tree / FOLDER if given is None else given.absolute()
    if needed.data is None or needed.parameters["ingest"].get("revision"):
        folder.mkdir(parents=True, exist_ok=True)  # the stage reads its sources elsewhere, or fetches them itself
        return folder
    if given is None and not folder.is_dir():
        _pull(room, tree)
    digest = lineage.data_digest(folder)
    if digest != needed.data:
        raise UserError(f"{folder}: other data than the version was made from: was {needed.data}, is {digest}")
    return folder


def _pull(room: Scratch, tree: Path) -> None:
    """What DVC's cache of the checkout has, else what its remote has; settings that are not in git come along."""
    file = f"{FOLDER}.dvc"
    if not (tree / file).is_file():
        raise UserError(f"no {file} at the revision: give the folder with the data as --data")
    _configure(room, tree)
    if _dvc(room, tree, "checkout", "--quiet", file).returncode == 0:
        return
    done = _dvc(room, tree, "pull", "--quiet", file)
    if done.returncode:
        told = done.stderr.strip() or f"exit status {done.returncode}"
        raise UserError(f"dvc cannot fetch {file} of the revision: {told}; give the folder with the data as --data")


def _configure(room: Scratch, tree: Path) -> None:
    """The checkout's settings that are not in git, and its cache, so that nothing is fetched twice."""
    settings = configparser.RawConfigParser()
    settings.optionxform = str  # type: ignore[assignment, method-assign] # names stay as they are written
    settings.read(room.checkout / ".dvc" / "config.local", encoding="utf-8")
    cache = _dvc(room, room.checkout, "cache", "dir")
    if cache.returncode == 0:
        settings.read_dict({"cache": {"dir": cache.stdout.strip()}})
    with (tree / ".dvc" / "config.local").open("w", encoding="utf-8") as stream:
        settings.write(stream)


def _dvc(room: Scratch, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, pass_fds=(room.lock,), capture_output=True, text=True, check=False
    )


def _named(content: str) -> str | None:
    """The hash in a ``.dvc`` file."""
    try:
        (out,) = yaml.safe_load(content)["outs"]
        return str(out["md5"]) if out.get("hash") == "md5" else None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _parts(file: Path, folder: Path) -> tuple[str, ...]:
    return file.relative_to(folder).parts


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
