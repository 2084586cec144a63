"""What a job says to the page of its run, and to the jobs after it."""

import os
from pathlib import Path

from graphmill.errors import UserError


def tell(markdown: str) -> None:
    """Print it, and add it to the summary of the run where there is one."""
    text = markdown.rstrip("\n") + "\n"
    print(text, end="", flush=True)
    if os.environ.get("GITHUB_STEP_SUMMARY"):
        _append("GITHUB_STEP_SUMMARY", text)


def answer(name: str, value: str) -> None:
    """Set an output of the step; on a laptop it is printed.

    Raises:
        UserError: for a value of several lines, which would set other outputs.
    """
    if "\n" in value or "\r" in value:
        raise UserError(f"{name}: an output is one line, not {value!r}")
    _append("GITHUB_OUTPUT", f"{name}={value}\n")


def _append(variable: str, text: str) -> None:
    if file := os.environ.get(variable):
        with Path(file).open("a", encoding="utf-8") as target:
            target.write(text)
    else:
        print(text, end="", flush=True)
