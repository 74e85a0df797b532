"""Measurements that tell how a recurrent network is doing, from its parameters."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.paths import is_recurrent_kernel, named_leaves


def _at_least_float32(W: Array) -> Array:
    return W.astype(jnp.promote_types(W.dtype, jnp.float32))


def spectral_norm(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch"]:
    """‖W‖₂, the largest singular value: the most that one step can stretch a gradient."""
    return jnp.linalg.svd(_at_least_float32(W), compute_uv=False)[..., 0]


def orthogonality_error(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch"]:
    """‖WᵀW − I‖_F / √N: 0 for an orthogonal W, 1 for W = 0, near eps after a good projection."""
    N = W.shape[-1]
    W = _at_least_float32(W)
    gram = jnp.matmul(W.mT, W, precision="highest")
    return jnp.linalg.norm(gram - jnp.eye(N, dtype=W.dtype), axis=(-2, -1)) / jnp.sqrt(
        jnp.asarray(N, W.dtype)
    )


def recurrent_diagnostics(params: Any) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The largest spectral norm and orthogonality error of all recurrent kernels in ``params``.

    A cell with gates has several. NaN for a model without a square recurrent kernel.
    """
    kernels = [leaf for path, leaf in named_leaves(params) if is_recurrent_kernel(path, leaf)]
    if not kernels:
        return jnp.asarray(jnp.nan), jnp.asarray(jnp.nan)
    norms = jnp.stack([spectral_norm(W).max() for W in kernels])
    errors = jnp.stack([orthogonality_error(W).max() for W in kernels])
    return norms.max(), errors.max()
