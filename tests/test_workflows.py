"""The workflows keep the rules of docs/github.md. Each rule is a function that is shown to refuse a bad example."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

HOME = Path(__file__).parent.parent
FOLDER = HOME / ".github" / "workflows"
NAMES = ["ci", "comment", "drift", "images", "ingest", "promote", "release", "retrain", "run-pipeline"]
MAKEFILE = (HOME / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))

UNTRUSTED = {"pull_request"}
"""Events whose code nobody has read yet."""
FORBIDDEN = {
    "pull_request_target",
    "issue_comment",
    "issues",
    "pull_request_review",
    "pull_request_review_comment",
    "fork",
}
"""Events with rights that anybody may cause."""
EFFECTS = {
    *("retrain-local", "drift-local", "submit", "upload", "outputs", "push", "remote", "fetch", "promote", "rollout"),
    *("kubeconfig", "publish-images", "image-reference", "answer-drift", "propose-data", "propose-lock", "release"),
}
"""Targets that train, deploy, or write somewhere."""
LIGHT = {"ci", "comment", "release"}
"""Workflows that a fresh copy may run: tests, their report, and what a person's tag asks for."""
PIN = re.compile(r"uses:\s*(\S+)(?:\s*#\s*(\S+))?")


@dataclass(frozen=True)
class Workflow:
    """One file, as text and parsed."""

    name: str
    text: str

    @property
    def content(self) -> dict[str, Any]:
        return yaml.safe_load(self.text)

    @property
    def triggers(self) -> dict[str, Any]:
        on = self.content[True]  # YAML 1.1 reads `on` so
        return on if isinstance(on, dict) else dict.fromkeys([on] if isinstance(on, str) else on)

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        return self.content["jobs"]

    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, job in self.jobs.items():
            for step in job.get("steps", []):
                yield name, step

    def targets(self) -> Iterator[tuple[str, str]]:
        for name, step in self.steps():
            if "run" in step and (found := re.fullmatch(r"make ([a-z-]+)", step["run"].strip())):
                yield name, found[1]


Rule = Callable[[Workflow], Iterator[str]]


def permissions(workflow: Workflow) -> Iterator[str]:
    """Nothing at the top; each job asks for what it needs, and says what for."""
    if workflow.content.get("permissions") != {}:
        yield "top-level permissions are not {}"
    for name, job in workflow.jobs.items():
        if not isinstance(job.get("permissions"), dict):
            yield f"{name}: no permissions of its own"
            continue
        for right, level in job["permissions"].items():
            if not re.search(rf"^ +{right}: {level} # \w", workflow.text, re.M):
                yield f"{name}: {right}: {level} does not say what for"


def pins(workflow: Workflow) -> Iterator[str]:
    """Other people's actions are named by a whole commit, with the version beside it."""
    for action, version in PIN.findall(workflow.text):
        if not action.startswith("./") and not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action):
            yield f"{action} is not pinned"
        elif not action.startswith("./") and not re.fullmatch(r"v\d+\.\d+\.\d+", version):
            yield f"{action} has no version beside it"


def checkouts(workflow: Workflow) -> Iterator[str]:
    """No credentials stay behind, and nobody else's code is checked out with rights."""
    for name, step in workflow.steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            given = step.get("with", {})
            if given.get("persist-credentials") is not False:
                yield f"{name}: leaves its credentials behind"
            ref = given.get("ref", "")
            if "repository" in given or ref not in ("", "${{ github.event.repository.default_branch }}"):
                yield f"{name}: checks out {ref or given['repository']}"


def history(workflow: Workflow) -> Iterator[str]:
    """Where lineage, metrics or data are compared with the past, the past is there."""
    for name, job in workflow.jobs.items():
        targets = {target for where, target in workflow.targets() if where == name}
        needs = targets & {"test", "report", "guard", "retrain-local", "submit", "promote", "fetch", "publish-images"}
        depths = [
            step.get("with", {}).get("fetch-depth")
            for step in job.get("steps", [])
            if step.get("uses", "").startswith("actions/checkout@")
        ]
        if needs and depths != [0]:
            yield f"{name}: `make {min(needs)}` with fetch-depth {depths}"


def commands(workflow: Workflow) -> Iterator[str]:
    """A step runs one make target that exists, and no value of an event is part of a command."""
    for name, step in workflow.steps():
        if "run" not in step:
            continue
        found = re.fullmatch(r"make ([a-z-]+)", step["run"].strip())
        if not found:
            yield f"{name}: runs {step['run'].strip()!r}"
        elif found[1] not in TARGETS:
            yield f"{name}: make has no {found[1]}"


