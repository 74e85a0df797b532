"""What the committed results.json files say, in the words of a table."""

import json
from typing import Any

import numpy as np

from experiments.harness.records.results import ROOT

Row = tuple[str, str, str, str]  # claim, command, measured, verdict


def load(folder: str) -> dict[str, Any]:
    """The results.json of a folder below figures/."""
    return json.loads((ROOT / "figures" / folder / "results.json").read_text())


def spread(runs: list[dict], quantity: str, digits: int = 3) -> str:
    """Mean ± standard deviation of a final quantity over runs."""
    values = np.array([run["final"][quantity] for run in runs])
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def last_epochs(runs: list[dict], quantity: str, epochs: int, digits: int) -> str:
    """Mean over the last epochs, ± the standard deviation of that over runs."""
    values = np.array([np.mean(run["history"][quantity][-epochs:]) for run in runs])
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def largest(runs: list[dict], quantity: str) -> str:
    """The largest of a final quantity over runs."""
    return f"{max(run['final'][quantity] for run in runs):,.3g}"


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
