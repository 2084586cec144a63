"""A model's files, carried to the store from which a cluster reads them."""

from pathlib import Path

from automation.store import opened
from graphmill.artifact import read
from graphmill.progress import say

CLAIM = "pvc://"
LAST = "model.json"
"""The manifest; where it is, all the rest is."""


def carry(model: Path, uri: str) -> None:
    """Copy a model folder to ``uri``, unless it is there. A claim cannot be written from here (docs/manifests.md).

    Raises:
        UserError: when the model is altered, or nothing here speaks to the store.
    """
    if uri.startswith(CLAIM):
        say(f"carry: {uri} is on a claim, which the pipeline or you have filled")
        return
    read(model, "model")
    system, place = opened(uri)
    if system.exists(f"{place}/{LAST}"):
        say(f"carry: {uri} is there")
        return
    files = [file for file in sorted(model.rglob("*")) if file.is_file() and file != model / LAST]
    for file in (*files, model / LAST):
        target = f"{place}/{file.relative_to(model).as_posix()}"
        system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        system.put_file(str(file), target)
    say(f"carry: {len(files) + 1} files to {uri}")