def limits(workflow: Workflow) -> Iterator[str]:
    """Every job ends, runs on a named release, and one run at a time does what has effects."""
    for name, job in workflow.jobs.items():
        if "uses" in job:
            continue
        if not 0 < job.get("timeout-minutes", 0) < 360:
            yield f"{name}: no timeout-minutes"
        if job["runs-on"] != "ubuntu-24.04":
            yield f"{name}: runs on {job['runs-on']}"
    group = workflow.content.get("concurrency", {})
    if not group.get("group"):
        yield "no concurrency group"
    if group.get("cancel-in-progress") is not False and EFFECTS & {target for _, target in workflow.targets()}:
        yield "what has effects is cancelled half-way"


def untrusted(workflow: Workflow) -> Iterator[str]:
    """A pull request finds no secret, no right to write, no environment and no effect; a comment starts nothing."""
    for event in FORBIDDEN & set(workflow.triggers):
        yield f"starts on {event}"
    if not UNTRUSTED & set(workflow.triggers):
        return
    if re.search(r"\bsecrets\s*[.\[:]|github\.token|GITHUB_TOKEN", workflow.text):
        yield "a pull request's run has a token or a secret"
    for name, job in workflow.jobs.items():
        if {right: level for right, level in job.get("permissions", {}).items() if level != "read"}:
            yield f"{name}: may write"
        if "environment" in job or "uses" in job:
            yield f"{name}: an environment, or another workflow"
    for name, target in workflow.targets():
        if target in EFFECTS:
            yield f"{name}: make {target}"


def after_untrusted(workflow: Workflow) -> Iterator[str]:
    """What follows a pull request's run may comment, and nothing else; what that run left is no code here."""
    if "workflow_run" not in workflow.triggers:
        return
    allowed = {"contents": "read", "actions": "read", "pull-requests": "write"}
    for name, job in workflow.jobs.items():
        if not (job.get("permissions") or {}).items() <= allowed.items():
            yield f"{name}: more rights than a comment needs"
        if "environment" in job or re.search(r"\bsecrets\s*[.\[:]", workflow.text):
            yield f"{name}: an environment or a secret"
        if "workflow_run.event == 'pull_request'" not in job.get("if", ""):
            yield f"{name}: after any run"
    for name, step in workflow.steps():
        if step.get("uses", "").startswith("actions/download-artifact@"):
            if not step["with"].get("path", "").startswith("${{ runner.temp }}/"):
                yield f"{name}: the artifact lies among the code"
    for name, target in workflow.targets():
        if target != "comment":
            yield f"{name}: make {target}"


def identities(workflow: Workflow) -> Iterator[str]:
    """Only a job of an environment speaks for the repository; signing images, on main, is the exception."""
    for name, job in workflow.jobs.items():
        if (job.get("permissions") or {}).get("id-token") != "write" or "uses" in job:
            continue
        signs = {target for where, target in workflow.targets() if where == name} == {"publish-images"}
        if "environment" not in job and not (signs and "github.ref == 'refs/heads/main'" in job.get("if", "")):
            yield f"{name}: OIDC without an environment"
    if re.search(r"secrets:\s*inherit|toJSON\(\s*secrets", workflow.text):
        yield "all secrets are handed on"


def quiet(workflow: Workflow) -> Iterator[str]:
    """In a fresh copy, without variables, nothing with effects runs and nothing is red."""
    if workflow.name in LIGHT or set(workflow.triggers) == {"workflow_call"}:
        return
    for name, job in workflow.jobs.items():
        condition = job.get("if", "")
        if "always()" in condition or "failure()" in condition:
            yield f"{name}: runs whatever came before"
        if "needs" not in job and not re.search(r"vars\.[A-Z_]+ != ''", condition):
            yield f"{name}: runs without a variable that asks for it"
        if "needs" not in job and "github.ref == 'refs/heads/main'" not in condition:
            yield f"{name}: runs on any branch"


def guarded(workflow: Workflow) -> Iterator[str]:
    """A run that stages write in does not change which data it is of: looked at before, and after."""
    for name in workflow.jobs:
        targets = [target for where, target in workflow.targets() if where == name]
        if {"submit", "retrain-local"} & set(targets):
            runs = [place for place, target in enumerate(targets) if target in ("submit", "retrain-local", "outputs")]
            looks = [place for place, target in enumerate(targets) if target == "intact"]
            if not looks or looks[0] > runs[0] or looks[-1] < runs[-1]:
                yield f"{name}: nobody looks whether data.dvc was rewritten"


