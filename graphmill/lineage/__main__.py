"""``python -m graphmill.lineage``: what an artifact was made from, whether that is still so, and making it again."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.lineage import check, find, shown, trace
from graphmill.lineage.check import Check

VERIFY = """Recompute the digests of the artifact, of everything upstream that is found, of the source code
and of the data; look the git revision up; compare package versions; name what differs. Exit status: 0 when
nothing differs, 1 when something does, 2 for a mistake in the command."""

REBUILD = """Check the code of each stage and the data out as the lineage names them, run ingest, graph, features and
train again with the recorded parameters, and say whether the model is bit-identical. Exit status: 0 when it is, 1 when
it is not, 2 when it cannot be made."""

CARD = """The model card, from the model, its lineage and its evaluation: what it predicts, from which data, how well,
for whom worse, its limits, and how to make it again."""

TRACE = """From a served answer (a file with what the predictor returned, - for standard input) back to the version,
its gates, the snapshot and offset, and down to data, code and numbers."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return status


def show(given: argparse.Namespace) -> int:
    """One row for the artifact and each upstream one, then its parameters."""
    folder, version = find.folder(given.name, given.registry)
    _show(check.load(folder), version)
    return 0


def verify(given: argparse.Namespace) -> int:
    """A row for each thing looked at, and one line that says it all."""
    checks = _checks(given)
    shown.table([(item.state, item.what, item.detail) for item in checks], "", "what", "found")
    differing = [item.what for item in checks if item.state == "differs"]
    unchecked = sum(item.state == "not checked" for item in checks)
    rest = f"; {unchecked} not there to check" if unchecked else ""
    print(f"differs: {', '.join(differing)}{rest}" if differing else f"nothing differs{rest}")
    return 1 if differing else 0


def _checks(given: argparse.Namespace) -> list[Check]:
    if find.is_folder(given.name):
        return check.verify(Path(given.name), given.artifacts, given.data)
    version = find.version(given.name, given.registry)
    try:
        folder, _ = find.folder(version.name, given.registry)
    except UserError as error:
        return [Check(f"version {version.name}", "differs", str(error))]
    return [Check(f"version {version.name}", "same"), *check.verify(folder, given.artifacts, given.data, "model")]


def follow(given: argparse.Namespace) -> int:
    """The answer, what answered, the graph it was computed from, and the lineage of both."""
    answer = trace.read(_content(given.answer))
    version = find.version(answer.version, given.registry)
    folder, _ = find.folder(version.name, given.registry)
    if answer.scores:
        shown.table(answer.scores, *trace.COLUMNS)
    rows = [("version", f"{version.name}, registered {version.registered_at} by {version.registered_by}")]
    rows += [("digest", version.digest), ("verdict", str(version.evaluation.get("verdict", "not known")))]
    rows += [("snapshot", answer.snapshot), ("offset", f"{answer.offset} events were applied to it")]
    shown.table(rows, "", "")
    graph = None if given.graph is None else trace.served(given.graph, answer.snapshot)
    if graph is not None:
        print(f"the snapshot, at {given.graph}:")
        shown.table(shown.chain(graph), *shown.COLUMNS)
    else:
        place = f"{given.graph} is another one" if given.graph else "give --graph, the folder above graph/"
        print(f"the snapshot's own lineage is not shown: {place}\n")
    print("the model:")
    _show(check.load(folder), None)
    print(f"again:    python -m graphmill.serving.replay --model {version.name} --registry {given.registry} "
          f"--graph SNAPSHOT --state STATE --offset {answer.offset}")  # fmt: skip
    print(f"rebuild:  python -m graphmill.lineage rebuild {version.name} --registry {given.registry}")
    return 0


