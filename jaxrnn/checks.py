"""What numbers given as arguments have to be, said where they arrive. Of arrays: array_checks."""

import math
import operator
from typing import Any

import numpy as np


def described(value: Any) -> str:
    """What came, in a few words: an array by its dtype and shape."""
    if hasattr(value, "dtype") and np.shape(value):
        return f"{value.dtype} of shape {value.shape}"
    return f"{value!r:.60}"


def check_whole(name: str, value: Any, least: int = 1, most: int = 2**31 - 1) -> None:
    """ValueError unless a value is a whole number from ``least``; JAX counts in 32 bits."""
    try:
        hash(value)  # an array of one number has none, which JAX needs of what decides about shapes
        is_allowed = not isinstance(value, bool) and least <= operator.index(value) <= most
    except TypeError:
        is_allowed = False
    if not is_allowed:
        most_said = "" if most == 2**31 - 1 else f" and {most} or less"
        raise ValueError(
            f"{name} must be a whole number, {least} or more{most_said}, got {described(value)}"
        )


def check_real(
    name: str, value: Any, words: str = "a finite number", least: float = -math.inf
) -> None:
    """ValueError, which says what it must be, unless a value is a finite number from ``least``."""
    try:
        is_allowed = np.shape(value) == () and math.isfinite(value) and value >= least
    except (TypeError, ValueError, OverflowError):
        is_allowed = False
    if not is_allowed:
        raise ValueError(f"{name} must be {words}, got {described(value)}")


def as_numpy(value: Any) -> np.ndarray:
    """As NumPy has it; of what is no array, such as nested lists of unequal lengths, an object."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.asarray(None)
