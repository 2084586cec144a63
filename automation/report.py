"""What a change does to the model: both revisions are run, and DVC compares them. Writes data that others show."""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from automation.process import run
from graphmill.artifact import write_text
from graphmill.errors import UserError
from graphmill.progress import say

STAGE = "evaluate"
"""The last stage whose numbers a review needs."""
CURVES = {
    "roc": ("false_positive_rate", "true_positive_rate"),
    "precision_recall": ("recall", "precision"),
}
"""Curves of the evaluation whose axes go from 0 to 1, with the columns of both."""
POINTS = np.linspace(0, 1, 21)
"""Where each curve is read."""
AUTHOR = {f"GIT_{role}_{what}": "graphmill" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def measure(base: str, output: Path) -> None:
    """Run the stages at the merge base with ``base`` and here; write ``report.json`` and DVC's own plots.

    Without the data there is no report, and that is no failure: a pull request's run has no credentials.

    Args:
        base: a revision; the change is what came after its merge base with the work tree's.
        output: folder for ``report.json`` and ``plots/``.

    Raises:
        UserError: when the stages fail here. When they fail at the base, the report says so.
    """
    shutil.rmtree(output, ignore_errors=True)
    try:
        run("dvc", "pull", "--quiet", "data.dvc")
    except UserError as error:
        say(f"report: no report, since the data cannot be read here: {error}")
        return
    before, old, note = _base(run("git", "merge-base", base, "HEAD").strip())
    say("report: the change")
    run("dvc", "repro", STAGE)
    found = _compared(before) | {"note": note, "curves": _pairs(old, _curves(Path(".")))}
    output.mkdir(parents=True)
    write_text(output / "report.json", json.dumps(found, indent=1) + "\n")
    if before is not None:
        run("dvc", "plots", "diff", before, "--out", str(output / "plots"))
    say(f"report: {output / 'report.json'}")


def _base(revision: str) -> tuple[str | None, dict[str, list[float]], str]:
    """The revision that holds what the base comes to, its curves, and what is to be said of it."""
    with _worktree(revision) as tree:
        try:
            return _committed(tree), _curves(tree), ""
        except UserError as error:
            say(f"report: the base {revision[:12]} cannot be measured: {error}")
    return None, {}, f"The base {revision[:12]} could not be measured; the log of the run says why."


@contextmanager
def _worktree(revision: str) -> Iterator[Path]:
    """The sources of ``revision`` for a while, with our cache: what the change does not touch is not run twice."""
    cache = Path(run("dvc", "cache", "dir").strip()).resolve()
    with tempfile.TemporaryDirectory(prefix="graphmill-base-") as folder:
        tree = Path(folder, "base")
        run("git", "worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            (tree / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
            yield tree
        finally:
            run("git", "worktree", "remove", "--force", str(tree))


def _committed(tree: Path) -> str:
    """Run the base's stages; the revision that holds what they made, on no branch, by which DVC can name it."""
    say("report: the base")
    run("dvc", "pull", "--quiet", "data.dvc", cwd=tree)
    run("dvc", "repro", STAGE, cwd=tree)
    run("git", "add", "--force", "dvc.lock", cwd=tree)
    if run("git", "status", "--porcelain", "--", "dvc.lock", cwd=tree):
        run("git", "commit", "--quiet", "--message", "What the base comes to", cwd=tree, variables=os.environ | AUTHOR)
    return run("git", "rev-parse", "HEAD", cwd=tree).strip()


def _compared(before: str | None) -> dict[str, Any]:
    """What DVC says of metrics and parameters; without a base only the metrics here."""
    if before is None:
        shown = json.loads(run("dvc", "metrics", "show", "--json"))
        values = shown[""]["data"]["artifacts/evaluation/metrics.json"]["data"]
        return {"metrics": [{"name": name, "after": value} for name, value in sorted(_flat(values))], "params": []}
    found = {}
    for kind in ("metrics", "params"):
        files = json.loads(run("dvc", kind, "diff", before, "--json") or "{}")
        rows = [(name, change) for changes in files.values() for name, change in changes.items()]
        found[kind] = [{"name": name, "before": one.get("old"), "after": one.get("new")} for name, one in sorted(rows)]
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield from _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]


def _curves(tree: Path) -> dict[str, list[float]]:
    """Each curve of the winner, read at ``POINTS``."""
    folder = tree / "artifacts" / "evaluation"
    winner = json.loads((folder / "metrics.json").read_bytes())["winner"]
    found = {}
    for name, (x, y) in CURVES.items():
        with (folder / "curves" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = [(float(row[x]), float(row[y])) for row in csv.DictReader(file) if row["model"] == winner]
        if rows:
            across, up = np.array(sorted(rows)).T
            found[name] = [round(value, 4) for value in np.interp(POINTS, across, up).tolist()]
    return found


def _pairs(old: dict[str, list[float]], new: dict[str, list[float]]) -> dict[str, dict[str, list[float] | None]]:
    return {name: {"before": old.get(name), "after": values} for name, values in new.items()}
