"""The options of ``python -m experiments.checkpoint_cost``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path

from experiments.harness.command import options


@dataclass(frozen=True)
class CheckpointCostConfig(options.Options):
    """Time checkpoints against the training between them."""

    chunks: options.Count = 15
    """Chunks of 500 steps, and checkpoints."""
    out: Path | None = None
    """Folder to write to; default: figures/checkpoint_cost."""
