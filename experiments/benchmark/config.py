"""The options of ``python -m experiments.benchmark``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.harness.command import options


@dataclass(frozen=True)
class BenchmarkConfig(options.Options):
    """Time training steps of both frameworks in turn."""

    parts: tuple[Literal["steps", "projection", "scaling"], ...] = (
        "steps",
        "projection",
        "scaling",
    )
    """What to measure."""
    rounds: options.Count = 15
    """Rounds; every contender runs once in each."""
    out: Path | None = None
    """Folder to write to; default: figures/benchmark."""
