"""The README's commands, run in a clone: what a newcomer would copy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent


def commands():
    """Lines of the README's console blocks."""
    blocks = re.findall(r"```(?:console|sh|shell|bash)\n(.*?)```", (HOME / "README.md").read_text(), re.S)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The tracked files as they are now, in a repository of their own, with this environment as its `.venv`."""
    if shutil.which("git") is None or not (HOME / ".git").exists():
        pytest.skip("not a git checkout")
    target = tmp_path_factory.mktemp("clone") / "graphmill"
    subprocess.run(["git", "clone", "--quiet", str(HOME), str(target)], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-m", "-o", "--exclude-standard"], cwd=HOME, text=True, capture_output=True, check=True
    ).stdout.split()
    for name in listed:
        if (HOME / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HOME / name, target / name)
    if not Path(sys.prefix, "pyvenv.cfg").exists():
        pytest.skip("the tests run outside a virtual environment")
    (target / ".venv").mkdir()
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), target / ".venv")
    for name in ("bin", "lib"):  # not the whole folder: its stamps must be newer than the clone's files
        (target / ".venv" / name).symlink_to(Path(sys.prefix, name))
    for stamp in ("installed", "installed-test"):
        (target / ".venv" / stamp).touch()
    return target


def make(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, text=True, capture_output=True)


def test_help_lists_every_verb():
    listed = make(HOME, "help").stdout
    verbs = re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(), re.M)
    assert verbs and all(f"make {verb} " in listed for verb in verbs)


def test_the_two_commands_come_first():
    assert [line for line in commands() if line.startswith("make ")][:2] == ["make repro", "make test"]


@pytest.mark.slow
def test_repro_from_a_clone_and_again(clone):
    done = make(clone, "repro")
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    last = done.stdout.splitlines()[-8:]
    assert any("artifacts/evaluation/report.html" in line for line in last)
    assert any(re.search(r"payment-fraud v0", line) for line in last)
    assert any("average_precision" in line for line in last)
    again = make(clone, "repro")
    assert again.returncode == 0 and "up to date" in again.stdout
    changed = subprocess.run(["git", "status", "--porcelain", "data.dvc"], cwd=clone, text=True, capture_output=True)
    assert changed.stdout == "", "data.dvc is rewritten only when the data changed"


@pytest.mark.slow
def test_compile_as_the_readme_says(clone):
    done = make(clone, "compile")
    assert done.returncode == 0 and (clone / "compiled" / "training.yaml").exists(), done.stderr