RULES: list[Rule] = [
    *(permissions, pins, checkouts, history, commands, limits),
    *(untrusted, after_untrusted, identities, quiet, guarded),
]

GOOD = """
name: good
on:
  schedule: [{cron: "1 2 * * 3"}]
permissions: {}
concurrency: {group: good, cancel-in-progress: false}
jobs:
  work:
    if: vars.TRAINING != '' && github.ref == 'refs/heads/main'
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    environment: training
    permissions:
      contents: read # to check out
      id-token: write # to sign in
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with: {persist-credentials: false, fetch-depth: 0}
      - run: make intact
      - run: make submit
        env: {OVERRIDES: "${{ inputs.overrides }}"}
      - run: make intact
"""
COMMENT = """
name: after
on:
  workflow_run: {workflows: [ci], types: [completed]}
permissions: {}
concurrency: {group: after, cancel-in-progress: true}
jobs:
  comment:
    if: github.event.workflow_run.event == 'pull_request'
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    permissions:
      pull-requests: write # to comment
    steps:
      - uses: actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1
        with: {path: "${{ runner.temp }}/report"}
      - run: make comment
"""
CHECKOUT = "{persist-credentials: false, fetch-depth: 0}"
TRIGGER = 'schedule: [{cron: "1 2 * * 3"}]'
ON_MAIN = "vars.TRAINING != '' && github.ref == 'refs/heads/main'"
BAD: list[tuple[Rule, str, str]] = [
    (permissions, "permissions: {}", "permissions: {contents: write}"),
    (permissions, "permissions: {}", "permissions: read-all"),
    (permissions, "id-token: write # to sign in", "id-token: write"),
    (pins, "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "actions/checkout@v7"),
    (pins, "273ba90b1 # v7.0.1", "273ba90b1"),
    (pins, "273ba90b1 # v7.0.1", "273ba # v7.0.1"),
    (checkouts, CHECKOUT, "{fetch-depth: 0}"),
    (checkouts, CHECKOUT, '{persist-credentials: false, ref: "${{ github.event.workflow_run.head_sha }}"}'),
    (checkouts, CHECKOUT, "{persist-credentials: false, repository: other/fork}"),
    (history, CHECKOUT, "{persist-credentials: false}"),
    (commands, "run: make submit", 'run: make submit PIPELINE="${{ inputs.pipeline }}"'),
    (commands, "run: make submit", "run: python -m pipelines submit training"),
    (commands, "run: make submit", "run: make no-such-target"),
    (limits, "    timeout-minutes: 10\n", ""),
    (limits, "ubuntu-24.04", "ubuntu-latest"),
    (limits, "concurrency: {group: good, cancel-in-progress: false}", "env: {}"),
    (limits, "cancel-in-progress: false", "cancel-in-progress: true"),
    (untrusted, TRIGGER, "pull_request:"),
    (untrusted, TRIGGER, "pull_request_target:"),
    (untrusted, TRIGGER, "issue_comment: {types: [created]}"),
    (identities, "    environment: training\n", ""),
    (identities, "jobs:", "env: {ALL: '${{ toJSON( secrets ) }}'}\njobs:"),
    (quiet, f"    if: {ON_MAIN}\n", ""),
    (quiet, ON_MAIN, "vars.TRAINING != ''"),
    (quiet, ON_MAIN, f"always() && {ON_MAIN}"),
    (guarded, "      - run: make intact\n      - run: make submit", "      - run: make submit"),
    (guarded, '"${{ inputs.overrides }}"}\n      - run: make intact\n', '"${{ inputs.overrides }}"}\n'),
]
BAD_AFTER: list[tuple[Rule, str, str]] = [
    (after_untrusted, "pull-requests: write # to comment", "contents: write # to push"),
    (after_untrusted, "${{ runner.temp }}/report", "automation"),
    (after_untrusted, "make comment", "make promote"),
    (after_untrusted, "    if: github.event.workflow_run.event == 'pull_request'\n", ""),
    (after_untrusted, "- run: make comment", "- run: make comment\n        env: {T: '${{ secrets.KFP_TOKEN }}'}"),
]


def load(name: str) -> Workflow:
    return Workflow(name, (FOLDER / f"{name}.yml").read_text())


def test_the_workflows_are_there():
    assert sorted(file.stem for file in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_workflow_keeps_the_rule(rule, name):
    assert list(rule(load(name))) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_good_examples_keep_every_rule(rule):
    assert list(rule(Workflow("good", GOOD))) == []
    if rule is not quiet:
        assert list(rule(Workflow("comment", COMMENT))) == []


@pytest.mark.parametrize(("rule", "before", "after"), BAD, ids=lambda value: getattr(value, "__name__", None))
def test_a_rule_refuses_a_bad_example(rule, before, after):
    assert GOOD.count(before) >= 1
    assert list(rule(Workflow("bad", GOOD.replace(before, after, 1))))


@pytest.mark.parametrize(("rule", "before", "after"), BAD_AFTER, ids=lambda value: getattr(value, "__name__", None))
def test_what_follows_a_pull_request_is_refused_more(rule, before, after):
    assert COMMENT.count(before) == 1
    assert list(rule(Workflow("bad", COMMENT.replace(before, after))))


def test_every_rule_has_a_bad_example():
    assert {rule for rule, *_ in (*BAD, *BAD_AFTER)} == set(RULES)


def test_a_pull_request_reaches_nothing_that_trains_or_deploys():
    """Through calls and through what follows a run, too."""
    workflows = {name: load(name) for name in NAMES}
    reached, waiting = set(), [name for name, one in workflows.items() if UNTRUSTED & set(one.triggers)]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        called = re.findall(r"uses: \./\.github/workflows/([\w-]+)\.yml", workflows[name].text)
        after = [
            other
            for other, one in workflows.items()
            if name in ((one.triggers.get("workflow_run") or {}).get("workflows", []))
        ]
        waiting += [other for other in (*called, *after) if other not in reached]
    assert reached == {"ci", "comment"}
    assert not EFFECTS & {target for name in reached for _, target in workflows[name].targets()}


def test_a_run_on_the_cluster_is_compiled_for_images_by_digest():
    """`make image-reference` leaves GRAPHMILL_IMAGE to the steps behind it; the commit goes along by itself."""
    steps = [step.get("run", "").split("#")[0].strip() for step in load("run-pipeline").jobs["run"]["steps"]]
    places = [steps.index(f"make {verb}") for verb in ("image-reference", "upload", "submit")]
    assert places == sorted(places)
    assert '>> "$GITHUB_ENV"' in (HOME / "images" / "reference.sh").read_text()


def test_the_triggers_are_those_that_are_documented():
    assert set(load("retrain").triggers) == {"schedule", "push", "repository_dispatch", "workflow_dispatch"}
    assert load("retrain").triggers["push"] == {"branches": ["main"], "paths": ["data.dvc", "params.yaml"]}
    assert "drift" in load("retrain").triggers["repository_dispatch"]["types"]
    assert set(load("run-pipeline").triggers) == {"workflow_call"}
    assert load("run-pipeline").jobs["run"]["environment"] == "training"
    assert "inputs.stage" in load("promote").jobs["promote"]["environment"]
    for name in ("retrain", "drift", "ingest"):
        (moment,) = load(name).triggers["schedule"]
        assert moment["cron"].split()[0] not in ("0", "30"), "off the hour, when everybody's schedules begin"


def test_the_shared_action_keeps_the_rules_too():
    text = (HOME / ".github" / "actions" / "prepare" / "action.yml").read_text()
    assert list(pins(Workflow("prepare", text))) == []
    assert not any("run" in step for step in yaml.safe_load(text)["runs"]["steps"])
    assert {action.split("@")[0] for action, _ in PIN.findall(text)} == {
        *("actions/setup-python", "aws-actions/configure-aws-credentials", "google-github-actions/auth"),
    }


def test_one_action_has_one_version_everywhere():
    files = [*FOLDER.iterdir(), HOME / ".github" / "actions" / "prepare" / "action.yml"]
    found = {pin for file in files for pin in PIN.findall(file.read_text()) if not pin[0].startswith("./")}
    assert len({action.split("@")[0] for action, _ in found}) == len(found)


HOSTILE = "a'b\"c $(touch one) `touch two`; touch three # $HOME"


@pytest.mark.parametrize(
    ("target", "variable"),
    [("guard", "BASE"), ("comment", "REPORT"), ("propose-data", "RUN_URL"), ("propose-lock", "VERDICT")],
)
def test_make_hands_values_on_as_they_are(tmp_path, target, variable):
    """What a workflow puts into the environment is one argument, and no part of a command."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nfor one in "$@"; do printf "%s\\n" "$one"; done > told\n')
    python.chmod(0o755)
    command = ["make", "--silent", f"--file={HOME / 'Makefile'}", target]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {variable: HOSTILE}, check=True)
    told = (tmp_path / "told").read_text().splitlines()
    assert any(HOSTILE in one for one in told)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".venv", "told"]
