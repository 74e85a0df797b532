"""What all the runs of one command share: checkpoints, signals, and event files.

A command trains its jobs (one method on one backend, from all seeds) in a fixed order. A checkpoint
holds the runs of the jobs that are done and the snapshots of the one in training; a resumed command
passes over the former and goes on with the latter.
"""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from experiments.harness.records.results import Run, environment, plain, settings_of
from experiments.harness.records.run_record import Progress
from experiments.harness.saving.checkpoints import Checkpoint, CheckpointFolder
from experiments.harness.saving.events import EventFiles
from experiments.harness.saving.signals import SIGNALS, stop
from experiments.harness.saving.snapshots import (
    Snapshot,
    Snapshots,
    below,
    pack,
    pack_run,
    unpack,
    unpack_run,
)


@dataclass(frozen=True)
class SessionOptions:
    """Options of a command that change nothing about its results."""

    checkpoint_dir: Path | None = None
    """Folder to save checkpoints in; Ctrl-C and SIGTERM then save before they end the run."""
    checkpoint_every: int = 500
    """Steps between checkpoints, which are saved where a chunk of at most 500 steps ends."""
    resume: bool = False
    """Go on from the newest whole checkpoint in --checkpoint-dir."""
    log_dir: Path | None = None
    """Folder to write TensorBoard event files to."""

    def __post_init__(self) -> None:
        if self.checkpoint_every < 1:
            raise ValueError(f"--checkpoint-every must be 1 or more, got {self.checkpoint_every}")
        if self.resume and self.checkpoint_dir is None:
            raise ValueError("--resume needs --checkpoint-dir, the folder to resume from")
        if self.checkpoint_every != SessionOptions.checkpoint_every and self.checkpoint_dir is None:
            raise ValueError(f"--checkpoint-every {self.checkpoint_every} needs --checkpoint-dir")


def option(name: str) -> str:
    """The option of a field: batch_size → --batch-size."""
    return "--" + name.replace("_", "-")


class SavedJob(NamedTuple):
    """What a checkpoint says of the job that was in training, or the last one that was.

    Attributes:
      experiment, config: of the command.
      job: its method, backend, settings and seeds.
      snapshots: where each seed was.
    """

    experiment: str
    config: dict[str, Any]
    job: dict[str, Any]
    snapshots: list[Snapshot]


def saved_job(folder: Path) -> SavedJob:
    """The job in the newest checkpoint of a folder.

    Raises:
      ValueError: there is none, it cannot be read, or it holds no weights.
    """
    checkpoints = CheckpointFolder(folder, to_resume=True)
    try:
        _, (state, records, progress) = checkpoints.load()
    finally:
        checkpoints.release()
    if progress["job"] is None:
        raise ValueError(f"{folder} holds no weights")
    snapshots = unpack(state, below("current", records), progress["snapshots"])
    latest = [snapshot for snapshot, _ in snapshots]
    return SavedJob(progress["experiment"], progress["config"], progress["job"], latest)


