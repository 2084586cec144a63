"""What DVC's files say of a data folder: the hash that ``data.dvc`` names, computed anew."""

import hashlib
import json
from pathlib import Path

import yaml

from graphmill.lineage.repository import git


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
