"""Training a method from several seeds into the runs of results.json."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe, Weights
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import NotWritten, Run
from experiments.harness.records.run_record import Progress
from experiments.harness.saving.session import Session
from experiments.harness.training.training_loop import TrainingLoop


class Interrupted(Exception):  # noqa: N818 — Ctrl-C is not an error
    """A run that had to end, after what was measured had been put into the runs that this carries.

    Attributes:
      runs: the finished ones, and the ones in training.
      cause: Terminated for SIGTERM, NotWritten for a checkpoint, something else for Ctrl-C.
    """

    def __init__(self, runs: list[Run], cause: BaseException | None = None) -> None:
        super().__init__(str(cause or "interrupted"))
        self.runs, self.cause = runs, cause


@contextmanager
def interruptible(runs: list[Run]) -> Iterator[None]:
    """What ends a run in this block raises Interrupted, with ``runs`` too."""
    try:
        yield
    except Interrupted as interrupted:
        raise Interrupted([*runs, *interrupted.runs], interrupted.cause) from None
    except (KeyboardInterrupt, NotWritten) as cause:
        raise Interrupted(runs, cause) from None


@dataclass(frozen=True)
class Job:
    """A method to train.

    Attributes:
      name: what it is called as it runs.
      method: the runs' name.
      recipe: what to train.
      schedule: for how long.
      settings: of the runs, what differs from the experiment's configuration.
      measure: called with every completed run and its weights; the result joins ``run.final``.
    """

    name: str
    method: str
    recipe: Recipe
    schedule: Schedule
    settings: Mapping[str, Any] = field(default_factory=dict)
    measure: Callable[[Run, Weights], dict[str, Any]] | None = None

    def new_runs(self, seeds: Sequence[int], backend: str) -> list[Run]:
        """Its runs before they are trained, one for each seed."""
        return [Run(self.method, backend, seed, dict(self.settings)) for seed in seeds]


def train_runs(
    job: Job,
    seeds: Sequence[int],
    backend: str = "jax",
    *,
    weights: Sequence[Weights] | None = None,
    session: Session | None = None,
    on_chunk: Callable[[Sequence[Progress]], Any] = lambda progress: None,
) -> list[Run]:
    """Train a job from each seed and return its runs.

    A seed fixes the initial weights and, apart from them, the data: every method and both backends
    train on the same batches.

    Args:
      job: what to train.
      seeds: one run each.
      backend: "jax", "torch" or "numpy".
      weights: initial weights of each seed; default: fresh ones by the backend's initialisers.
      session: saves checkpoints, and recalls what an earlier process has trained.
      on_chunk: called after each chunk of steps with the progress of each seed it trained.

    Raises:
      Interrupted: Ctrl-C, SIGTERM or a checkpoint not written; carries the runs so far.
    """
    session = session or Session.without_options()
    runs = job.new_runs(seeds, backend)
    ended = session.recall(runs)
    if ended is not None:
        return ended
    loop = TrainingLoop(job.recipe, job.schedule, runs)
    try:
        library = load_backend(backend)
        if weights is None:
            weights = [library.initial_weights(job.recipe, seed) for seed in seeds]
        loop.begin(library.make_trainer(job.recipe, weights), session.begin(runs))
        while loop.is_unfinished:
            progress = loop.advance()
            on_chunk(progress)
            session.after_chunk(progress, loop.snapshots, loop.num_steps)
        loop.test()
    except (KeyboardInterrupt, NotWritten) as cause:
        raise Interrupted(loop.finish(is_interrupted=True), cause) from None
    runs = loop.finish()
    if job.measure is not None:
        for run, (latest, _) in zip(runs, loop.snapshots, strict=True):
            if run.status == "completed":
                run.final |= job.measure(run, library.weights_of(job.recipe, latest.state))
    with interruptible(runs):
        session.end(runs, loop.snapshots)
    return runs