class Session:
    """A command in progress; in a ``with`` block it takes signals.

    Args:
      experiment: its name.
      config: its dataclass, with SessionOptions as ``config.session`` if it takes any.
      backends: the frameworks used.

    Raises:
      ValueError: a folder that cannot be used, nothing to resume, a checkpoint of other settings.
    """

    def __init__(self, experiment: str, config: Any, backends: Sequence[str]) -> None:
        self.experiment, self.config, self.backends = experiment, config, backends
        self.options = getattr(config, "session", SessionOptions())
        self._done: list[tuple[Any, list[Run]]] = []
        self._job: Any = None
        self._resumed_job: Any = None
        self._snapshots: list[Snapshots] = []
        self._number = self._unsaved_steps = 0
        self._signal: int | None = None
        self._is_training = False
        self._environment: dict[str, Any] = {}
        self._folder = None
        if self.options.checkpoint_dir is not None:
            self._environment = plain(environment(backends))
            self._folder = CheckpointFolder(self.options.checkpoint_dir, self.options.resume)
        try:
            if self._folder and self.options.resume:
                self._resume(self._folder)
            self._events = EventFiles(self.options.log_dir) if self.options.log_dir else None
        except ValueError:
            if self._folder:
                self._folder.discard()
            raise

    @classmethod
    def without_options(cls) -> "Session":
        """A session that saves and shows nothing."""
        return cls("", None, ())

    def __enter__(self) -> "Session":
        self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._events:
            self._events.close()
        if self._folder:
            self._folder.release()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """With checkpoints, wait for the end of the chunk; the second time do not wait."""
        waits = self._folder is not None and self._is_training and self._signal is None
        self._signal = number
        if not waits:
            stop(number)
        # Not by print, which may be what the signal has interrupted.
        os.write(sys.stderr.fileno(), b"saving a checkpoint; once more to stop without\n")

    def recall(self, runs: Sequence[Run]) -> list[Run] | None:
        """The runs of a job that an earlier process has ended; None if none has.

        Args:
          runs: the job's, as they are before they are trained.
        """
        return next((done for job, done in self._done if job == _identity(runs)), None)

    def begin(self, runs: Sequence[Run]) -> list[Snapshots] | None:
        """Note that a job begins to train; the snapshots to go on from, None if there are none."""
        self._job, self._is_training = _identity(runs), True
        return self._snapshots if self._job == self._resumed_job else None

    def after_chunk(
        self, progress: Sequence[Progress], snapshots: Sequence[Snapshots], num_steps: int
    ) -> None:
        """Save if it is time, or a signal has come, which then ends the run.

        Args:
          progress: of the seeds trained.
          snapshots: of all seeds.
          num_steps: the steps in the chunk.

        Raises:
          NotWritten: the checkpoint could not be saved.
          KeyboardInterrupt: Ctrl-C, or as Terminated SIGTERM, after the checkpoint was saved.
        """
        number = self._signal  # once: it may change at any time
        self._unsaved_steps += num_steps
        if self._unsaved_steps >= self.options.checkpoint_every or number:
            self._save(snapshots)
        if self._events:
            self._events.add(progress)
        if number:
            stop(number)

    def end(self, runs: Sequence[Run], snapshots: Sequence[Snapshots]) -> None:
        """Note the runs of a job that has ended; the checkpoint keeps its last weights.

        Raises:
          NotWritten, KeyboardInterrupt: as ``after_chunk``.
        """
        self._job, self._is_training = _identity(runs), False
        self._done.append((self._job, list(runs)))
        self._save(snapshots)
        if self._signal:
            stop(self._signal)

    def _save(self, snapshots: Sequence[Snapshots] = ()) -> None:
        self._unsaved_steps = 0
        if self._folder is None:
            return
        state, columns, info = pack(snapshots)
        records = {f"current/{name}": column for name, column in columns.items()}
        done = [
            [job, [pack_run(run, f"done/{i}/{j}", records) for j, run in enumerate(runs)]]
            for i, (job, runs) in enumerate(self._done)
        ]
        progress = {
            "experiment": self.experiment,
            "config": self._settings(),
            "environment": self._environment,
            "done": done,
            "job": self._job if snapshots else None,
            "snapshots": info,
        }
        self._number += 1
        by_orbax = self._job["backend"] == "jax" and bool(state)
        self._folder.save(self._number, Checkpoint(state, records, progress), by_orbax)

    def _resume(self, folder: CheckpointFolder) -> None:
        self._number, (state, records, progress) = folder.load()
        self._compare(progress)
        folder.set_damaged_aside(self._number)
        self._done = [
            (job, [unpack_run(run, records, f"done/{i}/{j}") for j, run in enumerate(runs)])
            for i, (job, runs) in enumerate(progress["done"])
        ]
        self._resumed_job = progress["job"]
        self._snapshots = unpack(state, below("current", records), progress["snapshots"])

    def _compare(self, progress: dict[str, Any]) -> None:
        """ValueError unless a checkpoint is of this command; a warning for another environment."""
        folder = self.options.checkpoint_dir
        if progress["experiment"] != self.experiment:
            raise ValueError(
                f"--checkpoint-dir {folder} is of {progress['experiment']}, not of "
                f"{self.experiment}"
            )
        theirs, ours = progress["config"], self._settings()
        differences = [
            f"{option(name)} {theirs.get(name)}, not {ours.get(name)}"
            for name in sorted({*theirs, *ours})
            if theirs.get(name) != ours.get(name)
        ]
        if differences:
            raise ValueError(f"--checkpoint-dir {folder} was made with {'; '.join(differences)}")
        theirs, ours = progress["environment"], self._environment
        changed = [
            f"{name} {theirs.get(name)}, now {ours[name]}"
            for name in ours
            if theirs.get(name) != ours[name]
        ]
        if changed:
            message = f"the checkpoint was made with {'; '.join(changed)}: not bit for bit the same"
            print(f"warning: {message}", file=sys.stderr)

    def _settings(self) -> dict[str, Any]:
        """The options that decide about results."""
        settings = plain(settings_of(self.config))
        settings.pop("out", None)
        return settings


def _identity(runs: Sequence[Run]) -> dict[str, Any]:
    """What tells a job from the others of its command."""
    return {
        "method": runs[0].method,
        "backend": runs[0].backend,
        "settings": plain(runs[0].settings),
        "seeds": [run.seed for run in runs],
    }
