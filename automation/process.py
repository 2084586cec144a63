"""Programs that the steps run, and what is told when one fails."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from graphmill.errors import UserError


def run(
    *command: str, cwd: Path | str = ".", variables: Mapping[str, str] | None = None, text: str | None = None
) -> str:
    """Run a program and return its standard output.

    Raises:
        UserError: with the program's own words, when it fails or is not there.
    """
    try:
        done = subprocess.run(command, cwd=cwd, env=variables, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed here") from None
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise UserError(f"`{' '.join(command)}` ended with status {done.returncode}: {told}")
    return done.stdout


def show(*command: str, cwd: Path | str = ".", variables: Mapping[str, str] | None = None) -> int:
    """Run a program whose output is for whoever watches; returns its exit status.

    Raises:
        UserError: when it is not there.
    """
    try:
        return subprocess.run(command, cwd=cwd, env=variables, check=False).returncode
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed here") from None
