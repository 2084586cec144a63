"""The same words in the same order everywhere."""

import importlib
import inspect
from pathlib import Path
from typing import get_args

import pytest
import yaml

from components import PAGES, STAGES
from graphmill.params import SECTIONS, Section, load
from graphmill.schema import Schema
from graphmill.task import Task
from pipelines import NAMES

HOME = Path(__file__).parent.parent
ORDER = ["ingest", "graph", "features", "train", "evaluate", "drift", "score", "deploy"]
DVC = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]


SHOWN = {kind.schema_title for kind in PAGES}
"""What only Kubeflow's pages show."""


def artifacts(described):
    kinds = {name: item.type.partition("@")[0] for name, item in (described or {}).items()}
    return [name for name, kind in kinds.items() if kind.startswith("system.") and kind not in SHOWN]


def golden(name):
    """A compiled pipeline, and what it asks of a cluster."""
    return list(yaml.safe_load_all((HOME / "tests" / "golden" / f"{name}.yaml").read_text()))


def tasks(specification):
    """Tasks of a pipeline by name, those inside branches included."""
    found = {}
    for dag in [specification["root"]["dag"], *(x["dag"] for x in specification["components"].values() if "dag" in x)]:
        found |= {name: task for name, task in dag["tasks"].items() if name in ORDER}
    return found


def test_params_name_every_stage_in_order():
    assert (
        list(yaml.safe_load((HOME / "params.yaml").read_text()))
        == list(SECTIONS)
        == ["schema", "task", *ORDER, "rollout", "tracking", "cluster"]
    )


def test_dvc_and_components_have_the_same_stages_in_order():
    assert list(DVC) == list(STAGES) == ORDER


@pytest.mark.parametrize("stage", ORDER)
def test_dvc_runs_the_component_on_its_own_artifacts(stage):
    described, specification = DVC[stage], STAGES[stage].component_spec
    assert described["cmd"] == f"python -m components {stage}"
    read = [name for name in described["deps"] if name == "data" or name.startswith("artifacts/")]
    inputs = artifacts(specification.inputs)
    assert sorted(read) == sorted(name if name == "data" else f"artifacts/{name}" for name in inputs)
    assert described["outs"] == [f"artifacts/{name}" for name in artifacts(specification.outputs)]
    sections = [name for name, item in specification.inputs.items() if item.type == "Dict"]
    assert "tracking" in sections
    sections.remove("tracking")  # what W&B is told makes no other artifact, so nothing runs again when it changes
    assert sorted(described["params"]) == sorted(stage if name == "params" else name for name in sections)


@pytest.mark.parametrize("stage", ORDER)
def test_dvc_depends_on_the_stages_own_code(stage):
    deps = DVC[stage]["deps"]
    assert f"components/{stage}.py" in deps and f"graphmill/{stage}" in deps
    assert all((HOME / name).exists() for name in deps if name != "data" and not name.startswith("artifacts/"))


@pytest.mark.parametrize("stage", ORDER)
def test_the_package_of_a_stage_has_its_parameters_and_its_work(stage):
    module = importlib.import_module(f"graphmill.{stage}")
    module.Params.parse(load(HOME / "params.yaml")[stage], stage)
    assert callable(module.run)
    for name, field in module.Params.model_fields.items():
        assert field.description, f"graphmill.{stage}.Params.{name} has no documentation"


def test_an_empty_parameter_is_its_default_everywhere():
    """Kubeflow has no null, so the pipelines leave empty parameters out: that must mean the same."""

    def check(model):
        for name, field in model.model_fields.items():
            if type(None) in get_args(field.annotation) and not field.is_required():
                assert field.get_default() is None, f"{model.__name__}.{name}"
            for item in sections(field.annotation):
                check(item)

    def sections(annotation):
        if isinstance(annotation, type):
            return [annotation] if issubclass(annotation, Section) else []
        return [found for item in get_args(annotation) for found in sections(item)]

    for model in [Schema, Task, *(importlib.import_module(f"graphmill.{stage}").Params for stage in ORDER)]:
        check(model)


def test_what_pages_show_is_beside_an_artifact_and_feeds_nothing():
    shown = {stage: artifacts_shown(STAGES[stage].component_spec.outputs) for stage in ORDER}
    assert {stage: kinds for stage, kinds in shown.items() if kinds} == {
        "evaluate": {
            "metrics": "system.Metrics",
            "curves": "system.ClassificationMetrics",
            "report": "system.HTML",
            "card": "system.Markdown",
        },
        "drift": {"report": "system.HTML"},
    }
    for stage in ORDER:
        assert not artifacts_shown(STAGES[stage].component_spec.inputs)


def artifacts_shown(described):
    kinds = {name: item.type.partition("@")[0] for name, item in (described or {}).items()}
    return {name: kind for name, kind in kinds.items() if kind in SHOWN}


@pytest.mark.parametrize("stage", ORDER)
def test_components_are_thin(stage):
    source = inspect.getsource(STAGES[stage].python_func)
    assert len(source.splitlines()) <= 25 and STAGES[stage].python_func.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_pipelines_wire_artifacts_to_inputs_of_their_name(name):
    specification, _ = golden(name)
    found = tasks(specification)
    assert [stage for stage in ORDER if stage in found] == sorted(found, key=ORDER.index)
    for stage, task in found.items():
        described = STAGES[stage].component_spec
        inputs = task["inputs"]
        assert sorted(inputs["artifacts"]) == sorted(artifacts(described.inputs))
        for key, source in inputs["artifacts"].items():
            told = source.get("componentInputArtifact", "") or source["taskOutputArtifact"]["outputArtifactKey"]
            assert told == "artifact" or told.endswith((key, "artifact")), (stage, key, told)
        for key, source in inputs["parameters"].items():
            section = source["componentInputParameter"].removeprefix("pipelinechannel--")
            assert section == (stage if key == "params" else key)


def test_each_pipeline_has_its_stages():
    found = {name: set(tasks(golden(name)[0])) for name in NAMES}
    assert found["training"] == set(ORDER) - {"drift", "score"}
    assert found["scoring"] == {"ingest", "graph", "features", "score"}
    assert found["monitoring"] == set(ORDER)
