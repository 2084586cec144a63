"""Kernels are those of the source: a cache that outlives an edit computes what is no longer written."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import grimp
import pytest

import graphmill
from graphmill import compiled
from graphmill.errors import UserError

PACKAGE = Path(graphmill.__file__).parent

INNER = "from numba import njit\n\n@njit(cache=True)\ndef rate(x):\n    return {value} * x\n"
OUTER = """from numba import njit
from graphmill.inner import rate

@njit(cache=True)
def fee(x):
    return rate(x) + 1

print(fee(10))
"""


@pytest.fixture
def unset(monkeypatch):
    for name in (compiled.FOLDER, compiled.SHIPPED, "XDG_CACHE_HOME", "HOME", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.setenv(name, "")  # so that it is put back even if it was not set
        monkeypatch.delenv(name)
    yield monkeypatch
    monkeypatch.undo()
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()


@pytest.fixture
def package(tmp_path):
    """A package of our name with a kernel that calls one of another file, and our own choice of a folder."""
    folder = tmp_path / "graphmill"
    folder.mkdir()
    for name in ("__init__.py", "compiled.py", "errors.py"):
        shutil.copy(PACKAGE / name, folder)
    (folder / "outer.py").write_text(OUTER)
    (folder / "inner.py").write_text(INNER.format(value=2))
    return folder


def fee(package, **environment):
    """What a process of its own computes from the package as it is now."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "GRAPHMILL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "graphmill.outer"], cwd=package.parent, env=kept | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.slow
