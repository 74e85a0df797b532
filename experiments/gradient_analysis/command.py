"""Measure, then write and print."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from rich.table import Table

from experiments.gradient_analysis.config import CLIPPINGS, GradientAnalysisConfig
from experiments.gradient_analysis.figure import SGD_LR, draw
from experiments.gradient_analysis.flow import (
    flow_series,
    init_series,
    initial_params,
)
from experiments.gradient_analysis.training import (
    Trainer,
    clipping_series,
    length_series,
    trained_networks,
    training_series,
)
from experiments.harness.command import cli
from experiments.harness.records.panels import Series
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import interruptible
from jaxrnn import convert
from jaxrnn.text import CharacterTask


def measure(config: GradientAnalysisConfig, session: Session) -> list[Run]:
    """All series of the five figures; Interrupted carries the finished ones."""
    runs: list[Run] = []
    with interruptible(runs):
        for series in analyses(config, session):
            runs += [each.as_run() for each in series]
    return runs


def analyses(config: GradientAnalysisConfig, session: Session) -> Iterable[list[Series]]:
    """The series of one figure after the other."""
    size, recipe, source = config.size, config.recipe, config.corpus
    task = recipe.task
    assert isinstance(task, CharacterTask)
    seeds = config.all_seeds
    train = Trainer(session, seeds, size.epochs)
    series, vanilla = training_series(train, "vanilla", recipe, source, size.steps)
    yield series
    yield init_series(task, config.hidden, size.sequences, seeds)
    networks = {
        name: initial_params(task, config.hidden, init, config.seed)
        for name, init in (
            ("vanilla", "uniform ±1/√N"),
            ("identity", "identity"),
            ("orthogonal", "orthogonal"),
        )
    }
    projected = replace(recipe, recurrent_init="orthogonal", retraction="qr")
    qr = trained_networks(train, "QR", projected, size.steps)
    for name, trained in (("vanilla, trained", vanilla), ("QR, trained", qr)):
        if trained:
            networks[name] = convert.from_weights(trained[0])
    yield flow_series(task, networks, size.sequences, size.flow_lengths)
    yield length_series(train, recipe, size.lengths, size.length_characters)
    sgd = replace(recipe, optimizer="sgd", lr=SGD_LR, clip_norm=0.0)
    settings = {name: CLIPPINGS[name] for name in size.clippings}
    yield clipping_series(train, sgd, settings, size.steps // 2)


def print_table(runs: list[Run]) -> None:
    """How gradients decay, by network."""
    table = Table(title="Change of ln ‖∂L/∂h_0‖ per step", title_justify="left")
    rows = [run for run in runs if run.settings.get("panel") == "rates"]
    for heading in ("network", *(rows[0].final["x"] if rows else ())):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for run in rows:
        cells = [f"{value:.3g}" if np.isfinite(value) else "-" for value in run.final["y"]]
        table.add_row(run.settings["series"], *cells)
    report.console.print(table)


def execute(config: GradientAnalysisConfig) -> None:
    """Measure and train, then write and print what was found."""
    cli.require_backends(["jax"], config.devices)
    try:
        config.recipe  # noqa: B018 — a text that is too short, or not there
    except ValueError as error:
        cli.fail(str(error))
    out, session = cli.prepare(config, config.backends)
    report.measure_and_write(out, session, lambda: measure(config, session), draw, print_table)
