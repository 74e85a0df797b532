"""Optimizers on the orthogonal group, those that were published under the names of their papers.

    on_group        W ← W exp(u)                        u any optimizer's step for a = skew(WᵀG)
    stiefel_adam    W ← polar(W (I + u))                u Adam's step for 2 a
    group_muon      W ← W exp(u)                        u = −η polar(m), m ← β m + a
    pogo            W ← M (3 I − MᵀM) / 2               M = W + W skew(Wᵀu), u a step for G
    landing         W ← W − η (W a + λ W (WᵀW − I))     with η as small as W's distance asks for

G is the gradient by W. Each is an Optax transformation of a tree of square matrices, all of them W
as the equation writes it, and orthogonal at first. ``keep_orthogonal`` gives it those of a model:

    keep_orthogonal(optax.adam(1e-2), stiefel_adam(1e-3))

Sources: Kong, Wang & Tao 2023 (Momentum Stiefel optimizer), Jordan et al. 2024 (Muon) and Bernstein
2025 (its form on the orthogonal group), POGO (arXiv 2602.14656), Ablin & Peyré 2022 (Fast and
accurate optimization on the orthogonal manifold without retraction).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn.array_checks import check_optimizer
from jaxrnn.checks import check_not_negative, check_one_of, check_real
from jaxrnn.group import maps
from jaxrnn.group.coordinates import orthogonalized
from jaxrnn.retraction import off_orthogonal
from jaxrnn.selection import of_matrices

__all__ = ["group_muon", "landing", "matrix_adam", "on_group", "pogo", "stiefel_adam"]


def on_group(
    optimizer: optax.GradientTransformation, way: str = "second_order"
) -> optax.GradientTransformationExtraArgs:
    """W ← W exp(u) with u the optimizer's step for a = skew(WᵀG), the coordinates of W exp(A).

    The optimizer sees W as the origin, A = 0: weight decay does nothing.

    Args:
      optimizer: any, with its rate: u in radians, as entries of A are for a single plane.
      way: as in ``from_skew``.

    Raises:
      ValueError: no optimizer, an unknown ``way``.

    Example:
      >>> W, optimizer = jnp.eye(2), group.on_group(optax.sgd(0.1))
      >>> G = jnp.array([[5.0, 1.0], [-1.0, 5.0]])  # the symmetric part is not along the group
      >>> move, _ = optimizer.update(G, optimizer.init(W), W)
      >>> print(f"{(W + move)[1, 0]:.3f} {np.sin(0.1):.3f}")
      0.100 0.100
    """
    check_optimizer("optimizer", optimizer)
    check_one_of("way", way, maps.MAPS)
    optimizer = optax.with_extra_args_support(optimizer)

    def init(matrices: Any) -> Any:
        return optimizer.init(jax.tree.map(jnp.zeros_like, matrices))

    def update(G: Any, state: Any, W: Any, **extra: Any) -> tuple[Any, Any]:
        a = jax.tree.map(lambda W, G: maps.skew(maps.product(W.mT, G)), W, G)
        u, state = optimizer.update(a, state, jax.tree.map(jnp.zeros_like, a), **extra)
        return jax.tree.map(lambda W, u: maps.rotate(W, u, way) - W, W, u), state

    return of_matrices(init, update, "on_group")


def stiefel_adam(
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    b1: float = 0.9,
    b2: float = 0.99,
    eps: float = 1e-5,
) -> optax.GradientTransformation:
    """Adam on the skew gradient, then the polar factor (Kong, Wang & Tao 2023).

        Y = WᵀG − GᵀW      ξ = −η m̂ / (√v̂ + ε)      W ← polar(W (I + ξ))

    m̂ and v̂ the means of Y and of its squared entries; the canonical metric, for square W.

    Example:
      >>> W, optimizer = jnp.eye(2), group.stiefel_adam(0.1)
      >>> G = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
      >>> move, _ = optimizer.update(G, optimizer.init(W), W)
      >>> bool(diagnostics.orthogonality_error(W + move) < 1e-6)
      True
    """
    b1, b2, eps = _of_adam(b1, b2, eps)
    adam = optax.adam(_rate(learning_rate), b1, b2, eps)

    def update(G: Any, state: Any, W: Any, **extra: Any) -> tuple[Any, Any]:
        del extra
        Y = jax.tree.map(lambda W, G: 2 * maps.skew(maps.product(W.mT, G)), W, G)
        xi, state = adam.update(Y, state)
        return jax.tree.map(_by_polar, W, xi), state

    return of_matrices(adam.init, update, "stiefel_adam")


def _by_polar(W: jax.Array, xi: jax.Array) -> jax.Array:
    return maps.polar(W + maps.product(W, maps.skew(xi))) - W


def group_muon(
    learning_rate: optax.ScalarOrSchedule = 3e-3, momentum: float = 0.9
) -> optax.GradientTransformation:
    """Every plane of W turns by the same angle: msign(skew(WᵀG)) of the momentum, in closed form.

    Args:
      learning_rate: the angle of a step, in radians. T of them have to stay below about 0.6.
      momentum: β, from 0 to less than 1.

    Example:
      >>> W, optimizer = jnp.eye(2), group.group_muon(0.1)
      >>> G = jnp.array([[0.0, 1e-4], [-1e-4, 0.0]])
      >>> move, _ = optimizer.update(G, optimizer.init(W), W)
      >>> bool(abs(move[1, 0] - 0.1) < 0.03)  # whatever the size of the gradient
      True
    """
    turn = optax.chain(orthogonalized(momentum), optax.scale_by_learning_rate(_rate(learning_rate)))
    return on_group(turn)


def pogo(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """An optimizer's step, its part along the group, one Newton–Schulz step (arXiv 2602.14656).

        M = W + W skew(Wᵀu)          W ← M (3 I − MᵀM) / 2

    Args:
      optimizer: any, of G itself; the paper's has one second moment a matrix, ``matrix_adam``.

    Raises:
      ValueError: no optimizer.

    Example:
      >>> W, optimizer = jnp.eye(2), group.pogo(group.matrix_adam(0.1))
      >>> G = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
      >>> move, _ = optimizer.update(G, optimizer.init(W), W)
      >>> print(f"{diagnostics.orthogonality_error(W + move):.0e}")
      2e-05
    """
    check_optimizer("optimizer", optimizer)
    optimizer = optax.with_extra_args_support(optimizer)

    def moved(W: jax.Array, u: jax.Array) -> jax.Array:
        M = W + maps.product(W, maps.skew(maps.product(W.mT, u)))
        return maps.newton_schulz(M) - W

    def update(G: Any, state: Any, W: Any, **extra: Any) -> tuple[Any, Any]:
        # No W: decay would leave the group, and the projection remove it again.
        u, state = optimizer.update(G, state, jax.tree.map(jnp.zeros_like, G), **extra)
        return jax.tree.map(moved, W, u), state

    return of_matrices(optimizer.init, update, "pogo")


def _rate(value: Any) -> Any:
    """A schedule, an array of one number (of inject_hyperparams), or a float, 0 or more."""
    if callable(value) or (isinstance(value, jax.Array) and value.shape == ()):
        return value
    check_not_negative("learning_rate", value)
    return float(value)


def _of_adam(b1: float, b2: float, eps: float) -> tuple[float, float, float]:
    for name, beta in (("b1", b1), ("b2", b2)):
        check_real(name, beta, "in [0, 1)", lambda beta: 0 <= beta < 1)
    check_not_negative("eps", eps)
    return float(b1), float(b2), float(eps)  # a whole number may have more than 32 bits


class MatrixAdamState(NamedTuple):
    """The number of steps, the mean gradient, and of each matrix the mean of ‖G‖_F²."""

    count: jax.Array  # type: ignore[assignment]
    mu: Any
    nu: Any


def matrix_adam(
    learning_rate: optax.ScalarOrSchedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Adam with one second moment a matrix, which keeps the direction of the mean gradient.

        u = −η m̂ / (√v̂ + ε)          v ← β₂ v + (1 − β₂) ‖g‖_F²

    so that ‖u‖_F is about η, whatever N.

    Example:
      >>> optimizer, g = group.matrix_adam(0.1), jnp.array([[3.0, 0.0], [0.0, 4.0]])
      >>> update, _ = optimizer.update(g, optimizer.init(g))
      >>> print(f"{update[0, 0]:.3f} {update[1, 1]:.3f}")
      -0.060 -0.080
    """
    b1, b2, eps = _of_adam(b1, b2, eps)
    rate = _rate(learning_rate)

    def init(matrices: Any) -> MatrixAdamState:
        nu = jax.tree.map(lambda W: jnp.zeros(W.shape[:-2], W.dtype), matrices)
        return MatrixAdamState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, matrices), nu)

    def update(g: Any, state: MatrixAdamState, params: Any = None) -> tuple[Any, MatrixAdamState]:
        del params
        count = optax.safe_increment(state.count)
        squares = jax.tree.map(lambda g: jnp.sum(g * g, axis=(-2, -1)), g)
        mu = optax.tree.update_moment(g, state.mu, b1, 1)
        nu = optax.tree.update_moment(squares, state.nu, b2, 1)
        mean, square = (optax.tree.bias_correction(m, b, count) for m, b in ((mu, b1), (nu, b2)))
        u = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps)[..., None, None], mean, square)
        return u, MatrixAdamState(count, mu, nu)

    scale = optax.GradientTransformation(init, update)
    return optax.chain(scale, optax.scale_by_learning_rate(rate))


