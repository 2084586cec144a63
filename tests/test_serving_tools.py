"""What stands around the predictor: where a model is found, what a newcomer is shown, answers computed again."""

import asyncio
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from graphmill.errors import UserError
from graphmill.serving import kernels, replay, source
from graphmill.serving.hello import curls, examples
from graphmill.serving.instance import Instance, Options
from graphmill.serving.predictor import LivePredictor
from graphmill.serving.settings import Settings


@pytest.fixture(scope="module")
def snapshot(tiny_run, tmp_path_factory):
    """A snapshot alone, as a server is given it."""
    folder = tmp_path_factory.mktemp("snapshot")
    for name in ("graph", "features"):
        shutil.copytree(tiny_run / "artifacts" / name, folder / name)
    return folder


def served(model, snapshot, state, work):
    """What ``work`` makes of a started predictor."""

    async def live():
        given = {"model": str(model), "graph": str(snapshot), "state": str(state)}
        predictor = LivePredictor(Settings.parse(given | {"room_nodes": 10_000, "room_edges": 100_000}))
        await predictor.start()
        try:
            return await work(predictor)
        finally:
            await predictor.stop()

    return asyncio.run(live())


def test_a_model_is_found_by_folder_version_alias_and_uri(tiny_run):
    folder, registry = tiny_run / "artifacts" / "model", str(tiny_run / "registry")
    model, version = source.find(str(folder), registry)
    assert version == model.artifact.digest[:16]
    for name in ("v0", "champion"):
        found, told = source.find(name, registry)
        assert told == "v0" and found.artifact.digest == model.artifact.digest
    assert source.find(f"file://{folder}", registry)[0].artifact.digest == model.artifact.digest


def test_a_model_that_is_nowhere_is_told(tiny_run, tmp_path):
    with pytest.raises(UserError, match="nobody"):
        source.find("nobody", str(tiny_run / "registry"))
    with pytest.raises(UserError, match="cannot be fetched|no model here"):
        source.find(f"file://{tmp_path}/none", str(tiny_run / "registry"))
    with pytest.raises(UserError, match="cannot be fetched|install"):
        source.find("nowhere://bucket/model", str(tiny_run / "registry"))


def test_the_three_questions_work_as_they_are_printed(tiny_run, snapshot, tmp_path):
    async def work(predictor):
        bodies = [json.loads(re.search(r"-d '(.*)'$", line)[1]) for line in curls(predictor._served.live, "model", 80)]
        known, new = (Instance(**body["instances"][0]) for body in bodies[:2])
        before = predictor.answer([known, new], Options())
        assert [answer.known for answer in before] == [True, False]
        assert await predictor.accept(bodies[2]["events"]) == [0]
        (after,) = predictor.answer([Instance(id=new.id)], Options())
        assert after.known and after.score == pytest.approx(before[1].score, rel=1e-6)

    served(tiny_run / "artifacts" / "model", snapshot, tmp_path / "state", work)


def test_an_answer_is_computed_again_from_what_it_names(tiny_run, snapshot, tmp_path, monkeypatch, capsys):
    links = {"customer_id": "c001", "terminal_id": "t1"}
    events = [
        {"id": f"e{place}", "kind": "node", "type": "payment", "key": f"n{place}", "links": links,
         "time": f"2025-05-02T{place:02}:00:00", "columns": {"amount": 5.0 + place}}
        for place in range(6)
    ]  # fmt: skip
    asked = {"id": "n9", "at": "2025-05-03", "columns": {"amount": 9}, "links": {"customer_id": "c001"}}

    async def work(predictor):
        found = []
        for event in events:
            await predictor.accept([event])
            (answer,) = predictor.answer([Instance(**asked)], Options())
            found.append((predictor.graph().offset, answer.score))
        await predictor.compact()
        return predictor.graph().snapshot, found

    base, found = served(tiny_run / "artifacts" / "model", snapshot, tmp_path / "state", work)
    assert len({score for _, score in found}) == 6
    for offset, score in found:
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps([asked])))
        monkeypatch.setattr(sys, "argv", [
            "replay", "--model", str(tiny_run / "artifacts" / "model"), "--graph", str(snapshot),
            "--state", str(tmp_path / "state"), "--offset", str(offset),
        ])  # fmt: skip
        assert replay.main() == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["snapshot"], told["offset"]) == (base, offset)
        assert told["score"] == pytest.approx(score, rel=1e-9)


def test_a_predictor_finds_every_kernel_compiled(tiny_run, snapshot, tmp_path):
    """In a process that has computed nothing before; other processes may write into the same folder of kernels."""
    code = "import sys; from tests import test_serving_tools as here; print(here.compiled_late(*sys.argv[1:]))"
    given = [str(tiny_run / "artifacts" / "model"), str(snapshot), str(tmp_path / "state")]
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"kernels: [1-9]\d* compiled for sage, features_only", done.stdout)
    assert done.stdout.splitlines()[-1] == "[]"


def compiled_late(model, snapshot, state):
    """What a predictor compiles, or fetches from the cache, that `kernels` did not have compiled."""
    assert kernels.main(["--model", model, "--graph", snapshot]) == 0
    there = signatures()
    assert len(there) > 10

    async def work(predictor):
        live = predictor._served.live
        known, new, _ = examples(live)
        for asked in ([known], [known, new]):
            predictor.answer([Instance(**item) for item in asked], Options(explanation=True))
        await predictor.accept(kernels.events(live))
        await predictor.compact()
        return [answer.known for answer in predictor.answer([Instance(id=new["id"])], Options())]

    assert served(model, snapshot, state, work) == [True]
    return sorted(signatures() - there)


def signatures():
    """Every kernel of the package with the types that it was made for in this process."""
    return {
        f"{kernel.__module__}.{kernel.__name__}{signature}"
        for name, module in list(sys.modules.items())
        if name.startswith("graphmill.")
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
        for signature in kernel.signatures
    }


def test_kernels_need_a_model(tmp_path, capsys):
    assert kernels.main(["--model", str(tmp_path), "--graph", str(tmp_path)]) == 2
    assert "no model here" in capsys.readouterr().err


def test_the_server_imports_nothing_that_only_training_needs():
    code = """
import sys
from graphmill.serving import engines, predictor, replay, server
from graphmill.serving.engines import onnx
heavy = ("torch", "torch_geometric", "lightgbm", "sklearn", "ibis", "duckdb", "kfp", "dvc", "onnx")
print([name for name in heavy if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
