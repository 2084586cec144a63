"""What the Dockerfile does, without Docker: digests, the predictor's packages, kernels, a read-only root, user 1000.

`make image-proof` runs it, as root and in minutes; the rest of the suite holds the Dockerfile itself.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.serving import free_ports

pytestmark = [
    pytest.mark.skipif("GRAPHMILL_IMAGE_PROOF" not in os.environ, reason="takes minutes, and root: make image-proof"),
    pytest.mark.slow,
]
ROOT = Path(__file__).parent.parent
PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
PIP = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
AS_THE_CLUSTER = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=1777 tmpfs /tmp
case {base} in /root/*)  # an interpreter that root has for itself
    mount --bind {base} /mnt
    mount -t tmpfs -o mode=755 tmpfs /root
    mkdir -p {base}
    mount --move /mnt {base} ;;
esac
mount -o remount,bind,ro /
exec setpriv --reuid {user} --regid {group} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""


@pytest.fixture(scope="module")
def place():
    """A folder that any user can read, and no `tmpfs` over /tmp hides."""
    folder = Path("/var/tmp") / f"graphmill-proof-{os.getpid()}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def run(*command, cwd=None, **environment):
    done = subprocess.run(command, cwd=cwd, env=PLAIN | ONE | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def confined(*command, user=1000, group=1000):
    """A command in a mount namespace of its own: everything read-only but an empty /tmp, no capability, that user."""
    prepared = AS_THE_CLUSTER.format(base=sys.base_prefix, user=user, group=group)
    return ["unshare", "--mount", "sh", "-c", prepared, "sh", *map(str, command)]


@pytest.fixture(scope="module")
def installed(place):
    """`serve-packages` of the Dockerfile: the digests of images/, then graphmill alone."""
    build, prefix, source = place / "build", place / "serve", place / "source"
    run(sys.executable, "-m", "venv", build)
    path = {"PATH": f"{build}/bin:{PLAIN['PATH']}", "GRAPHMILL_PREFIX": str(prefix), "TMPDIR": str(place)} | PIP
    run(build / "bin" / "python", "-m", "pip", "install", "--require-hashes", "-r", ROOT / "images/build.txt", **path)
    run(sys.executable, "-m", "venv", "--without-pip", prefix)
    run("sh", ROOT / "images/install.sh", "-r", ROOT / "images/serve.txt", **path)
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "graphmill", source / "graphmill", ignore=shutil.ignore_patterns("__pycache__"))
    run("sh", ROOT / "images/install.sh", ".", cwd=source, **path)
    size = int(run("du", "-sm", prefix).split()[0])
    print(f"\npackages of the predictor: {size} MB")
    return prefix


@pytest.fixture(scope="module")
def sample(place):
    """`sample` of the Dockerfile, by the environment of the tests."""
    folder = place / "sample"
    run(sys.executable, ROOT / "images/sample.py", folder, cwd=ROOT, PYTHONPATH=str(ROOT), HOME=str(place))
    run("chmod", "-R", "a+rX", folder)  # weights are written for their owner alone; a cluster fetches its own copy
    return folder


@pytest.fixture(scope="module")
def kernels(place, installed, sample):
    """`kernels` of the Dockerfile."""
    folder = place / "kernels"
    hidden = ("--hidden", sample / "int8", sample / "float32")
    graph = ("--model", sample / "artifacts/model", "--graph", sample / "artifacts")
    kept = {"GRAPHMILL_KERNELS": str(folder), "NUMBA_CACHE_DIR": str(folder)}
    print(run(installed / "bin/python", "-m", "graphmill.serving.kernels", *graph, *hidden, cwd="/", **kept))
    return folder


@contextmanager
def serving(installed, sample, **environment):
    """A predictor as the cluster starts it: its process, URL, and seconds and CPU seconds until it was ready."""
    http, grpc = free_ports(2)
    command = confined(
        installed / "bin/python", "-m", "graphmill.serving", "--model", sample / "artifacts/model",
        "--graph", sample / "artifacts", "--state=/tmp/state", f"--http_port={http}", f"--grpc_port={grpc}",
        "--insecure_local",
    )  # fmt: skip
    started = time.monotonic()
    process = subprocess.Popen(command, cwd="/", env=PLAIN | ONE | environment)
    try:
        url = f"http://127.0.0.1:{http}"
        ready(process, url)
        yield process, url, time.monotonic() - started, spent(process)
    finally:
        process.terminate()
        assert process.wait(60) == 0


def ready(process, url):
    while process.poll() is None:
        try:
            return urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5).read()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the server ended with {process.returncode}")


def spent(process):
    """CPU seconds of a process until now."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def post(url, path, body):
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), {"content-type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=60).read())


def test_the_predictor_has_none_of_the_stages_packages(installed):
    code = "import importlib.util as u, sys; print([name for name in sys.argv[1:] if u.find_spec(name)])"
    absent = (
        "torch",
        "torch_geometric",
        "kfp",
        "dvc",
        "wandb",
        "lightgbm",
        "sklearn",
        "pip",
        "setuptools",
        "components",
    )
    assert run(installed / "bin/python", "-c", code, *absent, cwd="/").strip() == "[]"


def test_it_serves_read_only_as_user_1000_and_compiles_nothing(installed, sample, kernels):
    with serving(installed, sample, GRAPHMILL_KERNELS=str(kernels)) as (process, url, seconds, cpu):
        shipped = list(kernels.rglob("*.nbc"))
        key = pq.read_table(sample / "artifacts/graph/nodes/payment.parquet")["key"][0].as_py()
        known = {"instances": [{"id": key}, {"id": "new", "columns": {"amount": 5.0}}]}
        answers = post(url, "/v1/models/model:predict", known)["predictions"]
        assert [answer["known"] for answer in answers] == [True, False]
        reasons = post(url, "/v1/models/model:explain", {"instances": known["instances"][:1]})
        assert reasons["explanations"][0]["explanation"] is not None
        event = {
            "id": "e1",
            "kind": "node",
            "type": "payment",
            "key": "n1",
            "time": "2025-11-02",
            "columns": {"amount": 3.0},
        }
        assert post(url, "/v1/graph/events", {"events": [event]})
        assert post(url, "/v1/graph/compact", {})["offset"] == 1
        assert post(url, "/v1/models/model:predict", {"instances": [{"id": "n1"}]})["predictions"][0]["known"]

        (own,) = Path(f"/proc/{process.pid}/root/tmp").glob("graphmill-1000/kernels-*")
        compiled = [file.name for file in own.rglob("*.nbc") if not file.is_symlink()]
        assert compiled == [] and len(list(own.rglob("*.nbc"))) == len(shipped) > 50
        told = Path(f"/proc/{process.pid}/status").read_text()
        assert "Uid:\t1000\t1000\t1000\t1000" in told and "CapEff:\t0000000000000000" in told
        assert "torch" not in Path(f"/proc/{process.pid}/maps").read_text()
    with serving(installed, sample) as (_, _, cold_seconds, cold_cpu):
        pass
    print(
        f"\nready after {seconds:.1f} s, {cpu:.1f} s of CPU; without the kernels {cold_seconds:.1f} s, {cold_cpu:.1f} s"
    )
    assert cpu < cold_cpu / 2


def test_a_stage_runs_from_a_wheel_as_any_user_without_a_home(place, tiny_data, tiny_params):
    """What is not measured here are the wheels of images/stage.txt: those of the tests' environment stand in."""
    build, prefix, source = place / "build", place / "stage", place / "stage-source"
    if not build.exists():
        run(sys.executable, "-m", "venv", build)
        digests = ROOT / "images/build.txt"
        run(build / "bin/python", "-m", "pip", "install", "--require-hashes", "-r", digests, TMPDIR=str(place), **PIP)
    run(sys.executable, "-m", "venv", "--without-pip", prefix)
    ignored = shutil.ignore_patterns("__pycache__", ".venv", ".git", "artifacts", "data", "registry")
    shutil.copytree(ROOT, source, ignore=ignored)
    path = {"PATH": f"{build}/bin:{PLAIN['PATH']}", "GRAPHMILL_PREFIX": str(prefix), "TMPDIR": str(place)}
    run("sh", ROOT / "images/install.sh", ".", cwd=source, **path)
    (packages,) = prefix.glob("lib/python3*/site-packages")
    here = {file.relative_to(ROOT) for pattern in ("*.html", "*.j2") for file in (ROOT / "graphmill").rglob(pattern)}
    assert here and all((packages / file).is_file() for file in here)
    (packages / "others.pth").write_text(f"{Path(pytest.__file__).parent.parent}\n")  # not what those install editable

    shutil.copytree(tiny_data, place / "data")
    shutil.copy(tiny_params, place / "params.yaml")
    work = "set -e; mkdir /tmp/run; cd /tmp/run; for stage in ingest graph features; do "
    work += f"{prefix}/bin/python -m components $stage --data {place}/data --params {place}/params.yaml; done; "
    work += f"{prefix}/bin/python -c 'import graphmill; print(graphmill.__file__)'; ls artifacts"
    done = subprocess.run(
        confined("sh", "-c", work, user=12345, group=0), cwd="/", capture_output=True, text=True,
        env=PLAIN | ONE | {"GRAPHMILL_REVISION": "a" * 40},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(packages) in done.stdout and done.stdout.split()[-3:] == ["features", "graph", "tables"]
