"""The options of ``python -m experiments.retractions``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.copy_task.config import CopyTaskConfig
from experiments.harness.command import options

# Training variants: what differs from the copy task's method "qr".
VARIANTS: dict[str, dict[str, Any]] = {
    "qr": {},
    "qr, every 5": {"project_every": 5},
    "polar": {"retraction": "polar"},
    "polar, every 5": {"retraction": "polar", "project_every": 5},
    "qr_unsigned": {"retraction": "qr_unsigned"},
}


@dataclass(frozen=True)
class RetractionsConfig(options.TrainingOptions):
    """Compare retractions: their accuracy, their distance from the nearest, and training."""

    size: options.Count = 64
    """N of the matrices whose accuracy is measured."""
    matrices: options.Count = 10
    """Random matrices for each condition number."""
    epochs: options.Count = 20
    """Epochs of the copy task for each variant."""
    devices: options.Devices = "auto"
    seed: options.Seed = 0
    seeds: options.Seeds = 5
    out: Path | None = None
    """Folder to write to; default: figures/retractions, or a folder in it for other settings."""
    session: options.Session = options.DEFAULT_SESSION

    def __post_init__(self) -> None:
        super().__post_init__()
        # In float64, and as many again of the two orthogonal factors.
        options.check_memory(self, 2 * 3 * self.matrices * self.size**2, "size", "matrices")
        _ = self.copy_task  # checks the rest

    @property
    def copy_task(self) -> CopyTaskConfig:
        """The task that the variants train on.

        Spectral norms are measured every seventh step, so that those between projections at every
        fifth come at all distances from the last one.
        """
        return CopyTaskConfig(
            epochs=self.epochs,
            devices=self.devices,
            seed=self.seed,
            seeds=self.seeds,
            track_every=7,
        )
