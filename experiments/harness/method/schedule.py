"""How long to train, on how much, and what to do when training explodes."""

import math
from dataclasses import dataclass

from jaxrnn.tasks import AnyTask, growing_length, length_of, with_length


@dataclass(frozen=True)
class Schedule:
    """How long to train, and on how much.

    Attributes:
      epochs: at most this many.
      steps_per_epoch: K, steps between validations.
      batch_size: B.
      val_samples: sequences in the validation set, which stays the same for a seed.
      training_set: sequences that every epoch goes through in a new order; 0: always fresh ones.
      test_samples: sequences in the test set, which only the end of a run sees; 0: none.
      max_loss: a chunk of steps has exploded when the median of its losses is larger.
      max_restarts: how often a run that explodes goes back and tries again.
      rate_cut: what the learning rate is multiplied by then.
      start_length: sequences to train on have this length of the task in the first of several
        epochs and grow to its own in the first half, see jaxrnn.tasks.growing_length; 0: they have
        it all along.
      chunk_steps: steps between two looks at how it goes, at most.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    val_samples: int
    training_set: int = 0
    test_samples: int = 0
    max_loss: float = math.inf
    max_restarts: int = 0
    rate_cut: float = 0.5
    start_length: int = 0
    chunk_steps: int = 500

    def task_of(self, task: AnyTask, epoch: int) -> AnyTask:
        """The task to train on in an epoch, counted from 1.

        Raises:
          ValueError: ``start_length`` is longer than the task, or too short for it.
        """
        if not self.start_length:
            return task
        last = length_of(task)
        return with_length(task, growing_length(self.start_length, last, epoch, self.epochs))
