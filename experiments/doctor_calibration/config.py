"""The options of ``python -m experiments.doctor_calibration``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.harness.command import cli


@dataclass(frozen=True)
class DoctorCalibrationConfig:
    """Diagnose networks whose condition is known."""

    sets: tuple[Literal["calibration", "held_out"], ...] = ("calibration", "held_out")
    """Which networks."""
    train: bool = False
    """Instead of diagnosing, train those labelled healthy or vanishing: do they learn to recall?"""
    out: Path | None = None
    """Folder to write to; default: figures/doctor, or figures/doctor/training with --train."""

    def __post_init__(self) -> None:
        cli.check_distinct(self, "sets")
