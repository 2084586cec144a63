"""Where the model comes from: a folder, a version or alias of the registry, or a URI that is fetched once."""

import tempfile
from pathlib import Path

import fsspec

from graphmill.errors import UserError
from graphmill.model import Model
from graphmill.registry import open as open_registry


def find(name: str, registry: str) -> tuple[Model, str]:
    """The model and its version: the registry's, or the beginning of its digest.

    Args:
        name: a folder, a version or alias of the registry, or a storage URI such as ``s3://models/fraud/v3``.
        registry: the registry's home.

    Raises:
        UserError: when there is none, or it is altered.
    """
    if "://" in name:
        model = Model.open(_fetched(name))
    elif Path(name).is_dir():
        model = Model.open(name)
    else:
        home = open_registry(registry)
        version = home.resolve(name)
        return Model.open(home.path(version)), version
    return model, model.artifact.digest[:16]


def _fetched(uri: str) -> Path:
    """A local copy of a remote folder, for the life of the machine's temporary files."""
    target = Path(tempfile.mkdtemp(prefix="graphmill-model-"))
    try:
        files, root = fsspec.url_to_fs(uri)
        files.get(root.rstrip("/") + "/", f"{target}/", recursive=True)
    except ImportError as error:
        raise UserError(f"{uri}: {error}; install what reads it, or mount the model and give its folder") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{uri}: cannot be fetched: {error}") from None
    return target
