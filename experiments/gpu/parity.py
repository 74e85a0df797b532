"""Part 1: do JAX and PyTorch compute the same numbers on a GPU?

The GPU's cases of tests/test_parity.py, one row each with its largest difference and its bound; and
beside them, in this process, a row with TF32 and the curves of a copy task from the same weights.
"""

import json
import subprocess
import sys
from typing import Any

import numpy as np

from experiments.benchmark.contenders import time_steps
from experiments.gpu import pytest_rows
from experiments.gpu.part_process import PartProcess, append_row
from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import ROOT, Run
from experiments.harness.training.runner import Job, train_runs
from jaxrnn.tasks import CopyTask
from tests.parity_checks import rounding_bound, uniform_weights
from tests.parity_support import JaxSide, Problem, TorchSide, running_on

CASES = {"gpu": "gpu", "cpu": "cpu and float64 and (test_projection or (fused and tanh))"}


def copy_task(on_gpu: bool) -> tuple[Recipe, Schedule]:
    """The method qr of the committed copy task; or a tiny one of its kind."""
    committed = json.loads((ROOT / "figures/copy_task/results.json").read_text())["config"]
    tiny = {"seq_len": 3, "hidden": 16, "epochs": 2, "train_samples": 320, "val_samples": 64}
    config = committed if on_gpu else {**committed, **tiny, "batch_size": 32}
    recipe = Recipe(
        CopyTask(config["seq_len"]),
        hidden=config["hidden"],
        recurrent_init="orthogonal",
        lr=config["lr"],
        clip_norm=config["clip_norm"],
        retraction="qr",
        track_every=config["train_samples"],  # as seldom as can be: it is slow on a GPU
    )
    steps = -(-config["train_samples"] // config["batch_size"])
    return recipe, Schedule(config["epochs"], steps, config["batch_size"], config["val_samples"])


def compare_curves(part: PartProcess) -> dict[str, Any]:
    """Train both from JAX's weights; a row for each, and one for how far they part."""
    import torch

    recipe, schedule = copy_task(part.on_gpu)
    weights = [load_backend("jax").initial_weights(recipe, 0)]
    curves: dict[str, Run] = {}
    with running_on(part.options.device, "float32"), torch.device("cuda" if part.on_gpu else "cpu"):
        for backend in ("jax", "torch"):
            settings = {"part": part.name, "task": "copy", "hidden": recipe.hidden}
            job = Job("qr", "qr", recipe, schedule, settings)
            (run,) = train_runs(job, [0], backend, weights=weights)
            run.steps = {}
            append_row(part.rows, run)
            curves[backend] = run
    return _distance(recipe, schedule, curves)


def _distance(recipe: Recipe, schedule: Schedule, curves: dict[str, Run]) -> dict[str, Any]:
    """The largest relative difference of the validation losses, and what rounding allows."""
    ours, theirs = (np.array(run.history["val_loss"]) for run in curves.values())
    D, N, T = recipe.task.num_inputs, recipe.hidden, time_steps(recipe.task)
    roundings = schedule.epochs * schedule.steps_per_epoch * T * (D + N + 1)
    bound = rounding_bound("float32", 0.0, roundings)
    difference = float(np.max(np.abs(ours / theirs - 1)))
    final = {"compared": "val_loss", "difference": difference, "bound": bound, "count": len(ours)}
    if not difference <= bound:
        final["failed"] = f"val_loss: differ by {difference:.1e}, allowed is {bound:.1e}"
    return final


def compare_with_tf32(part: PartProcess) -> dict[str, Any]:
    """The gradients of a copy task with TF32 and without; float32's bound is for the latter."""
    rng = np.random.default_rng(32)
    task, N = CopyTask(10), 128
    weights = uniform_weights(rng, "float32", task.num_inputs, N, task.num_outputs)
    batch = task.sample(rng, 32)
    problem = Problem(weights, device=part.options.device)
    found = {}
    for tf32 in (True, False):
        with running_on(part.options.device, "float32", tf32):
            (_, ours), (_, theirs) = (
                side(problem).gradients(batch) for side in (JaxSide, TorchSide)
            )
        found[tf32] = max(
            float(np.max(np.abs(ours[name] - theirs[name])) / np.max(np.abs(theirs[name])))
            for name in ours
        )
    T = batch.inputs.shape[1]
    bound = rounding_bound("float32", 0.0, 2 * T * (task.num_inputs + N + 1) + 32 * T)
    return {
        "compared": "gradients",
        "difference": found[True],
        "without_tf32": found[False],
        "bound_without_tf32": bound,
    }


def main() -> None:
    """The tests in separate processes, and the curves here at the same time."""
    part = PartProcess()
    chosen = ["-k", CASES[part.options.device], *([] if part.on_gpu else ["-m", "not slow"])]
    command = pytest_rows.command(part, "tests/test_parity.py", *chosen)
    tests = subprocess.Popen(command, cwd=ROOT)
    try:
        part.attempt(lambda: compare_with_tf32(part), "gradients with TF32", "both")
        part.attempt(lambda: compare_curves(part), "curves of the copy task", "both")
    finally:
        status = tests.wait()
    sys.exit(0 if status == 1 else status)  # the rows say which tests failed


if __name__ == "__main__":
    main()
