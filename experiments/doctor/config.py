"""The options of ``python -m experiments.doctor``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DoctorConfig:
    """Examine a run: its conditions, their likely causes, and first aid."""

    results: Path | None = None
    """A results.json of an experiment that trains."""
    checkpoint: Path | None = None
    """A folder of checkpoints, whose networks are examined."""
    json: Path | None = None
    """File to write all findings and numbers to."""
