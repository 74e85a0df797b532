"""Measure, then write and print."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from experiments.doctor.examine import examine_network
from experiments.harness.backends.backend import load_backend
from experiments.harness.command import cli
from experiments.harness.method.recipe import Recipe, Weights
from experiments.harness.records.results import Run, plain
from experiments.harness.running import report
from experiments.harness.running.pool import train_in_processes
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Job
from experiments.remedies.cases import QUICK, REMEDIES, Remedy, cases, treated
from experiments.remedies.config import RemediesConfig
from experiments.remedies.figure import cell_text, draw
from experiments.remedies.outcomes import UNTREATED, outcomes


def jobs(config: RemediesConfig) -> Iterator[Job]:
    """Every case untreated, and with every remedy that changes it."""
    found = cases()
    remedies = {UNTREATED: Remedy(), **REMEDIES}
    for symptom in config.symptoms:
        case, tried = found[symptom], []
        for name, remedy in remedies.items():
            recipe, schedule = treated(case, remedy)
            is_asked_for = name in QUICK or name == UNTREATED or not config.quick
            # What changes nothing, or the same as another remedy, as clipping where there is some.
            if (recipe, schedule) in tried or not is_asked_for:
                continue
            tried.append((recipe, schedule))
            settings = {"symptom": symptom, "remedy": name, "solved": case.solved}
            measure = partial(diagnosed, recipe) if name == UNTREATED else None
            yield Job(f"{symptom}: {name}", name, recipe, schedule, settings, measure)


def diagnosed(recipe: Recipe, run: Run, weights: Weights) -> dict[str, Any]:
    """What the doctor finds: in the network as it began and as it ended, and in its history."""
    initial = load_backend("jax").initial_weights(recipe, run.seed)
    before = examine_network(recipe, initial, run.seed)
    after = examine_network(recipe, weights, run.seed, plain(asdict(run)))
    found = (*before.findings, *after.findings)
    return {"conditions": sorted({finding.condition for finding in found})}


def measure(config: RemediesConfig, session: Session) -> list[Run]:
    """All runs; Interrupted carries the finished ones."""
    runs = train_in_processes(jobs(config), config.all_seeds, session, "remedies")
    baselines = {name: case.recipe.task.baseline for name, case in cases().items()}
    return [short(run, baselines[run.settings["symptom"]]) for run in runs]


def short(run: Run, baseline: float) -> Run:
    """A run without its curves, of which a thousand would be too much for one file."""
    loss = run.final.get("val_loss", np.nan) if run.status == "completed" else np.nan
    loss = np.nan if np.isnan(loss) else plain(loss)  # in the digits of a checkpoint
    kept = ("diverged_at_step", "grad_norm_max", "spectral_norm_max", "conditions")
    final = {name: run.final[name] for name in kept if name in run.final}
    final |= {"val_loss": loss, "score": loss / baseline}
    return replace(run, history={}, steps={}, final=final)


def print_table(runs: list[Run]) -> None:
    """The matrix: how many seeds are cured, and the median loss in baselines."""
    found = outcomes({"runs": [plain(asdict(run)) for run in runs]})
    table = Table(title="Seeds cured, and median loss in baselines", title_justify="left")
    for heading in ("remedy", *found):
        table.add_column(heading.replace("_", "\n"), no_wrap=True)
    for remedy in (UNTREATED, *REMEDIES):
        cells = [cell_text(by_remedy.get(remedy)) for by_remedy in found.values()]
        if any(cells):
            table.add_row(remedy, *cells)
    report.console.print(table)


def execute(config: RemediesConfig) -> None:
    """Treat every case, then write and print what came of it."""
    cli.require_backends(["jax"], devices=1)
    out, session = cli.prepare(config, ["jax"])
    report.measure_and_write(out, session, lambda: measure(config, session), draw, print_table)