def landing(
    learning_rate: float = 0.1, momentum: float = 0.0, attraction: float = 1.0
) -> optax.GradientTransformation:
    """W ← W − η (W a + λ W (WᵀW − I)): along the group and towards it (Ablin & Peyré 2022).

    No retraction. The step η is the learning rate or, where it is smaller, the safe step

        η ≤ min((β + √(β² + α (ε − d)₊)) / α, 1 / 2λ)

    with d = ‖WᵀW − I‖_F, α the squared norm of what η multiplies and β = λ d (1 − d), which keeps
    d ≤ ε = 1/2. So W is close to the group while it moves, and lands where it comes to rest;
    ``retract_params`` puts it there.

    Args:
      learning_rate: η.
      momentum: β of m ← β m + G, in place of G.
      attraction: λ.

    Raises:
      ValueError: a momentum outside [0, 1), another number that is negative, an attraction of 0.

    Example:
      >>> W, optimizer = 1.1 * jnp.eye(2), group.landing(0.1)
      >>> move, _ = optimizer.update(jnp.zeros((2, 2)), optimizer.init(W), W)
      >>> errors = [diagnostics.orthogonality_error(W) for W in (W, W + move)]
      >>> bool(errors[1] < errors[0])
      True
    """
    check_not_negative("learning_rate", learning_rate)
    check_real("momentum", momentum, "in [0, 1)", lambda beta: 0 <= beta < 1)
    check_real("attraction", attraction, "above 0 and finite", lambda value: value > 0)
    rate, pull = float(learning_rate), float(attraction)

    def moved(W: jax.Array, G: jax.Array) -> jax.Array:
        off = off_orthogonal(W)
        field = maps.product(W, maps.skew(maps.product(W.mT, G)) + pull * off)
        d = jnp.linalg.norm(off, axis=(-2, -1), keepdims=True)
        alpha = jnp.sum(field * field, axis=(-2, -1), keepdims=True)
        beta = pull * d * (1 - d)
        root = jnp.sqrt(beta**2 + alpha * jnp.maximum(0.5 - d, 0))
        safe = jnp.where(alpha > 0, (beta + root) / jnp.where(alpha > 0, alpha, 1), jnp.inf)
        step = jnp.minimum(safe, min(rate, 1 / (2 * pull)))
        return -step * field

    trace = optax.trace(momentum)

    def update(G: Any, state: Any, W: Any, **extra: Any) -> tuple[Any, Any]:
        del extra
        m, state = trace.update(G, state)
        return jax.tree.map(moved, W, m), state

    return of_matrices(trace.init, update, "landing")
