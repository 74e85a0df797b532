"""The options of ``python -m experiments.doctor_calibration``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.harness.command import options


@dataclass(frozen=True)
class DoctorCalibrationConfig(options.Options):
    """Diagnose networks whose condition is known."""

    sets: tuple[Literal["calibration", "held_out"], ...] = ("calibration", "held_out")
    """Which networks."""
    train: bool = False
    """Instead of diagnosing, train those labelled healthy or vanishing: do they learn to recall?"""
    out: Path | None = None
    """Folder to write to; default: figures/doctor, or figures/doctor/training with --train."""

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written."""
        if self.sets != DoctorCalibrationConfig.sets:
            return Path("doctor", "custom")
        return Path("doctor", "training") if self.train else Path("doctor")
