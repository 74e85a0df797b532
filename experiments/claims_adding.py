"""Claim 5: the IRNN on the adding problem."""

import numpy as np

from experiments.common.evidence import Row, load
from experiments.common.figures import by_setting, select

SOLVED = 0.02  # mean squared error; the baseline is 0.167


def first_epoch(run: dict, below: float) -> int | None:
    """The first epoch whose validation loss is below a threshold."""
    history = run["history"]
    losses = zip(history["epoch"], history["val_loss"], strict=True)
    return next((epoch for epoch, loss in losses if loss is not None and loss < below), None)


def epochs(runs: list[dict], below: float = SOLVED) -> str:
    """The first epochs below a threshold, one a seed."""
    return " and ".join(str(first_epoch(run, below) or "never") for run in runs)


def test_losses(runs: list[dict]) -> str:
    """Mean of the test losses, or how many runs have none."""
    losses = [run["final"].get("test_loss") for run in runs]
    found = [loss for loss in losses if loss is not None]
    lost = len(losses) - len(found)
    words = [f"{np.mean(found):.2g}"] if found else []
    return ", ".join([*words, *([f"{lost} diverged"] if lost else [])])


def restarts(runs: list[dict]) -> int:
    """All restarts of some runs."""
    return sum(run["final"].get("restarts", 0) for run in runs)


def claim_5() -> Row:
    """Does the IRNN learn to add, when, and by which optimizer?"""
    lengths = by_setting(load("adding_task/sweep_length")["runs"], "seq_len")
    clips = load("adding_task/sweep_clip")["runs"]
    scales = load("adding_task/sweep_scale")["runs"]
    gaps = [
        run["history"]["val_loss"][-1] / run["history"]["training_set_loss"][-1]
        for runs in lengths.values()
        for run in runs
    ]
    raise NotImplementedError(clips, scales, gaps, select)
