"""The data folder as it is, or as it was at a revision of a DVC repository."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphmill.errors import UserError
from graphmill.ingest.params import Params


@contextmanager
def folder(data: Path, params: Params) -> Iterator[Path]:
    """The data folder, or a copy of what it was at a revision, which is removed afterwards.

    Raises:
        UserError: when there is no such folder or revision.
    """
    if params.revision is None:
        if not data.is_dir():
            raise UserError(f"{data}: no such data folder; `dvc pull data.dvc` fetches the sample's")
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="graphmill-data-") as scratch:
        target = Path(scratch, "data")
        _fetch(data, target, params)
        yield target


def _fetch(data: Path, target: Path, params: Params) -> None:
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

    name = data.name if data.is_absolute() else data.as_posix()
    place = params.repository or "this repository"
    try:
        root = Path(params.repository or Repo.find_root()).resolve()
        if data.resolve().is_relative_to(root):
            name = data.resolve().relative_to(root).as_posix()
        system = DVCFileSystem(url=params.repository, rev=params.revision)
        if not system.isdir(name):
            raise UserError(f"{name}: no such folder at revision {params.revision!r} of {place}")
        system.get(name, str(target), recursive=True)
    except UserError:
        raise
    except Exception as error:  # dvc's errors have no common base that it exports
        raise UserError(f"{name} at revision {params.revision!r} of {place}: {error}") from None
