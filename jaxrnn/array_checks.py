"""What arrays given as arguments have to be, said where they arrive."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.checks import as_numpy, described


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


def as_array(name: str, value: Any, kinds: tuple[Any, ...], words: str) -> jax.Array:
    """An array of some kinds of numbers as JAX has it; ValueError, which says what it must be."""
    array = value if isinstance(value, jax.Array) else as_numpy(value)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise ValueError(f"{name} must be {words}, got {described(value)}")
    return jnp.asarray(array)


def as_real_array(name: str, value: Any) -> jax.Array:
    """An array of floating-point numbers or of whole ones, as features may be."""
    return as_array(name, value, (jnp.floating, jnp.integer), "an array of real numbers")


def as_float_array(name: str, value: Any) -> jax.Array:
    """An array of floating-point numbers."""
    return as_array(name, value, (jnp.floating,), "an array of floating-point numbers")


def as_whole_array(name: str, value: Any) -> jax.Array:
    """An array of whole numbers."""
    return as_array(name, value, (jnp.integer,), "an array of whole numbers")


def as_square_matrices(name: str, value: Any) -> jax.Array:
    """Square matrices (..., N, N) of floating-point numbers."""
    words = "square floating-point matrices (..., N, N)"
    W = as_array(name, value, (jnp.floating,), words)
    if W.ndim < 2 or not W.shape[-1] == W.shape[-2] > 0:
        raise ValueError(f"{name} must be {words}, got {described(value)}")
    return W
