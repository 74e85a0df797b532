"""What arrays, modules and optimizers given as arguments have to be, said where they arrive."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

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
    if isinstance(array, np.ndarray) and array.dtype.kind in "iu" and array.size:
        limits = jnp.iinfo(
            jnp.asarray(np.zeros(0, array.dtype)).dtype
        )  # 32 bits, unless JAX was told otherwise
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(
                f"{name} must be {words} of {limits.bits} bits, got {described(value)}"
            )
    array = jnp.asarray(array)
    # Of 8 or 16 bits, a bound such as T or −100 would wrap.
    is_narrow = jnp.issubdtype(array.dtype, jnp.integer) and array.dtype.itemsize < 4
    return array.astype(jnp.int32) if is_narrow else array


def as_real_array(name: str, value: Any) -> jax.Array:
    """An array of floating-point numbers or of whole ones, as features may be."""
    return as_array(name, value, (jnp.floating, jnp.integer), "an array of real numbers")


def as_float_array(name: str, value: Any) -> jax.Array:
    """An array of floating-point numbers."""
    return as_array(name, value, (jnp.floating,), "an array of floating-point numbers")


def as_whole_array(name: str, value: Any) -> jax.Array:
    """An array of whole numbers."""
    return as_array(name, value, (jnp.integer,), "an array of whole numbers")


def as_flags(name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
    """Truth values of that shape."""
    array = as_array(name, value, (jnp.bool_,), "an array of truth values")
    if array.shape != shape:
        raise ValueError(f"{name} must be truth values of shape {shape}, got {array.shape}")
    return array


def check_dtype(name: str, value: Any) -> None:
    """ValueError unless it is None or a dtype of floating-point numbers."""
    try:
        # NumPy takes the name of a dtype in bytes too, and JAX does not.
        is_dtype = not isinstance(value, bytes)
        is_float = value is None or (is_dtype and jnp.issubdtype(jnp.dtype(value), jnp.floating))
    except (TypeError, ValueError):
        is_float = False
    if not is_float:
        raise ValueError(f"{name} must be a floating-point dtype, got {described(value)}")


def check_module(name: str, value: Any) -> None:
    """ValueError unless it is one of Flax's modules."""
    if not isinstance(value, nn.Module):
        raise ValueError(f"{name} must be a flax.linen module, got {type(value).__name__}")


def check_optimizer(name: str, value: Any) -> None:
    """ValueError unless it is an Optax optimizer."""
    if not all(callable(getattr(value, part, None)) for part in ("init", "update")):
        words = "an Optax optimizer, such as optax.adam(1e-3)"
        raise ValueError(f"{name} must be {words}, got {described(value)}")


def check_key(name: str, value: Any) -> None:
    """ValueError unless it is one of JAX's random keys, of either kind."""
    dtype, shape = getattr(value, "dtype", None), np.shape(value)
    is_new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    is_old = dtype == np.uint32 and len(shape) == 1
    if not (is_new or is_old):
        words = "a random key, such as jax.random.key(0)"
        raise ValueError(f"{name} must be {words}, got {described(value)}")


def as_square_matrices(name: str, value: Any) -> jax.Array:
    """Square matrices (..., N, N) of floating-point numbers."""
    words = "square floating-point matrices (..., N, N)"
    W = as_array(name, value, (jnp.floating,), words)
    if W.ndim < 2 or not W.shape[-1] == W.shape[-2] > 0:
        raise ValueError(f"{name} must be {words}, got {described(value)}")
    return W
