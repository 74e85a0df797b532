"""Retractions: maps from a square matrix W to an orthogonal matrix near it.

An optimizer step moves W_hh off the orthogonal group; a retraction puts it back. All take
(..., N, N), leading dimensions being a batch of matrices, and return the same shape and dtype.

    name                    result                                        nearest?
    qr                      Q·diag(s) of W = QR, s = sign of diag(R)      no, but unique and cheap
    householder             the same, by Householder reflections always   no
    polar                   U Vᵀ of W = U Σ Vᵀ                            yes, in Frobenius norm
    newton_schulz           the same, by products where W is near enough  yes
    qr_unsigned             Q of W = QR, signs as the library leaves them no: shows what goes wrong
    gram_schmidt            column by column, against the original column no: loses orthogonality
    modified_gram_schmidt   column by column, against what is left of it  no: loses less of it
    cholesky                W R⁻¹ with WᵀW = RᵀR                          no: squares the condition

In exact arithmetic qr, householder, gram_schmidt, modified_gram_schmidt and cholesky are the same
matrix: the QR factor whose R has a positive diagonal, which is unique for an invertible W. They
differ in cost, and in rounding (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
ch. 19).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.decompositions import one_by_one
from jaxrnn.nearest import newton_schulz, polar, spectral_band
from jaxrnn.retraction import Retraction, of_square_matrices, product

__all__ = [
    "RETRACTIONS",
    "cholesky",
    "gram_schmidt",
    "householder",
    "modified_gram_schmidt",
    "newton_schulz",
    "polar",
    "qr",
    "qr_unsigned",
    "spectral_band",
]


def _orthogonal_factor(decompose: Retraction) -> Retraction:
    """Q of W = QR as a function of W: on any number of CPU devices, and with a derivative,

    dQ = Q (X − Xᵀ)          X the part below the diagonal of Qᵀ dW R⁻¹
    """
    factor = jax.custom_jvp(one_by_one(decompose))

    @factor.defjvp
    def jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        (W,), (E,) = primals, tangents
        Q = factor(W)
        inverse = _inverse_of_triangle(product(Q.mT, W))
        X = jnp.tril(product(product(Q.mT, E), inverse), -1)
        return Q, product(Q, X - X.mT)

    return factor


@one_by_one
def _inverse_of_triangle(R: Array) -> Array:
    identity = jnp.broadcast_to(jnp.eye(R.shape[-1], dtype=R.dtype), R.shape)
    return jax.lax.linalg.triangular_solve(R, identity, left_side=True)


# The largest (σ_max / σ_min)² for which ``qr`` trusts Cholesky. Up to here its errors are those of
# Householder or smaller: at most 4.2 eps, over sizes of 2 to 256 with two singular values apart.
MAX_SQUARED_CONDITION = 16


def _signed(W: Array) -> Array:
    Q, R = jnp.linalg.qr(W)
    diagonal = jnp.diagonal(R, axis1=-2, axis2=-1)
    signed = Q * jnp.where(diagonal < 0, -1, 1).astype(W.dtype)[..., None, :]
    return jnp.where(jnp.isfinite(W).all(axis=(-2, -1), keepdims=True), signed, jnp.nan)


def _by_cholesky_if_safe(W: Array) -> Array:
    N = W.shape[-1]
    L = _cholesky_factor(W)
    diagonal = jnp.diagonal(L, axis1=-2, axis2=-1)  # of R; NaN where there is no factor
    mean_square = jnp.sum(W * W, axis=(-2, -1)) / N
    log_ratio = 2 * jnp.sum(jnp.log(diagonal), axis=-1) - N * jnp.log(mean_square)
    K = MAX_SQUARED_CONDITION
    is_well_conditioned = jnp.all(log_ratio >= math.log(4 * K / (K + 1) ** 2))
    return jax.lax.cond(is_well_conditioned, lambda: _times_inverse(W, L), lambda: _signed(W))


_householder = _orthogonal_factor(_signed)
_qr = _orthogonal_factor(_by_cholesky_if_safe)
_qr_unsigned = _orthogonal_factor(lambda W: jnp.linalg.qr(W)[0])
_cholesky = _orthogonal_factor(lambda W: _times_inverse(W, _cholesky_factor(W)))


@of_square_matrices
def qr(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """Sign-corrected QR: Q·diag(s) with W = QR, s_j = −1 where R_jj < 0 and +1 otherwise.

    The sign rule makes Q unique, and so continuous in W and equal across libraries. It is +1, not
    sign(0) = 0, at R_jj = 0, so a singular W still gets an orthogonal Q.

    One optimizer step leaves an orthogonal matrix well conditioned, and then the Cholesky factor
    WᵀW = RᵀR gives the same Q = W R⁻¹ at a fraction of the cost. How well, R tells for free:

        4κ² / (κ² + 1)²  ≥  det(R)² / (‖W‖_F² / N)^N,          κ = σ_max / σ_min

    (Merikoski et al. 1997, Linear Algebra Appl. 254; the inequality of the arithmetic and geometric
    means of the σ²). Where that cannot promise κ² ≤ ``MAX_SQUARED_CONDITION`` for every matrix of
    the batch, all of them are decomposed by ``householder``; on a CPU each matrix by itself.

    Example:
      >>> W = jnp.array([[3.0, 1.0], [-4.0, 2.0]])
      >>> print(orthogonal.qr(W).round(3))
      [[ 0.6  0.8]
       [-0.8  0.6]]
    """
    return _qr(W)


@of_square_matrices
def householder(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """Sign-corrected QR by Householder reflections: backward stable whatever W.

    NaN where W is not finite: LAPACK would return a Q that looks valid.

    Example:
      >>> Q = orthogonal.householder(jnp.ones((3, 3)))  # singular, and no trouble
      >>> bool(jnp.allclose(Q.T @ Q, jnp.eye(3), atol=1e-6))
      True
    """
    return _householder(W)


@of_square_matrices
def qr_unsigned(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """Q of W = QR without the sign rule. Not a retraction: it moves even an orthogonal W.

    Example:
      >>> W = jnp.array([[0.6, 0.8], [-0.8, 0.6]])  # orthogonal already
      >>> [bool(jnp.allclose(f(W), W)) for f in (orthogonal.qr_unsigned, orthogonal.qr)]
      [False, True]
    """
    return _qr_unsigned(W)


def _by_columns(orthogonalize: Callable, W: Array) -> Array:
    """Build Q column by column; ``orthogonalize(Q, column)`` removes what Q already spans."""

    def add_column(j: Array, Q: Array) -> Array:
        column = orthogonalize(Q, W[:, j])
        return Q.at[:, j].set(column / jnp.linalg.norm(column))

    # Columns of Q not yet built are zero, so products with the whole of Q ignore them.
    return jax.lax.fori_loop(0, W.shape[-1], add_column, jnp.zeros_like(W))


@of_square_matrices
def gram_schmidt(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """Classical Gram–Schmidt: q_j ∝ w_j − Q Qᵀ w_j. NaN where columns are dependent.

    Example:
      >>> W = 1 / (1 + jnp.arange(5.0) + jnp.arange(5.0)[:, None])  # Hilbert's, ill-conditioned
      >>> print(f"{diagnostics.orthogonality_error(orthogonal.gram_schmidt(W)):.1f}")
      0.6
    """

    def orthogonalize(Q: Array, column: Array) -> Array:
        return column - product(Q, product(Q.T, column))

    return jnp.vectorize(lambda M: _by_columns(orthogonalize, M), signature="(n,n)->(n,n)")(W)


@of_square_matrices
def modified_gram_schmidt(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """Modified Gram–Schmidt: each q_i is removed from what the earlier ones have left of w_j.

    Example:
      >>> W = 1 / (1 + jnp.arange(5.0) + jnp.arange(5.0)[:, None])  # Hilbert's, ill-conditioned
      >>> retractions = orthogonal.gram_schmidt, orthogonal.modified_gram_schmidt
      >>> [bool(diagnostics.orthogonality_error(retract(W)) < 0.1) for retract in retractions]
      [False, True]
    """

    def orthogonalize(Q: Array, column: Array) -> Array:
        def remove(i: Array, rest: Array) -> Array:
            return rest - Q[:, i] * product(Q[:, i], rest)

        return jax.lax.fori_loop(0, Q.shape[1], remove, column)

    return jnp.vectorize(lambda M: _by_columns(orthogonalize, M), signature="(n,n)->(n,n)")(W)


def _cholesky_factor(W: Array) -> Array:
    """L = Rᵀ with WᵀW = RᵀR, its diagonal positive; NaN where there is none."""
    return jax.lax.linalg.cholesky(product(W.mT, W), symmetrize_input=False)


def _times_inverse(W: Array, L: Array) -> Array:
    """W R⁻¹ with R = Lᵀ."""
    return jax.lax.linalg.triangular_solve(L, W, left_side=False, lower=True, transpose_a=True)


@of_square_matrices
def cholesky(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """Cholesky QR: Q = W R⁻¹ with WᵀW = RᵀR. NaN where WᵀW is not numerically positive.

    Example:
      >>> W = jnp.array([[3.0, 1.0], [-4.0, 2.0]])
      >>> print(orthogonal.cholesky(W).round(3))
      [[ 0.6  0.8]
       [-0.8  0.6]]
      >>> print(orthogonal.cholesky(jnp.zeros((2, 2))))
      [[nan nan]
       [nan nan]]
    """
    return _cholesky(W)


RETRACTIONS: dict[str, Retraction] = {
    function.__name__: function
    for function in (
        qr,
        householder,
        polar,
        newton_schulz,
        qr_unsigned,
        gram_schmidt,
        modified_gram_schmidt,
        cholesky,
    )
}
