"""TensorBoard event files: a folder for each run, with its loss, gradient norm and speed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.common.records import Progress
from experiments.common.results import Run

EPOCH_COLUMNS = ("val_loss", "val_accuracy", "spectral_norm", "orthogonality_error")


class EventFiles:
    """The event files below one folder; tensorboardX, which imports torch, is loaded only here.

    Raises:
      ValueError: tensorboardX is not installed, or the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter

            folder.mkdir(parents=True, exist_ok=True)
        except ImportError as error:
            raise ValueError(
                f"--log-dir needs the package tensorboardX ({error}): "
                "pip install 'jaxrnn[experiments]'"
            ) from None
        except OSError as error:
            raise ValueError(f"--log-dir {folder} cannot be used ({error.strerror})") from None
        self._make, self._folder = SummaryWriter, folder
        self._writers: dict[str, Any] = {}

    def add(self, progress: Sequence[Progress]) -> None:
        """Write how each run stands."""
        for live in progress:
            writer = self._writer(live.run, live.step)
            scalars = {"loss": live.loss, "grad_norm": live.grad_norm}
            scalars["steps_per_second"] = live.steps_per_second
            scalars["restarts"] = live.run.final.get("restarts", 0)
            if live.epoch_ended and live.run.history["epoch"]:
                scalars |= {name: live.run.history[name][-1] for name in EPOCH_COLUMNS}
            for name, value in scalars.items():
                if not math.isnan(value):  # as the accuracy of a regression is
                    writer.add_scalar(name, value, live.step)
            writer.flush()

    def _writer(self, run: Run, step: int) -> Any:
        settings = (f"{name}={value}" for name, value in run.settings.items())
        name = "-".join([run.method, run.backend, *settings, f"seed={run.seed}"])
        if name not in self._writers:
            # What a killed process wrote beyond its last checkpoint is not shown.
            self._writers[name] = self._make(str(self._folder / name), purge_step=step)
        return self._writers[name]

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()
