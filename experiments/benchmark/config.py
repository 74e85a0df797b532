"""The options of ``python -m experiments.benchmark``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.harness.command import cli


@dataclass(frozen=True)
class BenchmarkConfig:
    """Time training steps of both frameworks in turn."""

    parts: tuple[Literal["steps", "projection", "scaling"], ...] = (
        "steps",
        "projection",
        "scaling",
    )
    """What to measure."""
    rounds: int = 15
    """Rounds; every contender runs once in each."""
    out: Path | None = None
    """Folder to write to; default: figures/benchmark."""

    def __post_init__(self) -> None:
        cli.check_distinct(self, "parts")
        cli.check_counts(self, "rounds")