def test_an_edit_of_what_a_kernel_calls_compiles_it_anew(package, tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    inherited = {compiled.FOLDER: str(tmp_path / "cache" / "graphmill" / "kernels-0123456789abcdef")}
    assert fee(package, **cache) == 21
    (package / "inner.py").write_text(INNER.format(value=3))
    assert fee(package, **cache) == 31
    assert fee(package, **inherited) == 31
    assert len(list((tmp_path / "cache" / "graphmill").glob("kernels-*"))) == 2


@pytest.mark.slow
def test_without_it_numba_computes_what_was_written_before(package, tmp_path):
    """When this fails, numba follows calls across files, and `graphmill.compiled` has nothing left to do."""
    (package / "__init__.py").write_text("")
    cache = {compiled.FOLDER: str(tmp_path / "cache")}
    assert fee(package, **cache) == 21
    (package / "inner.py").write_text(INNER.format(value=3))
    assert fee(package, **cache) == 21


def test_the_digest_covers_all_that_a_kernel_can_be_made_of():
    graph = grimp.build_graph("graphmill", include_external_packages=True, cache_dir=None)
    kernels = graph.find_modules_that_directly_import("numba")
    for module in graph.modules - kernels:  # a function's import is loaded late, and no kernel can have it
        for other in graph.find_modules_directly_imported_by(module):
            if other.startswith("graphmill") and other not in imported_when_loaded(module, other):
                graph.remove_import(importer=module, imported=other)
    reached = set(kernels).union(*(graph.find_upstream_modules(name) for name in kernels))
    assert len(kernels) > 15
    found = set(compiled.sources(PACKAGE))
    assert {name for name in reached if name.startswith("graphmill")} <= found
    assert "graphmill.drift.compare" not in found, "else an edit of anything compiles all anew"


def imported_when_loaded(module, other):
    """The module itself, where a source file asks for it outside of its functions; else nothing."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    waiting = list(ast.parse(file.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import) and other in {name.name for name in node.names}:
            return {other}
        if isinstance(node, ast.ImportFrom) and other in {
            node.module, *(f"{node.module}.{name.name}" for name in node.names)
        }:  # fmt: skip
            return {other}
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not typing and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += list(ast.iter_child_nodes(node))
    return set()


def test_the_digest_changes_with_kernels_alone(tmp_path):
    copy = shutil.copytree(PACKAGE, tmp_path / "graphmill", ignore=shutil.ignore_patterns("__pycache__"))
    before = compiled.digest(copy)
    assert before == compiled.digest(PACKAGE)
    for name, changes in {"drift/compare.py": False, "graph/kernels.py": True, "clock.py": True}.items():
        text = (copy / name).read_text()
        (copy / name).write_text(text + "\n")
        assert (compiled.digest(copy) != before) == changes, name
        (copy / name).write_text(text)


def test_the_folder_is_the_users_choice_then_the_cache(unset, tmp_path):
    name = f"kernels-{compiled.digest(PACKAGE)}"
    unset.setenv("HOME", str(tmp_path / "home"))
    assert compiled.prepare() == tmp_path / "home" / ".cache" / "graphmill" / name
    assert compiled.prepare() == tmp_path / "home" / ".cache" / "graphmill" / name  # set by ourselves, and inherited
    unset.setenv(compiled.FOLDER, str(tmp_path / "named"))
    assert compiled.prepare() == tmp_path / "named" / name
    assert os.environ[compiled.FOLDER] == str(tmp_path / "named" / name)
    unset.delenv(compiled.FOLDER)
    unset.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert compiled.prepare() == tmp_path / "cache" / "graphmill" / name


@pytest.mark.parametrize("home", ["", "relative", "/proc/nowhere"])
def test_without_a_home_the_folder_is_a_private_temporary_one(unset, tmp_path, home):
    unset.setattr(compiled.tempfile, "tempdir", str(tmp_path))
    unset.setattr(compiled.os.path, "expanduser", lambda path: path.replace("~", home) if home else path)
    folder = compiled.prepare()
    assert folder.parent == tmp_path / f"graphmill-{os.getuid()}"
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_machine_code_is_not_read_from_where_others_can_write(unset, tmp_path):
    unset.setattr(compiled.tempfile, "tempdir", str(tmp_path))
    unset.setenv("HOME", "/proc/nowhere")
    usual = tmp_path / f"graphmill-{os.getuid()}"
    usual.mkdir()
    usual.chmod(0o777)
    assert compiled.prepare().parent not in (usual, tmp_path)
    usual.rmdir()
    usual.symlink_to(tmp_path)
    assert compiled.prepare().parent not in (usual, tmp_path)


def test_no_writable_folder_at_all_is_told(unset):
    unset.setenv("HOME", "/proc/nowhere")
    unset.setattr(compiled.tempfile, "tempdir", "/proc/nowhere")
    with pytest.raises(UserError, match="set NUMBA_CACHE_DIR"):
        compiled.prepare()


def test_the_kernels_of_an_image_are_linked_and_stay_as_they_are(unset, tmp_path):
    shipped = tmp_path / "shipped" / f"kernels-{compiled.digest(PACKAGE)}" / "graph_0f"
    shipped.mkdir(parents=True)
    (shipped / "kernel.nbi").write_bytes(b"index")
    unset.setenv(compiled.SHIPPED, str(tmp_path / "shipped"))
    unset.setenv(compiled.FOLDER, str(tmp_path / "own"))
    linked = compiled.prepare() / "graph_0f" / "kernel.nbi"
    assert linked.read_bytes() == b"index"
    fresh = linked.with_name("fresh")
    fresh.write_bytes(b"compiled for something else")
    fresh.replace(linked)  # how numba writes
    assert (shipped / "kernel.nbi").read_bytes() == b"index"
    assert compiled.prepare() == linked.parent.parent and linked.read_bytes() != b"index"
    assert linked.parent.parent.stat().st_mode & 0o777 == 0o755  # root builds an image, and somebody else runs it


def test_an_image_without_kernels_compiles_them(unset, tmp_path):
    unset.setenv(compiled.SHIPPED, str(tmp_path / "nowhere"))
    unset.setenv(compiled.FOLDER, str(tmp_path / "own"))
    assert list(compiled.prepare().iterdir()) == []


def test_shipped_kernels_run_where_the_processor_has_what_they_need(unset, tmp_path):
    modern = {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "sse2", "avx512f"}
    assert compiled.portable("x86_64", modern) == "x86-64-v3"
    assert compiled.portable("x86_64", modern - {"fma"}) is None
    assert compiled.portable("aarch64", {"asimd"}) == "generic"
    assert compiled.portable("riscv64", set()) is None
    unset.setenv(compiled.FOLDER, str(tmp_path))
    compiled.prepare()
    assert "NUMBA_CPU_NAME" not in os.environ  # kernels of this machine's own are compiled for it alone
    unset.setattr(compiled.os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    unset.setattr(compiled, "_flags", lambda: modern)
    unset.setenv(compiled.SHIPPED, str(tmp_path / "shipped"))
    compiled.prepare()
    assert (os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"]) == ("x86-64-v3", "")


def test_a_bounded_number_of_folders_is_kept(unset, tmp_path):
    for age in range(20):
        old = tmp_path / f"kernels-{age:016x}"
        old.mkdir()
        os.utime(old, (1e9 - age, 1e9 - age))
    (tmp_path / "something else").mkdir()
    unset.setenv(compiled.FOLDER, str(tmp_path))
    mine = compiled.prepare()
    kept = sorted(item.name for item in tmp_path.glob("kernels-*"))
    assert kept == sorted([mine.name, *(f"kernels-{age:016x}" for age in range(compiled.KEPT - 1))])
    assert (tmp_path / "something else").is_dir()
