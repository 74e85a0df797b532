"""Retractions to the nearest orthogonal matrix, and to the nearest one with σ close to 1."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.checks import check_real
from jaxrnn.decompositions import svd
from jaxrnn.retraction import Retraction, of_square_matrices, off_orthogonal, product


@of_square_matrices
def polar(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """The orthogonal polar factor U Vᵀ of W = U Σ Vᵀ: the nearest orthogonal matrix.

    Nearest in every unitarily invariant norm (Fan & Hoffman 1955, Proc. AMS 6). Its derivative in
    the direction E,

        U Ω Vᵀ          Ω_ij = (M_ij − M_ji) / (σ_i + σ_j), M = Uᵀ E V,

    is finite where W is invertible, at orthogonal W too, where that of the SVD is not.

    Example:
      >>> W = jnp.array([[3.0, 1.0], [-4.0, 2.0]])
      >>> to_polar, to_qr = orthogonal.polar(W) - W, orthogonal.qr(W) - W
      >>> bool(jnp.linalg.norm(to_polar) < jnp.linalg.norm(to_qr))
      True
    """
    return _polar(W)


def _polar_by_svd(W: Array) -> Array:
    U, _, Vt = svd(W)
    return product(U, Vt)


def _derivative(W: Array, E: Array) -> Array:
    U, sigma, Vt = svd(W)
    M = product(product(U.mT, E), Vt.mT)
    sums = sigma[..., :, None] + sigma[..., None, :]
    return product(product(U, (M - M.mT) / sums), Vt)


def _with_derivative(function: Retraction) -> Retraction:
    """A way to the polar factor with the polar factor's derivative."""
    polar = jax.custom_jvp(function)

    @polar.defjvp
    def jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        return polar(*primals), _derivative(*primals, *tangents)

    return polar


_polar = _with_derivative(_polar_by_svd)


@of_square_matrices
def newton_schulz(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
    """The polar factor by products alone, of a W that an optimizer's step moved off the group.

        X ← X (3 I − XᵀX) / 2,   from   XᵀX = I + E   to   I − 3/4 E² + 1/4 E³

    As many steps as e ← 3/4 e² + 1/4 e³ takes from e = ‖WᵀW − I‖_F to eps, which is a bound of
    what is left: of 0.1 in float32, three; of 1/2, five. Where a matrix of the batch is further
    away than 1/2, all of them are decomposed by ``polar``.

    Example:
      >>> W = jnp.array([[0.6, 0.8], [-0.8, 0.6]]) + 0.01 * jnp.ones((2, 2))
      >>> bool(jnp.allclose(orthogonal.newton_schulz(W), orthogonal.polar(W), atol=1e-6))
      True
    """
    return _newton_schulz(W)


def _by_products_if_near(W: Array) -> Array:
    distance = jnp.max(jnp.linalg.norm(off_orthogonal(W), axis=(-2, -1)), initial=0.0)
    return jax.lax.cond(
        distance <= 0.5, lambda: _by_products(W, distance), lambda: _polar_by_svd(W)
    )


def _by_products(W: Array, distance: Array) -> Array:
    def step(at: tuple[Array, Array]) -> tuple[Array, Array]:
        e, X = at
        return 0.75 * e**2 + 0.25 * e**3, 1.5 * X - 0.5 * product(X, product(X.mT, X))

    eps = jnp.finfo(W.dtype).eps
    return jax.lax.while_loop(lambda at: at[0] > eps, step, (distance, W))[1]


_newton_schulz = _with_derivative(_by_products_if_near)


def spectral_band(margin: Any) -> Retraction:
    """A retraction to singular values in [1 − m, 1 + m]: W = U Σ Vᵀ becomes U clip(Σ) Vᵀ.

    The nearest such matrix in Frobenius norm. Not orthogonal but for m = 0: an RNN that has to
    forget can (Vorontsov et al. 2017, On orthogonality and learning recurrent networks with long
    term dependencies). With a margin that changes:

        optax.inject_hyperparams(lambda margin: project_recurrent(spectral_band(margin)))(schedule)

    Args:
      margin: m, from 0 to 1.

    Raises:
      ValueError: a margin outside [0, 1], where its value is known.

    Example:
      >>> retract = orthogonal.spectral_band(0.1)
      >>> print(retract(jnp.diag(jnp.array([0.5, 0.95, 3.0]))).round(2))
      [[0.9  0.   0.  ]
       [0.   0.95 0.  ]
       [0.   0.   1.1 ]]
    """
    if not isinstance(margin, jax.core.Tracer):
        check_real("margin", margin, "from 0 to 1", lambda value: 0 <= value <= 1)

    @of_square_matrices
    def retract(W: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
        U, sigma, Vt = svd(W)
        m = jnp.asarray(margin, W.dtype)
        return product(U * jnp.clip(sigma, 1 - m, 1 + m)[..., None, :], Vt)

    return retract