def remake(given: argparse.Namespace) -> int:
    """A row a stage, then the verdict."""
    from graphmill.lineage import rebuild

    folder, version = find.folder(given.name, given.registry)
    model = artifact.read(folder, "model")
    if not model.lineage:
        raise UserError(f"{folder}: no {artifact.LINEAGE}: nothing says how it was made")
    try:
        found = rebuild.rebuild(model, given.repository, given.data, given.scratch, given.keep)
    except KeyboardInterrupt:
        print("rebuild: stopped; nothing was left behind" if not given.keep else "rebuild: stopped", file=sys.stderr)
        return 130
    print()
    rows = [(one.step.artifact, one.step.digest[:12], one.digest[:12], "same" if one.same else "differs",
             f"{one.seconds:.1f}") for one in found.stages]  # fmt: skip
    shown.table(rows, "artifact", "was", "is", "", "seconds")
    if found.differences:
        shown.table([(item.file, item.how) for item in found.differences], "file", "how it differs")
    print(rebuild.verdict(version or str(folder), found))
    return 0 if found.same else 1


def describe(given: argparse.Namespace) -> int:
    """The model card, as Markdown on standard output or as two files."""
    from graphmill.evaluate import card
    from graphmill.model import Model

    folder, version = find.folder(given.name, given.registry)
    model = Model.open(folder)
    kept = find.version(version, given.registry).evaluation if version else {}
    content, page = card.render(model, _judged(given.evaluation, folder, model.artifact.digest) or kept, version)
    if given.output is None:
        print(content, end="")
        return 0
    try:
        given.output.mkdir(parents=True, exist_ok=True)
        for name, text in (("model_card.md", content), ("model_card.html", page)):
            artifact.write_text(given.output / name, text)
    except OSError as error:
        raise UserError(f"{given.output}: the card cannot be written: {error}") from None
    print(f"{given.output / 'model_card.html'}")
    return 0


def _judged(evaluation: Path | None, model: Path, digest: str) -> dict[str, Any]:
    """The evaluation that was named or stands beside the model, if it judged that model."""
    place = evaluation or model.parent / "evaluation"
    if evaluation is None and not place.is_dir():
        return {}
    found = artifact.read(place, "evaluation").manifest
    if found["model"] == digest:
        return found
    if evaluation is None:
        return {}
    raise UserError(f"{place}: judged another model; give the evaluation of this one")


def _content(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: cannot be read: {error}; {trace.WANTED}") from None


def _show(lineage: dict[str, Any], version: str | None) -> None:
    if version is not None:
        print(f"version {version}\n")
    shown.table(shown.chain(lineage), *shown.COLUMNS)
    shown.table(shown.parameters(lineage), "parameter", "value")
    print("packages:", ", ".join(f"{name} {version}" for name, version in lineage.get("packages", {}).items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.lineage",
        description="Which data, which code, which numbers: what an artifact was made from.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "show", show, "what an artifact was made from", str(show.__doc__))
    two = _command(commands, "verify", verify, "whether that is still so", VERIFY)
    two.add_argument("--artifacts", type=Path, help="where the upstream artifacts are (default: beside it)")
    two.add_argument("--data", type=Path, help="the folder with the source data (default: not checked)")
    three = commands.add_parser("trace", help="from a served answer to data, code and numbers", description=TRACE)
    three.add_argument("answer", metavar="ANSWER", help="the answer as JSON: a file, or - for standard input")
    three.add_argument("--graph", type=Path, help="the snapshot, the folder above graph/ (default: not shown)")
    three.set_defaults(command=follow)
    four = _command(commands, "rebuild", remake, "make a model again and compare the bytes", REBUILD)
    four.add_argument("--data", type=Path, help="the folder with the source data (default: what the revision has)")
    four.add_argument("--repository", type=Path, default=Path("."), help="the checkout with the revisions (.)")
    four.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="where to work (%(default)s)")
    four.add_argument("--keep", action="store_true", help="leave code, data and artifacts there")
    five = _command(commands, "card", describe, "the model card", CARD)
    five.add_argument(
        "--evaluation", type=Path, help="its evaluation (default: beside it, else the registry's summary)"
    )
    five.add_argument("--output", type=Path, help="folder for model_card.md and model_card.html (default: print)")
    for command in commands.choices.values():
        command.add_argument("--registry", default="registry", help="the registry's home (registry)")
    return parser


def _command(commands: Any, name: str, work: Any, text: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=description)
    command.add_argument("name", metavar="NAME", help="an artifact's folder, or a version or alias of the registry")
    command.set_defaults(command=work)
    return command


if __name__ == "__main__":
    sys.exit(main())
