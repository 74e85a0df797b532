"""What the recurrent kernels themselves show: how they stretch, and how far from orthogonal."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.array_checks import as_square_matrices
from jaxrnn.decompositions import singular_values, svd
from jaxrnn.paths import Predicate, is_recurrent_kernel, named_leaves, selected_matrices


def not_measured() -> float:
    """What stands for a number that was not measured: NaN, or −1 under ``jax_debug_nans``.

    That option stops at every NaN, these too.

    Example:
      >>> with jax.debug_nans(True):
      ...     print(diagnostics.not_measured())
      -1.0
    """
    config: Any = jax.config
    return -1.0 if config.jax_debug_nans else math.nan


def _in_float32(W: Any) -> Array:
    """Square matrices, in float32 or wider."""
    W = as_square_matrices("W", W)
    return W.astype(jnp.promote_types(W.dtype, jnp.float32))


def spectral_norm(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch"]:
    """‖W‖₂, the largest singular value: the most that one step can stretch a gradient.

    Example:
      >>> W = jnp.array([[0.5, 4.0], [0.0, 0.5]])
      >>> print(f"{diagnostics.spectral_norm(W):.2f}")
      4.06
    """
    return _spectral_norm(_in_float32(W))


@jax.custom_jvp
def _spectral_norm(W: Array) -> Array:
    return singular_values(W)[..., 0]


@_spectral_norm.defjvp
def _spectral_norm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """dσ = uᵀ dW v."""
    (W,), (E,) = primals, tangents
    U, sigma, Vt = svd(W)
    return sigma[..., 0], jnp.einsum("...i,...ij,...j", U[..., :, 0], E, Vt[..., 0, :])


def spectral_radius(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch"]:
    """max |λ_i(W)| = lim ‖Wᵏ‖^(1/k): what each of many steps stretches by (Gelfand 1941).

    By squaring W, rescaled every time, until k = 2^m with m beyond the digits of the dtype:

        ln ρ = Σ_i 2^-i ln n_i          n_i = max |A_i|, A_{i+1} = (A_i / n_i)², A_0 = W

    Nothing but products, so that it runs on any device, while ``jnp.linalg.eigvals`` does not. As
    of eigenvalues, those of a W that is far from normal are sensitive to rounding.

    Example:
      >>> W = jnp.array([[0.5, 4.0], [0.0, 0.5]])  # one step may stretch, many shrink
      >>> print(f"{diagnostics.spectral_norm(W):.2f} {diagnostics.spectral_radius(W):.2f}")
      4.06 0.50
    """
    W = _in_float32(W)
    squarings = jnp.finfo(W.dtype).nmant + 12  # and ‖Wᵏ‖ ≤ c k^N ρᵏ, for some c

    def square(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        A, log = state
        size = jnp.max(jnp.abs(A), axis=(-2, -1), keepdims=True)
        A = A / jnp.where(size > 0, size, 1)
        log = log + jnp.log(size[..., 0, 0]) * 0.5 ** jnp.asarray(i, W.dtype)
        return jnp.matmul(A, A, precision="highest"), log

    zero = jnp.zeros(W.shape[:-2], W.dtype)
    return jnp.exp(jax.lax.fori_loop(0, squarings, square, (W, zero))[1])


def orthogonality_error(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch"]:
    """‖WᵀW − I‖_F / √N: 0 for an orthogonal W, 1 for W = 0, near eps after a good projection.

    Example:
      >>> [float(diagnostics.orthogonality_error(scale * jnp.eye(4))) for scale in (0, 1, 2)]
      [1.0, 0.0, 3.0]
    """
    W = _in_float32(W)
    N = W.shape[-1]
    gram = jnp.matmul(W.mT, W, precision="highest")
    identity = jnp.broadcast_to(jnp.eye(N, dtype=W.dtype), W.shape)
    square = jnp.sum((gram - identity) ** 2, axis=(-2, -1))
    # The derivative of a root at 0 is infinite, and 0 · ∞ is NaN; that of a distance at 0 is 0.
    is_zero = square == 0
    distance = jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, square)))
    return distance / jnp.sqrt(jnp.asarray(N, W.dtype))


def recurrent_diagnostics(
    params: Any, where: Predicate | str | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The largest spectral norm and orthogonality error of all recurrent kernels in ``params``.

    A cell with gates has several.

    Args:
      params: any pytree.
      where: which leaves are recurrent kernels, as in ``project_recurrent``. Default: those of this
        library's and of Flax's cells; where there is none, a warning and ``not_measured``.

    Raises:
      ValueError: ``where`` selects nothing, or a leaf that is not a square floating-point matrix.

    Example:
      >>> params = {"cell": {"h": {"kernel": 2 * jnp.eye(4)}, "i": {"kernel": jnp.ones((3, 4))}}}
      >>> norm, error = diagnostics.recurrent_diagnostics(params)
      >>> float(norm), float(error)
      (2.0, 3.0)
    """
    if where is None and not any(is_recurrent_kernel(*leaf) for leaf in named_leaves(params)):
        warnings.warn(
            "recurrent_diagnostics: no leaf is a recurrent kernel of a known cell, so that nothing "
            f"is measured; where= selects one of {', '.join(dict(named_leaves(params)))}",
            stacklevel=2,
        )
        return jnp.asarray(not_measured()), jnp.asarray(not_measured())
    leaves = jax.tree.leaves(params)
    kernels = [leaves[i] for i in selected_matrices(params, where, "recurrent_diagnostics")]
    norms = jnp.stack([spectral_norm(W).max() for W in kernels])
    errors = jnp.stack([orthogonality_error(W).max() for W in kernels])
    return norms.max(), errors.max()
