"""The jobs of a command, trained one after the other while a bar or lines show how they go."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe, Weights
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import interruptible, train_runs


@dataclass(frozen=True)
class Job:
    """A method to train from every seed, on every backend.

    Attributes:
      name: what it is called as it runs.
      method, recipe, schedule, settings, measure: see ``train_runs``.
    """

    name: str
    method: str
    recipe: Recipe
    schedule: Schedule
    settings: Mapping[str, Any] = field(default_factory=dict)
    measure: Callable[[Run, Weights], dict[str, Any]] | None = None


def train_jobs(
    jobs: Iterable[Job], backends: Sequence[str], seeds: Sequence[int], session: Session
) -> list[Run]:
    """The runs of all jobs; several backends start from the weights that the first one draws.

    Raises:
      Interrupted: carries what was measured.
    """
    runs: list[Run] = []
    with interruptible(runs):
        for job in jobs:
            weights: list[Weights] | None = None
            if len(backends) > 1:
                initial = load_backend(backends[0]).initial_weights
                weights = [initial(job.recipe, seed) for seed in seeds]
            for backend in backends:
                with report.progress(f"{job.name} ({backend})", job.schedule) as on_chunk:
                    runs += train_runs(
                        job.method,
                        job.recipe,
                        job.schedule,
                        seeds,
                        backend,
                        weights,
                        job.settings,
                        session,
                        on_chunk,
                        job.measure,
                    )
    return runs
