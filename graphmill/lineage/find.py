"""The artifact that a name on the command line means: a folder, or a version or alias of the registry."""

from pathlib import Path

from graphmill import registry
from graphmill.errors import UserError
from graphmill.registry import Registry, Version

SHORT = 16
"""So many digits of its digest name a model in answers, metrics and logs."""


def is_folder(name: str) -> bool:
    """Whether ``name`` is a folder, or a path that is meant to be one."""
    return Path(name).is_dir() or "/" in name


def folder(name: str, home: str) -> tuple[Path, str | None]:
    """The folder that ``name`` means and, for a version or alias of the registry at ``home``, the version.

    Raises:
        UserError: when there is no such version, or it was altered.
    """
    if is_folder(name):
        return Path(name), None
    found = _opened(home)
    version = found.resolve(name)
    return found.path(version), version


def version(name: str, home: str) -> Version:
    """The registry's record of a version: by its name, an alias, or the beginning of its digest.

    Raises:
        UserError: when there is none.
    """
    found = _opened(home)
    versions = found.versions()
    for item in versions:
        if len(name) >= SHORT and item.digest.startswith(name):
            return item
    wanted = found.resolve(name)
    return next(item for item in versions if item.name == wanted)


def _opened(home: str) -> Registry:
    if "://" not in home and not Path(home).is_dir():
        raise UserError(f"{home}: no registry here; give its home with --registry, or the folder of an artifact")
    return registry.open(home)
