"""Dynamic trivialisation: coordinates around a fixed matrix, which moves after every K steps.

    W = W₀ exp(A)          A ← A + u, u any optimizer's step for ∂L/∂A

and after K steps W₀ ← W, A ← 0 (Lezcano-Casado & Martínez-Rubio 2019, Cheap orthogonal constraints;
Lezcano-Casado 2019, Trivializations for gradient-based optimization on manifolds). With K = 1 it is
``on_group`` with the exponential.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn.array_checks import check_optimizer
from jaxrnn.checks import check_whole
from jaxrnn.group import maps
from jaxrnn.selection import of_matrices

__all__ = ["exprnn"]


class ExpRNNState(NamedTuple):
    """The number of steps, W₀ and A of each matrix, and the optimizer's own state."""

    count: jax.Array  # type: ignore[assignment]
    base: Any
    A: Any
    inner: Any


def exprnn(
    optimizer: optax.GradientTransformation, every: int = 100
) -> optax.GradientTransformationExtraArgs:
    """W = W₀ exp(A), with steps of any optimizer for A, and W₀ ← W at every K-th.

    Args:
      optimizer: any, with its rate; that of the paper is RMSprop.
      every: K.

    Raises:
      ValueError: no optimizer, ``every`` < 1.

    Example:
      >>> W, optimizer = jnp.eye(2), group.exprnn(optax.rmsprop(0.1), every=2)
      >>> G, state = jnp.array([[0.0, 1.0], [-1.0, 0.0]]), optimizer.init(W)
      >>> for _ in range(3):
      ...     move, state = optimizer.update(G, state, W)
      ...     W = W + move
      >>> bool(diagnostics.orthogonality_error(W) < 1e-6)
      True
    """
    check_optimizer("optimizer", optimizer)
    check_whole("every", every)
    optimizer = optax.with_extra_args_support(optimizer)

    def init(matrices: Any) -> ExpRNNState:
        A = jax.tree.map(jnp.zeros_like, matrices)
        return ExpRNNState(
            jnp.zeros([], jnp.int32), jax.tree.map(jnp.array, matrices), A, optimizer.init(A)
        )

    def update(G: Any, state: ExpRNNState, W: Any, **extra: Any) -> tuple[Any, ExpRNNState]:
        gradients = jax.tree.map(_by_coordinates, state.base, state.A, G)
        u, inner = optimizer.update(gradients, state.inner, state.A, **extra)
        A = jax.tree.map(lambda A, u: A + maps.skew(u), state.A, u)
        new = jax.tree.map(lambda base, A: maps.rotate(base, A, "exponential"), state.base, A)
        count = optax.safe_increment(state.count)
        is_last = count % every == 0
        base = jax.tree.map(lambda old, new: jnp.where(is_last, new, old), state.base, new)
        A = jax.tree.map(lambda A: jnp.where(is_last, 0, A), A)
        return jax.tree.map(jnp.subtract, new, W), ExpRNNState(count, base, A, inner)

    return of_matrices(init, update, "exprnn")


def _by_coordinates(base: jax.Array, A: jax.Array, G: jax.Array) -> jax.Array:
    """The gradient by A of what has the gradient G by W₀ exp(A)."""
    _, pull_back = jax.vjp(maps.exponential, A)
    (gradient,) = pull_back(maps.product(base.mT, G))
    return maps.skew(gradient)
