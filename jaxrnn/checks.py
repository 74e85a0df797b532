"""What numbers given as arguments have to be, said where they arrive. Of arrays: array_checks."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np


def described(value: Any) -> str:
    """What came, in a few words: an array by its dtype and shape."""
    if hasattr(value, "dtype") and np.shape(value):
        return f"{value.dtype} of shape {value.shape}"
    return f"{value!r:.60}"


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number of 32 bits, in which JAX counts."""
    try:
        hash(value)  # an array of one number has none, which JAX needs of what decides about shapes
        return not isinstance(value, bool) and abs(operator.index(value)) < 2**31
    except TypeError:
        return False


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """ValueError unless a value is a whole number, ``least`` or more."""
    if not (is_whole(value) and value >= least):
        raise ValueError(f"{name} must be a whole number, {least} or more, got {described(value)}")


def check_real(
    name: str,
    value: Any,
    words: str = "a finite number",
    allows: Callable[[Any], bool] = lambda value: True,
) -> None:
    """ValueError, which says what it must be, unless a value is a finite number that is allowed."""
    try:
        is_allowed = np.shape(value) == () and math.isfinite(value) and allows(value)
    except (TypeError, ValueError, OverflowError):
        is_allowed = False
    if not is_allowed:
        raise ValueError(f"{name} must be {words}, got {described(value)}")


def check_not_negative(name: str, value: Any) -> None:
    """ValueError unless a value is a finite number, 0 or more."""
    check_real(name, value, "0 or more and finite", lambda value: value >= 0)


def as_numpy(value: Any) -> np.ndarray:
    """As NumPy has it; of what is no array, such as nested lists of unequal lengths, an object."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.asarray(None)
