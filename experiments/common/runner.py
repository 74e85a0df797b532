"""Training a method from several seeds, epoch by epoch, into the runs of results.json."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.common.recipe import Recipe, Weights, load_backend
from experiments.common.results import Run

HISTORY = (
    "epoch",
    "train_loss",
    "val_loss",
    "train_accuracy",
    "val_accuracy",
    "grad_norm_max",
    "spectral_norm",
    "orthogonality_error",
)
STEPS = ("grad_norm", "spectral_norm", "orthogonality_error")


@dataclass(frozen=True)
class Schedule:
    """How long to train, and on how much.

    Attributes:
      epochs: at most this many.
      steps_per_epoch: K, steps between validations.
      batch_size: B.
      val_samples: sequences in the validation set, which stays the same for a seed.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    val_samples: int


class Interrupted(Exception):  # noqa: N818 — Ctrl-C is not an error
    """Ctrl-C, after what was measured had been put into the runs that this carries."""

    def __init__(self, runs: list[Run]) -> None:
        super().__init__("interrupted")
        self.runs = runs


@contextmanager
def interruptible(runs: list[Run]) -> Iterator[None]:
    """Ctrl-C in this block raises Interrupted with ``runs`` and those that were in training."""
    try:
        yield
    except Interrupted as interrupted:
        raise Interrupted([*runs, *interrupted.runs]) from None
    except KeyboardInterrupt:
        raise Interrupted(runs) from None


def train_runs(
    method: str,
    recipe: Recipe,
    schedule: Schedule,
    seeds: Sequence[int],
    backend: str = "jax",
    weights: Sequence[Weights] | None = None,
    settings: Mapping[str, Any] | None = None,
    on_epoch: Callable[[Run], Any] = lambda run: None,
) -> list[Run]:
    """Train one method from each seed and return its runs.

    A seed fixes the initial weights and, apart from them, the data: every method and both backends
    train on the same batches. A seed whose loss or gradient is not finite stops as ``diverged``.

    Args:
      method: the runs' name.
      recipe: what to train.
      schedule: for how long.
      seeds: one run each.
      backend: "jax", "torch" or "numpy".
      weights: initial weights of each seed; default: fresh ones by the backend's initialisers.
      settings: of the runs, what differs from the experiment's configuration.
      on_epoch: called after each epoch with the run of the first seed that has not diverged.

    Raises:
      Interrupted: Ctrl-C; carries the runs so far.
    """
    library = load_backend(backend)
    records = [_Record(Run(method, backend, seed, dict(settings or {}))) for seed in seeds]
    train_rngs = [np.random.default_rng([seed, 0]) for seed in seeds]
    val_rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
    shape = (schedule.steps_per_epoch, schedule.batch_size)
    rates: list[float] = []
    start = time.perf_counter()
    try:
        if weights is None:
            weights = [library.initial_weights(recipe, seed) for seed in seeds]
        validation = [recipe.task.sample(rng, schedule.val_samples) for rng in val_rngs]
        trainer = library.make_trainer(recipe, weights)
        for epoch in range(1, schedule.epochs + 1):
            epoch_start = time.perf_counter()
            measured = trainer.train([recipe.task.sample(rng, *shape) for rng in train_rngs])
            rates.append(len(seeds) * shape[0] / (time.perf_counter() - epoch_start))
            losses, accuracies = trainer.evaluate(validation)
            for i, record in enumerate(records):
                columns = {name: column[i] for name, column in measured._asdict().items()}
                record.add(epoch, columns, losses[i], accuracies[i])
            training = [record.run for record in records if record.run.status != "diverged"]
            on_epoch(training[0] if training else records[0].run)
            if not training:
                break
        return [record.finish(start, rates) for record in records]
    except KeyboardInterrupt:
        for record in records:
            if record.run.status == "completed":
                record.run.status = "interrupted"
        raise Interrupted([record.finish(start, rates) for record in records]) from None


@dataclass
class _Record:
    """One run and the columns of its steps while it trains."""

    run: Run
    columns: dict[str, list[np.ndarray]] = field(default_factory=lambda: {k: [] for k in STEPS})

    def __post_init__(self) -> None:
        self.run.history = {name: [] for name in HISTORY}

    def add(
        self, epoch: int, measured: dict[str, np.ndarray], val_loss: float, val_accuracy: float
    ) -> None:
        """Add an epoch, or the part of it before the first step that was not finite."""
        if self.run.status == "diverged":
            return
        bad = ~(np.isfinite(measured["loss"]) & np.isfinite(measured["grad_norm"]))
        for name in STEPS:
            self.columns[name].append(measured[name][: bad.argmax() if bad.any() else None])
        if bad.any() or not np.isfinite(val_loss):
            self.run.status = "diverged"
            self.run.final["diverged_at_step"] = sum(map(len, self.columns["grad_norm"]))
        if bad.any():
            return
        values = {
            "epoch": epoch,
            "train_loss": measured["loss"].mean(),
            "val_loss": val_loss,
            "train_accuracy": measured["accuracy"].mean(),
            "val_accuracy": val_accuracy,
            "grad_norm_max": measured["grad_norm"].max(),
            "spectral_norm": measured["spectral_norm"][-1],
            "orthogonality_error": measured["orthogonality_error"][-1],
        }
        for name, value in values.items():
            self.run.history[name].append(value)

    def finish(self, start: float, rates: list[float]) -> Run:
        """Fill in what is known only at the end. ``seconds`` are those of all seeds together."""
        # Ctrl-C may have come while an epoch was added.
        epochs = min(map(len, self.run.history.values()))
        history = {name: column[:epochs] for name, column in self.run.history.items()}
        chunks = min(map(len, self.columns.values()))
        steps = {
            name: np.concatenate(parts[:chunks] or [np.empty(0)])
            for name, parts in self.columns.items()
        }
        self.run.history = history
        self.run.steps = {"step": np.arange(len(steps["grad_norm"])), **steps}
        if history["epoch"]:
            for name in ("val_loss", "val_accuracy", "spectral_norm", "orthogonality_error"):
                self.run.final[name] = history[name][-1]
            self.run.final["best_val_loss"] = np.fmin.reduce(history["val_loss"])
        if len(steps["grad_norm"]):
            self.run.final["grad_norm_max"] = steps["grad_norm"].max()
            self.run.final["spectral_norm_max"] = np.fmax.reduce(steps["spectral_norm"])
        self.run.seconds = time.perf_counter() - start
        # The first epoch compiles.
        self.run.steps_per_second = float(np.median(rates[1:] or rates or [0.0]))
        return self.run
