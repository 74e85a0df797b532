"""What the committed results.json files say, in the words of a table."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.harness.records.results import ROOT

Row = tuple[str, str, str, str]  # claim, command, measured, verdict
Loader = Callable[[str], dict[str, Any]]  # a folder below figures/ → its results


def load(folder: str) -> dict[str, Any]:
    """The results.json of a folder below figures/."""
    return json.loads((ROOT / "figures" / folder / "results.json").read_text())


def final_value(run: dict[str, Any], quantity: str, otherwise: float = math.nan) -> float:
    """A final quantity, or another number where it was not finite or the run did not get to it."""
    value = run["final"].get(quantity)
    return otherwise if value is None else value


def mean(runs: list[dict], quantity: str) -> float:
    """Of a final quantity over runs; NaN where one of them has none."""
    return float(np.mean([final_value(run, quantity) for run in runs]))


def greatest(runs: list[dict], quantity: str) -> float:
    """The largest of a final quantity over runs; infinite where one of them has none."""
    return max(final_value(run, quantity, math.inf) for run in runs)


def spread(runs: list[dict], quantity: str, digits: int = 3) -> str:
    """Mean ± standard deviation of a final quantity over runs."""
    return plus_minus([final_value(run, quantity) for run in runs], digits)


def plus_minus(values: Sequence[float] | np.ndarray, digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def last_epochs(runs: list[dict], quantity: str, epochs: int) -> np.ndarray:
    """Each run's mean over its last epochs."""
    return np.array([np.mean(run["history"][quantity][-epochs:]) for run in runs])


def largest(runs: list[dict], quantity: str) -> str:
    """The largest of a final quantity over runs, in words."""
    return f"{greatest(runs, quantity):,.3g}"


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
