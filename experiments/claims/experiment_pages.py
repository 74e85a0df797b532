"""What the page of an experiment says: its commands, settings and results."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.catalogue import EXPERIMENTS, Experiment, line
from experiments.harness.records.evidence import load, table

# Final quantities in the tables of results, by the page that shows them.
QUANTITIES = {
    "copy_task": {
        "val_loss": "validation loss",
        "val_accuracy": "accuracy",
        "spectral_norm": "spectral norm",
        "grad_norm_max": "largest gradient norm",
    },
    "adding_task": {
        "test_loss": "test loss",
        "val_loss": "validation loss",
        "spectral_norm": "spectral norm",
        "grad_norm_max": "largest gradient norm",
        "restarts": "restarts",
    },
    "char_lm": {
        "bits_per_character": "bits per character",
        "test_loss": "test loss",
        "perplexity": "perplexity",
        "spectral_norm": "spectral norm",
    },
    "retractions": {
        "val_loss": "validation loss",
        "spectral_norm": "spectral norm",
        "orthogonality_error": "orthogonality error",
    },
    "gradient_spikes": {
        "grad_norm_max": "largest gradient norm",
        "spectral_norm_max": "largest spectral norm",
    },
}


# Of a configuration: where it writes, and what is recorded with it.
NO_SETTINGS = ("out", "devices", "text_hash", "sets", "parts", "symptoms")


def command_table() -> str:
    """Every command line, with its duration."""
    rows = [
        [f"`python -m experiments.{line(experiment, command)}`", minutes(command.minutes), said]
        for experiment in EXPERIMENTS
        for command in experiment.commands
        for said in [command.what if command.options else f"{experiment.what} {command.what}"]
    ]
    return table(["command", "takes", "what"], rows)


def usage(experiment: Experiment) -> str:
    """The command lines of one experiment."""
    rows = [
        [
            f"`python -m experiments.{line(experiment, command)}`",
            minutes(command.minutes),
            command.what,
            f"`figures/{command.folder}/`" if command.folder else "nothing",
        ]
        for command in experiment.commands
    ]
    return table(["command", "takes", "what", "writes"], rows)


def minutes(number: float) -> str:
    """A duration, as precise as it is known."""
    if number < 1:
        return f"{60 * number:.0f} s"
    return f"{number:g} min" if number < 90 else f"{number / 60:.1f} h"


def settings(experiment: Experiment) -> str:
    """The configurations behind the committed results; a blank is the first column's value."""
    configs = {
        command.options or "default": load(command.folder)["config"]
        for command in experiment.commands
        if command.folder
    }
    first, *others = configs.values()
    rows = []
    for name in first:
        values = [value_text(config.get(name)) for config in configs.values()]
        if name not in NO_SETTINGS and any(values) and not isinstance(first[name], bool):
            rows.append([name, values[0], *("" if v == values[0] else v for v in values[1:])])
    note = "A blank is as in the first column.\n\n" if others else ""
    return note + table(["setting", *(f"`{options}`" for options in configs)], rows)


def value_text(value: Any) -> str:
    """A setting as one would type it; nothing for None."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def results(experiment: Experiment) -> str:
    """What the committed runs ended with: a row for each method, means over seeds."""
    quantities = QUANTITIES[experiment.name]
    rows = []
    for command in experiment.commands:
        groups: dict[tuple[str, str], list[dict]] = {}
        for run in load(command.folder)["runs"] if command.folder else []:
            if set(quantities) & set(run["final"]):
                groups.setdefault((run_label(run), run["backend"]), []).append(run)
        backends = {backend for _, backend in groups}
        for (label, backend), runs in groups.items():
            name = f"{label} ({backend})" if len(backends) > 1 else label
            cells = [over_seeds(runs, quantity) for quantity in quantities]
            rows.append([f"`{command.options or 'default'}`", name, str(len(runs)), *cells])
    lines = [["options", "run", "seeds", *quantities.values()], *rows]
    if len(experiment.commands) == 1:
        lines = [cells[1:] for cells in lines]
    return table(lines[0], lines[1:])


def run_label(run: Mapping[str, Any]) -> str:
    """A method and what is set for it."""
    changed = run["settings"]
    if "setting" in changed:
        return f"{run['method']}, {changed['setting']}"
    said = {name: value_text(value) for name, value in changed.items() if name != "part"}
    words = [f"{name} {value}" for name, value in said.items() if value not in run["method"]]
    return ", ".join([run["method"], *words]).replace("_", " ")


def over_seeds(runs: list[dict], quantity: str) -> str:
    """The mean ± the standard deviation; the sum of restarts, the largest of what is largest."""
    values = [run["final"].get(quantity) for run in runs]
    found = np.array([value for value in values if value is not None])
    if not len(found):
        return ""
    if quantity == "restarts":
        return f"{found.sum():.0f}"
    if quantity.endswith("_max") or len(found) == 1:
        return f"{found.max():.3g}"
    return f"{found.mean():.3g} ± {found.std():.1g}"
