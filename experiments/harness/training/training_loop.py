"""The loop that trains all seeds of one method, chunk of steps by chunk of steps.

A run explodes with a loss or gradient that is not finite, a step that is not applied, or when the
median loss of a whole chunk of steps is above the schedule's ``max_loss``. (Single losses say
little: with clipping, runs that learn pass through spikes of a million times the baseline.) It is
then ``diverged``; or, where the schedule allows restarts, it goes back to the last state from which
a whole chunk was trained well, and on from there at lower learning rates. (The state just before is
no good: most often it is an earlier step that did the damage.)
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.harness.backends.backend import Trainer
from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import Run
from experiments.harness.records.run_record import HISTORY, MEASURED, Progress, Record
from experiments.harness.saving.snapshots import Snapshot, Snapshots
from experiments.harness.training.stream_data import StreamData
from experiments.harness.training.training_data import TrainingData
from jaxrnn.tasks import Batch
from jaxrnn.text import CharacterTask


@dataclass
class _Learner:
    """One seed in training.

    Attributes:
      record: what it has measured.
      data: its sequences.
      epoch, start: where it is: the epoch, from 1, and the steps done in it.
      latest: the snapshot of this place.
      good: the last one from which a whole chunk was trained without an explosion, or the first.
    """

    record: Record
    data: TrainingData | StreamData = field(init=False)
    latest: Snapshot = field(init=False)
    good: Snapshot = field(init=False)
    epoch: int = 1
    start: int = 0


class TrainingLoop:
    """All seeds of one method in training.

    Attributes:
      num_steps: steps in the last chunk.
    """

    def __init__(self, recipe: Recipe, schedule: Schedule, runs: Sequence[Run]) -> None:
        self._recipe, self._schedule = recipe, schedule
        self._learners = [_Learner(Record(run)) for run in runs]
        for run in runs:
            run.history = {name: [] for name in HISTORY}
            if schedule.training_set or recipe.streams:
                run.history["training_set_loss"] = []
        self._rate = math.nan  # steps per second of the last chunk; NaN: its first of this length
        self._rates: dict[int, list[float]] = {}  # by a chunk's number of steps
        self.num_steps = 0
        self._began = time.perf_counter()

    def begin(self, trainer: Trainer, snapshots: Sequence[Snapshots] | None = None) -> None:
        """Draw the data, and go to the snapshots of an earlier process if there are any."""
        self._trainer = trainer
        for i, learner in enumerate(self._learners):
            learner.data = self._data(learner.record.run.seed)
            if snapshots is None:
                learner.latest = learner.good = self._snapshot(i)
            else:
                learner.latest, learner.good = snapshots[i]
                self._return_to(i, learner.latest)
                self._began -= learner.record.run.seconds / len(self._learners)

    def _data(self, seed: int) -> TrainingData | StreamData:
        task = self._recipe.task
        if isinstance(task, CharacterTask):
            return StreamData(task, self._schedule, seed)
        return TrainingData(self._recipe, self._schedule, seed)

    @property
    def snapshots(self) -> list[Snapshots]:
        """Where each seed is, and where it would go back to."""
        return [Snapshots(learner.latest, learner.good) for learner in self._learners]

    @property
    def _seconds(self) -> float:
        """Since training began, the time of earlier processes included."""
        return time.perf_counter() - self._began

    @property
    def is_unfinished(self) -> bool:
        """Whether there is anything left to train."""
        return any(map(self._is_training, self._learners))

    def _is_training(self, learner: _Learner) -> bool:
        is_at_end = learner.epoch > self._schedule.epochs
        return not is_at_end and learner.record.run.status != "diverged"

    def advance(self) -> list[Progress]:
        """Train one chunk of the seeds that are furthest behind: all, unless one went back."""
        training = [i for i, learner in enumerate(self._learners) if self._is_training(learner)]
        places = {i: (self._learners[i].epoch, self._learners[i].start) for i in training}
        epoch, start = min(places.values())
        seeds = [i for i in training if places[i] == (epoch, start)]
        stop = min(start + self._schedule.chunk_steps, self._schedule.steps_per_epoch)
        self.num_steps = stop - start
        began = time.perf_counter()
        measured = self._trainer.train(
            [
                learner.data.steps(start, stop) if i in seeds else None
                for i, learner in enumerate(self._learners)
            ]
        )
        self._measure_rate(len(seeds) * self.num_steps / (time.perf_counter() - began))
        evaluated = self._evaluate() if stop == self._schedule.steps_per_epoch else {}
        return [
            self._take(
                i,
                {name: getattr(measured, name)[i] for name in MEASURED},
                {name: values[i] for name, values in evaluated.items()},
                stop,
            )
            for i in seeds
        ]

    def _measure_rate(self, rate: float) -> None:
        """A chunk that is the first of its length compiled before it ran: no rate of steps."""
        earlier = self._rates.get(self.num_steps)
        self._rate = math.nan if earlier is None else rate
        self._rates[self.num_steps] = [] if earlier is None else [*earlier, rate]

    def _evaluate(self) -> dict[str, np.ndarray]:
        """What the weights of each seed make of its validation set and of known sequences."""
        loss, accuracy = self._trainer.evaluate([x.data.validation for x in self._learners])
        evaluated = {"val_loss": loss, "val_accuracy": accuracy}
        known = [x.data.known for x in self._learners if x.data.known is not None]
        if known:
            evaluated["training_set_loss"] = self._trainer.evaluate(known)[0]
        return evaluated

    def _take(
        self, i: int, columns: dict[str, np.ndarray], row: dict[str, float], stop: int
    ) -> Progress:
        """Put a chunk's measurements on record, and go on to the next or back."""
        learner, record = self._learners[i], self._learners[i].record
        is_good = np.isfinite(columns["loss"]) & np.isfinite(columns["grad_norm"])
        count = len(is_good) if is_good.all() else int(is_good.argmin())
        loss, norm = (float(np.median(columns[name])) for name in ("loss", "grad_norm"))
        has_exploded = (
            count < len(is_good)
            or loss > self._schedule.max_loss
            or bool(row and not np.isfinite(row["val_loss"]))
        )
        exploded_at = record.num_steps + count
        if has_exploded and record.run.final.get("restarts", 0) < self._schedule.max_restarts:
            self._go_back(i, exploded_at)
            ends_epoch = False
        else:
            record.add_steps({name: column[:count] for name, column in columns.items()})
            ends_epoch = bool(row) and count == len(is_good)
            if ends_epoch:
                record.end_epoch(learner.epoch, row)
            if has_exploded:
                record.run.status = "diverged"
                record.run.final["diverged_at_step"] = exploded_at
                learner.latest = self._snapshot(i)
            else:
                self._go_on(i, stop)
        step = exploded_at if has_exploded else record.num_steps
        return Progress(learner.record.run, step, loss, norm, self._rate, ends_epoch)

    def _go_on(self, i: int, stop: int) -> None:
        learner = self._learners[i]
        learner.start = stop
        if stop == self._schedule.steps_per_epoch:
            learner.epoch, learner.start = learner.epoch + 1, 0
            if learner.epoch <= self._schedule.epochs:
                learner.data.next_epoch()
        learner.good, learner.latest = learner.latest, self._snapshot(i)

    def _go_back(self, i: int, exploded_at: int) -> None:
        """Back to the last good state, and on from there at lower rates."""
        learner = self._learners[i]
        before = learner.record.run.final
        self._return_to(i, learner.good)
        self._trainer.cut_learning_rate(i, self._schedule.rate_cut)
        learner.record.run.final |= {
            "restarts": before.get("restarts", 0) + 1,
            "restarted_at_steps": [*before.get("restarted_at_steps", []), exploded_at],
            "learning_rate_factor": before.get("learning_rate_factor", 1) * self._schedule.rate_cut,
        }
        learner.good = learner.latest = self._snapshot(i)

    def _snapshot(self, i: int) -> Snapshot:
        learner = self._learners[i]
        learner.record.run.seconds = self._seconds
        return Snapshot(
            self._trainer.state(i),
            learner.record.copy(),
            learner.data.position,
            learner.epoch,
            learner.start,
        )

    def _return_to(self, i: int, snapshot: Snapshot) -> None:
        learner = self._learners[i]
        self._trainer.restore(i, snapshot.state)
        learner.record = snapshot.record.copy()
        learner.epoch, learner.start = snapshot.epoch, snapshot.start
        learner.data.rewind(snapshot.position)

    def test(self) -> None:
        """Measure the loss on the test set, in parts as large as the validation set."""
        size = self._schedule.val_samples
        tests = [x.data.test for x in self._learners if x.data.test is not None]
        if not tests:
            return
        parts = [
            [Batch(*(array[start : start + size] for array in test)) for test in tests]
            for start in range(0, self._schedule.test_samples, size)
        ]
        losses = [self._trainer.evaluate(part)[0] for part in parts]
        means = np.average(losses, axis=0, weights=[len(part[0].targets) for part in parts])
        for learner, loss in zip(self._learners, means, strict=True):
            if learner.record.run.status != "diverged":
                learner.record.run.final["test_loss"] = loss

    def finish(self, is_interrupted: bool = False) -> list[Run]:
        """The runs, with what is known only at the end. ``seconds`` are those of all together."""
        runs = [learner.record.finish() for learner in self._learners]
        for run in runs:
            if is_interrupted and run.status == "completed":
                run.status = "interrupted"
            run.seconds = self._seconds
            rates = [rate for same in self._rates.values() for rate in same]
            run.steps_per_second = float(np.median(rates)) if rates else math.nan
        return runs
