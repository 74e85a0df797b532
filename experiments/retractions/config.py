"""The options of ``python -m experiments.retractions``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.copy_task.config import CopyTaskConfig
from experiments.harness.command import cli

# Training variants: what differs from the copy task's method "qr".
VARIANTS: dict[str, dict[str, Any]] = {
    "qr": {},
    "qr, every 5": {"project_every": 5},
    "polar": {"retraction": "polar"},
    "polar, every 5": {"retraction": "polar", "project_every": 5},
    "qr_unsigned": {"retraction": "qr_unsigned"},
}


@dataclass(frozen=True)
class RetractionsConfig:
    """Compare retractions: their accuracy, their distance from the nearest, and training."""

    size: int = 64
    """N of the matrices whose accuracy is measured."""
    matrices: int = 10
    """Random matrices for each condition number."""
    epochs: int = 20
    """Epochs of the copy task for each variant."""
    devices: int | Literal["auto"] = "auto"
    """JAX devices to share each batch; on a CPU, auto is one per core."""
    seed: int = 0
    """First seed."""
    seeds: int = 5
    """Number of seeds, counted from the first."""
    out: Path | None = None
    """Folder to write to; default: figures/retractions."""
    session: cli.SessionField = cli.DEFAULT_SESSION

    def __post_init__(self) -> None:
        cli.check_counts(self, "size", "matrices", "epochs", "seeds")
        cli.check_counts(self, "seed", least=0)
        # In float64, and as many again of the two orthogonal factors.
        cli.check_memory(self, 2 * 3 * self.matrices * self.size**2, "size", "matrices")
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
