"""Measure, then write and print."""

from collections.abc import Iterator

import numpy as np
from rich.table import Table

from experiments.copy_task.config import METHODS, CopyTaskConfig
from experiments.gradient_spikes.config import SETTINGS, GradientSpikesConfig
from experiments.gradient_spikes.figure import draw
from experiments.harness.command import cli
from experiments.harness.command.options import changed_fields
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.jobs import train_jobs
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Job


def execute(config: GradientSpikesConfig) -> None:
    """Train every method under every setting, then write and print what was measured."""
    cli.require_backends(["jax"], config.devices)
    out, session = cli.prepare(config, config.backends)
    report.measure_and_write(out, session, lambda: train(config, session), draw, print_table)


def jobs(config: GradientSpikesConfig) -> Iterator[Job]:
    """Every method under every setting."""
    for name in SETTINGS:
        copy_task = config.settings(name)
        changed = changed_fields(copy_task, CopyTaskConfig(devices=config.devices))
        changed -= {"seed", "seeds"}
        settings = {field: getattr(copy_task, field) for field in sorted(changed)}
        settings["setting"] = name
        for method in METHODS:
            recipe = copy_task.recipe(method)
            yield Job(f"{name}: {method}", method, recipe, copy_task.schedule, settings)


def train(config: GradientSpikesConfig, session: Session) -> list[Run]:
    """Train every method under every setting; Interrupted carries what was measured."""
    return train_jobs(jobs(config), config.backends, config.all_seeds, session)


def print_table(runs: list[Run]) -> None:
    """The largest gradient norm of each setting and method, over all seeds."""
    table = Table(title="Largest gradient norm before clipping", title_justify="left")
    table.add_column("setting", no_wrap=True)
    for method in METHODS:
        table.add_column(method, justify="right")
    for name in SETTINGS:
        cells = []
        for method in METHODS:
            found = [
                run.final.get("grad_norm_max", np.nan)
                for run in runs
                if run.method == method and run.settings.get("setting") == name
            ]
            cells.append(f"{np.fmax.reduce(found):.3g}" if found else "-")
        table.add_row(name, *cells)
    report.console.print(table)
