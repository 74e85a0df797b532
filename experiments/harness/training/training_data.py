"""The batches of one seed, epoch by epoch: fresh samples, or a fixed training set reordered.

Where sequences start short and grow, each length has its own fixed training set.
"""

from collections.abc import Mapping
from typing import Any

from experiments.harness.method.randomness import generator
from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from jaxrnn.tasks import Batch, Task, length_of


class TrainingData:
    """One seed's training, validation and test sequences, the same for every method and backend.

    Attributes:
      validation: what every epoch ends with.
      test: what the run ends with, or None.
      position: the epoch, from 1, and the generator's state before it drew it, in JSON's types.
      known: as many training sequences as there are validation sequences, where training is on a
        fixed set: the loss on them, beside the validation loss, shows what was memorized.
    """

    def __init__(self, recipe: Recipe, schedule: Schedule, seed: int) -> None:
        sample = recipe.task.sample
        self._task, self._schedule, self._seed = recipe.task, schedule, seed
        self._rng = generator(seed, "training")
        self._number = 0
        self._training_set: Batch | None = None
        self.known: Batch | None = None
        if schedule.training_set:
            self._training_set = self._whole_set = sample(self._rng, schedule.training_set)
            self._length = length_of(recipe.task)
            self.known = Batch(*(array[: schedule.val_samples] for array in self._training_set))
        self.validation = sample(generator(seed, "validation"), schedule.val_samples)
        self.test: Batch | None = None
        if schedule.test_samples:
            self.test = sample(generator(seed, "test"), schedule.test_samples)
        self.next_epoch()

    def rewind(self, position: Mapping[str, Any]) -> None:
        """Go to the epoch with this position."""
        self._rng.bit_generator.state = position["generator"]
        self._number = position["epoch"] - 1
        self.next_epoch()

    def next_epoch(self) -> None:
        """Draw the next epoch."""
        self._number += 1
        self.position = {"epoch": self._number, "generator": self._rng.bit_generator.state}
        shape = self._schedule.steps_per_epoch, self._schedule.batch_size
        task = self._schedule.task_of(self._task, self._number)
        if self._training_set:
            self._draw_training_set(task)
            order = self._rng.permutation(len(self._training_set.inputs))
            self._order = order[: shape[0] * shape[1]].reshape(shape)
        else:
            self._epoch = task.sample(self._rng, *shape)

    def _draw_training_set(self, task: Task) -> None:
        """The training set of a length, unless it is there; always the same for a length."""
        length = length_of(task)
        if length == length_of(self._task):
            self._training_set = self._whole_set
        elif length != self._length:
            rng = generator(self._seed, "shorter training", length)
            self._training_set = task.sample(rng, self._schedule.training_set)
        self._length = length

    def steps(self, start: int, stop: int) -> Batch:
        """A chunk of the epoch's batches, (K, B, ...)."""
        if self._training_set:
            return Batch(*(array[self._order[start:stop]] for array in self._training_set))
        return Batch(*(array[start:stop] for array in self._epoch))
