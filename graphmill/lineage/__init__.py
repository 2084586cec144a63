"""Lineage: which data, which code and which numbers an artifact was made from.

Every artifact carries ``lineage.json``. It holds no time, host or path, so that two runs of the same thing
write the same bytes.
"""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphmill.artifact import Artifact, digest_of, file_digest
from graphmill.errors import UserError
from graphmill.lineage.repository import git, python_files

PACKAGE = Path(__file__).parent.parent
"""The folder of the graphmill package: what `code` describes."""

REVISION_VARIABLE = "GRAPHMILL_REVISION"
"""Names the git revision where there is no checkout, as in an image."""

LIBRARIES = (
    "numpy",
    "torch",
    "torch-geometric",
    "numba",
    "lightgbm",
    "scikit-learn",
    "duckdb",
    "ibis-framework",
    "pyarrow",
    "graphmill",
)


def record(
    stage: str, parameters: Mapping[str, Any], inputs: Mapping[str, Artifact], data: str | None = None
) -> dict[str, Any]:
    """The lineage of what ``stage`` is about to write.

    Args:
        stage: the stage's name.
        parameters: canonical parameters by section, as plain JSON values.
        inputs: the artifacts that were read, by name.
        data: the digest of the source data (`data_digest`); only the stage that reads it has one.

    Returns:
        ``stage``, ``parameters``, ``inputs`` (name to digest), ``data``, ``code``, ``packages``, and
        ``artifacts``: the same record of everything upstream, each once, by name. Where two different
        artifacts of one name are upstream (a model judged on a newer graph than it was trained on), the
        one farther away is called ``name@`` and the start of its digest.
    """
    return {
        "stage": stage,
        "parameters": dict(parameters),
        "inputs": {name: item.digest for name, item in sorted(inputs.items())},
        "data": data,
        "code": code(),
        "packages": packages(),
        "artifacts": _upstream(inputs),
    }


def code() -> dict[str, Any]:
    """Digest of the package's source, git revision of its checkout and whether files were modified since.

    ``revision`` and ``modified`` are None where they cannot be known (no git, not a checkout).
    """
    return {"source": source_digest(PACKAGE), **_revision(PACKAGE)}


def packages() -> dict[str, str]:
    """Versions of Python and of the libraries that decide results, those that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def source_digest(folder: Path) -> str:
    """SHA-256 over names and contents of all ``*.py`` files under ``folder``."""
    return _digest(folder, sorted(folder.rglob("*.py")))


def source_digest_at(folder: Path, revision: str) -> str | None:
    """`source_digest` of what ``folder`` was at a git revision; None where it was not, or there is no git."""
    files = python_files(folder, revision)
    return _listed(files) if files else None


def data_digest(folder: Path) -> str:
    """SHA-256 over names and contents of all files under ``folder`` but hidden ones; a file counts as itself.

    Raises:
        UserError: when nothing is there.
    """
    if folder.is_file():
        return file_digest(folder)
    files = [item for item in sorted(folder.rglob("*")) if item.is_file() and not _hidden(item, folder)]
    if not files:
        raise UserError(f"{folder}: no data here; name the folder with the source tables")
    return _digest(folder, files)


def _digest(folder: Path, files: list[Path]) -> str:
    return _listed({file.relative_to(folder).as_posix(): file_digest(file) for file in files})


def _listed(files: Mapping[str, str]) -> str:
    """One digest of names and the digests of their contents."""
    return digest_of("".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items())).encode())


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _upstream(inputs: Mapping[str, Artifact]) -> dict[str, Any]:
    """Inputs under their own names first, so that what is nearest keeps the plain name."""
    found: dict[str, Any] = {}
    for name, item in sorted(inputs.items()):
        own = {key: value for key, value in item.lineage.items() if key not in ("artifacts", "seal")}
        _add(found, name, {**own, "digest": item.digest})
    for _, item in sorted(inputs.items()):
        for name, entry in sorted(item.lineage.get("artifacts", {}).items()):
            _add(found, name.split("@")[0], entry)
    return found


def _add(found: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    if name in found and found[name]["digest"] != entry["digest"]:
        name = f"{name}@{entry['digest'][:12]}"
    found.setdefault(name, entry)


def _revision(folder: Path) -> dict[str, Any]:
    """Git's word on ``folder``; an untracked folder (an installed package) belongs to no revision."""
    if git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"revision": os.environ.get(REVISION_VARIABLE) or None, "modified": None}
    changed = git(folder, "status", "--porcelain", "--", ".")
    return {"revision": git(folder, "rev-parse", "HEAD"), "modified": bool(changed)}
