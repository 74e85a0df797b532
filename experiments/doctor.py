"""What is wrong with a run, why, and what to try first.

    python -m experiments.doctor --results figures/copy_task/results.json
    python -m experiments.doctor --checkpoint DIR

A results.json tells what the loss did; a checkpoint (--checkpoint-dir of an experiment) holds the
network itself, which is measured on fresh sequences of its task.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from experiments.common import cli, report
from experiments.common.recipe import Recipe, Weights, load_backend
from experiments.common.results import NotWritten, plain, write_atomically
from experiments.common.session import SavedJob, saved_job
from experiments.common.trained import recipe_of
from jaxrnn.diagnosis import (
    Finding,
    HistoryThresholds,
    Report,
    how,
    read_course,
    read_history,
)
from jaxrnn.diagnosis.findings import conditions_of
from jaxrnn.diagnosis.report import SHOWN_REMEDIES

SEQUENCES = 32  # that a network is examined on


@dataclass(frozen=True)
class DoctorConfig:
    """Examine a run: its conditions, their likely causes, and first aid."""

    results: Path | None = None
    """A results.json of an experiment that trains."""
    checkpoint: Path | None = None
    """A folder of checkpoints, whose networks are examined."""
    json: Path | None = None
    """File to write all findings and numbers to."""


@dataclass(frozen=True)
class Examined:
    """A run and what was found.

    Attributes:
      name: its method, and what is special about it.
      seed: its own.
      findings: none where it is healthy.
      remarks: what else is conspicuous of the run.
      report: of the network, where there is one.
    """

    name: str
    seed: int
    findings: Sequence[Finding]
    remarks: tuple[str, ...] = ()
    report: Report | None = None


def examine_results(path: Path) -> list[Examined]:
    """Every run of a results.json that has a history.

    Raises:
      ValueError: it cannot be read, is of another schema, or no run has a history.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):  # neither UTF-8 nor JSON
        raise ValueError(f"{path} is not JSON") from None
    missing = {"experiment", "config", "runs"} - set(results if isinstance(results, dict) else ())
    if missing or not isinstance(results["runs"], list):
        raise ValueError(f"{path} is no results.json: no {', '.join(sorted(missing)) or 'runs'}")
    try:
        trained = [run for run in results["runs"] if _has_losses(run)]
        if not trained:
            raise ValueError("no run has a history of losses, nothing to examine")
        return [_examine_run(results, run) for run in trained]
    except KeyError as error:
        raise ValueError(f"{path}: a run without {error}") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _examine_run(results: dict[str, Any], run: dict[str, Any]) -> Examined:
    method, settings = run["method"], run["settings"]
    recipe = recipe_of(results["experiment"], results["config"], method, settings)
    findings = read_history(run, recipe.task.baseline)
    remarks = read_course(run).remarks(HistoryThresholds())
    return Examined(_name(method, run["backend"], settings), run["seed"], findings, remarks)


def _has_losses(run: dict[str, Any]) -> bool:
    """A run that was interrupted in its first epoch has none; one that diverged is examined."""
    history = run["history"]
    return "val_loss" in history and bool(history["val_loss"] or run.get("status") == "diverged")


def examine_checkpoint(saved: SavedJob) -> list[Examined]:
    """The network and the history of each seed."""
    job, found = saved.job, []
    recipe = recipe_of(saved.experiment, saved.config, job["method"], job["settings"])
    for seed, snapshot in zip(job["seeds"], saved.snapshots, strict=True):
        weights = load_backend(job["backend"]).weights_of(recipe, snapshot.state)
        run = plain(dataclasses.asdict(snapshot.record.finish()))
        seen = examine_network(recipe, weights, seed, run)
        remarks = seen.course.remarks(seen.thresholds.history) if seen.course else ()
        name = _name(job["method"], job["backend"], job["settings"])
        found.append(Examined(name, seed, seen.findings, remarks, seen))
    return found


