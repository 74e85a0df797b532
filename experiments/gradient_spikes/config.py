"""The options of ``python -m experiments.gradient_spikes``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path

from experiments.copy_task.config import PRESETS, CopyTaskConfig
from experiments.harness.command import options

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
class GradientSpikesConfig(options.TrainingOptions):
    """Search for the settings at which gradient norms spike."""

    steps: options.Count = 300
    """Training steps of each run, rounded up to tens."""
    devices: options.Devices = "auto"
    seed: options.Seed = 0
    seeds: options.FewSeeds = 3
    out: Path | None = None
    """Folder to write to; default: figures/gradient_spikes, or a folder in it for others."""
    session: options.Session = options.DEFAULT_SESSION

    def __post_init__(self) -> None:
        super().__post_init__()
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
