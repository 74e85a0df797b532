"""Tangent vectors of the orthogonal group, and the ways along them.

At an orthogonal W the tangent vectors are W A with A skew, and W exp(A) is where A leads to. So A
is a coordinate of the group near W, W itself at A = 0, and the gradient in it is skew(WᵀG).

All functions take (..., N, N), leading dimensions being a batch of matrices.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.retraction import identity_like, off_orthogonal, product

Matrices = Float[Array, "*batch N N"]
Map = Callable[[Matrices], Matrices]  # of A, to a rotation or close to one

MAX_STEPS = 60  # of ``polar``: 1.5^60 is 4e10


def skew(M: Matrices) -> Matrices:
    """(M − Mᵀ) / 2."""
    return (M - M.mT) / 2


def sym(M: Matrices) -> Matrices:
    """(M + Mᵀ) / 2."""
    return (M + M.mT) / 2


def tangent(W: Matrices, G: Matrices) -> Matrices:
    """G − W sym(WᵀG), what of G is tangent at an orthogonal W: the nearest W A."""
    return G - product(W, sym(product(W.mT, G)))


def newton_schulz(X: Matrices) -> Matrices:
    """X (3 I − XᵀX) / 2, closer to the polar factor of an X that is close to it.

    With XᵀX = I + E it leaves −3/4 E² + 1/4 E³: of ‖E‖ = 1e-4, 7.5e-9.
    """
    return 1.5 * X - 0.5 * product(X, product(X.mT, X))


def polar(X: Matrices) -> Matrices:
    """The polar factor of an invertible X, by as many Newton–Schulz steps as it takes.

    They converge from singular values up to √3 (Higham 2008, Functions of Matrices, ch. 8): an X
    that may have larger ones is scaled to at most 1 first. Those below 1 grow by 1.5 a step.
    """

    def distance(X: Matrices) -> Float[Array, "*batch 1 1"]:
        return jnp.linalg.norm(off_orthogonal(X), axis=(-2, -1), keepdims=True)

    def is_far(state: tuple[Array, Array]) -> Array:
        count, X = state
        return (count < MAX_STEPS) & jnp.any(distance(X) > 1e-4)

    d = distance(X)
    start = jnp.zeros([], jnp.int32), X / jnp.where(d > 1, jnp.sqrt(1 + d), 1)
    _, X = jax.lax.while_loop(is_far, lambda at: (at[0] + 1, newton_schulz(at[1])), start)
    return newton_schulz(newton_schulz(X))  # of 1e-4 they leave 7.5e-9 and 4e-17


def max_angle(dtype: Any) -> float:
    """θ, the largest rotation in radians that ``second_order`` makes at once: 0.2 in float32.

    I + A + A²/2 is off the group by θ⁴/4, of which one Newton–Schulz step leaves 3/4 (θ⁴/4)²: eps.
    """
    return (4 * math.sqrt(4 / 3 * float(jnp.finfo(dtype).eps))) ** 0.25


def second_order(A: Matrices) -> Matrices:
    """I + A + A²/2, which is exp(A) up to third order, by matrix products alone.

    Off the group by no more than a Newton–Schulz step puts right: what turns by more than
    ``max_angle`` is computed of A / 2^s and squared s times. The angle is bounded by
    ‖A‖₂⁴ ≤ ‖A²‖_F² / 2, as the singular values of a skew matrix come in pairs.
    """
    square = product(A, A)
    fourth_powers = jnp.sum(square * square, axis=(-2, -1)) / 2
    angle = jnp.max(fourth_powers, initial=0.0) ** 0.25
    most = max_angle(A.dtype)
    halvings = jnp.where(angle > most, jnp.ceil(jnp.log2(angle / most)), 0)
    halvings = jnp.where(jnp.isfinite(halvings), halvings, 0)  # NaN goes on as NaN
    scale = jnp.exp2(-halvings).astype(A.dtype)
    R = identity_like(A) + scale * A + scale**2 / 2 * square

    def twice(_: Array, R: Matrices) -> Matrices:
        R = newton_schulz(R)
        return product(R, R)

    return jax.lax.fori_loop(0, halvings.astype(jnp.int32), twice, R)


def exponential(A: Matrices) -> Matrices:
    """exp(A)."""
    return jax.scipy.linalg.expm(A)


def cayley(A: Matrices) -> Matrices:
    """(I − A/2)⁻¹ (I + A/2), which is exp(A) up to third order, and a rotation whatever A."""
    identity = identity_like(A)
    return jnp.linalg.solve(identity - A / 2, identity + A / 2)


MAPS: dict[str, Map] = {
    function.__name__: function for function in (second_order, exponential, cayley)
}


def rotate(W: Matrices, A: Matrices, way: str = "second_order") -> Matrices:
    """W exp(A) of the skew part of A, then a Newton–Schulz step, without which rounding adds up."""
    return newton_schulz(product(W, MAPS[way](skew(A))))


def polar_of_skew(A: Matrices, steps: int = 5) -> Matrices:
    """About the polar factor of a skew matrix, itself skew: a turn by one angle in every plane.

    By the quintic iteration of Muon (Jordan et al. 2024), which makes most singular values lie
    between 0.7 and 1.2. Those that are zero, of which an odd N has one, stay zero.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    norm = jnp.linalg.norm(A, axis=(-2, -1), keepdims=True)
    X = A / jnp.where(norm > 0, norm, 1)
    for _ in range(steps):
        S = product(X, X)  # −X Xᵀ, as X is skew
        X = skew(a * X + product(c * product(S, S) - b * S, X))
    return X
