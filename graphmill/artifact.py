"""Artifacts: folders that appear whole or not at all, and are read only when unaltered."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphmill import shared
from graphmill.errors import UserError

FORMAT = 1
LINEAGE = "lineage.json"
FULL = os.strerror(errno.ENOSPC)


@dataclass
class Draft:
    """An artifact that is being written: files go into ``folder``, facts into ``manifest``."""

    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] | None = None


@dataclass(frozen=True)
class Artifact:
    """An artifact that was read and verified; ``digest`` identifies its content."""

    path: Path
    kind: str
    manifest: dict[str, Any]
    digest: str
    lineage: dict[str, Any]


@contextmanager
def write(path: str | Path, kind: str) -> Iterator[Draft]:
    """Write the artifact ``kind`` at ``path``: into a hidden sibling first, then one rename.

    What stood at ``path`` before stays until the new one is whole; a failed or killed writer leaves only
    the hidden sibling, which the next writer clears. Large kinds go to the shared volume, where there is one.

    Raises:
        UserError: when the disk is full, the folder cannot be written, or another run is writing it.
    """
    target = shared.place(Path(path), kind)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _claimed(target) as partial:
            draft = Draft(partial)
            yield draft
            _seal(draft, kind)
            replace(partial, target)
        shared.point(Path(path), target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {told(error)}") from error
    except Exception as error:
        # safetensors and DuckDB have errors of their own for what the system said
        if isinstance(error, UserError) or FULL not in str(error):
            raise
        raise UserError(f"{target}: cannot be written: {FULL}; make room and run it again") from error


def copy(source: Artifact, path: str | Path) -> None:
    """Write a verified artifact once more at ``path``, whole or not at all.

    Raises:
        UserError: when it changes meanwhile, the disk is full, or the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _claimed(target) as partial:
            shutil.copytree(source.path, partial, dirs_exist_ok=True)
            if read(partial, source.kind).digest != source.digest:
                raise UserError(f"{source.path}: changed while it was being copied; run it again")
            replace(partial, target)
    except shutil.Error as error:  # one line a file; the first says enough
        raise UserError(f"{target}: cannot be written: {error.args[0][0][2]}") from error
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {told(error)}") from error


@contextmanager
def _claimed(target: Path) -> Iterator[Path]:
    """A fresh hidden sibling that is this run's alone; what a dead run left is cleared, a living one's is not."""
    partial = target.parent / f".{target.name}.partial"
    if partial.is_dir():
        left = _lock(partial)
        if left is None:
            raise UserError(f"{target}: another run is writing it; wait for it, or give this one another folder")
        os.close(left)
    _remove(partial)
    partial.mkdir()
    handle = _lock(partial)
    try:
        yield partial
    finally:
        _remove(partial)
        if handle:
            os.close(handle)


def _lock(folder: Path) -> int | None:
    """A lock on a folder that ends with the process, as an open handle; None where another holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        pass  # a file system without locks: as good as it gets there
    return handle


def read(path: str | Path, kind: str) -> Artifact:
    """Open the artifact ``kind`` at ``path`` after checking every file against its manifest.

    Raises:
        UserError: naming the missing or altered file, and what to run.
    """
    folder = shared.follow(Path(path))
    advice = f"run the stage that writes {kind!r} again"
    try:
        content = (folder / f"{kind}.json").read_bytes()
        manifest = json.loads(content)
        if manifest["format"] != FORMAT:
            file = folder / f"{kind}.json"
            raise UserError(f"{file}: format {manifest['format']}, this version reads {FORMAT}; {advice}")
        digest = digest_of(content)
        lineage = _lineage(folder, kind, digest, advice)  # first: of an altered manifest the files are not to blame
        _verify(folder, kind, dict(manifest["files"]), advice)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: no {kind} here ({kind}.json is missing); {advice}") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {told(error)}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder / kind}.json: damaged; {advice}") from None
    return Artifact(folder, kind, manifest, digest, lineage)


def _verify(folder: Path, kind: str, files: dict[str, str], advice: str) -> None:
    there = list_files(folder, kind)
    for name in sorted(set(there) ^ set(files)):
        raise UserError(f"{folder / name}: {'missing' if name in files else 'not in the manifest'}; {advice}")
    for name, digest in files.items():
        if file_digest(folder / name) != digest:
            raise UserError(f"{folder / name}: altered since it was written (its digest differs); {advice}")


def told(error: OSError) -> str:
    """What the system refused and where; an array that could not be written whole has neither a number nor a name."""
    advice = {errno.ENOSPC: "; make room and run it again", None: "; is the disk full?"}.get(error.errno, "")
    return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}{advice}"


def list_files(folder: Path, kind: str) -> list[str]:
    """Names of all files of an artifact, relative and sorted, without its manifest and lineage."""
    names = (item.relative_to(folder).as_posix() for item in folder.rglob("*") if item.is_file())
    return sorted(name for name in names if name not in (f"{kind}.json", LINEAGE))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def to_json(value: Any) -> str:
    """JSON that is equal for equal values: sorted keys, no NaN, a newline at the end."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def write_text(path: Path, content: str) -> None:
    """Replace a single file atomically."""
    partial = path.parent / f".{path.name}.partial"
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)


def _seal(draft: Draft, kind: str) -> None:
    files = {name: file_digest(draft.folder / name) for name in list_files(draft.folder, kind)}
    for name in files:  # safetensors writes for its owner alone; an artifact is for whoever may read its folder
        (draft.folder / name).chmod(0o644)
    content = to_json({**draft.manifest, "kind": kind, "format": FORMAT, "files": files})
    (draft.folder / f"{kind}.json").write_text(content, encoding="utf-8")
    if draft.lineage is not None:
        lineage = {**draft.lineage, "kind": kind, "digest": digest_of(content.encode())}
        sealed = to_json({**lineage, "seal": digest_of(to_json(lineage).encode())})
        (draft.folder / LINEAGE).write_text(sealed, encoding="utf-8")


def read_lineage(folder: Path) -> dict[str, Any] | None:
    """The lineage in a folder, as it was sealed; None where there is none.

    Raises:
        UserError: when it was altered.
    """
    file = folder / LINEAGE
    try:
        content = file.read_text(encoding="utf-8")
        lineage: dict[str, Any] = json.loads(content)
        unsealed = {key: value for key, value in lineage.items() if key != "seal"}
        if lineage["seal"] == digest_of(to_json(unsealed).encode()) and content == to_json(lineage):
            return lineage
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {told(error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{file}: altered since it was written; run the stage that writes this artifact again")


def _lineage(folder: Path, kind: str, digest: str, advice: str) -> dict[str, Any]:
    """The lineage that belongs to the content ``digest``; empty where there is none."""
    lineage = read_lineage(folder)
    if lineage is None:
        return {}
    if lineage["digest"] != digest:
        names = f"{folder / kind}.json"
        raise UserError(f"{names}: altered since it was written, or {LINEAGE} beside it is another's; {advice}")
    return lineage


def replace(partial: Path, target: Path) -> None:
    """Put a folder in another's place by two renames: between them a reader finds nothing, never a mixture."""
    old = target.parent / f".{target.name}.old"
    _remove(old)
    if target.exists():
        os.rename(target, old)
    os.rename(partial, target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
