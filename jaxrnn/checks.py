"""What numbers given as arguments have to be, said where they arrive. Of arrays: array_checks."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


def described(value: Any) -> str:
    """What came, in a few words: an array by its dtype and shape."""
    if hasattr(value, "dtype") and np.shape(value):
        return f"{value.dtype} of shape {value.shape}"
    return f"{value!r:.60}"


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number of 32 bits, in which JAX counts."""
    return _is_integer(value) and abs(operator.index(value)) < 2**31


def _is_integer(value: Any) -> bool:
    try:
        hash(value)  # an array of one number has none, which JAX needs of what decides about shapes
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def check_whole(name: str, value: Any, least: int = 1, any_size: bool = False) -> None:
    """ValueError unless a value is a whole number, ``least`` or more, and unless it may be of any
    size, below 2³¹.
    """
    if not ((is_whole(value) or (any_size and _is_integer(value))) and value >= least):
        limit = "" if any_size or not _is_integer(value) or value < 2**31 else " and below 2**31"
        words = f"a whole number, {least} or more{limit}"
        raise ValueError(f"{name} must be {words}, got {described(value)}")


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


def check_sizes(name: str, sizes: Any) -> None:
    """ValueError unless sizes are whole numbers, 0 or more."""
    for size in sizes:
        check_whole(name, size, least=0)


def check_flag(name: str, value: Any) -> None:
    """ValueError unless a value is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {described(value)}")


def check_function(name: str, value: Any) -> None:
    """ValueError unless a value can be called."""
    if not callable(value):
        raise ValueError(f"{name} must be a function, got {type(value).__name__}")


def check_generator(name: str, value: Any) -> None:
    """ValueError unless a value is one of NumPy's random generators."""
    if not isinstance(value, np.random.Generator):
        words = "a generator, such as numpy.random.default_rng(0)"
        raise ValueError(f"{name} must be {words}, got {described(value)}")


def check_one_of(name: str, value: Any, allowed: Iterable[str]) -> None:
    """ValueError unless a value is one of some names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {described(value)}")


def check_string(name: str, value: Any) -> None:
    """ValueError unless a value is a str."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a str, got {described(value)}")


def check_shapes(axes: Mapping[str, str], arrays: Mapping[str, Any]) -> None:
    """ValueError unless arrays hold real numbers and have their axes, none of them empty.

    Args:
      axes: of each array by its name, letters with a space between them, such as "B T N"; where
        they are equal the sizes must be. "T+1" is an axis one longer than T.
      arrays: by their names.
    """
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        of_this, kind = axes[name].split(), getattr(array, "dtype", None)
        is_real = kind is not None and (np.issubdtype(kind, np.floating) or kind.kind in "iu")
        if not is_real or len(np.shape(array)) != len(of_this) or not np.size(array):
            words = ", ".join(of_this)
            raise ValueError(f"{name} must be real numbers ({words}), got {described(array)}")
        for axis, size in zip(of_this, array.shape, strict=True):
            letter, _, more = axis.partition("+")
            least = size - int(more or 0)
            if sizes.setdefault(letter, least) != least:
                got = ", ".join(f"{each} {np.shape(array)}" for each, array in arrays.items())
                raise ValueError(
                    f"{name} must be ({', '.join(of_this)}) like the others, got {got}"
                )


def as_tokens(name: str, value: Any, num_tokens: int, axes: str = "L") -> np.ndarray:
    """An array of tokens with as many axes; ValueError unless each is one of ``num_tokens``."""
    tokens = as_numpy(value)
    if tokens.ndim == len(axes) and not tokens.size:
        return tokens.astype(int)
    if tokens.ndim != len(axes) or tokens.dtype.kind not in "iu":
        words = f"tokens ({', '.join(axes)}), whole numbers"
        raise ValueError(f"{name} must be {words}, got {described(value)}")
    wrong = tokens[(tokens < 0) | (tokens >= num_tokens)]
    if wrong.size:
        raise ValueError(f"{name} must be from 0 to {num_tokens - 1}, got {wrong[0]}")
    return tokens


def as_numpy(value: Any) -> np.ndarray:
    """As NumPy has it; of what is no array, such as nested lists of unequal lengths, an object."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.asarray(None)
