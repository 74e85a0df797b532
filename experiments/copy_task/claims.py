"""Claims 1 and 2: what projection does for the copy task, and to norms."""

import numpy as np

from experiments.harness.records.evidence import Row, largest, load, spread
from experiments.harness.records.figures import select
from jaxrnn.tasks import CopyTask

MEMORY = "copy_task/copy_memory"


def claim_1() -> Row:
    """Does projection, and projection alone, learn the copy task?"""
    runs = load("copy_task/seeds")["runs"]
    losses = [
        f"{label} {spread(select(runs, method=method), 'val_loss')}"
        for method, label in (
            ("vanilla", "vanilla"),
            ("orthogonal_init", "orthogonal init"),
            ("qr", "QR"),
        )
    ]
    accuracy = min(run["final"]["val_accuracy"] for run in select(runs, method="qr"))
    diverged = sum(run["status"] == "diverged" for run in runs)
    means = {
        method: np.mean([run["final"]["val_loss"] for run in select(runs, method=method)])
        for method in ("vanilla", "qr")
    }
    memory = {run["method"]: run["final"]["val_loss"] for run in load(MEMORY)["runs"]}
    return (
        "Copy task, 10 symbols, 20 epochs: a vanilla RNN stays near 0.9, orthogonal initialisation "
        "prevents NaN but stays at 0.9–1.0, QR projection reaches about 0.01, 100 times better",
        "`experiments.copy_task --seeds 5`, `--preset copy_memory`",
        f"validation loss: {', '.join(losses)} (baseline {CopyTask().baseline:.3f}), "
        f"{means['vanilla'] / means['qr']:.0f} times better; QR's accuracy at least "
        f"{accuracy:.4f}; {diverged} runs of {len(runs)} diverged. Copy memory, delay 100, one "
        f"seed: {memory['vanilla']:.3f}, {memory['orthogonal_init']:.0e}, {memory['qr']:.0e}",
        "**holds** here, the factor a little smaller; no run gave NaN. On copy memory Henaff's "
        "initialisation is enough by itself",
    )


def claim_2() -> Row:
    """Does the spectral norm drift, and where do gradients spike?"""
    runs = load("copy_task/seeds")["runs"]
    free = select(runs, method="vanilla")
    qr = select(runs, method="qr")
    search = load("gradient_spikes")
    spikes, searched = search["runs"], search["config"]
    unprojected = [run for run in spikes if run["method"] != "qr"]
    worst = {
        method: max(group, key=lambda run: run["final"]["grad_norm_max"])
        for method, group in (("free", unprojected), ("qr", select(spikes, method="qr")))
    }
    short = load("copy_task/no_clipping")["runs"]
    unclipped = [
        largest(select(short, method=method), "grad_norm_max") for method in ("vanilla", "qr")
    ]
    copy_task = [run for run in unprojected if "delay" not in run["settings"]]
    where = {method: run["settings"]["setting"] for method, run in worst.items()}
    return (
        "Without projection the spectral norm drifts (to 2.3) and gradient norms spike (to "
        "10,000); with it the one stays near 1.0 and the other below 30",
        "`experiments.copy_task --seeds 5`, `--preset no_clipping`, `experiments.gradient_spikes`",
        f"spectral norm after 20 epochs {spread(free, 'spectral_norm', 1)} (vanilla), "
        f"{spread(qr, 'spectral_norm')} (QR); gradient norm at most "
        f"{largest(free, 'grad_norm_max')} and {largest(qr, 'grad_norm_max')}; in 100 "
        f"steps without clipping {' and '.join(unclipped)}; largest of all settings "
        f"tried ({searched['steps']} steps, {searched['seeds']} seeds each): "
        f"{largest(copy_task, 'grad_norm_max')} on the copy task, "
        f"{largest([worst['free']], 'grad_norm_max')} ({where['free']}) and "
        f"{largest([worst['qr']], 'grad_norm_max')} ({where['qr']})",
        "drift **holds**, and does not stop there; spikes of 10,000 **fail** on the copy task, "
        "at every length, rate, clipping, size and seed tried, and are exceeded on copy memory; "
        "with QR **holds** on the copy task, and **fails** on copy memory",
    )
