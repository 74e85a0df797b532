"""What one run has measured so far, on its way into results.json."""

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from experiments.harness.records.results import Run

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
MEASURED = ("loss", "accuracy", *STEPS)
MAX_POINTS = 8192  # more of a run's steps are kept as the maxima of 2, 4, ... in a row


class Progress(NamedTuple):
    """How a run stands after a chunk of steps; loss and gradient norm are the chunk's medians."""

    run: Run
    step: int
    loss: float
    grad_norm: float
    steps_per_second: float
    epoch_ended: bool


@dataclass
class Record:
    """One run, the columns of its steps, and those of the epoch that it is in.

    Attributes:
      run: what is written in the end.
      num_steps: steps taken.
      width: steps behind each point.
      points: the steps' columns, and in "step" where each point's steps begin.
      epoch: the columns of the epoch so far.
    """

    run: Run
    num_steps: int = 0
    width: int = 1
    points: dict[str, np.ndarray] = field(default_factory=dict)
    epoch: dict[str, np.ndarray] = field(default_factory=dict)

    def copy(self) -> "Record":
        """A record that does not follow this one. Columns are never changed in place."""
        run = dataclasses.replace(self.run, final=dict(self.run.final))
        return dataclasses.replace(self, run=run)

    def add_steps(self, measured: dict[str, np.ndarray]) -> None:
        """Add the columns of some steps."""
        count = len(measured["loss"])
        new = {"step": np.arange(self.num_steps, self.num_steps + count)}
        new |= {name: measured[name] for name in STEPS}
        self.points = _in_buckets(_joined(self.points, new), self.width)
        self.num_steps += count
        while len(self.points["step"]) > MAX_POINTS:
            self.width *= 2
            self.points = _in_buckets(self.points, self.width)
        self.epoch = _joined(self.epoch, {name: measured[name] for name in MEASURED})

    def end_epoch(self, epoch: int, evaluated: dict[str, float]) -> None:
        """Add the epoch's row to the history; ``evaluated`` are the columns beside the steps'."""
        values = {
            "epoch": epoch,
            "train_loss": self.epoch["loss"].mean(),
            "train_accuracy": self.epoch["accuracy"].mean(),
            "grad_norm_max": self.epoch["grad_norm"].max(),
            "spectral_norm": self.epoch["spectral_norm"][-1],
            "orthogonality_error": self.epoch["orthogonality_error"][-1],
            **evaluated,
        }
        # A new dictionary, so that Ctrl-C finds a whole row or none.
        self.run.history = {
            name: [*column, values[name]] for name, column in self.run.history.items()
        }
        self.epoch = {}

    def finish(self) -> Run:
        """The run, with what is known only at the end."""
        history, final, points = self.run.history, self.run.final, self.points
        if history["epoch"]:
            for name in ("val_loss", "val_accuracy", "spectral_norm", "orthogonality_error"):
                final[name] = history[name][-1]
            final["best_val_loss"] = np.fmin.reduce(history["val_loss"])
        if self.num_steps:
            final["grad_norm_max"] = points["grad_norm"].max()
            final["spectral_norm_max"] = np.fmax.reduce(points["spectral_norm"])
        self.run.steps = points or {name: np.empty(0) for name in ("step", *STEPS)}
        return self.run


def _joined(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([old[name], new[name]]) for name in new} if old else dict(new)


def _in_buckets(points: dict[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """The maxima of all points whose steps begin within the same ``width`` steps."""
    starts = np.unique(points["step"] // width, return_index=True)[1]
    return {
        name: column[starts] if name == "step" else np.fmax.reduceat(column, starts)
        for name, column in points.items()
    }
