"""Measure, then write and print."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from experiments.adding_task.config import AddingTaskConfig
from experiments.checkpoint_cost.config import CheckpointCostConfig
from experiments.harness.backends.backend import load_backend
from experiments.harness.command import cli
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.timing import spread
from experiments.harness.saving.session import Session, SessionOptions
from experiments.harness.training.runner import interruptible
from experiments.harness.training.training_loop import TrainingLoop

Backend = Literal["jax", "torch"]
BACKENDS: tuple[Backend, ...] = ("jax", "torch")


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_cost(backend: Backend, chunks: int, folder: Path) -> Run:
    """Train and save in turn; the share of each save in the chunk before it."""
    options = SessionOptions(checkpoint_dir=folder / backend)
    config = AddingTaskConfig(irnn=True, backend=backend, session=options)
    recipe, library = config.recipe("irnn", {}), load_backend(backend)
    run = Run("irnn", backend, config.seed)
    loop = TrainingLoop(recipe, config.schedule, [run])
    train, save = [], []
    with Session("adding_task", config, [backend]) as session:
        session.begin([run])
        loop.begin(library.make_trainer(recipe, [library.initial_weights(recipe, config.seed)]))
        for _ in track(range(chunks + 2), backend, console=report.console):
            advanced = seconds(loop.advance)
            saved = seconds(lambda: session.after_chunk([], loop.snapshots, loop.num_steps))
            if loop.num_steps == config.schedule.chunk_steps:  # the last also validates
                train.append(advanced)
                save.append(saved)
    share = np.array(save[2:]) / np.array(train[2:])  # the first ones compile
    run.final = {
        **spread("share", share),
        "save_ms": 1e3 * float(np.median(save[2:])),
        "train_ms": 1e3 * float(np.median(train[2:])),
    }
    run.seconds = sum(train) + sum(save)
    return run


def measure(config: CheckpointCostConfig) -> list[Run]:
    """Both backends; Interrupted carries the finished ones."""
    runs: list[Run] = []
    with interruptible(runs), tempfile.TemporaryDirectory() as folder:
        for backend in BACKENDS:
            runs.append(measure_cost(backend, config.chunks, Path(folder)))
    return runs


def print_shares(runs: list[Run]) -> None:
    """One line a backend."""
    for run in runs:
        final = run.final
        report.console.print(
            f"{run.backend}: a checkpoint takes {final['save_ms']:.0f} ms after "
            f"{final['train_ms']:.0f} ms of training, {final['share']:.1%} "
            f"({final['share_low']:.1%} to {final['share_high']:.1%})"
        )


def execute(config: CheckpointCostConfig) -> None:
    """Measure, then write and print."""
    cli.require_backends(BACKENDS)
    out, session = cli.prepare(config, BACKENDS)
    report.measure_and_write(
        out, session, lambda: measure(config), lambda results, out: [], print_shares
    )
