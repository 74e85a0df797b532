"""Measure, then write and print."""

from experiments.copy_task.config import CopyTaskConfig
from experiments.copy_task.figure import draw
from experiments.harness.command import cli
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.jobs import train_jobs
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Job

WHY_THEY_PART = """\
Both start from the same weights and see the same batches, and part by rounding alone. BPTT
multiplies a rounding error by W_hh at every time step: without projection the singular values of
W_hh grow above one and training is chaotic; where all of them are one, an error is carried along
but does not grow."""


def train(config: CopyTaskConfig, session: Session) -> list[Run]:
    """Train every method on every backend; Interrupted carries what was measured."""
    jobs = (
        Job(method, method, config.recipe(method), config.schedule) for method in config.methods
    )
    return train_jobs(jobs, config.backends, config.all_seeds, session)


def execute(config: CopyTaskConfig) -> None:
    """Train, then write and print what was measured, also after Ctrl-C."""
    cli.require_backends(config.backends, config.devices)
    out, session = cli.prepare(config, config.backends)

    def print_runs(runs: list[Run]) -> None:
        report.print_table("Copy task", runs, config.task.baseline)
        if config.backend == "both":
            print_differences(config, runs)

    report.measure_and_write(out, session, lambda: train(config, session), draw, print_runs)


def print_differences(config: CopyTaskConfig, runs: list[Run]) -> None:
    """The largest difference between the backends' validation losses, for each method."""
    for method in config.methods:
        pairs: dict[int, list[Run]] = {}
        for run in runs:
            if run.method == method:
                pairs.setdefault(run.seed, []).append(run)
        differences = [
            abs(a - b)
            for pair in pairs.values()
            if len(pair) == 2
            for a, b in zip(*(run.history["val_loss"] for run in pair), strict=False)
        ]
        if differences:
            report.console.print(
                f"{method}: validation losses of the two backends differ by at most "
                f"{max(differences):.1e}"
            )
    if set(config.methods) - {"qr"}:
        report.console.print(WHY_THEY_PART)
