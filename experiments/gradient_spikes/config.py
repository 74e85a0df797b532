"""The options of ``python -m experiments.gradient_spikes``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.copy_task.config import PRESETS, CopyTaskConfig
from experiments.harness.command import cli

METHODS = ("vanilla", "orthogonal_init", "qr")
SETTINGS: dict[str, dict] = {
    "default": {},
    "30 symbols": {"seq_len": 30},
    "100 symbols": {"seq_len": 100},
    "no clipping": {"clip_norm": 0.0},
    "rate 3e-3": {"lr": 3e-3},
    "rate 1e-2": {"lr": 1e-2},
    "rate 1e-2, no clipping": {"lr": 1e-2, "clip_norm": 0.0},
    "64 units": {"hidden": 64},
    "256 units": {"hidden": 256},
    "ReLU": {"activation": "relu"},
    "copy memory 100": PRESETS["copy_memory"],
}


@dataclass(frozen=True)
class GradientSpikesConfig:
    """Search for the settings at which gradient norms spike."""

    steps: int = 300
    """Training steps of each run, rounded up to tens."""
    devices: int | Literal["auto"] = "auto"
    """JAX devices to share each batch; on a CPU, auto is one per core."""
    seed: int = 0
    """First seed."""
    seeds: int = 3
    """Number of seeds, counted from the first."""
    out: Path | None = None
    """Folder to write to; default: figures/gradient_spikes."""
    session: cli.SessionField = cli.DEFAULT_SESSION

    def __post_init__(self) -> None:
        cli.check_counts(self, "steps")
        cli.check_counts(self, "seeds", most=10)  # times eleven settings
        cli.check_counts(self, "seed", least=0)
        try:
            for name in SETTINGS:
                self.settings(name)
        except ValueError as error:
            raise ValueError(f"--steps {self.steps} --seeds {self.seeds}: {error}") from None

    def settings(self, name: str) -> CopyTaskConfig:
        """The copy task under one setting, in ten epochs."""
        samples = -(-self.steps // 10) * CopyTaskConfig().batch_size
        run = {"devices": self.devices, "seed": self.seed, "seeds": self.seeds}
        length = {"epochs": 10, "train_samples": samples, "val_samples": 500}
        return CopyTaskConfig(**{**SETTINGS[name], **length, **run})
