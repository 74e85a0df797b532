"""The jobs of a command, trained one after the other while a bar or lines show how they go."""

from collections.abc import Iterable, Sequence

from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Weights
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Job, interruptible, train_runs


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
                        job, seeds, backend, weights=weights, session=session, on_chunk=on_chunk
                    )
    return runs
