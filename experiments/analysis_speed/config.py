"""The options of ``python -m experiments.analysis_speed``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.harness.command import cli


@dataclass(frozen=True)
class AnalysisSpeedConfig:
    """Time language modelling in both frameworks, and diagnostics against gradients."""

    rounds: int = 15
    """Rounds, after one that compiles."""
    parts: tuple[Literal["training", "diagnostics"], ...] = ("training", "diagnostics")
    """What to time."""
    out: Path | None = None
    """Folder to write to; default: figures/analysis_speed."""

    def __post_init__(self) -> None:
        cli.check_counts(self, "rounds")
        cli.check_distinct(self, "parts")
