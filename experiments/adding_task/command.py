"""Measure, then write and print."""

import itertools
from collections.abc import Iterator

from experiments.adding_task.config import AddingTaskConfig
from experiments.adding_task.figure import draw, label
from experiments.harness.command import cli
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.jobs import train_jobs
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Job
from jaxrnn.tasks import AddingTask

COLUMNS = {  # of the table printed in the end
    "test loss": "test_loss",
    "val loss": "val_loss",
    "grad norm max": "grad_norm_max",
    "spectral norm": "spectral_norm",
}


def jobs(config: AddingTaskConfig) -> Iterator[Job]:
    """The methods to train, with the settings that each run changes."""
    for method, settings in itertools.product(config.trained_methods, config.sweep_settings):
        name = label(method, settings, vars(config))
        yield Job(name, method, config.recipe(method, settings), config.schedule, settings)


def train(config: AddingTaskConfig, session: Session) -> list[Run]:
    """Train everything that was asked for; Interrupted carries what was measured."""
    return train_jobs(jobs(config), config.backends, config.all_seeds, session)


def execute(config: AddingTaskConfig) -> None:
    """Train, then write and print what was measured, also after Ctrl-C."""
    cli.require_backends(config.backends, config.devices)
    out, session = cli.prepare(config, config.backends)

    def print_runs(runs: list[Run]) -> None:
        name = lambda run: label(run.method, run.settings, vars(config))  # noqa: E731
        report.print_table("Adding problem", runs, AddingTask(2).baseline, COLUMNS, name)

    report.measure_and_write(out, session, lambda: train(config, session), draw, print_runs)
