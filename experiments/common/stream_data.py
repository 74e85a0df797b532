"""The batches of one seed's streams through a text, in order."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.schedule import Schedule
from jaxrnn.tasks import Batch
from jaxrnn.text import CharacterTask, StreamBatch


class StreamData:
    """As TrainingData, for truncated BPTT: every batch goes on where the one before it ended.

    Attributes:
      validation, test: long sequences of the splits, as many as the schedule says.
      known: as many of the training split: the loss on them shows what was learnt by heart.
      position: the number of the epoch's first batch.
    """

    def __init__(self, task: CharacterTask, schedule: Schedule, seed: int) -> None:
        self._task, self._schedule = task, schedule
        self.validation = _first(task.sequences("validation"), schedule.val_samples)
        self.known = _first(task.sequences("train"), schedule.val_samples)
        self.test: Batch | None = None
        if schedule.test_samples:
            self.test = _first(task.sequences("test"), schedule.test_samples)
        # Seeds read the same text from different places.
        self.position: Mapping[str, Any] = {
            "batch": int(np.random.default_rng(seed).integers(10**6))
        }

    def rewind(self, position: Mapping[str, Any]) -> None:
        """Go to the epoch with this position."""
        self.position = position

    def next_epoch(self) -> None:
        """Read on."""
        self.position = {"batch": self.position["batch"] + self._schedule.steps_per_epoch}

    def steps(self, start: int, stop: int) -> StreamBatch:
        """A chunk of the epoch's batches, (K, B, T)."""
        return self._task.batches(self.position["batch"] + start, stop - start)


def _first(batch: Batch, count: int) -> Batch:
    return Batch(*(array[:count] for array in batch))
