"""What all retractions have in common: their type, a check of W, and products in full precision."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.array_checks import as_square_matrices

Retraction = Callable[[Float[Array, "*batch N N"]], Float[Array, "*batch N N"]]


def of_square_matrices(retract: Retraction) -> Retraction:
    """With a check of W, and in float32 or wider: JAX decomposes nothing narrower."""

    @functools.wraps(retract)
    def checked(W: Any) -> Any:
        W = as_square_matrices("W", W)
        return retract(W.astype(jnp.promote_types(W.dtype, jnp.float32))).astype(W.dtype)

    return checked


def product(A: Array, B: Array) -> Array:
    """A B; a GPU's faster products are accurate to 1e-3 only."""
    return jnp.matmul(A, B, precision="highest")


def identity_like(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """I for each matrix of a batch."""
    return jnp.broadcast_to(jnp.eye(W.shape[-1], dtype=W.dtype), W.shape)


def off_orthogonal(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """WᵀW − I."""
    return product(W.mT, W) - identity_like(W)
