"""Training a method from several seeds into the runs of results.json."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
      runs: those that have ended, and those that were in training.
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


def train_runs(
    method: str,
    recipe: Recipe,
    schedule: Schedule,
    seeds: Sequence[int],
    backend: str = "jax",
    weights: Sequence[Weights] | None = None,
    settings: Mapping[str, Any] | None = None,
    session: Session | None = None,
    on_chunk: Callable[[Sequence[Progress]], Any] = lambda progress: None,
    measure: Callable[[Run, Weights], dict[str, Any]] | None = None,
) -> list[Run]:
    """Train one method from each seed and return its runs.

    A seed fixes the initial weights and, apart from them, the data: every method and both backends
    train on the same batches.

    Args:
      method: the runs' name.
      recipe: what to train.
      schedule: for how long.
      seeds: one run each.
      backend: "jax", "torch" or "numpy".
      weights: initial weights of each seed; default: fresh ones by the backend's initialisers.
      settings: of the runs, what differs from the experiment's configuration.
      session: saves checkpoints, and knows what an earlier process had trained already.
      on_chunk: called after each chunk of steps with the progress of each seed it trained.
      measure: called with every completed run and its weights; the result joins ``run.final``.

    Raises:
      Interrupted: Ctrl-C, SIGTERM or a checkpoint not written; carries the runs so far.
    """
    session = session or Session.without_options()
    runs = [Run(method, backend, seed, dict(settings or {})) for seed in seeds]
    finished = session.finished(runs)
    if finished is not None:
        return finished
    loop = TrainingLoop(recipe, schedule, runs)
    try:
        library = load_backend(backend)
        if weights is None:
            weights = [library.initial_weights(recipe, seed) for seed in seeds]
        loop.begin(library.make_trainer(recipe, weights), session.unfinished())
        while loop.is_unfinished:
            progress = loop.advance()
            on_chunk(progress)
            session.after_chunk(progress, loop.snapshots, loop.num_steps)
        loop.test()
    except (KeyboardInterrupt, NotWritten) as cause:
        raise Interrupted(loop.finish(is_interrupted=True), cause) from None
    runs = loop.finish()
    if measure is not None:
        for run, (latest, _) in zip(runs, loop.snapshots, strict=True):
            if run.status == "completed":
                run.final |= measure(run, library.weights_of(recipe, latest.state))
    with interruptible(runs):
        session.finish(runs, loop.snapshots)
    return runs
