"""Measure, then write and print."""

from collections import Counter
from typing import Any

import numpy as np
from rich.progress import track
from rich.table import Table

from experiments.doctor_calibration import calibration_set, held_out
from experiments.doctor_calibration.config import DoctorCalibrationConfig
from experiments.doctor_calibration.figure import draw
from experiments.doctor_calibration.networks import (
    BASELINE,
    BATCH,
    BESIDE,
    Network,
    loss_fn,
    outcome_fits,
    train,
)
from experiments.harness.command import cli
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.training.runner import interruptible
from jaxrnn import diagnose
from jaxrnn.diagnosis import Report

SETS: dict[str, tuple[Network, ...]] = {
    "calibration": calibration_set.NETWORKS,
    "held_out": held_out.NETWORKS,
}
TRAINED = ("healthy", "vanishing")


def is_right(network: Network, conditions: tuple[str, ...]) -> bool:
    """Whether the label was found, and nothing that it excludes."""
    return network.label in conditions and network.excluded.isdisjoint(conditions)


def diagnosed(network: Network) -> Report:
    """The report on a batch of the network's task."""
    inputs, classes = network.batch(network.rng, BATCH)
    return diagnose(network.model, network.variables(), (inputs, classes), loss_fn)


def evidence_of(found: Report) -> dict[str, Any]:
    """The numbers that the rules compare; of several layers each."""
    layers = found.evidence.layers.values()
    return {
        "memory_left": [layer.memory_left for layer in layers],
        "memory_largest": [layer.memory_largest for layer in layers],
        "memory_rate": [layer.memory_rate for layer in layers],
        "saturated": [layer.saturated for layer in layers],
        "dead": [layer.dead for layer in layers],
        "early_share": found.evidence.early_share,
        "not_finite": found.evidence.not_finite,
    }


def measure(config: DoctorCalibrationConfig) -> list[Run]:
    """One run for each network; Interrupted carries what was measured."""
    runs: list[Run] = []
    with interruptible(runs):
        for name in config.sets:
            networks = [n for n in SETS[name] if n.label in TRAINED or not config.train]
            for network in track(networks, name, console=report.console, transient=True):
                settings = {"set": name, "family": network.family, "label": network.label}
                final: dict[str, Any]
                if config.train:
                    loss = train(network)
                    final = {"of_baseline": loss / BASELINE, "fits": outcome_fits(network, loss)}
                else:
                    found = diagnosed(network)
                    right = is_right(network, found.conditions)
                    final = {"conditions": found.conditions, "right": right, **evidence_of(found)}
                runs.append(Run(network.name, "jax", 0, settings, final=final))
    return runs


def score(runs: list[Run]) -> dict[str, float]:
    """The share judged right, and that of the healthy in which a fault was found."""
    healthy = [run for run in runs if run.settings["label"] == "healthy"]
    return {
        "right": float(np.mean([run.final["right"] for run in runs])),
        "healthy_with_a_fault": float(
            np.mean([tuple(run.final["conditions"]) != ("healthy",) for run in healthy])
        ),
    }


def print_verdicts(runs: list[Run]) -> None:
    """What was found, by set, label and family; those that were missed one by one."""
    for name in dict.fromkeys(run.settings["set"] for run in runs):
        chosen = [run for run in runs if run.settings["set"] == name]
        table = Table(title=name.replace("_", " "), title_justify="left")
        for heading in ("label", "family", "networks", "right", *BESIDE):
            table.add_column(
                heading.replace("_", " "), justify="right" if heading in BESIDE else "left"
            )
        for label, family in dict.fromkeys(
            (run.settings["label"], run.settings["family"]) for run in chosen
        ):
            group = [
                run
                for run in chosen
                if (run.settings["label"], run.settings["family"]) == (label, family)
            ]
            found = Counter(one for run in group for one in run.final["conditions"])
            right = sum(run.final["right"] for run in group)
            counts = [str(found[one] or "") for one in BESIDE]
            table.add_row(label, family, str(len(group)), str(right), *counts)
        report.console.print(table)
        for run in chosen:
            if not run.final["right"]:
                found_here = ", ".join(run.final["conditions"])
                report.console.print(f"  {run.method}: {run.settings['label']}, found {found_here}")
        shares = score(chosen)
        report.console.print(
            f"right {shares['right']:.1%} of {len(chosen)}, "
            f"a fault found in {shares['healthy_with_a_fault']:.1%} of the healthy"
        )


def print_training(runs: list[Run]) -> None:
    """The loss that each came to, where it is not what its label says."""
    odd = [run for run in runs if not run.final["fits"]]
    for run in odd:
        label, loss = run.settings["label"], run.final["of_baseline"]
        report.console.print(f"{run.method}: {label}, but its loss is {loss:.2f} of the baseline")
    report.console.print(f"{len(runs) - len(odd)} of {len(runs)} learn, or not, as labelled")


def execute(config: DoctorCalibrationConfig) -> None:
    """Measure, then write and print."""
    cli.require_backends(["jax"])
    out, session = cli.prepare(config, ["jax"])
    report.measure_and_write(
        out,
        session,
        lambda: measure(config),
        (lambda results, out: []) if config.train else draw,
        print_training if config.train else print_verdicts,
    )
