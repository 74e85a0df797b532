"""Which remedy helps on which symptom? Every one, alone and in pairs, on networks that fail.

    python -m experiments.remedies [--quick]

Each symptom has a case (experiments/remedies_cases.py) that fails untreated from every seed; what
counts as a cure and as help is said in experiments/remedies_outcomes.py.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.table import Table

from experiments.common import cli, report
from experiments.common.jobs import Job
from experiments.common.pool import train_in_processes
from experiments.common.recipe import Recipe, Weights, load_backend
from experiments.common.results import Run, plain
from experiments.common.session import Session
from experiments.doctor import examine_network
from experiments.remedies_cases import QUICK, REMEDIES, Remedy, Symptom, cases, treated
from experiments.remedies_figures import cell_text, draw
from experiments.remedies_outcomes import UNTREATED, outcomes


@dataclass(frozen=True)
class RemediesConfig:
    """Try every remedy on every symptom."""

    symptoms: tuple[Symptom, ...] = get_args(Symptom)
    """Whose cases to treat."""
    quick: bool = False
    """A quarter of an hour: two seeds, and a few remedies of each kind."""
    seed: int = 0
    """First seed."""
    seeds: int = 5
    """Number of seeds, counted from the first; two if quick."""
    out: Path | None = None
    """Folder to write to; default: figures/remedies."""
    session: cli.SessionField = cli.DEFAULT_SESSION

    def __post_init__(self) -> None:
        cli.check_distinct(self, "symptoms")
        cli.check_counts(self, "seed", least=0)
        cli.check_counts(self, "seeds", most=10)
        if self.session.log_dir is not None:
            raise ValueError("--log-dir: these networks train in processes of their own")


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
    """All runs; Interrupted carries those that have ended."""
    seeds = range(config.seed, config.seed + (2 if config.quick else config.seeds))
    runs = train_in_processes(jobs(config), seeds, session, "remedies")
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
    folder = cli.folder("remedies", config)
    if config == replace(RemediesConfig(), quick=True, out=config.out, session=config.session):
        folder = Path("remedies", "quick")
    out, session = cli.prepare("remedies", config, ["jax"], folder)
    report.measure_and_write(out, session, lambda: measure(config, session), draw, print_table)


if __name__ == "__main__":
    cli.run(RemediesConfig, execute)
