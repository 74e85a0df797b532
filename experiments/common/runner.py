"""Training a method from several seeds, epoch by epoch, into the runs of results.json."""

import time
from collections.abc import Callable, Sequence
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


def train_runs(
    method: str,
    recipe: Recipe,
    schedule: Schedule,
    seeds: Sequence[int],
    backend: str = "jax",
    weights: Sequence[Weights] | None = None,
    on_epoch: Callable[[Run], Any] = lambda run: None,
) -> list[Run]:
    """Train one method from each seed and return its runs.

    A seed fixes the initial weights and, apart from them, the data: every method and both backends
    train on the same batches. A seed whose loss or gradient is not finite stops as ``diverged``.

    Args:
      method: the runs' name.
      recipe: what to train.
      schedule: for how long.
      seeds: one run each, vmapped on JAX.
      backend: "jax" or "torch".
      weights: initial weights of each seed; default: fresh ones by the backend's initialisers.
      on_epoch: called with the first seed's run after each epoch.

    Raises:
      Interrupted: Ctrl-C; carries the runs so far.
    """
    library = load_backend(backend)
    if weights is None:
        weights = [library.initial_weights(recipe, seed) for seed in seeds]
    records = [_Record(Run(method, backend, seed)) for seed in seeds]
    train_rngs = [np.random.default_rng([seed, 0]) for seed in seeds]
    val_rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
    validation = [recipe.task.sample(rng, schedule.val_samples) for rng in val_rngs]
    shape = (schedule.steps_per_epoch, schedule.batch_size)
    rates: list[float] = []
    start = time.perf_counter()
    try:
        trainer = library.make_trainer(recipe, weights)
        for epoch in range(1, schedule.epochs + 1):
            epoch_start = time.perf_counter()
            measured = trainer.train([recipe.task.sample(rng, *shape) for rng in train_rngs])
            rates.append(len(seeds) * shape[0] / (time.perf_counter() - epoch_start))
            losses, accuracies = trainer.evaluate(validation)
            for i, record in enumerate(records):
                columns = {name: column[i] for name, column in measured._asdict().items()}
                record.add(epoch, columns, losses[i], accuracies[i])
            on_epoch(records[0].run)
            if all(record.run.status == "diverged" for record in records):
                break
    except KeyboardInterrupt:
        for record in records:
            if record.run.status == "completed":
                record.run.status = "interrupted"
        raise Interrupted([record.finish(start, rates) for record in records]) from None
    return [record.finish(start, rates) for record in records]


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
        if bad.any():
            self.run.status = "diverged"
            measured = {name: column[: bad.argmax()] for name, column in measured.items()}
        for name in STEPS:
            self.columns[name].append(measured[name])
        if self.run.status == "diverged":
            self.run.final["diverged_at_step"] = sum(map(len, self.columns["grad_norm"]))
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
        steps = {
            name: np.concatenate(parts or [np.empty(0)]) for name, parts in self.columns.items()
        }
        self.run.steps = {"step": np.arange(len(steps["grad_norm"])), **steps}
        history = self.run.history
        if history["epoch"]:
            for name in ("val_loss", "val_accuracy", "spectral_norm", "orthogonality_error"):
                self.run.final[name] = history[name][-1]
            self.run.final["best_val_loss"] = min(history["val_loss"])
        if len(steps["grad_norm"]):
            self.run.final["grad_norm_max"] = steps["grad_norm"].max()
            self.run.final["spectral_norm_max"] = np.nanmax(steps["spectral_norm"], initial=-np.inf)
        self.run.seconds = time.perf_counter() - start
        # The first epoch compiles.
        self.run.steps_per_second = float(np.median(rates[1:] or rates or [0.0]))
        return self.run
