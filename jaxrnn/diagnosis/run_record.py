"""A run as a results.json records it, read and checked.

A run is an entry of "runs": {"history": {"epoch": [...], "val_loss": [...], ...}, "steps": {...},
"final": {...}, "status": "completed"}; numbers that were not finite are null there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxrnn.diagnosis.thresholds import HistoryThresholds

LEAST_EPOCHS = 3  # before which no run is judged by its baseline: most have learnt nothing yet
STATUSES = ("completed", "diverged", "interrupted")


@dataclass(frozen=True)
class RunRecord:
    """Of one run; NaN for what is not known, or was not finite.

    Attributes:
      status: completed, diverged or interrupted.
      losses: of validation, by epochs; where there are none, of training.
      train_losses: of training; where there are none, of validation.
      restarts: how often it began again.
      spike: the largest gradient norm, over the median one.
      spectral_norms: of W_hh in the first epoch and in the last.

    Example:
      >>> history = {"val_loss": [0.9, 0.4, 0.3], "spectral_norm": [1.0, 1.2, 3.0]}
      >>> record = diagnosis.read_run_record({"history": history, "status": "completed"})
      >>> record.remarks(diagnosis.HistoryThresholds())
      ('the spectral norm of W_hh went from 1 to 3',)
    """

    status: str
    losses: tuple[float, ...]
    train_losses: tuple[float, ...]
    restarts: int
    spike: float
    spectral_norms: tuple[float, float]

    def remarks(self, limits: HistoryThresholds) -> tuple[str, ...]:
        """What is unusual and still no fault: a network may have it and learn."""
        said = []
        if len(self.losses) < LEAST_EPOCHS and self.status != "diverged":
            said.append(f"the run has fewer than {LEAST_EPOCHS} epochs, too few to judge it by")
        if self.spike > limits.spike:
            said.append(f"gradient norms rose to {self.spike:.2g} times their median")
        first, last = self.spectral_norms
        if max(first, last) > limits.drift * min(first, last):
            said.append(f"the spectral norm of W_hh went from {first:.3g} to {last:.3g}")
        return tuple(said)


def read_run_record(run: Mapping[str, Any]) -> RunRecord:
    """The record of a run, from an entry of "runs" in a results.json.

    Raises:
      ValueError: an entry of another schema, or one without any loss that has not diverged.

    Example:
      >>> run = {"history": {"val_loss": [0.9, 0.4, None]}, "status": "completed"}
      >>> diagnosis.read_run_record(run).losses
      (0.9, 0.4, nan)
    """
    expected = 'a run of results.json: {"history": {"val_loss": [...]}, "status": ...}'
    if not isinstance(run, Mapping) or not isinstance(run.get("history"), Mapping):
        found = ", ".join(map(str, run)) if isinstance(run, Mapping) else type(run).__name__
        raise ValueError(f"history must be {expected}, got {found or 'nothing'}")
    status = run.get("status")
    if status not in STATUSES:
        raise ValueError(f"history must be {expected}, got the status {status!r}")
    history, steps, final = run["history"], _part(run, "steps"), _part(run, "final")
    names = [name for name in ("val_loss", "train_loss") if name in history]
    if not names:
        raise ValueError(
            f"history must be {expected}, got a history of {', '.join(history) or 'nothing'}"
        )
    losses = [_numbers(history, name) for name in names]
    if not losses[0] and status != "diverged":
        raise ValueError(f"{names[0]} of a history is empty: there is no loss to judge the run by")
    restarts = final.get("restarts") or 0
    if not isinstance(restarts, int) or restarts < 0:
        raise ValueError(f"restarts of a run must be a whole number, got {restarts!r}")
    norms = sorted(finite(_numbers(steps, "grad_norm")))
    median = norms[len(norms) // 2] if norms else 0.0
    spectral = finite(_numbers(history, "spectral_norm"))
    return RunRecord(
        status,
        losses[0],
        losses[-1],
        restarts,
        spike=norms[-1] / median if median > 0 else math.nan,
        spectral_norms=(spectral[0], spectral[-1]) if spectral else (math.nan, math.nan),
    )


def finite(column: Sequence[float]) -> list[float]:
    """The numbers in it that are finite."""
    return [value for value in column if math.isfinite(value)]


def _part(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a run that may be missing."""
    part = run.get(name) or {}
    if not isinstance(part, Mapping):
        raise ValueError(f"{name} of a run must be a table of names, got {type(part).__name__}")
    return part


def _numbers(table: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """A column, NaN for null; nothing where it is missing."""
    column = table.get(name, ())
    if not isinstance(column, Sequence) or isinstance(column, str):
        raise ValueError(f"{name} of a history must be a list, got {type(column).__name__}")
    for value in column:
        is_number = isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**1023)
        if value is not None and not is_number:
            raise ValueError(f"{name} of a history must hold numbers, got {value!r:.40}")
    return tuple(math.nan if value is None else float(value) for value in column)
