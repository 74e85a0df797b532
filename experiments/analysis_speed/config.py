"""The options of ``python -m experiments.analysis_speed``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.harness.command import options


@dataclass(frozen=True)
class AnalysisSpeedConfig(options.Options):
    """Time language modelling in both frameworks, and diagnostics against gradients."""

    rounds: options.Count = 15
    """Rounds, after one that compiles."""
    parts: tuple[Literal["training", "diagnostics"], ...] = ("training", "diagnostics")
    """What to time."""
    out: Path | None = None
    """Folder to write to; default: figures/analysis_speed."""
