"""TensorBoard event files: a folder for each run, with its loss, gradient norm and speed."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.harness.records.results import Run
from experiments.harness.records.run_record import Progress

EPOCH_COLUMNS = ("val_loss", "val_accuracy", "spectral_norm", "orthogonality_error")


class EventFiles:
    """The event files below one folder.

    They are a view of a run and no part of it: where they cannot be written any more, it is said
    once and training goes on.

    Raises:
      ValueError: tensorboardX is not installed, or the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboardX  # noqa: F401 — only here, because it imports torch

            folder.mkdir(parents=True, exist_ok=True)
        except ImportError as error:
            raise ValueError(
                f"--log-dir needs the package tensorboardX ({error}): "
                "pip install 'jaxrnn[experiments]'"
            ) from None
        except OSError as error:
            raise ValueError(f"--log-dir {folder} cannot be used ({error.strerror})") from None
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._is_lost = False

    def add(self, progress: Sequence[Progress]) -> None:
        """Write how each run stands."""
        for live in progress:
            scalars = {
                "loss": live.loss,
                "grad_norm": live.grad_norm,
                "steps_per_second": live.steps_per_second,
                "restarts": live.run.final.get("restarts", 0),
            }
            if live.epoch_ended:
                scalars |= {name: live.run.history[name][-1] for name in EPOCH_COLUMNS}
            try:
                if not self._is_lost:
                    self._write(live.run, live.step, scalars)
            except OSError as error:
                self._is_lost = True
                print(f"warning: --log-dir {self._folder}: {error.strerror}", file=sys.stderr)

    def _write(self, run: Run, step: int, scalars: Mapping[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        settings = (f"{name}={value}" for name, value in run.settings.items())
        name = "-".join([run.method, run.backend, *settings, f"seed={run.seed}"])
        now = time.time()
        if name not in self._writers:
            self._writers[name] = self._open(self._folder / name)
            # What a killed process wrote beyond its last checkpoint is not to be shown.
            started = SessionLog(status=SessionLog.START)
            self._writers[name].write_event(Event(wall_time=now, step=step, session_log=started))
        for tag, value in scalars.items():
            if not math.isnan(value):  # as the accuracy of a regression is
                event = Event(wall_time=now, step=step, summary=scalar(tag, value))
                self._writers[name].write_event(event)
        self._writers[name].flush()

    @staticmethod
    def _open(folder: Path) -> Any:
        # Not its SummaryWriter, whose thread would block forever where a disk is full.
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(exist_ok=True)
        return EventsWriter(str(folder / "events"), f".{os.getpid()}")

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            with contextlib.suppress(OSError):  # which was said before
                writer.close()
