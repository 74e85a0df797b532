"""Optimizers with clipping, a separate rate for W_hh, and rates that can be cut while they run.

    sgd         w ← w − lr · g
    momentum    w ← w − lr · m,  m ← 0.9 m + g                             (Polyak 1964)
    rmsprop     w ← w − lr · g / (√v + ε),  v ← 0.99 v + 0.01 g²            (Tieleman & Hinton 2012)
    adam        w ← w − lr · m̂ / (√v̂ + ε)                                  (Kingma & Ba 2015)

with ε = 1e-8 and m = v = 0 at first. As in Optax, with two differences. RMSprop's constants, and ε
outside the root, are PyTorch's. And the learning rate is part of the state: a run that exploded
goes back to an earlier state and on with a lower rate, and nothing is compiled again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxrnn.array_checks import as_real_array
from jaxrnn.checks import check_not_negative, check_whole, described, is_whole
from jaxrnn.group import keep_orthogonal
from jaxrnn.paths import Predicate, selected_matrices

Factor = Callable[[Any], Any]  # the number of a step → what the learning rate is multiplied by

# By name, what is done to the gradient before it is multiplied by −lr.
OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "sgd": optax.identity,
    "momentum": lambda: optax.trace(0.9),
    "rmsprop": lambda: optax.scale_by_rms(0.99, eps=1e-8, eps_in_sqrt=False),
    "adam": lambda: optax.scale_by_adam(),
}


class LearningRateState(NamedTuple):
    """lr; a leading axis S for the states of several seeds.

    Example:
      >>> state = optimizers.scale_by_learning_rate(0.5).init(params=None)
      >>> float(state.learning_rate)
      0.5
    """

    learning_rate: Float[Array, "*S"]


def scale_by_learning_rate(lr: float) -> optax.GradientTransformation:
    """u ← −lr · u, with lr kept in the state.

    Example:
      >>> scale = optimizers.scale_by_learning_rate(0.5)
      >>> updates, _ = scale.update(jnp.array([1.0, -4.0]), scale.init(None))
      >>> print(updates)
      [-0.5  2. ]
    """

    check_not_negative("lr", lr)

    def init(params: Any) -> LearningRateState:
        return LearningRateState(jnp.asarray(lr, dtype=float))

    def update(updates: Any, state: LearningRateState, params: Any = None) -> Any:
        step_size = -state.learning_rate
        return jax.tree.map(lambda u: step_size.astype(u.dtype) * u, updates), state

    return optax.GradientTransformation(init, update)


def cut_learning_rate(opt_state: Any, factor: float | Float[Array, "*S"]) -> Any:
    """The state with every learning rate in it multiplied; (S,) factors are for S seeds.

    Raises:
      ValueError: a factor that is no real number, or is for other seeds.

    Example:
      >>> state = optimizers.adam(1.0).init({"w": jnp.ones(3)})
      >>> state = optimizers.cut_learning_rate(state, 0.25)
      >>> float(optax.tree.get(state, "learning_rate"))
      0.25
    """

    by = as_real_array("factor", factor)

    def cut(part: Any) -> Any:
        if isinstance(part, LearningRateState):
            if by.shape not in ((), part.learning_rate.shape):
                seeds = part.learning_rate.shape
                raise ValueError(f"factor must be a number, or {seeds} of them, got {by.shape}")
            return LearningRateState(part.learning_rate * by.astype(float))
        return part

    return jax.tree.map(cut, opt_state, is_leaf=lambda part: isinstance(part, LearningRateState))


def schedule(warmup_steps: int = 0, decay_steps: int = 0) -> Factor:
    """Warm-up, then cosine decay (Loshchilov & Hutter 2017), as a factor of the learning rate.

        (k + 1) / W                            k < W
        cos²(π/2 · (k − W) / (D − W))          W ≤ k < D,  the same as ½ (1 + cos π ...)
        0                                      D ≤ k

    for the step k, counted from 0.

    Args:
      warmup_steps: W; 0: none.
      decay_steps: D, counted from the beginning; 0: none, so that the factor stays at 1.

    Raises:
      ValueError: W < 0, or 0 < D ≤ W, or D < 0, or one that is no whole number.

    Example:
      >>> factor = optimizers.schedule(warmup_steps=2, decay_steps=6)
      >>> [round(float(factor(k)), 2) for k in range(7)]
      [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    _check_schedule(warmup_steps, decay_steps)

    def factor(step: Any) -> Any:
        step = jnp.asarray(step, dtype=float)  # an int32 divided would be float32 in any case
        warm = jnp.minimum(1.0, (step + 1) / max(warmup_steps, 1))
        if not decay_steps:
            return warm
        decayed = jnp.clip((step - warmup_steps) / (decay_steps - warmup_steps), 0.0, 1.0)
        return jnp.where(step < decay_steps, warm * jnp.cos(jnp.pi / 2 * decayed) ** 2, 0.0)

    return factor


def _check_schedule(warmup_steps: int, decay_steps: int) -> None:
    check_whole("warmup_steps", warmup_steps, least=0)
    if not (is_whole(decay_steps) and (decay_steps == 0 or decay_steps > warmup_steps)):
        raise ValueError(
            f"decay_steps must be 0, or a whole number above the {warmup_steps} of warmup_steps, "
            f"got {described(decay_steps)}"
        )


def optimizer(
    name: str,
    lr: float,
    clip_norm: float = 0.0,
    recurrent_lr: float | None = None,
    clip_value: float = 0.0,
    clip_adaptive: float = 0.0,
    factor: Factor | None = None,
    where: Predicate | str | None = None,
    method: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """Clipping, then an optimizer, with a separate rate for W_hh if one is given.

    Args:
      name: one of ``OPTIMIZERS``.
      lr: learning rate.
      clip_norm: g ← g · min(1, clip_norm / ‖g‖), all gradients as one vector g; 0: not.
      recurrent_lr: learning rate of W_hh, where it differs.
      clip_value: every entry of g to ±clip_value; 0: not.
      clip_adaptive: λ, the gradient of each unit's weights g_i ← g_i · min(1, λ · max(‖w_i‖, 1e-3)
        / ‖g_i‖), where a unit's are a row of W_xh, W_hh or W_hy, and a bias is one unit (Brock et
        al. 2021); 0: not. Entries are clipped first, then units, then g as a whole.
      factor: the k-th step, from 0, → what all rates are multiplied by; see ``schedule``.
      where: what ``recurrent_lr`` or ``method`` is for, as in ``project_recurrent``.
      method: of jaxrnn.group, with a rate of its own: W_hh moves along the orthogonal group by it,
        see ``keep_orthogonal``.

    Raises:
      ValueError: an unknown name; a rate or a limit that is negative or not finite; both
        ``recurrent_lr`` and a method; at init, no leaf that one of them is for.

    Example:
      >>> params = {"h": {"kernel": jnp.eye(2)}, "readout": {"bias": jnp.zeros(2)}}
      >>> sgd = optimizers.optimizer("sgd", lr=0.5, recurrent_lr=0.25)
      >>> gradients = jax.tree.map(jnp.ones_like, params)
      >>> updates, _ = sgd.update(gradients, sgd.init(params), params)
      >>> print(updates["h"]["kernel"][0], updates["readout"]["bias"])
      [-0.25 -0.25] [-0.5 -0.5]
    """
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise ValueError(
            f"optimizer's name must be one of {', '.join(OPTIMIZERS)}, got {described(name)}"
        )
    _check_not_negative(
        lr=lr,
        recurrent_lr=0.0 if recurrent_lr is None else recurrent_lr,
        clip_norm=clip_norm,
        clip_value=clip_value,
        clip_adaptive=clip_adaptive,
    )

    if method is not None and recurrent_lr is not None:
        raise ValueError(f"a method has its own rate, got recurrent_lr {recurrent_lr} beside it")

    def at_rate(rate: float) -> optax.GradientTransformation:
        return optax.chain(OPTIMIZERS[name](), scale_by_learning_rate(rate))

    steps = at_rate(lr)
    if recurrent_lr is not None:
        groups = {"recurrent": at_rate(recurrent_lr), "rest": steps}
        steps = optax.partition(groups, partial(_groups, where=where))
    if factor is not None:
        steps = optax.chain(steps, optax.scale_by_schedule(factor))
    if method is not None:  # whose update nothing may change
        steps = keep_orthogonal(steps, method, where)
    if clip_norm:
        steps = optax.chain(optax.clip_by_global_norm(clip_norm), steps)
    if clip_adaptive:
        steps = optax.chain(optax.adaptive_grad_clip(clip_adaptive), steps)
    return optax.chain(optax.clip(clip_value), steps) if clip_value else steps


def _check_not_negative(**values: float) -> None:
    for name, value in values.items():
        check_not_negative(name, value)


sgd = partial(optimizer, "sgd")
momentum = partial(optimizer, "momentum")
rmsprop = partial(optimizer, "rmsprop")
adam = partial(optimizer, "adam")


def _groups(params: Any, where: Predicate | str | None) -> Any:
    """The group of each leaf: W_hh, or the rest."""
    chosen = selected_matrices(params, where, "recurrent_lr")
    names = ["recurrent" if i in chosen else "rest" for i in range(len(jax.tree.leaves(params)))]
    return jax.tree.unflatten(jax.tree.structure(params), names)
