"""Decompositions of matrices that run on several CPU devices at once.

jaxlib's LAPACK calls share a batch of matrices among the threads of the process. Where several CPU
devices do so at once, each holds a thread while it waits for another, and none goes on (jaxlib
0.10.2: qr and svd of more than one matrix of 64 × 64 or more, such as those of seeds under vmap).
One matrix alone takes no thread but its own. So on a CPU a batch is decomposed matrix by matrix,
whether its axis is the array's own or one of vmap; elsewhere as one batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


def one_by_one(decompose: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """A function of (..., N, N) that on a CPU calls ``decompose`` with (N, N) alone.

    ``decompose`` returns a pytree of arrays and takes a batch too. Derivatives are its own, of a
    batch as a whole: those here that several devices ask for are derived by hand where they stand.
    """

    def looped(W: jax.Array) -> Any:
        if W.ndim == 2:
            return decompose(W)
        flat = W.reshape(-1, *W.shape[-2:])
        found = jax.lax.map(decompose, flat)
        return jax.tree.map(lambda x: x.reshape(*W.shape[:-2], *x.shape[1:]), found)

    @custom_vmap
    def of_batch(W: jax.Array) -> Any:
        return jax.lax.platform_dependent(W, cpu=looped, default=decompose)

    @of_batch.def_vmap
    def with_another_axis(axis_size: int, in_batched: Any, W: jax.Array) -> Any:
        del axis_size, in_batched  # there is one argument
        found = of_batch(W)
        return found, jax.tree.map(lambda _: True, found)

    function = jax.custom_jvp(of_batch)

    @function.defjvp
    def jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> Any:
        return jax.jvp(decompose, primals, tangents)

    return function


@one_by_one
def svd(W: jax.Array) -> Any:
    """U, σ and Vᵀ of W = U diag(σ) Vᵀ."""
    return jnp.linalg.svd(W, full_matrices=False)


@one_by_one
def singular_values(W: jax.Array) -> jax.Array:
    """σ alone, from the largest down."""
    return jnp.linalg.svd(W, compute_uv=False)
