"""Measure, then write and print."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.table import Table

from experiments.harness.backends import jax_backend
from experiments.harness.command import cli
from experiments.harness.method.randomness import generator
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.jobs import train_jobs
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Job, interruptible
from experiments.retractions.config import VARIANTS, RetractionsConfig
from experiments.retractions.figure import draw
from jaxrnn import convert
from jaxrnn.orthogonal import RETRACTIONS

# What is measured of single steps, in words.
SINGLE_STEPS = {
    "qr_to_polar_median": "median distance from QR's matrix to the nearest orthogonal one",
    "qr_distance_median": "median distance by which QR moves W_hh",
    "polar_distance_median": "the same for polar",
    "qr_unsigned_distance_median": "the same for QR without signs",
    "qr_sign_changes": "times that det Q changed its sign, QR",
    "polar_sign_changes": "the same for polar",
    "qr_unsigned_sign_changes": "the same for QR without signs",
}


def measure_accuracy(config: RetractionsConfig) -> list[Run]:
    """Orthogonality error (float32, largest of all matrices) against the condition number.

    The matrices are U Σ Vᵀ with random orthogonal U and V and singular values spaced evenly in
    their logarithm from 1 down to 1/condition.
    """
    rng = np.random.default_rng(config.seed)
    shape = (config.matrices, config.size, config.size)
    U, V = (np.linalg.qr(rng.standard_normal(shape))[0] for _ in range(2))
    conditions = 10.0 ** np.arange(0, 9)
    runs = []
    for name, retraction in RETRACTIONS.items():
        errors = []
        for condition in conditions:
            sigma = np.geomspace(1, 1 / condition, config.size)
            W = jnp.asarray((U * sigma) @ V.swapaxes(-1, -2), jnp.float32)
            # Measured in float64, so that the ruler is finer than what it measures.
            Q = np.asarray(jax.jit(retraction)(W), np.float64)
            gram = Q.swapaxes(-1, -2) @ Q - np.eye(config.size)
            errors.append((np.linalg.norm(gram, axis=(-2, -1)) / config.size**0.5).max())
        history = {"condition": conditions.tolist(), "orthogonality_error": errors}
        runs.append(Run(name, "jax", config.seed, {"part": "accuracy"}, history=history))
    return runs


def compare_single_steps(config: RetractionsConfig) -> Run:
    """Along a run projected by QR: what each retraction makes of the same moved matrix.

    ‖Q_qr − Q_polar‖, and the distance ‖Q − W‖ of each retraction from where the optimizer had put
    W_hh, all in Frobenius norm; and whether det Q keeps its sign from step to step.
    """
    recipe = config.copy_task.recipe("orthogonal_init")
    loss, optimizer = jax_backend.build_loss(recipe), jax_backend.build_optimizer(recipe)
    weights = jax_backend.initial_weights(recipe, config.seed)

    def step(carry: Any, batch: Any) -> tuple[Any, dict[str, jax.Array]]:
        params, opt_state = carry
        grads = jax.grad(lambda p: loss(p, batch)[0])(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        W = params["cell"]["h"]["kernel"].T
        Q = {name: RETRACTIONS[name](W) for name in ("qr", "polar", "qr_unsigned")}
        measured = {"qr_to_polar": jnp.linalg.norm(Q["qr"] - Q["polar"])}
        for name, matrix in Q.items():
            measured[f"{name}_distance"] = jnp.linalg.norm(matrix - W)
            measured[f"{name}_determinant"] = jnp.linalg.slogdet(matrix)[0]
        params["cell"]["h"]["kernel"] = Q["qr"].T
        return (params, opt_state), measured

    params = convert.from_weights(weights)
    schedule = config.copy_task.schedule
    rng = generator(config.seed, "training")
    batches = recipe.task.sample(rng, 4 * schedule.steps_per_epoch, schedule.batch_size)
    _, measured = jax.jit(lambda state, xs: jax.lax.scan(step, state, xs))(
        (params, optimizer.init(params)), tuple(batches)
    )
    steps = {name: np.asarray(column) for name, column in measured.items()}
    final = {
        f"{name}_sign_changes": int(np.count_nonzero(np.diff(steps.pop(f"{name}_determinant"))))
        for name in ("qr", "polar", "qr_unsigned")
    }
    medians = {f"{name}_median": np.median(column) for name, column in steps.items()}
    steps["step"] = np.arange(len(steps["qr_to_polar"]))
    settings = {"part": "single steps"}
    return Run("qr", "jax", config.seed, settings, steps=steps, final={**final, **medians})


def jobs(config: RetractionsConfig) -> Iterator[Job]:
    """The copy task with each variant."""
    copy_task = config.copy_task
    for name, changes in VARIANTS.items():
        recipe = dataclasses.replace(copy_task, **changes).recipe("qr")
        yield Job(name, name, recipe, copy_task.schedule, {"part": "training", **changes})


def measure(config: RetractionsConfig, session: Session) -> list[Run]:
    """All three parts; Interrupted carries what was measured."""
    runs: list[Run] = []
    with interruptible(runs):
        runs += measure_accuracy(config)
        runs.append(compare_single_steps(config))
        runs += train_jobs(jobs(config), config.backends, config.all_seeds, session)
    return runs


def execute(config: RetractionsConfig) -> None:
    """Measure all three parts, then write and print them."""
    cli.require_backends(["jax"], config.devices)
    out, session = cli.prepare(config, config.backends)
    report.measure_and_write(
        out,
        session,
        lambda: measure(config, session),
        draw,
        lambda runs: print_tables(config, runs),
    )


def print_tables(config: RetractionsConfig, runs: list[Run]) -> None:
    """Accuracy at a few condition numbers, the single steps, and the trained variants."""
    table = Table(title="Orthogonality error, float32", title_justify="left")
    table.add_column("condition number", no_wrap=True)
    accuracy = [run for run in runs if run.settings["part"] == "accuracy"]
    for exponent in (0, 2, 4, 6):
        table.add_column(f"1e{exponent}", justify="right")
    for run in accuracy:
        errors = run.history["orthogonality_error"]
        table.add_row(run.method, *(f"{errors[exponent]:.1e}" for exponent in (0, 2, 4, 6)))
    report.console.print(table)
    for run in runs:
        if run.settings["part"] == "single steps":
            for name, words in SINGLE_STEPS.items():
                if name in run.final:
                    report.console.print(f"{words}: {run.final[name]:.4g}")
    trained = [run for run in runs if run.settings["part"] == "training"]
    report.print_table("Copy task", trained, config.copy_task.task.baseline)
