"""The batches of one seed's streams through a text, in order."""

from collections.abc import Mapping
from typing import Any

from experiments.harness.method.randomness import generator
from experiments.harness.method.schedule import Schedule
from jaxrnn.tasks import Batch
from jaxrnn.text import CharacterTask, StreamBatch


class StreamData:
    """As TrainingData, for truncated BPTT: every batch goes on where the one before it ended.

    The same where sequences start short and grow: the carry is passed on, and a gradient reaches
    further back from then on. An epoch of shorter sequences reads less of the text.

    Attributes:
      validation, test: long sequences of the splits, as many as the schedule says.
      known: as many of the training split: the loss on them shows what was memorized.
      position: the epoch, from 1, and the character of each stream that it begins with.
    """

    def __init__(self, task: CharacterTask, schedule: Schedule, seed: int) -> None:
        self._task, self._schedule = task, schedule
        self.validation = _first(task.sequences("validation"), schedule.val_samples)
        self.known = _first(task.sequences("train"), schedule.val_samples)
        self.test: Batch | None = None
        if schedule.test_samples:
            self.test = _first(task.sequences("test"), schedule.test_samples)
        # Seeds read the same text from different places.
        first = int(generator(seed, "place").integers(10**6)) * task.seq_len
        self.rewind({"epoch": 1, "character": first})

    def rewind(self, position: Mapping[str, Any]) -> None:
        """Go to the epoch with this position."""
        self.position = position
        self._of_epoch = self._schedule.task_of(self._task, position["epoch"])

    def next_epoch(self) -> None:
        """Read on."""
        read = self._schedule.steps_per_epoch * self._of_epoch.seq_len
        epoch, character = self.position["epoch"], self.position["character"]
        self.rewind({"epoch": epoch + 1, "character": character + read})

    def steps(self, start: int, stop: int) -> StreamBatch:
        """A chunk of the epoch's batches, (K, B, T)."""
        first = self.position["character"] + start * self._of_epoch.seq_len
        return self._of_epoch.batches(first, stop - start)


def _first(batch: Batch, count: int) -> Batch:
    return Batch(*(array[:count] for array in batch))
