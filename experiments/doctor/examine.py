"""A run, by its results.json or its checkpoints, and what the doctor finds in it."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.doctor.trained import recipe_of
from experiments.harness.backends.backend import load_backend
from experiments.harness.method.randomness import generator
from experiments.harness.method.recipe import Recipe, Weights
from experiments.harness.records.input_files import harmless, read_text
from experiments.harness.records.results import plain
from experiments.harness.saving.session import SavedJob
from jaxrnn.diagnosis import (
    Finding,
    HistoryThresholds,
    Report,
    read_course,
    read_history,
)

SEQUENCES = 32  # that a network is examined on
MAX_RESULTS_BYTES = 2**26  # sixty times what the commands write at most
# What is read of a run in results.json; jaxrnn.diagnosis checks what it reads of the history.
FIELDS = {"method": str, "backend": str, "seed": int, "settings": dict, "history": dict}


@dataclass(frozen=True)
class Examined:
    """A run and what was found.

    Attributes:
      name: its method, and what is special about it.
      seed: its own.
      findings: none where it is healthy; None: it has no history of losses to examine.
      remarks: what else is conspicuous of the run.
      report: of the network, where there is one.
    """

    name: str
    seed: int
    findings: Sequence[Finding] | None
    remarks: tuple[str, ...] = ()
    report: Report | None = None


def examine_results(path: Path) -> list[Examined]:
    """Every run of a results.json.

    Raises:
      ValueError: it cannot be read, is of another schema, or no run has a history.
    """
    text = read_text(path, MAX_RESULTS_BYTES)
    try:
        results = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON") from None
    missing = {"experiment", "config", "runs"} - set(results if isinstance(results, dict) else ())
    if missing or not isinstance(results["runs"], list):
        raise ValueError(f"{path} is no results.json: no {', '.join(sorted(missing)) or 'runs'}")
    try:
        examined = [_examine_run(results, i) for i in range(len(results["runs"]))]
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from None
    if all(one.findings is None for one in examined):
        raise ValueError(f"{path}: no run has a history of losses, nothing to examine")
    return examined


def _check_fields(number: int, run: Any) -> None:
    """ValueError that names what is missing, or of another type."""
    if not isinstance(run, dict):
        raise ValueError(f"runs[{number}] must be a table of names, got {type(run).__name__}")
    for name, kind in FIELDS.items():
        if name not in run:
            raise ValueError(f"runs[{number}] has no {name}")
        if not isinstance(run[name], kind):
            found = type(run[name]).__name__
            raise ValueError(f"{name} of runs[{number}] must be {kind.__name__}, got {found}")


def _examine_run(results: dict[str, Any], number: int) -> Examined:
    run = results["runs"][number]
    _check_fields(number, run)
    method, settings = run["method"], run["settings"]
    name = _name(method, run["backend"], settings)
    if not _has_losses(run):
        return Examined(name, run["seed"], None, ("no epoch ended",))
    recipe = recipe_of(results["experiment"], results["config"], method, settings)
    findings = read_history(run, recipe.task.baseline)
    remarks = read_course(run).remarks(HistoryThresholds())
    return Examined(name, run["seed"], findings, remarks)


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
      run: the run as in results.json, if its history should be read.
    """
    import jax
    import optax

    import jaxrnn

    task = recipe.task
    rng = generator(seed, "examination")
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
    return harmless(", ".join([f"{method} ({backend})", *special]))
