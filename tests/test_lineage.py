"""Lineage: the same bytes twice, everything upstream once, and any change named."""

import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphmill import artifact, lineage, registry
from graphmill.artifact import Artifact
from graphmill.errors import UserError
from graphmill.lineage import __main__ as command
from graphmill.lineage import check
from graphmill.serving.live import snapshot


def write(folder: Path, kind: str, inputs: dict[str, Artifact], text: str, data: str | None = None) -> Artifact:
    """An artifact of one file, with lineage."""
    with artifact.write(folder / kind, kind) as draft:
        (draft.folder / "content.txt").write_text(text, encoding="utf-8")
        draft.lineage = lineage.record(kind, {kind: {"seed": 1, "deep": {"rate": 0.5}}}, inputs, data)
    return artifact.read(folder / kind, kind)


@pytest.fixture(autouse=True)
def still_source(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Source code that nobody edits while the tests run."""
    package = tmp_path_factory.mktemp("package")
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(lineage, "PACKAGE", package)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``data`` and four artifacts in a diamond: tables, graph, features, model."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "payments.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    chain(tmp_path / "artifacts", "one", lineage.data_digest(tmp_path / "data"))
    return tmp_path


def chain(folder: Path, text: str, data: str) -> Artifact:
    tables = write(folder, "tables", {}, text, data)
    graph = write(folder, "graph", {"tables": tables}, "graph of " + text)
    features = write(folder, "features", {"tables": tables, "graph": graph}, "features of " + text)
    return write(folder, "model", {"graph": graph, "features": features}, "model of " + text)


def states(checks: list[check.Check]) -> dict[str, str]:
    return {item.what: item.state for item in checks}


def test_twice_the_same_bytes(root: Path, tmp_path: Path) -> None:
    again = tmp_path / "elsewhere"
    chain(again, "one", lineage.data_digest(root / "data"))
    for kind in ("tables", "graph", "features", "model"):
        first = (root / "artifacts" / kind / "lineage.json").read_bytes()
        assert first == (again / kind / "lineage.json").read_bytes()
        assert str(tmp_path).encode() not in first


def test_everything_upstream_once(root: Path) -> None:
    found = artifact.read(root / "artifacts" / "model", "model").lineage
    assert sorted(found["artifacts"]) == ["features", "graph", "tables"]
    assert all("artifacts" not in entry for entry in found["artifacts"].values())
    assert found["artifacts"]["features"]["inputs"]["graph"] == found["inputs"]["graph"]
    assert found["artifacts"]["tables"]["data"] == lineage.data_digest(root / "data")
    assert found["data"] is None
    assert found["parameters"] == {"model": {"seed": 1, "deep": {"rate": 0.5}}}
    assert {"python", "numpy"} <= found["packages"].keys()


def test_an_older_graph_behind_the_model_keeps_its_record(root: Path, tmp_path: Path) -> None:
    old = artifact.read(root / "artifacts" / "model", "model")
    chain(tmp_path / "new", "two", "f" * 64)
    graph = artifact.read(tmp_path / "new" / "graph", "graph")
    found = lineage.record("score", {}, {"model": old, "graph": graph})["artifacts"]
    older = old.lineage["inputs"]["graph"]
    assert found["graph"]["digest"] == graph.digest
    assert found[f"graph@{older[:12]}"]["digest"] == older
    assert len([name for name in found if name.startswith("tables")]) == 2


def test_source_digest_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    first = lineage.source_digest(tmp_path)
    (tmp_path / "note.txt").write_text("no code", encoding="utf-8")
    assert lineage.source_digest(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n", encoding="utf-8")
    second = lineage.source_digest(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, lineage.source_digest(tmp_path)}) == 3


def test_data_digest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no data here"):
        lineage.data_digest(tmp_path)
    (tmp_path / "a.csv").write_text("1\n", encoding="utf-8")
    first = lineage.data_digest(tmp_path)
    (tmp_path / ".gitignore").write_text("*\n", encoding="utf-8")
    assert lineage.data_digest(tmp_path) == first
    assert lineage.data_digest(tmp_path / "a.csv") == artifact.file_digest(tmp_path / "a.csv")


def test_revision_and_modified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(lineage, "PACKAGE", package)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv(lineage.REVISION_VARIABLE, "cafe")
    assert lineage.code()["revision"] == "cafe"
    monkeypatch.delenv(lineage.REVISION_VARIABLE)
    assert lineage.code() | {"source": ""} == {"source": "", "revision": None, "modified": None}
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *arguments], cwd=tmp_path / "checkout", check=True)
    assert len(lineage.code()["revision"]) == 40
    assert lineage.code()["modified"] is False
    (package / "__init__.py").write_text("x = 1\n", encoding="utf-8")
    assert lineage.code()["modified"] is True


def test_verify_finds_nothing(root: Path) -> None:
    found = states(check.verify(root / "artifacts" / "model", data=root / "data"))
    assert {name for name in found if name.startswith("artifact ")} == {
        f"artifact {kind}" for kind in ("model", "features", "graph", "tables")
    }
    assert found["data of tables"] == "same"
    assert found["packages"] == "same"
    assert "differs" not in found.values()


@pytest.mark.parametrize("kind", ["tables", "graph", "features", "model"])
@pytest.mark.parametrize("file", ["content.txt", "lineage.json", "manifest"])
def test_verify_finds_any_altered_byte(root: Path, kind: str, file: str) -> None:
    altered = root / "artifacts" / kind / (f"{kind}.json" if file == "manifest" else file)
    content = bytearray(altered.read_bytes())
    place = content.index(b'"format": 1') + 10 if file == "manifest" else len(content) // 2
    content[place] = content[place] ^ 1
    altered.write_bytes(content)
    try:
        found = states(check.verify(root / "artifacts" / "model"))
    except UserError:
        assert (kind, file) == ("model", "lineage.json")
        return
    assert found[f"artifact {kind}"] == "differs"


def test_verify_names_a_replaced_artifact_and_data(root: Path) -> None:
    write(root / "artifacts", "tables", {}, "two", "f" * 64)
    (root / "data" / "payments.csv").write_text("a,b\n1,3\n", encoding="utf-8")
    found = states(check.verify(root / "artifacts" / "model", data=root / "data"))
    assert [name for name, state in found.items() if state == "differs"] == [
        "artifact tables",
        "data of tables",
    ]


def test_verify_names_code_and_packages(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"source": "0" * 64, "revision": "1" * 40, "modified": False}
    monkeypatch.setattr(lineage, "code", lambda: other)
    monkeypatch.setattr(lineage, "packages", lambda: {"numpy": "0.0"})
    found = states(check.verify(root / "artifacts" / "model"))
    assert found["source code of model, features, graph, tables"] == "differs"
    assert found["numpy of model, features, graph, tables"] == "differs"
    assert found["python of model, features, graph, tables"] == "not checked"


def commit(folder: Path) -> str:
    """Everything in ``folder`` as a commit of a repository there; its revision."""
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "--allow-empty", "-m", "a state")):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def test_code_is_the_same_when_its_revision_still_has_it(root: Path, tmp_path: Path) -> None:
    (lineage.PACKAGE / "work.py").write_text("rate = 1\n", encoding="utf-8")
    revision = commit(lineage.PACKAGE)
    chain(root / "artifacts", "one", lineage.data_digest(root / "data"))
    (lineage.PACKAGE / "work.py").write_text("rate = 2\n", encoding="utf-8")
    names, model = "model, features, graph, tables", root / "artifacts" / "model"
    found = {item.what: item for item in check.verify(model)}
    assert found[f"source code of {names}"].state == found[f"git revision of {names}"].state == "same"
    assert f"that of revision {revision[:12]}" in found[f"source code of {names}"].detail
    chain(root / "artifacts", "one", lineage.data_digest(root / "data"))  # with the modified file
    (lineage.PACKAGE / "work.py").write_text("rate = 3\n", encoding="utf-8")
    found = {item.what: item for item in check.verify(model)}
    assert found[f"source code of {names}"].state == "differs"
    assert "made with modified files" in found[f"source code of {names}"].detail


def test_a_revision_that_is_gone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"source": lineage.source_digest(lineage.PACKAGE), "revision": "1" * 40, "modified": False}
    with monkeypatch.context() as patch:
        patch.setattr(lineage, "code", lambda: first)
        chain(root / "artifacts", "one", "f" * 64)
    what = "git revision of model, features, graph, tables"
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(lineage.PACKAGE.parent))
    assert states(check.verify(root / "artifacts" / "model"))[what] == "not checked"
    commit(lineage.PACKAGE)
    assert states(check.verify(root / "artifacts" / "model"))[what] == "differs"


def test_data_is_held_to_the_dvc_file_of_its_revision(root: Path) -> None:
    """The hash that DVC gives two files, worked out by hand."""
    (root / "data" / "a").mkdir()
    (root / "data" / "a" / "b.csv").write_text("1\n", encoding="utf-8")
    listed = (
        '[{"md5": "b026324c6904b2a9cb4b88d6d61c81d1", "relpath": "a/b.csv"}, {"md5": "%s", "relpath": "payments.csv"}]'
    )
    payments = hashlib.md5((root / "data" / "payments.csv").read_bytes()).hexdigest()
    expected = hashlib.md5((listed % payments).encode()).hexdigest() + ".dir"
    chain(root / "artifacts", "one", lineage.data_digest(root / "data"))
    model, data, file = root / "artifacts" / "model", root / "data", root / "data.dvc"

    def found() -> check.Check:
        return next(item for item in check.verify(model, data=data) if item.what.startswith("data.dvc"))

    file.write_text(f"outs:\n- md5: {expected}\n  hash: md5\n  path: data\n", encoding="utf-8")
    assert found() == check.Check("data.dvc", "same", expected)
    file.write_text(f"outs:\n- md5: {'0' * 32}.dir\n  hash: md5\n  path: data\n", encoding="utf-8")
    assert found().state == "differs" and "0" * 32 in found().detail
    file.write_text("outs: []\n", encoding="utf-8")
    assert found().state == "not checked"


def everything(folder: Path) -> list[Path]:
    return sorted(item for item in folder.rglob("*") if item.is_file())


def told(folder: Path, name: str) -> bool:
    """Whether `verify` says that something differs, or refuses, and names the file."""
    try:
        checks = check.verify(folder)
    except UserError as error:
        return name in str(error)
    return any(item.state == "differs" and name in item.detail for item in checks)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(draw=st.data())
def test_any_alteration_is_told_and_the_file_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, draw: st.DataObject
) -> None:
    """Any bit of any file of any artifact of the chain, a file cut, gone, renamed, or one that is too many."""
    for name, now in (("code", lineage.code()), ("packages", lineage.packages())):
        monkeypatch.setattr(lineage, name, lambda now=now: now)  # nobody changes those, and asking git takes time
    artifacts = root / "artifacts"
    file = draw.draw(st.sampled_from(everything(artifacts)))
    content, name = file.read_bytes(), file.name
    way = draw.draw(st.sampled_from(["flip"] * 8 + ["cut", "append", "remove", "rename", "add"]))
    other = file.with_name("another.bin")
    try:
        if way == "flip":
            place, bit = draw.draw(st.integers(0, len(content) - 1)), draw.draw(st.integers(0, 7))
            file.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
        elif way == "cut":
            file.write_bytes(content[: draw.draw(st.integers(0, len(content) - 1))])
        elif way == "append":
            file.write_bytes(content + b" ")
        elif way == "remove":
            file.unlink()
        elif way == "rename":
            file.rename(other)
        else:
            other.write_bytes(b"")
        names = {"add": ["another.bin"], "rename": [name, "another.bin"]}.get(way, [name])
        assert any(told(artifacts / "model", one) for one in names), (way, file)
    finally:
        other.unlink(missing_ok=True)
        file.write_bytes(content)
    assert "differs" not in states(check.verify(artifacts / "model")).values()


def test_verify_away_from_home(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "artifacts" / "model", tmp_path / "away" / "model")
    found = states(check.verify(tmp_path / "away" / "model"))
    assert (found["artifact model"], found["artifact graph"]) == ("same", "not checked")
    found = states(check.verify(tmp_path / "away" / "model", artifacts=root / "artifacts"))
    assert found["artifact graph"] == "same"


def test_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = root / "artifacts" / "model"
    assert command.main(["show", str(model)]) == 0
    shown = capsys.readouterr().out
    for expected in ("tables", "model.deep.rate", "0.5", "numpy", artifact.read(model, "model").digest[:12]):
        assert expected in shown
    assert command.main(["verify", str(model), "--data", str(root / "data")]) == 0
    assert "nothing differs" in capsys.readouterr().out
    (root / "artifacts" / "graph" / "content.txt").write_text("x", encoding="utf-8")
    assert command.main(["verify", str(model)]) == 1
    shown = capsys.readouterr().out
    assert "differs: artifact graph" in shown
    assert str(root / "artifacts" / "graph" / "content.txt") in shown


def test_command_line_mistakes(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["verify", str(tmp_path)]) == 2
    assert "no lineage.json here" in capsys.readouterr().err
    model = root / "artifacts" / "model"
    assert command.main(["verify", str(model), "--data", str(tmp_path / "nothing")]) == 2
    (model / "lineage.json").write_text(json.dumps([1]), encoding="utf-8")
    assert command.main(["show", str(model)]) == 2
    assert "lineage.json: altered" in capsys.readouterr().err


# ----- versions of the registry, and answers


@pytest.fixture
def kept(root: Path) -> str:
    """The home of a registry whose champion is the model."""
    home = registry.open(root / "registry")
    home.move("champion", home.register(root / "artifacts" / "model", {"verdict": "pass"}), "a test")
    return str(root / "registry")


def test_verify_takes_a_version(root: Path, kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["verify", "champion", "--registry", kept]
    assert command.main([*line, "--artifacts", str(root / "artifacts"), "--data", str(root / "data")]) == 0
    assert "version v0" in capsys.readouterr().out
    assert command.main(["show", "v0", "--registry", kept]) == 0
    assert "version v0" in capsys.readouterr().out
    file = root / "registry" / "versions" / "v0" / "model" / "content.txt"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    assert command.main(line) == 1
    told = capsys.readouterr().out
    assert "differs: version v0" in told and str(file) in told
    for name, home, expected in (
        ("v9", kept, "no version or alias 'v9'"),
        ("v0", str(root / "no"), "no registry here"),
    ):
        assert command.main(["verify", name, "--registry", home]) == 2
        assert expected in capsys.readouterr().err


def answers(version: str) -> list[dict[str, object]]:
    """The same answer in every form: both protocols, a replayed line, a row of the prediction log."""
    graph = {"snapshot": "0123456789abcdef", "offset": 12}
    one = {"id": "P1", "score": 0.25, "decision": False, "at": "2025-01-01T00:00:00"}
    outputs = [{"name": "score", "data": [0.25]}, {"name": "decision", "data": [False]}]
    return [
        {"predictions": [one], "model": {"name": "fraud", "version": version}, "graph": {**graph, "staleness": 1.0}},
        {"model_name": "fraud", "model_version": version, "parameters": graph, "outputs": outputs},
        {**one, "model": version, **graph},
        {"key": "P1", "time": 7, "score": 0.25, "decision": False, "model": version, **graph},
    ]


def test_an_answer_is_followed_down_to_the_data(
    root: Path, kept: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = artifact.read(root / "artifacts" / "model", "model").digest
    for number, document in enumerate(answers("v0") + answers(digest[:16])):
        file = root / f"answer_{number}.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        assert command.main(["trace", str(file), "--registry", kept]) == 0
        told = capsys.readouterr().out
        for expected in (
            "0.25",
            "v0, registered",
            digest,
            "verdict",
            "0123456789abcdef",
            "12 events",
            "model.deep.rate",
        ):
            assert expected in told, (document, expected)
        assert lineage.data_digest(root / "data")[:12] in told and "give --graph" in told
        assert "rebuild v0" in told and "replay --model v0" in told
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(answers("v0")[0])))
    assert command.main(["trace", "-", "--registry", kept, "--graph", str(root / "artifacts")]) == 0
    assert "is another one" in capsys.readouterr().out


def test_the_snapshot_of_an_answer(root: Path, kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Newer than the model's: both are told, each with its own data."""
    model = artifact.read(root / "artifacts" / "model", "model")
    chain(root / "newer", "two", "f" * 64)
    document = answers("v0")[0] | {"graph": {"snapshot": snapshot.version(root / "newer"), "offset": 0}}
    (root / "answer.json").write_text(json.dumps(document), encoding="utf-8")
    assert command.main(["trace", str(root / "answer.json"), "--registry", kept, "--graph", str(root / "newer")]) == 0
    told = capsys.readouterr().out
    newer = artifact.read(root / "newer" / "features", "features").digest
    assert newer[:12] in told and model.digest[:12] in told and "f" * 12 in told and "is another one" not in told


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not a served answer"),
        ("[]", "not a served answer"),
        ('{"error": "not ready"}', "not a served answer"),
        ('{"model": 3, "snapshot": "a", "offset": 1}', "names no model version"),
        ('{"model": "v8", "snapshot": "a", "offset": 1}', "no version or alias 'v8'"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_answer(
    root: Path, kept: str, capsys: pytest.CaptureFixture[str], content: str | None, expected: str
) -> None:
    if content is not None:
        (root / "answer.json").write_text(content, encoding="utf-8")
    assert command.main(["trace", str(root / "answer.json"), "--registry", kept]) == 2
    assert expected in capsys.readouterr().err
