"""The options of ``python -m experiments.remedies``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from experiments.harness.command import cli
from experiments.remedies.cases import Symptom


@dataclass(frozen=True)
class RemediesConfig:
    """Try every remedy on every symptom."""

    symptoms: tuple[Symptom, ...] = get_args(Symptom)
    """Whose cases to treat."""
    quick: bool = False
    """A quarter of an hour: two seeds, and a few remedies of each kind."""
    seed: int = 0
    """First seed."""
    seeds: int = 5
    """Number of seeds, counted from the first; two if quick."""
    out: Path | None = None
    """Folder to write to; default: figures/remedies."""
    session: cli.SessionField = cli.DEFAULT_SESSION

    def __post_init__(self) -> None:
        cli.check_distinct(self, "symptoms")
        cli.check_counts(self, "seed", least=0)
        cli.check_counts(self, "seeds", most=10)
        if self.session.log_dir is not None:
            raise ValueError("--log-dir: these networks train in processes of their own")
