"""A release of the template's own code: a tag, its notes from the changelog, and what is attached."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import graphmill
from automation.process import run
from graphmill.errors import UserError
from graphmill.progress import say

CHANGELOG = Path("CHANGELOG.md")


def publish(tag: str, files: Sequence[Path]) -> None:
    """Make the release on GitHub, as a draft that a person publishes.

    Raises:
        UserError: when the tag is not the version of the source, or the changelog has nothing to say of it.
    """
    if tag != f"v{graphmill.__version__}":
        raise UserError(
            f"TAG is {tag!r}, but the source is version {graphmill.__version__}: tag v{graphmill.__version__}"
        )
    if missing := [str(file) for file in files if not file.is_file()]:
        raise UserError(f"{', '.join(missing)}: not there; what is attached is made before")
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, "notes.md")
        words.write_text(notes(graphmill.__version__, CHANGELOG.read_text(encoding="utf-8")), encoding="utf-8")
        given = ("--draft", "--verify-tag", f"--title=graphmill {tag}", f"--notes-file={words}")
        say(run("gh", "release", "create", tag, *given, *map(str, files)).strip())


def notes(version: str, changelog: str) -> str:
    """The changelog's section of a version.

    Raises:
        UserError: when it has none.
    """
    found = re.search(rf"^## \[?{re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if found is None or not found[1].strip():
        raise UserError(f"{CHANGELOG}: no section `## {version}`; move what is under Unreleased there")
    return found[1].strip() + "\n"
