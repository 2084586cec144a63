"""Reading a model folder: the network, the control models, calibration and thresholds. Never pickle."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from graphmill import artifact
from graphmill.features.store import read_transforms
from graphmill.features.transforms import Transform

NETWORKS = ("sage", "gat", "gin", "rgcn", "hgt", "mlp")


def split_folder(folder: Path, split: int, splits: int) -> Path:
    """Where the model of one split stands: the folder itself when there is only one."""
    return folder if splits == 1 else folder / f"split_{split}"


@dataclass(frozen=True)
class Model:
    """A verified model folder."""

    artifact: artifact.Artifact

    @classmethod
    def open(cls, path: str | Path) -> "Model":
        """Verify and open a model folder.

        Raises:
            UserError: when it is missing, partial or altered.
        """
        return cls(artifact.read(path, "model"))

    @property
    def path(self) -> Path:
        """The folder."""
        return self.artifact.path

    @property
    def manifest(self) -> dict[str, Any]:
        """Content of model.json."""
        return self.artifact.manifest

    @property
    def names(self) -> list[str]:
        """The models inside: the network and its controls."""
        return list(self.manifest["names"])

    @property
    def winner(self) -> str:
        """The best of them on the validation part."""
        return str(self.manifest["winner"])

    @property
    def relations(self) -> list[str]:
        """The relations that it was trained with; it looks at no other."""
        return list(self.manifest["relations"])

    @property
    def split_count(self) -> int:
        """Number of splits it was trained on."""
        return int(self.manifest["splits"])

    @property
    def size_bytes(self) -> int:
        """Size of all files of its content; the lineage, which differs from checkout to checkout, does not count."""
        return sum((self.path / name).stat().st_size for name in self.manifest["files"])

    def calibration(self, name: str, split: int) -> tuple[float, float]:
        """Slope and intercept of a model's calibration."""
        slope, intercept = self.manifest["calibration"][name][split]
        return float(slope), float(intercept)

    def threshold(self, name: str, split: int) -> float:
        """The probability from which on the decision is positive."""
        return float(self.manifest["threshold"][name][split])

    def folder(self, split: int) -> Path:
        """Where one split's files stand."""
        return split_folder(self.path, split, self.split_count)

    def transforms(self, split: int) -> dict[str, dict[str, list[Transform]]]:
        """The transforms that this model was fitted with."""
        return read_transforms(self.folder(split) / "features.json")

    def trees(self, name: str, split: int) -> list[str]:
        """A control model's bags, in LightGBM's text format."""
        files = sorted(self.folder(split).glob(f"{name}_*.txt"), key=lambda file: int(file.stem.rsplit("_", 1)[1]))
        return [file.read_text(encoding="utf-8") for file in files]

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The parameters it was trained with, as section `train`."""
        return dict(self.manifest["parameters"])
