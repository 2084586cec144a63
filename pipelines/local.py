"""Running a whole pipeline on this machine through ``kfp.local``: the same components, no cluster.

The run goes on in a process of its own, because Kubeflow's runner needs the working directory, and so that its
log can be watched: it tells when a stage begins and, of a failure, only that there was one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import STAGES
from graphmill.errors import UserError
from graphmill.params import load
from graphmill.tracking import RUN_VARIABLE, new_group

BEGIN = re.compile(r"Executing task .*?'([\w-]+)'")
END = re.compile(r"Task .*?'([\w-]+)'.* finished with status")
STAGE_LINE = re.compile(rf"\s*({'|'.join(STAGES)}): (?!(Dataset|Model|Artifact)\()")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
KNOWN_ERROR = "graphmill.errors.UserError: "


@dataclass
class Log:
    """What a run's log tells."""

    seconds: dict[str, float] = field(default_factory=dict)
    error: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    _began: dict[str, float] = field(default_factory=dict)
    _told: bool = False

    def read(self, line: str) -> None:
        """Take in one line."""
        text = ESCAPES.sub("", line.rstrip("\n"))
        self.tail = [*self.tail[-30:], text]
        if KNOWN_ERROR in text:
            self.error = [text.split(KNOWN_ERROR, 1)[1]]
        elif self.error and not self._told:
            self._told = text.strip().startswith("---") or bool(BEGIN.search(text) or END.search(text))
            self.error += [] if self._told else [text]
        if begin := BEGIN.search(text):
            self._began[begin[1]] = time.monotonic()
        if (end := END.search(text)) and end[1] in self._began:
            self.seconds[end[1]] = round(time.monotonic() - self._began[end[1]], 2)


def run(
    pipeline: str, params: Path, data: Path, root: Path, model: str | None = None, verbose: bool = False
) -> dict[str, Any]:
    """Run a pipeline in ``root`` and leave its artifacts in ``root/artifacts``.

    Args:
        pipeline: its name.
        params: the params file.
        data: folder of source tables.
        root: folder for artifacts/ and registry/.
        model: model folder, version or alias, for pipelines that take one; the champion by default.
        verbose: print Kubeflow's own log too.

    Returns:
        What the run came to, for ``python -m pipelines run`` to print.

    Raises:
        UserError: with the failing stage's own words.
    """
    sections = load(params)
    check(sections)
    if not data.is_dir():
        raise UserError(f"{data}: no such data folder; give one with --data")
    root.mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {"data": str(data.resolve())}
    if pipeline != "training":
        arguments["model"] = str(_model(model, root, sections))
    outputs = Path(tempfile.mkdtemp(prefix=".run-", dir=root))
    try:
        log = _execute(pipeline, arguments, params, outputs, root, verbose)
        _collect(outputs, root / "artifacts")
    finally:
        shutil.rmtree(outputs, ignore_errors=True)
    seconds = {name: spent for name, spent in log.seconds.items() if name in STAGES}
    return {"pipeline": pipeline, **_summary(pipeline, root), "seconds": seconds}


def check(sections: dict[str, dict[str, Any]]) -> None:
    """Parse every section, so that a wrong parameter is told before anything runs."""
    import importlib

    from graphmill.schema import Schema
    from graphmill.task import Task
    from pipelines.platform import Cluster

    Schema.parse(sections["schema"], "schema")
    Task.parse(sections["task"], "task")
    for name in (*STAGES, "rollout", "tracking"):
        importlib.import_module(f"graphmill.{name}").Params.parse(sections[name], name)
    Cluster.parse(sections["cluster"], "cluster")


def _model(model: str | None, root: Path, sections: dict[str, dict[str, Any]]) -> Path:
    """The model folder that the user named, or the champion of the run's registry."""
    from graphmill import registry
    from graphmill.deploy import Params

    home = Params.parse(sections["deploy"], "deploy").home
    return registry.find(model or "champion", home, root).path.resolve()


def _execute(pipeline: str, arguments: dict[str, Any], params: Path, outputs: Path, root: Path, verbose: bool) -> Log:
    environment = {RUN_VARIABLE: new_group(pipeline), **os.environ}
    environment |= {"GRAPHMILL_PARAMS": str(params.resolve()), "PYTHONUNBUFFERED": "1"}
    home = str(Path(__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pipelines.child", pipeline, str(outputs.resolve()), json.dumps(arguments)]
    log = Log()
    with subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            log.read(line)
            if verbose or STAGE_LINE.match(line):
                print(line.strip(), flush=True)
    if child.returncode:
        told = "\n".join(line for line in log.error if line.strip()) or "\n".join(log.tail)
        raise UserError(f"pipeline {pipeline} failed: {told}")
    return log


def _collect(outputs: Path, target: Path) -> None:
    """Move what the stages left in Kubeflow's folders to one folder an artifact; a champion is none of theirs."""
    target.mkdir(parents=True, exist_ok=True)
    for artifact in sorted(outputs.glob("*/*/*")):
        if artifact.parent.name in STAGES and (artifact / f"{artifact.name}.json").exists():
            shutil.rmtree(target / artifact.name, ignore_errors=True)
            shutil.move(artifact, target / artifact.name)


def _summary(pipeline: str, root: Path) -> dict[str, Any]:
    from graphmill import evaluate

    artifacts, found = root / "artifacts", dict[str, Any]()
    if pipeline == "monitoring":
        report = json.loads((artifacts / "drift_report" / "drift_report.json").read_bytes())
        found = {"decision": report["decision"], "state": report["state"]}
        found |= {key: report["policy"][key] for key in ("triggers", "blocked_by", "words")}
    if pipeline == "training" or found.get("decision") == "retrain":
        found |= evaluate.summary(artifacts / "evaluation")
        release = json.loads((artifacts / "release" / "release.json").read_bytes())
        found |= {key: release[key] for key in ("version", "verdict", "champion", "rollout_due")}
    return found
