"""``python -m graphmill.deploy``: build the overlays, say whether a cluster would take them, prepare one for them."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from graphmill.artifact import write_text
from graphmill.deploy import validate
from graphmill.deploy.params import Params
from graphmill.deploy.release import NAME, home, overlays
from graphmill.errors import UserError
from graphmill.params import load

KUBECTL = "kubectl"
BEFORE = ("ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim")
"""Kinds that the first run of a pipeline needs, before there is a release that brings them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 when something is wrong with a manifest, 2 for another mistake."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
    except UserError as error:
        print(f"manifests: {error}", file=sys.stderr)
        return 2
    return status


def build(given: argparse.Namespace) -> int:
    """Build every overlay with `kubectl kustomize` and check it."""
    if not shutil.which(KUBECTL):
        print("manifests: kubectl is not installed here: nothing is built and nothing checked")
        return 0
    if not shutil.which(validate.PROMTOOL):
        print("manifests: promtool is not installed here: the alerts are not checked (Debian's package prometheus)")
    given.output.mkdir(parents=True, exist_ok=True)
    source = home()
    told = [
        _told(name, rendered(source / "overlays" / name), given.output / f"{name}.yaml") for name in overlays(source)
    ]
    return max(told)


def check(given: argparse.Namespace) -> int:
    """Check what was built already: files, or `-` for standard input."""
    return max(_told(file, sys.stdin.read() if file == "-" else _text(Path(file))) for file in given.files)


def prepare(given: argparse.Namespace) -> int:
    """Print the accounts, rights and claims of a release: the first run needs them before there is one."""
    wanted = objects(Params.parse(load(given.params)["deploy"], "deploy"))
    print(yaml.safe_dump_all([item for item in wanted if item["kind"] in BEFORE], sort_keys=False), end="")
    return 0


def objects(params: Params) -> list[dict[str, Any]]:
    """What the overlay of ``params`` applies, with the service's name, in its namespace; of no version.

    Raises:
        UserError: when there is no such overlay, or kubectl is not installed.
    """
    if not shutil.which(KUBECTL):
        raise UserError("kubectl is not installed here; it builds the manifests, and applies them")
    text = rendered(home() / "overlays" / params.overlay).replace(NAME, params.name)
    found = validate.read(text, params.overlay)
    for item in found:
        for placed in (item["metadata"], *item.get("subjects", [])):
            placed["namespace"] = params.namespace
    return found


def rendered(folder: Path) -> str:
    """What Kustomize makes of a folder.

    Raises:
        UserError: with Kustomize's own words.
    """
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{folder}: {done.stderr.strip()}")
    return done.stdout


def _told(name: str, text: str, target: Path | None = None) -> int:
    documents = validate.read(text, name)
    found = validate.problems(documents)
    for problem in found:
        print(f"{name}: {problem}", file=sys.stderr)
    if target is not None:
        write_text(target, text)
    place = "" if target is None else f", in {target}"
    print(f"manifests: {name}: {len(documents)} objects, {len(found) or 'nothing'} wrong{place}")
    return int(bool(found))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.deploy",
        description="Build the overlays of manifests/, and say what a cluster would refuse of them.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    first = commands.add_parser("build", help=build.__doc__, description=build.__doc__)
    first.add_argument("--output", type=Path, default=Path("compiled/manifests"), help="folder (compiled/manifests)")
    first.set_defaults(command=build)
    second = commands.add_parser("validate", help=check.__doc__, description=check.__doc__)
    second.add_argument("files", nargs="+", metavar="FILE", help="YAML, as `kubectl kustomize` writes it")
    second.set_defaults(command=check)
    third = commands.add_parser("prepare", help=prepare.__doc__, description=prepare.__doc__)
    third.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)")
    third.set_defaults(command=prepare)
    return parser


if __name__ == "__main__":
    sys.exit(main())
