"""Optimizers with clipping, a rate of W_hh's own, and rates that can be cut while they run.

    sgd     w ← w − lr · g
    adam    w ← w − lr · m̂ / (√v̂ + ε)        (Kingma & Ba 2015)

As in Optax, but for the learning rate, which is part of the state: a run that exploded goes back to
an earlier state and on with a lower rate, and nothing is compiled anew.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxrnn.paths import is_recurrent_kernel, named_leaves

# By name, what becomes of the gradient before it is multiplied by −lr.
OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "sgd": optax.identity,
    "adam": lambda: optax.scale_by_adam(),
}


class LearningRateState(NamedTuple):
    """lr; a leading axis S for the states of several seeds."""

    learning_rate: Float[Array, "*S"]


def scale_by_learning_rate(lr: float) -> optax.GradientTransformation:
    """u ← −lr · u, with lr kept in the state."""

    def init(params: Any) -> LearningRateState:
        return LearningRateState(jnp.asarray(lr, dtype=float))

    def update(updates: Any, state: LearningRateState, params: Any = None) -> Any:
        step_size = -state.learning_rate
        return jax.tree.map(lambda u: step_size.astype(u.dtype) * u, updates), state

    return optax.GradientTransformation(init, update)


def cut_learning_rate(opt_state: Any, factor: float | Float[Array, "*S"]) -> Any:
    """The state with every learning rate in it multiplied; (S,) factors are for S seeds."""

    def cut(part: Any) -> Any:
        if isinstance(part, LearningRateState):
            return LearningRateState(part.learning_rate * factor)
        return part

    return jax.tree.map(cut, opt_state, is_leaf=lambda part: isinstance(part, LearningRateState))


def optimizer(
    name: str,
    lr: float,
    clip_norm: float = 0.0,
    recurrent_lr: float | None = None,
    clip_value: float = 0.0,
) -> optax.GradientTransformation:
    """Clipping, then an optimizer, W_hh at a rate of its own if one is given.

    Args:
      name: one of ``OPTIMIZERS``.
      lr: learning rate.
      clip_norm: g ← g · min(1, clip_norm / ‖g‖), all gradients as one vector g; 0: not.
      recurrent_lr: learning rate of W_hh, where it differs.
      clip_value: every entry of g to ±clip_value, before ``clip_norm``; 0: not.

    Raises:
      ValueError: an unknown name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")

    def at_rate(rate: float) -> optax.GradientTransformation:
        return optax.chain(OPTIMIZERS[name](), scale_by_learning_rate(rate))

    steps = at_rate(lr)
    if recurrent_lr is not None:
        groups = {"recurrent": at_rate(recurrent_lr), "rest": steps}
        steps = optax.partition(groups, _groups)
    if clip_norm:
        steps = optax.chain(optax.clip_by_global_norm(clip_norm), steps)
    return optax.chain(optax.clip(clip_value), steps) if clip_value else steps


sgd = partial(optimizer, "sgd")
adam = partial(optimizer, "adam")


def _groups(params: Any) -> Any:
    """The group of each leaf: W_hh, or the rest."""
    names = [
        "recurrent" if is_recurrent_kernel(path, leaf) else "rest"
        for path, leaf in named_leaves(params)
    ]
    return jax.tree.unflatten(jax.tree.structure(params), names)
