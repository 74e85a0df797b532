"""The options of ``python -m experiments.remedies``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

from experiments.harness.command import options
from experiments.remedies.cases import Symptom


@dataclass(frozen=True)
class RemediesConfig(options.TrainingOptions):
    """Try every remedy on every symptom."""

    symptoms: tuple[Symptom, ...] = get_args(Symptom)
    """Whose cases to treat."""
    quick: bool = False
    """Nine minutes: two seeds, and a few remedies of each kind."""
    seed: options.Seed = 0
    seeds: Annotated[int, options.Between(1, 10)] = 5
    """Number of seeds, counted from the first; two if quick."""
    out: Path | None = None
    """Folder to write to; default: figures/remedies, or a folder in it for other settings."""
    session: options.Session = options.DEFAULT_SESSION

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quick and self.seeds not in (type(self).seeds, 2):
            raise ValueError(f"--quick trains two seeds, and not --seeds {self.seeds}")
        if self.session.log_dir is not None:
            raise ValueError("--log-dir: these networks train in processes of their own")

    @property
    def all_seeds(self) -> range:
        """The seeds to train from."""
        return range(self.seed, self.seed + (2 if self.quick else self.seeds))

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written."""
        if not options.changed_fields(self, RemediesConfig(quick=True)):
            return Path(self.experiment, "quick")
        return self.folder_of()
