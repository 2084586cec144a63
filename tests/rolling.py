"""A registry of tiny models, good and bad, and predictors that misbehave: what the tests of a local rollout run."""

import json
import os
import shutil
import sys
import time
import zlib
from pathlib import Path

import yaml

from graphmill import artifact
from graphmill.registry.local import LocalRegistry
from tests import tiny

PASSED = {"winner": "sage", "verdict": "pass", "metrics": {}, "gates": []}


def variant(model: Path, target: Path, **changes) -> Path:
    """A copy of a model with another manifest."""
    read = artifact.read(model, "model")
    with artifact.write(target, "model") as draft:
        for name in read.manifest["files"]:
            (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(model / name, draft.folder / name)
        own = ("kind", "format", "files")
        draft.manifest = {**{key: item for key, item in read.manifest.items() if key not in own}, **changes}
        sealed = ("kind", "digest", "seal")
        draft.lineage = {key: item for key, item in read.lineage.items() if key not in sealed}
    return target


def calibrated(model: Path, shift: float) -> dict:
    """Calibrations whose log odds are moved."""
    found = json.loads((model / "model.json").read_bytes())["calibration"]
    return {name: [[slope, intercept + shift] for slope, intercept in splits] for name, splits in found.items()}


def world(root: Path, run: Path) -> Path:
    """A folder with a snapshot and a registry: v0 is the champion, v1 to v3 are as good, v4 moves its scores."""
    for name in ("graph", "features"):
        shutil.copytree(run / "artifacts" / name, root / "artifacts" / name)
    home, model = LocalRegistry(root / "registry"), run / "artifacts" / "model"
    home.register(model, PASSED)
    for number, shift in enumerate((1e-6, 2e-6, 3e-6, 3.0), 1):
        folder = variant(model, root / "models" / str(number), calibration=calibrated(model, shift))
        assert home.register(folder, PASSED) == f"v{number}"
    home.move("champion", "v0", "the first")
    return root


def params(root: Path, *steps: tuple[int, int]) -> Path:
    """A params file with steps of so many percent and requests."""
    given = tiny.params()
    given["deploy"] = {"name": "tiny", "home": str(root / "registry")}
    told = [{"traffic": traffic, "minutes": 0, "requests": requests} for traffic, requests in steps]
    given["rollout"] = {
        "steps": told,
        "poll_seconds": 0.1,
        "ready_minutes": 3,
        "shadow_share": 1,
        "home": str(root / "rollouts"),
        "guards": {"latency_ratio": None},  # a machine that does other things at times makes either version the slower
    }
    file = root / f"params-{len(list(root.glob('params-*')))}.yaml"
    file.write_text(yaml.safe_dump(given))
    return file


def main() -> int:
    """A predictor that does what ``FAULTY`` (version to behaviour, as JSON) says of its version.

    It waits longer than usual: a machine that stands still for a moment makes no answer late.
    """
    from graphmill.serving import predictor, shadow
    from graphmill.serving.__main__ import main as serve

    version = next(Path(one.partition("=")[2]).parent.name for one in sys.argv if one.startswith("--model="))
    fault = json.loads(os.environ.get("FAULTY", "{}")).get(version)
    answer = predictor.LivePredictor.answer

    def faulty(self, instances, options):
        if fault == "slow":
            time.sleep(1.2 * shadow.TIMEOUT)
        if fault == "error" and zlib.crc32(str(instances[0].id).encode()) % 4 == 0:
            raise RuntimeError("a bug of this version")
        return answer(self, instances, options)

    predictor.LivePredictor.answer = faulty
    shadow.TIMEOUT = 6.0
    sys.argv.append("--deadline_ms=20000")
    if fault == "dies":
        raise SystemExit("this version cannot be loaded")
    return serve()


if __name__ == "__main__":
    sys.exit(main())
