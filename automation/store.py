"""A folder in an object store."""

import fsspec

from graphmill.errors import UserError

PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}
"""What speaks to a store, by the scheme of its address."""


def opened(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of an address, and the place in it.

    Raises:
        UserError: when nothing here speaks to such a store.
    """
    try:
        return fsspec.core.url_to_fs(url.rstrip("/"))  # type: ignore[no-any-return]
    except (ImportError, ValueError) as error:
        package = PACKAGES.get(url.partition("://")[0])
        way = f"`python -m pip install {package}`, or `make remote` with a DVC_REMOTE there" if package else str(error)
        raise UserError(f"{url}: nothing here speaks to such a store; {way}") from None
