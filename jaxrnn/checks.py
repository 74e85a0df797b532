"""What arguments have to be, said where they arrive."""

import operator
from typing import Any

import jax
import numpy as np


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """ValueError unless a value is a whole number, ``least`` or more."""
    try:
        is_allowed = operator.index(value) >= least
    except TypeError:
        is_allowed = False
    if not is_allowed:
        raise ValueError(f"{name} must be a whole number, {least} or more, got {value!r}")


def check_range(name: str, values: Any, most: int, ignored: int | None = None) -> None:
    """ValueError for values outside 0 … most − 1, where they are known: not under jit."""
    wrong = outside(values, most - 1)
    wrong = wrong[wrong != ignored] if ignored is not None else wrong
    if wrong.size:
        besides = "" if ignored is None else f", or {ignored} to ignore one"
        raise ValueError(f"{name} must be from 0 to {most - 1}{besides}, got {wrong[0]}")


def outside(values: Any, most: int) -> np.ndarray:
    """The values below 0 or above ``most``; none under jit, where they are not known."""
    if isinstance(values, jax.core.Tracer):
        return np.zeros(0, int)
    known = np.asarray(values)  # in JAX even a constant's comparison would be traced
    return known[(known < 0) | (known > most)]
