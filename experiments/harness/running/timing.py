"""Timing by turns: what counts is a ratio within a round, never a time by itself.

Contenders take turns within a round, warm, so that a slow moment of the machine meets all of them.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np
from rich.progress import track

from experiments.harness.running import report

# Trains or computes something, and returns when it is done.
Chunk = Callable[[], object]


def race(contenders: Mapping[str, Chunk], rounds: int, label: str) -> dict[str, np.ndarray]:
    """Seconds that a chunk of each contender takes in each round, after two to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in track(range(rounds + 2), label, console=report.console):
        for name, chunk in contenders.items():
            start = time.perf_counter()
            chunk()
            times[name].append(time.perf_counter() - start)
    return {name: np.array(column[2:]) for name, column in times.items()}


def spread(name: str, values: np.ndarray) -> dict[str, float]:
    """Median and quartiles, for a run's final."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {name: median, f"{name}_low": low, f"{name}_high": high}