def examine_network(
    recipe: Recipe, weights: Weights, seed: int, run: dict[str, Any] | None = None
) -> Report:
    """What ``jaxrnn.diagnose`` finds on sequences that the network has not seen.

    Args:
      recipe: of the network.
      weights: its own.
      seed: of the run; the sequences come from it too.
      run: the run as results.json has it, if its history is to be read.
    """
    import jax
    import optax

    import jaxrnn

    task = recipe.task
    rng = np.random.default_rng([seed, 4])  # 0 to 3 are those of training
    inputs, targets = task.sample(rng, SEQUENCES)

    def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return ((outputs[..., 0] - targets) ** 2).mean()

    def cross_entropy(logits: jax.Array, classes: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()

    if not recipe.is_regression:
        inputs = np.eye(task.num_inputs, dtype=np.float32)[inputs]
    return jaxrnn.diagnose(
        load_backend("jax").build_model(recipe),
        {"params": jaxrnn.convert.from_weights(weights)},
        (inputs, targets),
        squared_error if recipe.is_regression else cross_entropy,
        history=run if run and _has_losses(run) else None,
        baseline=task.baseline,
    )


def _name(method: str, backend: str, settings: dict[str, Any]) -> str:
    special = (f"{name} {value}" for name, value in settings.items())
    return ", ".join([f"{method} ({backend})", *special])


def print_findings(examined: Sequence[Examined]) -> None:
    """A row for each condition of a run, with the numbers of the first seed that has it."""
    table = Table(title="Findings", title_justify="left")
    for heading in ("run", "condition", "likely cause", "first aid"):
        table.add_column(heading)
    rows: dict[tuple[str, str], list[tuple[int, str, tuple[str, ...]]]] = {}
    for one in examined:
        for found in one.findings:
            row = one.seed, found.cause, found.first_aid[:SHOWN_REMEDIES]
            rows.setdefault((one.name, found.condition), []).append(row)
        if not one.findings:
            row = one.seed, "; ".join(one.remarks), ()
            rows.setdefault((one.name, "healthy"), []).append(row)
    named: dict[str, None] = {}
    for (name, condition), group in rows.items():
        seeds = ", ".join(dict.fromkeys(str(seed) for seed, _, _ in group))
        _, cause, aid = group[0]
        table.add_row(escape(f"{name}, seed {seeds}"), condition, cause, "\n".join(aid))
        named |= dict.fromkeys(aid)
    report.console.print(table)
    for remedy in named:
        report.console.print(f"{remedy}: {how(remedy)}", markup=False)


def as_json(examined: Sequence[Examined]) -> list[dict[str, Any]]:
    """For machines: each run's conditions, findings, and all that was measured."""
    return [
        {
            "run": one.name,
            "seed": one.seed,
            "conditions": list(conditions_of(one.findings)),
            "findings": [plain(vars(finding)) for finding in one.findings],
            "remarks": list(one.remarks),
            "report": one.report.to_json() if one.report else None,
        }
        for one in examined
    ]


def execute(config: DoctorConfig) -> None:
    """Examine, print, and write."""
    if (config.results is None) == (config.checkpoint is None):
        cli.fail("one of --results and --checkpoint is needed, and not both")
    try:
        if config.results is not None:
            examined = examine_results(config.results)
        else:
            assert config.checkpoint is not None
            saved = saved_job(config.checkpoint)
            cli.require_backends(list(dict.fromkeys(["jax", saved.job["backend"]])), devices=1)
            examined = examine_checkpoint(saved)
    except ValueError as error:
        # As the user calls them.
        option = "--results" if config.results is not None else "--checkpoint"
        cli.fail(f"{option}: {str(error).replace('--checkpoint-dir ', '')}")
    print_findings(examined)
    if config.json is not None:
        text = json.dumps(as_json(examined), indent=1, allow_nan=False)
        try:
            write_atomically(config.json, lambda path: path.write_text(text + "\n"))
        except NotWritten as error:
            cli.fail(f"--json: {error}")
        report.print_written(config.json.parent, [config.json.name])


if __name__ == "__main__":
    cli.run(DoctorConfig, execute)
